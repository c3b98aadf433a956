"""The files that go with the jobs of a step, and what is told of those that failed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.jobs import JobResult
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


class CommandFile:
    """The file of all commands, one line for each job: of the steps so far in their order, then of those to come.

    What an earlier run had there of jobs that this one has not is taken out when it comes to their step, or ends.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names: dict[str, None] = {}  # of the jobs so far
        self._to_come: set[str] | None = None  # jobs that are in the file of an earlier run

    def note(self, jobs: Sequence[PlannedJob], pending: Sequence[PlannedJob]) -> None:
        """Write the commands of the ``pending`` ones of the jobs of a step; the others have theirs there."""
        is_new = self._names.keys().isdisjoint(planned.job.name for planned in jobs)
        is_last = not self._come_to(jobs)
        if is_new and is_last and len(pending) == len(jobs):
            append_whole(self._path, "".join(f"{line}\n" for line in command_lines(pending)))
        else:
            self._rewrite(command_lines(pending))

    def pass_over(self, jobs: Sequence[PlannedJob]) -> None:
        """Take the commands of a step that is not run again as they are."""
        self._come_to(jobs)

    def finish(self) -> None:
        """Take out what is left of jobs that the run did not come to."""
        if self._to_come:
            self._to_come = set()
            self._rewrite([])

    def _come_to(self, jobs: Sequence[PlannedJob]) -> bool:
        """Note the jobs of a step, and return whether the file has jobs of an earlier run that are not among them."""
        names = [planned.job.name for planned in jobs]
        if self._to_come is None:
            self._to_come = {_name(line) for line in _lines(self._path)}
        had_more = bool(self._to_come)
        steps = tuple({f"{name.rpartition('/')[0]}/" for name in names})
        self._to_come = {name for name in self._to_come if not name.startswith(steps)} if names else self._to_come
        self._names |= dict.fromkeys(names)
        return had_more

    def _rewrite(self, new: Sequence[str]) -> None:
        lines = {_name(line): line for line in [*_lines(self._path), *new]}
        to_come = [name for name in lines if name in (self._to_come or ()) and name not in self._names]
        kept = [lines[name] for name in [*self._names, *to_come] if name in lines]
        write_atomically(self._path, "".join(f"{line}\n" for line in kept))


def _name(line: str) -> str:
    return line.partition(": ")[0]


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
