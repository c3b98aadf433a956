"""Room on disk: checked before a step begins, and named when a job failed for want of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.errors import PipelineError, counted
from lofarpipe.jobs import JobResult, Resources
from lofarpipe.support.disk import Need, existing, free_bytes, room_text, size_text, trouble_in

LINES_OF_INTEREST = 30  # at the end of a log


@dataclass
class Disk:
    """What jobs are going to take of one file system."""

    place: Path  # one of the directories on it
    lasting_bytes: float = 0.0
    temporary_bytes: list[float] = field(default_factory=list)  # one for each job
    what: dict[str, None] = field(default_factory=dict)  # in their order
    is_given: bool = True  # steps say all of it themselves

    def add(self, need: Need) -> None:
        """Count one need."""
        self.what[need.what] = None
        self.is_given = self.is_given and need.is_given
        if need.is_temporary:
            self.temporary_bytes.append(need.size_bytes)
        else:
            self.lasting_bytes += need.size_bytes

    def total_bytes(self, at_once: int) -> float:
        """Return what is taken when as many jobs run at the same time, with the largest temporary files."""
        return self.lasting_bytes + sum(sorted(self.temporary_bytes, reverse=True)[:at_once])

    def take(self, size: str, remedy: str) -> str:
        """Return that jobs take so much, who says so, and up to its verb what to do if that is wrong."""
        if self.is_given:
            return f"take {size} by control.disk_gb; {remedy}; if that is too much, lower"
        return f"are estimated to take {size}; {remedy}; if the estimate is wrong, set"


def refuse_without_room(step: str, jobs: Sequence[PlannedJob], machine: Resources, here: bool = True) -> None:
    """Refuse a step whose jobs are going to take more disk than there is.

    Parameters
    ----------
    jobs: those that are about to run.
    machine: what runs them.
    here: whether that is this machine; temporary files of another one are not looked at.

    Raises
    ------
    PipelineError
        If a file system has less free than the jobs are estimated to take; with the place, both numbers, what to do.
    """
    needs = [need for planned in jobs for need in planned.needs() if here or not need.is_temporary]
    at_once = jobs_at_once([planned.job.cores for planned in jobs], jobs[0].job.max_per_node, machine) if jobs else 0
    for disk in disks(needs).values():
        needed, free = disk.total_bytes(at_once), _free_or_none(disk.place)
        if free is not None and free < needed:
            room = "make room, or name another directory, and run again to resume here"
            raise PipelineError(
                f"step '{step}': {disk.place} has {size_text(free)} free, and {' and '.join(disk.what)} of its "
                f"{counted(len(jobs), 'job')} {disk.take(size_text(needed), room)} control.disk_gb to what a job takes"
            )


def jobs_at_once(cores: Sequence[int], max_per_node: int, machine: Resources) -> int:
    """Return how many jobs can run at the same time."""
    by_cores = machine.cores // max(1, min(cores, default=1))
    return max(1, min(len(cores), max_per_node or len(cores), by_cores))


def disks(needs: Iterable[Need]) -> Mapping[int, Disk]:
    """Return the file systems on which something is needed, by their device; those that do not answer are left out."""
    found: dict[int, Disk] = {}
    for need in needs:
        try:
            device = os.stat(existing(need.place)).st_dev  # noqa: PTH116 - one spelling for all that os is asked
        except OSError:  # the job itself will say so, if it gets there
            continue
        found.setdefault(device, Disk(need.place)).add(need)
    return found


def _free_or_none(place: Path) -> float | None:
    try:
        return free_bytes(place)
    except OSError:
        return None


def with_estimate(reason: str, planned: PlannedJob, result: JobResult) -> str:
    """Return why a job failed; if that was for want of disk, with what it was estimated to take, and what is free."""
    trouble = trouble_in([*result.tail(LINES_OF_INTEREST), reason])
    if not trouble and " is full: " not in reason:
        return reason
    known = f"{reason}: {trouble}" if trouble and trouble not in reason else reason
    return "; ".join([known, *map(_estimate, planned.needs())])


def _estimate(need: Need) -> str:
    source = "control.disk_gb" if need.is_given else "estimated"
    return f"{source} for {need.what}: {size_text(need.size_bytes)} in {need.place} ({room_text(need.place)} now)"
