"""What an earlier run of the same job directory left with a queue or with workers, and this one has no use for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.executors.remote.lease import state_of
from lofarpipe.executors.remote.order import CLAIM, Order, discard, find_orders, read_order, read_record, withdraw
from lofarpipe.executors.slurm.client import SlurmClient, SlurmRefused
from lofarpipe.executors.slurm.options import SlurmOptions
from lofarpipe.executors.slurm.queue import SlurmQueue
from lofarpipe.executors.slurm.tasks import ARRAYS, adopt
from lofarpipe.jobs import Job, JobResult

ASK_S = 0.5


def end_all(directory: Path) -> None:
    """End every job of earlier runs: in Slurm's queue, or below a guard.

    Raises
    ------
    PipelineError
        If jobs may be in the queue of a Slurm that does not answer.
    """
    if any((directory / ARRAYS).glob("*.list")):
        queue = SlurmQueue(directory / ARRAYS, SlurmOptions(), SlurmClient())
        try:
            adopt(queue, SlurmClient(), [])
        except SlurmRefused as err:
            raise PipelineError(
                f"jobs of an earlier run may still be in Slurm's queue, see {directory / ARRAYS}: {err}; run again "
                "where Slurm answers, or make sure that none of them is there and remove that directory"
            ) from err
    end_guards(_claimed(directory))


def end_guards(orders: Iterable[Order], wait: Callable[[float], object] = time.sleep) -> None:
    """Withdraw orders, and remove them when no guard of theirs is alive."""
    left = list(orders)
    for order in left:
        withdraw(order)
    for order in left:
        take_back(order, wait)


def take_back(
    order: Order, wait: Callable[[float], object] = time.sleep, must_end: Callable[[], bool] = lambda: False
) -> JobResult | None:
    """Withdraw an order, and remove it when no guard of it is alive; return its result, if there is one.

    Parameters
    ----------
    wait: lets some seconds pass.
    must_end: whether there is a reason not to wait any longer.
    """
    withdraw(order)
    while state_of(order) == "alive" and not must_end():
        wait(ASK_S)
    result = read_record(order)
    discard(order)
    return result


def orders_of(directory: Path, jobs: Sequence[Job]) -> list[Order]:
    """Return the orders of earlier attempts at some jobs; each directory is read once."""
    steps = {(directory / job.name).parent for job in jobs}
    names = {(step / path.name.partition(".")[0]) for step in steps for path in step.glob("*.*.json")}
    return [order for job in jobs if directory / job.name in names for order in find_orders(directory, job)]


def _claimed(directory: Path) -> list[Order]:
    orders = []
    for claim in directory.rglob(f"*{CLAIM}0"):
        try:
            orders.append(read_order(claim.with_suffix(".json")))
        except PipelineError:  # withdrawn already
            continue
    return orders
