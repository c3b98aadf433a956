"""Outputs of earlier runs, set aside while jobs rewrite them.

A job starts without its former outputs: they, and files derived from them under the same root name, get hidden names
in the same directory before the job starts. After a success they are removed, including those that the job no longer
writes. After a failure or a kill they are restored. Only outputs of jobs recorded in the journal are ever
moved or removed. The journal records each move in advance, so that the next run can continue from any point.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lofarpipe.errors import PipelineError
from lofarpipe.jobs import Job
from lofarpipe.state.events import JobSetAside, JobSettled, step_of
from lofarpipe.state.fingerprints import names_starting_with
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.disk import io_problem

if TYPE_CHECKING:
    from lofarpipe.state.journal import Stream

LONGEST_NAME = 200  # characters of 255, with room for the suffix


@dataclass(frozen=True)
class FormerOutputs:
    """Former outputs of a step's jobs, and of the jobs that use them.

    Parameters
    ----------
    entry: name of the step in the journal.
    """

    stream: Stream
    entry: str

    def find_for_jobs(
        self, jobs: Mapping[str, Job], names_of: Callable[[str], set[str]], finished_jobs: Iterable[str]
    ) -> dict[str, set[str]]:
        """Return job name in the journal -> files in the way of the job.

        These are files written by the job, or by a removed job of the step, whose name equals or begins with a name of
        the job; and files that other steps made from its outputs beside a root name, such as WSClean's.

        Parameters
        ----------
        names_of: returns the paths named by a job.
        finished_jobs: jobs of the step not run again.
        """
        outputs_by_job = self.outputs_by_job()
        lost = [path for job, paths in outputs_by_job.items() if job not in {*finished_jobs, *jobs} for path in paths]
        work, paths_in_use = self.stream.state.work, []
        if any(map(_root, jobs.values())):
            steps = work.dependent_steps(self.entry)
            paths_in_use = sorted(path for path, owner in work.owners.items() if step_of(owner) in steps)
        obstacles = {}
        for name, job in jobs.items():
            mine, root = sorted([*outputs_by_job.get(name, ()), *lost]), _root(job)
            matches = _matching_paths(names_of(name), mine) if mine else ()
            obstacles[name] = {*matches, *(names_starting_with(root, paths_in_use) if root else ())}
        return obstacles

    def outputs_by_job(self) -> dict[str, list[str]]:
        """Return job name in the journal -> outputs, for the jobs of the step."""
        outputs: dict[str, list[str]] = {}
        for path, owner in self.stream.state.work.owners.items():
            if step_of(owner) == self.entry:
                outputs.setdefault(owner, []).append(path)
        return outputs

    def set_aside(self, job: str, paths: Iterable[str]) -> None:
        """Rename the files in the way of a job to hidden names.

        Raises
        ------
        PipelineError
            If one cannot be moved.
        """
        earlier = self.stream.state.work.aside.get(job, {})
        hidden = {path: _hidden(path) for path in sorted(paths) if path not in earlier and os.path.lexists(path)}
        if hidden:
            self.stream.emit(JobSetAside(self.entry, job, hidden))
        for path, place in hidden.items():
            _move(path, place)


def settle_former_outputs(stream: Stream, job: str) -> None:
    """Remove the files set aside for a job that succeeded since; restore those of other jobs.

    Raises
    ------
    PipelineError
        If it cannot be moved or removed.
    """
    work = stream.state.work
    if job not in work.aside:
        return
    is_replaced = job in work.superseded
    for path, place in work.aside[job].items():
        if not os.path.lexists(place):  # a run was killed before the move, or after the restoration
            continue
        remove(path if not is_replaced else place)
        if not is_replaced:
            _move(place, path)
    stream.emit(JobSettled(step_of(job), job))


def remove(path: str) -> None:
    """Remove a file, a link, or a directory tree.

    Raises
    ------
    PipelineError
        If it cannot be removed.
    """
    try:
        if Path(path).is_dir() and not Path(path).is_symlink():
            shutil.rmtree(path)
        else:
            Path(path).unlink(missing_ok=True)
    except OSError as err:
        raise PipelineError(f"{path}: of an earlier run, and cannot be removed: {io_problem(err)}") from err


def _move(path: str, target: str) -> None:
    try:
        Path(path).rename(target)
    except OSError as err:
        raise PipelineError(f"{path}: of an earlier run, and cannot be renamed to {target}: {io_problem(err)}") from err


def _hidden(path: str) -> str:
    """Return an unused name in the directory of a file."""
    folder, name = os.path.split(path)
    number = 0
    while os.path.lexists(place := f"{folder}/.{name[:LONGEST_NAME]}.earlier-{number}"):
        number += 1
    return place


def _root(job: Job) -> str:
    """Return the common root of a job's output names; "" if there is none."""
    root, star, _ = job.staged.expected.partition("*") if job.staged else ("", "", "")
    return root if star else ""


def _matching_paths(names: Iterable[str], ordered: list[str]) -> Iterator[str]:
    """Yield the ordered paths that equal a name, or begin with a name of no directory."""
    for name in names:
        for path in names_starting_with(name, ordered):
            if path == name or not Path(name).is_dir():
                yield path
