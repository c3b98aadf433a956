"""Table and number of a run's images, for the end of the run and for its status."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lofarpipe.jobs import duration_text, last_lines
from lofarpipe.programs.base import Progress
from lofarpipe.report.html.logs import read_commands
from lofarpipe.report.images import image_of, quality_texts
from lofarpipe.state.events import JobStarted
from lofarpipe.state.run_state import FAILED, RUNNING, JobState, RunState, StepState
from lofarpipe.state.uptodate import text_of
from lofarpipe.support.utilities import files_of, printable

IMAGE = "image"  # the step
#: The executors' advice for jobs over the time limit; here the limit is a key of the TOML file.
WALLTIME_ADVICE = ("raise walltime of the step, or in [ssh]", "it needs a longer walltime, of the step or in [slurm]")
HEADER = ("sets", "host", "time", "CPU", "memory", "noise", "peak", "beam", "result")
UNKNOWN = ("", "", "")  # noise, peak, beam
LOG_LINES = 3  # the last of a failed job


def write_image_table(state: RunState, job_directory: Path, is_quiet: bool) -> int:
    """Print a table of the images, failures, and the number of images; return the exit status, 1 if one is missing."""
    step = state.steps.get(IMAGE)
    if step is None or not step.total:
        return 0
    if not is_quiet and step.jobs:
        print(*table_lines(state), sep="\n")
    for line in failure_report(step, job_directory):
        print(printable(line))
    if step.done < step.total or not is_quiet:
        print(f"{step.done} of {step.total} images made")
    return int(step.done < step.total)


def table_lines(state: RunState, progress: Mapping[str, Progress] | None = None) -> list[str]:
    """Return the table: one line per image made or attempted, without empty columns.

    Parameters
    ----------
    progress: of the running jobs, by name.
    """
    step = state.steps.get(IMAGE)
    rows = [_row(job, image_of(state, job), progress or {}) for job in step.jobs.values()] if step else []
    columns = [column for column in zip(HEADER, *rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]


def failed_images(step: StepState) -> list[str]:
    """Return a line for each job that failed: sets, reason, log."""
    return [f"{_sets(job)}: {_reason(job)}; log: {job.log}" for job in step.jobs.values() if job.state == FAILED]


def failure_report(step: StepState, job_directory: Path) -> Iterator[str]:
    """Yield the failures, each with its command and the last lines of its log."""
    commands = read_commands(job_directory / "commands.txt") if step.failed else {}
    failed = [job for job in step.jobs.values() if job.state == FAILED]
    for job, line in zip(failed, failed_images(step), strict=True):
        yield line
        if job.name in commands:
            yield f"    command: {commands[job.name]}"
        yield from (f"    {line}" for line in last_lines(job_directory / job.log, LOG_LINES))


def _row(job: JobState, image: Path | None, progress: Mapping[str, Progress]) -> tuple[str, ...]:
    is_running = job.state == RUNNING and job.start_s is not None
    duration_s = time.time() - (job.start_s or 0.0) if is_running else job.duration_s
    doing = progress[job.name].text if job.name in progress else ""
    return (
        _sets(job),
        job.node or "localhost",
        "" if duration_s is None else duration_text(max(0.0, duration_s)),
        "" if job.cpu_s is None else duration_text(job.cpu_s),
        "" if job.max_rss_mb is None else f"{job.max_rss_mb / 1000:.1f} GB",
        *(UNKNOWN if image is None else quality_texts(image)),
        f"{job.state}: {doing}" if is_running and doing else job.state,
    )


def _sets(job: JobState) -> str:
    names = files_of(job.label)
    return (
        job.label if not names else names[0] if len(names) == 1 else f"{names[0]} ... {names[-1]} ({len(names)} sets)"
    )


def _reason(job: JobState) -> str:
    """Return the reason for a job's failure: exit code, signal, or recorded problem."""
    problem = job.problem.partition("\n")[0]
    for advice in WALLTIME_ADVICE:
        problem = problem.replace(advice, "raise max_time")
    if job.exit_code is None or (problem and not problem.startswith(("exited with", "killed by"))):
        return problem or job.state
    advice = ", which is often too little memory" if job.exit_code in (-9, 137) else ""
    return f"exit code {job.exit_code}{advice}" if job.exit_code >= 0 else f"signal {-job.exit_code}, {problem}{advice}"


class CommandLines:
    """Prints the command of each job when it starts.

    Parameters
    ----------
    path: the file of all commands; written before the first job.
    """

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        self._path = path
        self._tell = tell
        self._commands: dict[str, str] = {}

    def job_started(self, event: JobStarted) -> None:
        """Print its command."""
        if event.job not in self._commands:
            lines = (text_of(str(self._path)) or "").splitlines()
            self._commands = {name: command for name, _, command in (line.partition(": ") for line in lines)}
        self._tell(f"{event.job}: {self._commands.get(event.job, '')}")
