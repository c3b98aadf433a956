"""The files that go with the jobs of a step, and what is told of those that failed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from lofarpipe.executors.jobs import JobResult
from lofarpipe.job_builder import PlannedJob
from lofarpipe.support.plain_text import printable
from lofarpipe.support.utilities import append_whole, few_files, write_atomically

LONGEST_LINE = 500  # characters of a log's line that are shown to people


def write_job_files(jobs: Sequence[PlannedJob]) -> None:
    """Write what the jobs read, and remove results of an earlier try."""
    for planned in jobs:
        for path, text in planned.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text)
        if planned.result is not None:
            planned.result.unlink(missing_ok=True)


def note_commands(path: Path, jobs: Sequence[PlannedJob], known: set[str]) -> None:
    """Write the commands of jobs into the file of all commands, in place of those of an earlier try.

    Parameters
    ----------
    known: the jobs that are in the file; kept from step to step, so that the file is read once.
    """
    names = {planned.job.name for planned in jobs}
    if not known:
        known.update(line.partition(": ")[0] for line in _lines(path))
    if known.isdisjoint(names):
        append_whole(path, "".join(f"{line}\n" for line in command_lines(jobs)))
    else:
        # A union keeps the places of those that were there: the order stays that of the pipeline.
        lines = {line.partition(": ")[0]: line for line in [*_lines(path), *command_lines(jobs)]}
        write_atomically(path, "".join(f"{line}\n" for line in lines.values()))
    known |= names


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if path.is_file() else []


def command_lines(jobs: Sequence[PlannedJob]) -> list[str]:
    """Return ``<step>/<index>: <command>`` for each job, the command as one would type it."""
    return [f"{planned.job.name}: {shlex.join(planned.job.argv)}" for planned in jobs]


def failure_text(step: str, jobs: Sequence[PlannedJob], results: Sequence[JobResult], failed: Mapping[str, str]) -> str:
    """Return what failed, the last lines of the first log, its path, and the command that repeats the job."""
    planned, result = next(pair for pair in zip(jobs, results, strict=True) if pair[1].name in failed)
    lines = [
        f"step '{step}': {len(failed)} of {len(jobs)} jobs failed: {result.name} ({few_files(planned.job.label)})"
        f" {failed[result.name]}",
        *_last_lines(result),
        f"To repeat this job by hand: {planned.job.command_line()}",
        "Run the same command again to resume at this step.",
    ]
    return "\n".join(lines)


def _last_lines(result: JobResult) -> list[str]:
    tail = [f"    {printable(line)[:LONGEST_LINE]}" for line in result.tail(10)]
    return [f"Last lines of {result.log}:", *tail] if tail else [f"It said nothing; its log: {result.log}"]
