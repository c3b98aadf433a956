"""Jobs on Dask workers, each under a guard; results come from records, never from Dask."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from lofarpipe.errors import PipelineError
from lofarpipe.executors.dask.cluster import NODE, DaskOptions, ask_for_workers, connect, tokens
from lofarpipe.executors.dask.worker import end_worker_guards, run_order
from lofarpipe.executors.local.resources import refuse_impossible
from lofarpipe.executors.local.signals import Cancellable, Watch
from lofarpipe.executors.remote.lease import earlier_results, ended_order, read_claim, state_of
from lofarpipe.executors.remote.order import (
    Order,
    new_order,
    read_record,
    remove_order,
    withdraw_orders,
)
from lofarpipe.executors.remote.queue import PASSING, portable_environment
from lofarpipe.jobs import (
    DoneCallback,
    Job,
    JobResult,
    Resources,
    StartCallback,
    ended_result,
)
from lofarpipe.support.dataclass import dataclass

LOGS = "dask"  # directory of worker output, below that of the orders
LOOKED_AT = 64
WITHOUT_WORKERS_S = 60.0  # a cluster without workers and queue for this long is gone
ASK_S = 10.0  # interval of requests for workers
LOOK_S = 0.5  # polling interval for the first worker, claims, and jobs without a worker
GRACE_S = 5.0


class DaskExecutor(Cancellable):
    """Runs jobs on a Dask cluster, started with the first job and ended by ``close``.

    Dask repeats nothing: a job lost with its worker is reported as lost once its guard is known to be dead,
    and a job with a record is done, whatever Dask reports.

    Parameters
    ----------
    options: section [dask] of the site's configuration.
    orders: directory for orders and records, shared by all nodes.
    grace_s: seconds between SIGTERM and SIGKILL for the processes of a job.

    Raises
    ------
    PipelineError
        If the options are invalid.
    """

    def __init__(self, options: DaskOptions, orders: Path, grace_s: float = GRACE_S) -> None:
        problems = options.problems()
        if problems:
            raise PipelineError("\n".join(f"[dask]: {problem}" for problem in problems))
        self._options = options
        self.orders = orders
        self.grace_s = grace_s
        self._cluster = ExitStack()
        self.client: Any = None
        super().__init__()

    def capacity(self, partition: str = "") -> Resources:  # noqa: ARG002 - Dask has no partitions
        """Return the resources of one node, or of the largest worker of a site's scheduler."""
        return self._options.node if self._options.cores else _largest(self.workers())

    def close(self) -> None:
        """End the cluster, if this executor started it."""
        self.client = None
        self._cluster.close()

    def run(
        self, jobs: Sequence[Job], on_done: DoneCallback | None = None, on_start: StartCallback | None = None
    ) -> list[JobResult]:
        """Run all jobs and return their results in the order given; see ``Executor.run``."""
        if not jobs:
            return []
        with self._watched() as watch:  # before workers start, so that the start can be interrupted
            node = self.capacity()
            for job in jobs:  # otherwise Dask would wait forever for a suitable worker
                refuse_impossible(job, node, "a worker has", "change [dask] in pipeline.cfg")
            batch = DaskBatch(self, node, jobs, on_done, on_start, watch)
            batch.work()
        return [batch.results.get(index) or ended_result(job) for index, job in enumerate(jobs)]

    def ask_for_workers(self) -> None:
        """Request lost workers from the queue again.

        Raises
        ------
        PipelineError
            If no worker is left, and the queue refuses new ones for a permanent reason.
        """
        refusal = ask_for_workers(self._options, self.client)
        if refusal and not self.workers_now() and not PASSING.search(refusal):
            raise PipelineError(
                f"[dask] launcher = {self._options.launcher}: the queue takes no worker: {refusal}; correct queue, "
                "account, walltime, extra, cores or memory_gb of the section"
            )
        if refusal:
            self.add_notice(f"the queue took no worker, and is asked again: {refusal}")

    def has_queue(self) -> bool:
        """Whether a queue may still start workers."""
        return self._options.is_queued

    def workers_now(self) -> Mapping[str, Any]:
        """Return address -> facts of the connected workers.

        Raises
        ------
        PipelineError
            If Dask has given up the connection to the scheduler.
        """
        if not self.has_scheduler():
            which = f"the scheduler at {self._options.address}" if self._options.address else "the scheduler"
            raise PipelineError(f"[dask]: {which} does not answer any more; start it, and run again to resume")
        workers: Mapping[str, Any] = self.client.scheduler_info(n_workers=-1).get("workers", {})
        return workers

    def has_scheduler(self) -> bool:
        """Whether the scheduler is connected, or may reconnect."""
        return self.client.status not in ("closing", "closed")

    def workers(
        self, wait: Callable[[float], object] = time.sleep, must_end: Callable[[], bool] = lambda: False
    ) -> Mapping[str, Any]:
        """Start the cluster if needed, wait for the first worker, and return the facts of the workers.

        Parameters
        ----------
        wait: pauses for some seconds.
        must_end: whether to stop waiting; the result may then be empty.
        """
        if self.client is None:
            self.client = connect(self._options, self._cluster, self.orders / LOGS)
        options = self._options
        whence = f": {options.nodes} were asked for by launcher = {options.launcher}" if self.has_queue() else ""
        start_s = last_request_s = time.monotonic()
        self.ask_for_workers()
        while not (present_workers := self.workers_now()) and not must_end():
            now = time.monotonic()
            if now - start_s > options.patience_s:
                raise PipelineError(
                    f"[dask]: no worker came within {options.patience_s:g} s (start_timeout_s); "
                    "look at the queue, or at the log of a worker"
                )
            if now - last_request_s > ASK_S:
                last_request_s = now
                self.ask_for_workers()
                self.add_notice(f"no worker is there yet; jobs wait for one{whence}")
            wait(LOOK_S)
        return present_workers


@dataclass
class DaskBatch:
    """The jobs of one ``run``."""

    owner: DaskExecutor
    node: Resources
    jobs: Sequence[Job]
    on_done: DoneCallback | None
    on_start: StartCallback | None
    watch: Watch
    results: dict[int, JobResult] = field(default_factory=dict)
    _waiting: dict[int, Order] = field(default_factory=dict)
    _futures: dict[int, Any] = field(default_factory=dict)
    _unsubmitted: deque[int] = field(default_factory=deque)
    _announced: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._environment = portable_environment(os.environ)
        self._last_worker = time.monotonic()
        self._next_question = self._last_worker + ASK_S

    def work(self) -> None:
        """Submit the jobs, and collect results until all are done or the run is to end."""
        try:
            self._submit_all()
            while (self._waiting or self._unsubmitted) and not self.owner.must_end():
                self.watch.wait(LOOK_S)
                self._poll_workers()
        finally:
            self._end_all()

    def _submit_all(self) -> None:
        owner = self.owner
        workers = owner.workers(self.watch.wait, owner.must_end)
        earlier = earlier_results(owner.orders, self.jobs, self.watch.wait, owner.must_end, owner.add_notice)
        for index, _, result in earlier:
            if index not in self.results:
                self._finish(index, result)
        self._unsubmitted.extend(index for index in range(len(self.jobs)) if index not in self.results)
        self._submit_some(workers)

    def _submit_some(self, workers: Mapping[str, Any]) -> None:
        """Submit only as many jobs as can run now: a job queued at one worker does not move to a later one."""
        hosts = _hosts(workers)
        while self._unsubmitted and not self.owner.must_end():
            job = self.jobs[self._unsubmitted[0]]
            if len(self._waiting) >= slots(_needs(job, self.node), workers):
                return
            self._submit(self._unsubmitted.popleft(), job, hosts)

    def _submit(self, index: int, job: Job, hosts: Mapping[str, str]) -> None:
        order = new_order(self.owner.orders, job, grace_s=self.owner.grace_s)
        self._waiting[index] = order
        future = self.owner.client.submit(
            run_order,
            str(order.path),
            self._environment,
            key=f"{job.name}-{order.attempt}",
            pure=False,
            retries=0,
            resources=_needs(job, self.node),
            workers=self._place(job, hosts),
        )
        future.add_done_callback(lambda _: self.watch.wake())
        self._futures[index] = future

    def _place(self, job: Job, hosts: Mapping[str, str]) -> list[str] | None:
        """Return the worker at the data of a job, if requested and present."""
        if not job.at_host or job.host in ("localhost", ""):
            return None
        if job.host in hosts:
            return [hosts[job.host]]
        step = job.name.rpartition("/")[0]
        self.owner.add_notice(f"no worker runs on {job.host}, where data of {step} is; others take its jobs")
        return None

    def _poll_workers(self) -> None:
        # Only the first waiting jobs are checked: Dask starts them in order.
        for index in [index for index in self._waiting if index not in self._announced][:LOOKED_AT]:
            self._announce_one(index, self._waiting[index])
        for index, order in list(self._waiting.items()):
            if self._futures[index].done() and state_of(order) != "alive":
                self._collect(index, order)
        workers = self.owner.workers_now()
        self._submit_some(workers)
        if time.monotonic() > self._next_question:
            self._next_question = time.monotonic() + ASK_S
            self.owner.ask_for_workers()
        if workers or self.owner.has_queue():
            self._last_worker = time.monotonic()
        else:
            self._fail_waiting_jobs()

    def _fail_waiting_jobs(self) -> None:
        """Report waiting jobs as lost after a while without workers: Dask would wait forever."""
        if time.monotonic() - self._last_worker < WITHOUT_WORKERS_S:
            return
        for index, order in list(self._waiting.items()):
            if state_of(order) != "alive":
                self._collect(index, order)
        while self._unsubmitted:
            index = self._unsubmitted.popleft()
            result = ended_result(self.jobs[index])
            self._finish(index, replace(result, problem="lost with its worker: no worker is left", is_lost=True))

    def _announce_one(self, index: int, order: Order) -> None:
        claim = read_claim(order) if self.on_start is not None and index not in self._announced else None
        if claim is not None and self.on_start is not None:
            self._announced.add(index)
            self.on_start(claim.start(order))

    def _collect(self, index: int, order: Order) -> None:
        self._announce_one(index, order)
        withdraw_orders(order)  # a late guard then finds no order
        result = read_record(order)
        if result is not None and result.is_lost and self._error(index):
            result = replace(result, problem=f"lost with its worker: {result.problem}")
        never_began = read_claim(order) is None and self._error(index).startswith("KilledWorker")
        if result is None and not never_began:
            result = self._result_without_record(index, order)
        remove_order(order)
        if result is None:  # Dask cancels all tasks of a dead worker
            del self._waiting[index]
            self._unsubmitted.appendleft(index)
        else:
            self._finish(index, result)

    def _result_without_record(self, index: int, order: Order) -> JobResult:
        """Return the result of a job without a record."""
        result, is_over = ended_order(order), self._futures[index].done()
        cause = self._error(index) or (
            f"its guard gave no record{_output_text(order)}" if is_over else "no worker is left"
        )
        place = f"node {result.node}" if result.node else "its worker"
        return replace(result, problem=f"lost with {place}: {cause}", is_lost=True)

    def _error(self, index: int) -> str:
        """Return Dask's error for a job; "" if there is none."""
        future = self._futures[index]
        error = future.exception() if future.status == "error" else None
        return "" if error is None else f"{type(error).__name__}: {error}".partition("\n")[0]

    def _finish(self, index: int, result: JobResult) -> None:
        self._waiting.pop(index, None)
        self.results[index] = result
        if self.on_done is not None:
            self.on_done(result)

    def _end_all(self) -> None:
        """End running jobs, cancel waiting ones, and wait until every guard is dead."""
        if not self._waiting:
            return
        begun = {index: order for index, order in self._waiting.items() if read_claim(order) is not None}
        for index, order in self._waiting.items():
            if index not in begun:
                withdraw_orders(order)
        if self.owner.has_scheduler():
            client = self.owner.client
            client.cancel([self._futures[index] for index in self._waiting if index in self._futures])
            client.run(end_worker_guards)
        else:  # guards notice it, and end their jobs
            for order in begun.values():
                withdraw_orders(order)
        for index, order in begun.items():
            while state_of(order) == "alive":
                self.watch.wait(LOOK_S / 5)
            result = read_record(order)
            if result is not None:
                self.results[index] = result
        for order in self._waiting.values():
            remove_order(order)


def _hosts(workers: Mapping[str, Any]) -> dict[str, str]:
    """Return host or worker name -> address of the worker."""
    addresses: dict[str, str] = {}
    for address, facts in workers.items():
        addresses |= {str(facts.get("name")): address, str(facts.get("host")): address}
    return addresses


def slots(needs: Mapping[str, int], workers: Mapping[str, Any]) -> int:
    """Return the number of such jobs that all workers can run at the same time."""
    capacities = [facts.get("resources") or {} for facts in workers.values()]
    return sum(
        min(int(one.get(resource, 0)) // number for resource, number in needs.items() if number) for one in capacities
    )


def _needs(job: Job, node: Resources) -> dict[str, int]:
    share = Resources(max(1, min(job.cores, node.cores)), job.memory_gb or 0.0, job.gpus)
    return tokens(share, NODE // job.max_per_node if job.max_per_node else 0)


def _output_text(order: Order) -> str:
    try:
        lines = order.output.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return f": {lines[-1]}" if lines else ""


def _largest(workers: Mapping[str, Any]) -> Resources:
    resources = [worker.get("resources") or {} for worker in workers.values()]
    cores = [int(one.get("cores", worker["nthreads"])) for one, worker in zip(resources, workers.values(), strict=True)]
    if not all({"cores", "memory_mb", "gpus", "node"} <= set(one) for one in resources):
        raise PipelineError(
            "[dask]: a worker has no resources set; start each with "
            f'--resources "cores=16 memory_mb=64000 gpus=0 node={NODE}", or set cores and memory_gb'
        )
    memory_gb = max(int(one["memory_mb"]) for one in resources) / 1000
    return Resources(max(cores), memory_gb, max(int(one["gpus"]) for one in resources))
