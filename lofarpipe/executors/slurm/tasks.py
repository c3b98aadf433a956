"""Jobs that are in Slurm's queue, and those of an earlier run that still are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.executors.remote.order import Order, discard, order_fingerprint, read_order, read_record, withdraw
from lofarpipe.executors.slurm.arrays import Array, SlurmQueue
from lofarpipe.executors.slurm.client import SlurmClient, SlurmRefused
from lofarpipe.jobs import Job, JobResult

ARRAYS = "slurm"  # directory of the files of arrays, below that of the orders
END_LIMIT_S = 600.0  # KillWait, an epilog, a node that does not answer at once
ASK_S, FORCE_AFTER_S = 0.5, 60.0
SILENT = "Slurm does not say that they have ended"
NAMED = 20  # in a message


@dataclass
class Task:
    """A job, its order, and its place in an array."""

    place: int  # among the jobs of the run
    order: Order
    array: Array
    index: int
    has_started: bool = False
    missing_s: float | None = None  # monotonic clock: since then it is neither in the queue nor has a record
    interrupted: JobResult | None = None  # what its guard recorded; Slurm knows why
    hopeless: int = 0  # how often Slurm said that it will never run

    @property
    def id(self) -> str:
        """What Slurm calls it."""
        return self.array.task(self.index)


def adopt(queue: SlurmQueue, client: SlurmClient, jobs: Sequence[Job]) -> list[Task]:
    """Return tasks of an earlier run that are done, or still in the queue, and are what ``jobs`` ask for.

    All others are ended first, and their orders removed. A job that failed is not taken over: whoever starts the
    pipeline again has mended something.

    Raises
    ------
    SlurmRefused
        If Slurm does not answer.
    """
    arrays = queue.earlier()
    queued = client.queued(array.id for array in arrays if array.id)
    wanted = {job.name: place for place, job in enumerate(jobs)}
    taken: dict[int, Task] = {}
    strays: list[str] = []
    useless: list[Order] = []
    for array in arrays:
        for index, path in enumerate(array.orders):
            order = _order(path)
            place = -1 if order is None else wanted.get(order.job.name, -1)
            is_queued = bool(array.id) and array.task(index) in queued
            if order and place >= 0 and place not in taken and _is_of_use(order, jobs[place], is_queued):
                taken[place] = Task(place, order, array, index)
                continue
            strays += [array.task(index)] if is_queued else []
            useless += [order] if order else []
    end(client, strays, useless)
    for order in useless:
        discard(order)
    kept = {task.array.stem for task in taken.values()}
    for array in arrays:
        if array.stem not in kept:
            array.forget()
    return list(taken.values())


def _order(path: Path) -> Order | None:
    try:
        return read_order(path)
    except PipelineError:  # its result was taken
        return None


def _is_of_use(order: Order, job: Job, is_queued: bool) -> bool:
    record = read_record(order)
    return order_fingerprint(order.job) == order_fingerprint(job) and (is_queued if record is None else record.ok)


def _nothing(_: str) -> None:
    """Tell nobody."""


def end(
    client: SlurmClient,
    tasks: Iterable[str],
    orders: Sequence[Order] = (),
    whole_arrays: bool = False,
    wait: Callable[[float], None] = time.sleep,
    must_stop: Callable[[], bool] = lambda: False,
    note: Callable[[str], None] = _nothing,
) -> None:
    """End tasks, and return when none is alive.

    Where Slurm does not answer, the orders are withdrawn at once: guards end their jobs by themselves within seconds,
    and tasks that begin later find nothing to do.

    Parameters
    ----------
    orders: of the tasks.
    whole_arrays: whether no other task of their arrays is to be spared.
    must_stop: whether nobody wants to wait for the end any longer.
    note: is told why it takes long.

    Raises
    ------
    PipelineError
        If that cannot be brought about in time.
    """
    left = set(tasks)
    began = time.monotonic()
    problem = SILENT
    while left and time.monotonic() - began < END_LIMIT_S and not must_stop():
        try:
            named = {task.partition("_")[0] for task in left} if whole_arrays else left
            client.cancel(named, force=time.monotonic() - began > FORCE_AFTER_S)
            left &= set(client.queued(task.partition("_")[0] for task in left))
            problem = SILENT
        except SlurmRefused as err:
            if problem == SILENT:  # once: Slurm names the jobs in another order each time
                note(f"jobs cannot be ended by Slurm, and end by themselves; it is asked again: {err}")
            problem = str(err)
            _withdraw_all(orders)
        if left:
            wait(ASK_S)
    if left:
        _withdraw_all(orders)
        raise PipelineError(
            f"{len(left)} jobs may be in the queue, where they have nothing to do any more: {problem}; the next run "
            f"removes them, or: scancel {_named(left, whole_arrays)}"
        )


def _withdraw_all(orders: Sequence[Order]) -> None:
    for order in orders:
        withdraw(order)


def _named(tasks: Iterable[str], whole_arrays: bool) -> str:
    """Return tasks, or the arrays that they are all of, as scancel takes them."""
    return " ".join(sorted({task.partition("_")[0] if whole_arrays else task for task in tasks})[:NAMED])
