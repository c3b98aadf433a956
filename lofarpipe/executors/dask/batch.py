"""The jobs of one ``run`` on the workers of Dask, from their submission to their results."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from lofarpipe.executors.dask.cluster import NODE, tokens
from lofarpipe.executors.dask.worker import end_worker_guards, run_order
from lofarpipe.executors.local.signals import Watch
from lofarpipe.executors.remote.lease import orders_of, read_claim, state_of, take_back
from lofarpipe.executors.remote.order import (
    Order,
    discard,
    new_attempt,
    order_fingerprint,
    order_path,
    read_record,
    withdraw,
    write_order,
)
from lofarpipe.executors.slurm.client import portable_environment
from lofarpipe.jobs import (
    NOT_STARTED,
    DoneCallback,
    Job,
    JobResult,
    Resources,
    StartCallback,
    ended_result,
)

LOOKED_AT = 64
WITHOUT_WORKERS_S = 60.0  # a cluster that has had no worker for so long, and no queue to give one, is gone
QUESTION_S = 10.0  # between two questions for workers that were lost
LOOK_S = 0.5  # between two looks at claims and at jobs without a worker


class Owner(Protocol):
    """Who has the workers: the executor."""

    orders: Path
    grace_s: float
    client: Any

    def must_end(self) -> bool:
        """Whether there is a reason to end."""
        ...

    def note(self, text: str) -> None:
        """Let users know something."""
        ...

    def workers(self, wait: Callable[[float], object], must_end: Callable[[], bool]) -> Mapping[str, Any]:
        """Return the facts of the workers, once one is there."""
        ...

    def workers_now(self) -> Mapping[str, Any]:
        """Return the facts of the workers that are there, by address."""
        ...

    def ask_for_workers(self) -> None:
        """Ask the queue again for workers that were lost."""
        ...

    def has_queue(self) -> bool:
        """Whether a queue is going to give workers."""
        ...

    def has_scheduler(self) -> bool:
        """Whether there is a scheduler, or it may come back."""
        ...


class DaskBatch:
    """The jobs of one ``run``."""

    def __init__(
        self,
        owner: Owner,
        node: Resources,
        jobs: Sequence[Job],
        on_done: DoneCallback | None,
        on_start: StartCallback | None,
        watch: Watch,
    ) -> None:
        self.results: dict[int, JobResult] = {}
        self._owner = owner
        self._node = node
        self._jobs = jobs
        self._on_done = on_done
        self._on_start = on_start
        self._watch = watch
        self._environment = portable_environment(os.environ)
        self._waiting: dict[int, Order] = {}
        self._futures: dict[int, Any] = {}
        self._unsubmitted: deque[int] = deque()
        self._announced: set[int] = set()
        self._last_worker = time.monotonic()
        self._next_question = self._last_worker + QUESTION_S

    def work(self) -> None:
        """Submit all, and collect until every job has a result, or an end was asked for."""
        try:
            self._submit_all()
            while (self._waiting or self._unsubmitted) and not self._owner.must_end():
                self._watch.wait(LOOK_S)
                self._look()
        finally:
            self._end_all()

    def _submit_all(self) -> None:
        workers = self._owner.workers(self._watch.wait, self._owner.must_end)
        earlier: dict[str, list[Order]] = {}
        for order in orders_of(self._owner.orders, self._jobs):
            earlier.setdefault(order.job.name, []).append(order)
        for index, job in enumerate(self._jobs):
            if self._owner.must_end():
                return
            if not self._take_earlier(index, job, earlier.get(job.name, [])):
                self._unsubmitted.append(index)
        self._submit_some(workers)

    def _submit_some(self, workers: Mapping[str, Any]) -> None:
        """Submit no more jobs than can run now: what waits at one worker does not go to another that comes later."""
        hosts = _hosts(workers)
        while self._unsubmitted and not self._owner.must_end():
            job = self._jobs[self._unsubmitted[0]]
            if len(self._waiting) >= slots(_needs(job, self._node), workers):
                return
            self._submit(self._unsubmitted.popleft(), job, hosts)

    def _take_earlier(self, index: int, job: Job, orders: Sequence[Order]) -> bool:
        """Take what an engine before this one left: a result, or an end that has to be waited for."""
        for order in orders:
            result = take_back(order, self._watch.wait, self._owner.must_end)
            if result is not None and result.ok and order_fingerprint(order.job) == order_fingerprint(job):
                self._finish(index, result)
                return True
        return False

    def _submit(self, index: int, job: Job, hosts: Mapping[str, str]) -> None:
        attempt = new_attempt()
        path = order_path(self._owner.orders, job, attempt)
        order = write_order(job, attempt, path, grace_s=self._owner.grace_s)
        self._waiting[index] = order
        future = self._owner.client.submit(
            run_order,
            str(path),
            self._environment,
            key=f"{job.name}-{attempt}",
            pure=False,
            retries=0,
            resources=_needs(job, self._node),
            workers=self._place(job, hosts),
        )
        future.add_done_callback(lambda _: self._watch.wake())
        self._futures[index] = future

    def _place(self, job: Job, hosts: Mapping[str, str]) -> list[str] | None:
        """Return the worker where the data of a job is, if it asks for that and there is one."""
        if not job.at_host or job.host in ("localhost", ""):
            return None
        if job.host in hosts:
            return [hosts[job.host]]
        step = job.name.rpartition("/")[0]
        self._owner.note(f"no worker runs on {job.host}, where data of {step} is; others take its jobs")
        return None

    def _look(self) -> None:
        self._announce()
        for index, order in list(self._waiting.items()):
            if self._futures[index].done() and state_of(order) != "alive":
                self._collect(index, order)
        workers = self._owner.workers_now()
        self._submit_some(workers)
        if time.monotonic() > self._next_question:
            self._next_question = time.monotonic() + QUESTION_S
            self._owner.ask_for_workers()
        if workers or self._owner.has_queue():
            self._last_worker = time.monotonic()
        else:
            self._give_up()

    def _give_up(self) -> None:
        """Report all that wait as lost if no worker has been there for a while: Dask would wait for ever."""
        if time.monotonic() - self._last_worker < WITHOUT_WORKERS_S:
            return
        for index, order in list(self._waiting.items()):
            if state_of(order) != "alive":
                self._collect(index, order)
        while self._unsubmitted:
            index = self._unsubmitted.popleft()
            ended = ended_result(self._jobs[index])
            self._finish(index, replace(ended, problem="lost with its worker: no worker is left", is_lost=True))

    def _announce(self) -> None:
        """Tell which jobs began; only the first are looked at: Dask takes them in their order."""
        for index in [index for index in self._waiting if index not in self._announced][:LOOKED_AT]:
            self._announce_one(index, self._waiting[index])

    def _announce_one(self, index: int, order: Order) -> None:
        claim = read_claim(order) if self._on_start is not None and index not in self._announced else None
        if claim is not None and self._on_start is not None:
            self._announced.add(index)
            self._on_start(claim.start(order))

    def _collect(self, index: int, order: Order) -> None:
        self._announce_one(index, order)
        withdraw(order)  # a guard that comes too late finds nothing to do
        result = read_record(order)
        if result is not None and result.is_lost and self._error(index):
            result = replace(result, problem=f"lost with its worker: {result.problem}")
        never_began = read_claim(order) is None and self._error(index).startswith("KilledWorker")
        if result is None and not never_began:
            result = self._lost(index, order)
        discard(order)
        if result is None:  # Dask gives up all that a dead worker was going to do
            del self._waiting[index]
            self._unsubmitted.appendleft(index)
        else:
            self._finish(index, result)

    def _lost(self, index: int, order: Order) -> JobResult:
        """Return the result of a job of which there is no record."""
        claim, is_over = read_claim(order), self._futures[index].done()
        node = claim.node if claim is not None else ""
        why = self._error(index) or (f"its guard gave no record{_said(order)}" if is_over else "no worker is left")
        place = f"node {node}" if node else "its worker"
        ended = ended_result(order.job, NOT_STARTED if claim is None else claim.start_s, node)
        return replace(ended, problem=f"lost with {place}: {why}", is_lost=True)

    def _error(self, index: int) -> str:
        """Return what Dask says went wrong with a job; "" if nothing."""
        future = self._futures[index]
        error = future.exception() if future.status == "error" else None
        return "" if error is None else f"{type(error).__name__}: {error}".partition("\n")[0]

    def _finish(self, index: int, result: JobResult) -> None:
        self._waiting.pop(index, None)
        self.results[index] = result
        if self._on_done is not None:
            self._on_done(result)

    def _end_all(self) -> None:
        """End what still runs, and wait until every guard is dead; what has not begun will not."""
        if not self._waiting:
            return
        begun = {index: order for index, order in self._waiting.items() if read_claim(order) is not None}
        for index, order in self._waiting.items():
            if index not in begun:
                withdraw(order)
        if self._owner.has_scheduler():
            client = self._owner.client
            client.cancel([self._futures[index] for index in self._waiting if index in self._futures])
            client.run(end_worker_guards)
        else:  # guards see that, and end their jobs
            for order in begun.values():
                withdraw(order)
        for index, order in begun.items():
            while state_of(order) == "alive":
                self._watch.wait(LOOK_S / 5)
            result = read_record(order)
            if result is not None:
                self.results[index] = result
        for order in self._waiting.values():
            discard(order)


def _hosts(workers: Mapping[str, Any]) -> dict[str, str]:
    """Return host, or name of the worker -> address of a worker."""
    known: dict[str, str] = {}
    for address, facts in workers.items():
        known |= {str(facts.get("name")): address, str(facts.get("host")): address}
    return known


def slots(needs: Mapping[str, int], workers: Mapping[str, Any]) -> int:
    """Return how many jobs of this kind all workers together run at the same time."""
    given = [facts.get("resources") or {} for facts in workers.values()]
    return sum(min(int(one.get(what, 0)) // number for what, number in needs.items() if number) for one in given)


def _needs(job: Job, node: Resources) -> dict[str, int]:
    given = Resources(max(1, min(job.cores, node.cores)), job.memory_gb or 0.0, job.gpus)
    return tokens(given, NODE // job.max_per_node if job.max_per_node else 0)


def _said(order: Order) -> str:
    try:
        lines = order.output.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return f": {lines[-1]}" if lines else ""
