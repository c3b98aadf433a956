"""The end of a run of imgpipe: one line for each image, and how many were made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lofarpipe.jobs import duration_text
from lofarpipe.state.events import JobStarted
from lofarpipe.state.run_state import FAILED, JobState, RunState
from lofarpipe.state.uptodate import text_of
from lofarpipe.support.utilities import files_of

IMAGE = "image"  # the step
HEADER = ("sets", "host", "time", "CPU", "memory", "result")


def write_summary(state: RunState, is_quiet: bool) -> int:
    """Print a table of the images and how many there are; return the exit status, 1 if one is missing."""
    step = state.steps.get(IMAGE)
    if step is None or not step.total:
        return 0
    rows = [_row(job) for job in step.jobs.values()]
    if rows and not is_quiet:
        widths = [max(map(len, column)) for column in zip(HEADER, *rows, strict=True)]
        for row in (HEADER, *rows):
            print("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())
    for job in step.jobs.values():
        if job.state == FAILED:
            print(f"{_sets(job)}: {_reason(job)}; log: {job.log}")
    if step.done < step.total or not is_quiet:
        print(f"{step.done} of {step.total} images made")
    return int(step.done < step.total)


def _row(job: JobState) -> tuple[str, ...]:
    time_text = "" if job.duration_s is None else duration_text(job.duration_s)
    cpu_text = "" if job.cpu_s is None else duration_text(job.cpu_s)
    memory = "" if job.max_rss_mb is None else f"{job.max_rss_mb / 1000:.1f} GB"
    return (
        _sets(job),
        job.node or "localhost",
        time_text,
        cpu_text,
        memory,
        job.state,
    )


def _sets(job: JobState) -> str:
    names = files_of(job.label)
    return (
        job.label if not names else names[0] if len(names) == 1 else f"{names[0]} ... {names[-1]} ({len(names)} sets)"
    )


def _reason(job: JobState) -> str:
    """Return how a job failed: its exit code or signal, or the problem that was noted."""
    problem = job.problem.partition("\n")[0]
    if job.exit_code is None or (problem and not problem.startswith(("exited with", "killed by"))):
        return problem or job.state
    advice = ", which is often too little memory" if job.exit_code in (-9, 137) else ""
    return f"exit code {job.exit_code}{advice}" if job.exit_code >= 0 else f"signal {-job.exit_code}, {problem}{advice}"


class CommandLines:
    """Tells the command of each job when it starts.

    Parameters
    ----------
    path: the file of all commands, which is written before.
    """

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        self._path = path
        self._tell = tell
        self._commands: dict[str, str] = {}

    def job_started(self, event: JobStarted) -> None:
        """Tell its command."""
        if event.job not in self._commands:
            lines = (text_of(str(self._path)) or "").splitlines()
            self._commands = {name: command for name, _, command in (line.partition(": ") for line in lines)}
        self._tell(f"{event.job}: {self._commands.get(event.job, '')}")
