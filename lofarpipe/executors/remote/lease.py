"""Leases of job orders: a guard claims its order before the start, and renews the lease every few seconds.

Claims of one order are numbered. To take over from a dead guard, a guard creates the next number, atomically;
a guard with a lower number ends its job at the next check. Only the file server's clock is used.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from lofarpipe.errors import PipelineError
from lofarpipe.executors.remote.order import (
    CLAIM,
    Order,
    claims_of,
    find_orders,
    order_fingerprint,
    read_order,
    read_record,
    remove_order,
    withdraw_orders,
)
from lofarpipe.jobs import Job, JobResult, JobStart, ended_result
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.processes import boot_id, node_name, process_space, start_ticks

ASK_S = 0.5


def end_guards(orders: Iterable[Order], wait: Callable[[float], object] = time.sleep) -> None:
    """Withdraw orders, and remove them once their guards are dead."""
    remaining = list(orders)
    withdraw_orders(*remaining)
    for order in remaining:
        recall_order(order, wait)


def recall_order(
    order: Order, wait: Callable[[float], object] = time.sleep, must_end: Callable[[], bool] = lambda: False
) -> JobResult | None:
    """Withdraw an order, and remove it once its guard is dead; return the result, or None.

    Parameters
    ----------
    wait: lets some seconds pass.
    must_end: whether to stop waiting.
    """
    withdraw_orders(order)
    while state_of(order) == "alive" and not must_end():
        wait(ASK_S)
    result = read_record(order)
    remove_order(order)
    return result


def orders_of(directory: Path, jobs: Sequence[Job]) -> list[Order]:
    """Return the orders of earlier attempts at the jobs; each directory is read once."""
    steps = {(directory / job.name).parent for job in jobs}
    names = {(step / path.name.partition(".")[0]) for step in steps for path in step.glob("*.*.json")}
    return [order for job in jobs if directory / job.name in names for order in find_orders(directory, job)]


def earlier_results(
    directory: Path,
    jobs: Sequence[Job],
    wait: Callable[[float], object],
    must_end: Callable[[], bool],
    note: Callable[[str], None],
) -> Iterator[tuple[int, Job, JobResult]]:
    """Withdraw earlier orders of the jobs; yield index, former job, and result of the finished ones.

    Parameters
    ----------
    wait, must_end: see ``recall_order``.
    note: gets a text while the call waits.
    """
    earlier: dict[str, list[Order]] = {}
    for order in orders_of(directory, jobs):
        earlier.setdefault(order.job.name, []).append(order)
    for place, job in enumerate(jobs):
        for order in earlier.get(job.name, ()) if not must_end() else ():
            if state_of(order) == "alive":
                note("jobs of the run before this one are still ending; they are waited for")
            result = recall_order(order, wait, must_end)
            if result is not None and result.ok and order_fingerprint(order.job) == order_fingerprint(job):
                yield place, order.job, result


def end_claimed(directory: Path) -> None:
    """End every guarded job of earlier runs."""
    orders = []
    for claim in directory.rglob(f"*{CLAIM}0"):
        with contextlib.suppress(PipelineError):  # already withdrawn
            orders.append(read_order(claim.with_suffix(".json")))
    end_guards(orders)


END_S = 2.0  # from SIGKILL to the end of a process
State = Literal["waiting", "alive", "lost", "done"]


class ClaimRefused(PipelineError):  # noqa: N818 - names an event
    """The order is claimed by another guard, done, or withdrawn."""


@dataclass(frozen=True)
class Claim:
    """Identity of a guard, as recorded in its claim."""

    number: int
    node: str
    pid: int
    start_s: float  # s since 1970 UTC, of that node
    boot: str
    space: str
    ticks: int

    def start(self, order: Order) -> JobStart:
        """Return the node and the start time of the job."""
        return JobStart(order.job.name, self.node, self.pid, self.start_s)


def claim_order(order: Order) -> Claim:
    """Claim an order for this process.

    Raises
    ------
    ClaimRefused
        If the order is done or withdrawn, or claimed by a guard not known to be dead.
    """
    if read_record(order) is not None:
        raise ClaimRefused(f"{order.path}: there is a record of this attempt already")
    previous = read_claim(order)
    if previous is not None and not _is_dead(order, previous):
        raise ClaimRefused(f"{order.path}: process {previous.pid} on {previous.node} has this order")
    claim = Claim(
        number=0 if previous is None else previous.number + 1,
        node=node_name(),
        pid=os.getpid(),
        start_s=time.time(),
        boot=boot_id(),
        space=process_space(),
        ticks=start_ticks(os.getpid()) or 0,
    )
    if not _write_exclusively(order.claim(claim.number), json.dumps(asdict(claim))):
        raise ClaimRefused(f"{order.path}: another guard was faster")
    check_claim(order, claim)
    return claim


def check_claim(order: Order, claim: Claim) -> None:
    """Raise if a claim is no longer valid.

    Raises
    ------
    ClaimRefused
        If the order was withdrawn or taken over.
    """
    if not order.path.exists():
        raise ClaimRefused(f"{order.path}: the order was withdrawn")
    if order.claim(claim.number + 1).exists():
        raise ClaimRefused(f"{order.path}: another guard has taken it over")


def renew_lease(order: Order, claim: Claim) -> None:
    """Renew the lease: set the claim's time to the file server's.

    Raises
    ------
    ClaimRefused
        If the order is no longer this guard's.
    OSError
        If the file server fails.
    """
    check_claim(order, claim)
    os.utime(order.claim(claim.number))


def read_claim(order: Order) -> Claim | None:
    """Return the valid claim of an order: the highest number; None without a claim."""
    claims = claims_of(order)
    if not claims:
        return None
    try:
        return Claim(**json.loads(claims[-1].read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def ended_order(order: Order) -> JobResult:
    """Return the result of an ended or lost job without a record."""
    claim = read_claim(order)
    return ended_result(order.job, claim.start_s, claim.node) if claim else ended_result(order.job)


def state_of(order: Order) -> State:
    """Return the state of an order: done (with a record), alive, lost, or waiting for a guard."""
    if read_record(order) is not None:
        return "done"
    claim = read_claim(order)
    if claim is None:
        return "waiting"
    if not _is_dead(order, claim):
        return "alive"
    # The record may have been written during the check of the claim.
    return "done" if read_record(order) is not None else "lost"


def _is_dead(order: Order, claim: Claim) -> bool:
    """Whether a guard is known to be dead: process gone from this machine, or lease expired."""
    is_here = bool(claim.boot) and (claim.boot, claim.space) == (boot_id(), process_space())
    if is_here and start_ticks(claim.pid) == claim.ticks:
        return False
    # The job of a killed guard has the grace period to end; only then is it run again.
    enough_s = order.beat_s + order.grace_s + END_S if is_here else order.stale_s
    return silent_s(order.claim(claim.number)) > enough_s


def silent_s(path: Path) -> float:
    """Return the age of a file in s, by the clock of its file server; 0 if missing."""
    try:
        return _server_time(path) - _fresh_mtime(path)
    except OSError:
        return 0.0


def _server_time(beside: Path) -> float:
    """Return the file server's time, from a new file."""
    probe = beside.with_name(f".{beside.name}.{os.uname().nodename}.{os.getpid()}.clock")
    try:
        probe.touch()
        os.utime(probe)  # a probe left by a killed process has an old time
        return _fresh_mtime(probe)
    finally:
        probe.unlink(missing_ok=True)


def _fresh_mtime(path: Path) -> float:
    """Return the modification time of a file; it is opened first, which makes NFS ask the server."""
    with path.open("rb") as stream:
        return os.fstat(stream.fileno()).st_mtime


def _write_exclusively(path: Path, text: str) -> bool:
    """Create a file atomically; return False if it exists."""
    part = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    try:
        os.link(part, path)  # atomic on every file system, including NFS
    except FileExistsError:
        return False
    except OSError:  # no hard links on this file system
        with contextlib.suppress(FileExistsError), path.open("x", encoding="utf-8") as stream:
            stream.write(text)
            return True
        return False
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return True
