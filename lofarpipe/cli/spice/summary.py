"""The end of a run of the imager: a table of the beams, and every failure with exit code and log."""

from __future__ import annotations

import re
from pathlib import Path

from lofarpipe.jobs import JobResult, duration_text
from lofarpipe.state.run_state import FAILED, JobState, RunState
from lofarpipe.support.utilities import files_of

IMAGE_I, IMAGE_POLARISATION = "image_i", "image_polarisation"  # the steps that make images


def write_beam_table(state: RunState, is_quiet: bool, pols: str) -> int:
    """Print a table of the beams; return the exit status, 1 if something failed."""
    lines = failures(state, pols)
    if not is_quiet:
        for line in beam_lines(state):
            print(line)
    for line in lines:
        print(line)
    return int(bool(lines))


def beam_lines(state: RunState) -> list[str]:
    """Return a line for each beam: how each of its jobs ended, and how long it took."""
    steps = [name for name, step in state.steps.items() if step.jobs]
    if not steps:
        return []
    rows: dict[str, dict[str, str]] = {}
    for name in steps:
        for job in state.steps[name].jobs.values():
            rows.setdefault(beam_of(job), {})[name] = _cell(job)
    table = [("beam", *steps), *((beam, *(cells.get(name, "-") for name in steps)) for beam, cells in rows.items())]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in table]


def failures(state: RunState, pols: str) -> list[str]:
    """Return one line per failed job: beam, step, polarisations, exit code or signal, log.

    Parameters
    ----------
    pols: letters of all polarisations.
    """
    letters = pols.upper()
    of_step = {IMAGE_I: "I", IMAGE_POLARISATION: letters.replace("I", "")}
    return [
        f"{beam_of(job)}: {name}, Stokes {of_step.get(name, letters)}: {_reason(job)}; log: {job.log}"
        for name, step in state.steps.items()
        for job in step.jobs.values()
        if job.state == FAILED
    ]


def beam_of(job: JobState) -> str:
    """Return the beam of a job, by the names of its files; else the first of these."""
    names = files_of(job.label) or [job.label]
    match = re.search(r"beam\d\d(?!\d)", " ".join(names))
    return match[0] if match else names[0].rstrip("/").rpartition("/")[2]


def _cell(job: JobState) -> str:
    return job.state if job.duration_s is None else f"{job.state}, {duration_text(job.duration_s)}"


def _reason(job: JobState) -> str:
    """Return the reason for a job's failure: exit code or signal, and the recorded problem or last log line."""
    problem = job.problem.partition("\n")[0]
    if job.exit_code is None or (problem and not problem.startswith(("exited with", "killed by"))):
        return problem or job.state
    if job.exit_code < 0:
        return f"signal {-job.exit_code}, {problem}"
    text = problem.replace("exited with", "exit code", 1) or f"exit code {job.exit_code}"
    last_line = [] if ": " in text.partition(" after ")[2] else result_of_log(job).tail(1)
    return ": ".join([text, *last_line])


def result_of_log(job: JobState) -> JobResult:
    """Return the reader of the log of a job."""
    return JobResult(job.name, job.exit_code or 0, 0.0, 0.0, 0.0, 0.0, Path(job.log), ())
