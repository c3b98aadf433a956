"""Runs jobs on the workers of Dask, each below a guard; records, never Dask, say what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lofarpipe.errors import PipelineError
from lofarpipe.executors.dask.batch import DaskBatch
from lofarpipe.executors.dask.cluster import NODE, QUEUES, DaskOptions, ask_for_workers, connect
from lofarpipe.executors.local.signals import Cancellable
from lofarpipe.executors.slurm.client import PASSING
from lofarpipe.jobs import DoneCallback, Job, JobResult, Resources, StartCallback, ended_result

LOGS = "dask"  # directory, below that of the orders, of what workers write
ASK_S = 10.0  # between two questions for workers
LOOK_S = 0.5  # between two looks for the first worker
GRACE_S = 5.0


class DaskExecutor(Cancellable):
    """Runs jobs on a cluster of Dask, which is started with the first of them and ended by ``close``.

    Dask repeats nothing: a job that was lost with its worker is reported as lost once its guard is known to be dead,
    and a job whose guard wrote a record is done, whatever Dask says.

    Parameters
    ----------
    options: section [dask] of the site's configuration.
    orders: directory for orders and records, which all nodes see.
    grace_s: seconds between SIGTERM and SIGKILL for the processes of a job.

    Raises
    ------
    PipelineError
        If the options make no sense.
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

    def capacity(self, partition: str = "") -> Resources:  # noqa: ARG002 - workers are where they are
        """Return what one node takes; a scheduler of the site is asked what its largest worker has."""
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
        node = self.capacity()
        _refuse_impossible(jobs, node)
        with self._watched() as watch:
            batch = DaskBatch(self, node, jobs, on_done, on_start, watch)
            batch.work()
        return [batch.results.get(index) or ended_result(job) for index, job in enumerate(jobs)]

    def ask_for_workers(self) -> None:
        """Ask the queue again for workers that were lost.

        Raises
        ------
        PipelineError
            If the queue takes none, there is none, and the queue is not just busy.
        """
        said = ask_for_workers(self._options, self.client)
        if said and not self.workers_now() and not PASSING.search(said):
            raise PipelineError(
                f"[dask] launcher = {self._options.launcher}: the queue takes no worker: {said}; correct queue, "
                "account, walltime, extra, cores or memory_gb of the section"
            )
        if said:
            self.note(f"the queue took no worker, and is asked again: {said}")

    def has_queue(self) -> bool:
        """Whether a queue is going to give workers, if there are none now."""
        return self._options.launcher in QUEUES

    def workers_now(self) -> Mapping[str, Any]:
        """Return the facts of the workers that are there, by address.

        Raises
        ------
        PipelineError
            If the scheduler has been away for so long that Dask has given it up.
        """
        if not self.has_scheduler():
            raise PipelineError(
                f"[dask]: {self._scheduler()} does not answer any more; start it, and run again to resume"
            )
        workers: Mapping[str, Any] = self.client.scheduler_info(n_workers=-1).get("workers", {})
        return workers

    def has_scheduler(self) -> bool:
        """Whether there is a scheduler, or it may come back."""
        return self.client.status not in ("closing", "closed")

    def _whence(self) -> str:
        options = self._options
        return f": {options.nodes} were asked for by launcher = {options.launcher}" if self.has_queue() else ""

    def _scheduler(self) -> str:
        return f"the scheduler at {self._options.address}" if self._options.address else "the scheduler"

    def workers(
        self, wait: Callable[[float], object] = time.sleep, must_end: Callable[[], bool] = lambda: False
    ) -> Mapping[str, Any]:
        """Return the facts of the workers, once one is there; the cluster is started if it is not.

        Parameters
        ----------
        wait: lets some seconds pass.
        must_end: whether there is a reason not to wait any longer; then there may be no workers.
        """
        if self.client is None:
            self.client = connect(self._options, self._cluster, self.orders / LOGS)
        began = asked = time.monotonic()
        self.ask_for_workers()
        while not (found := self.workers_now()) and not must_end():
            now = time.monotonic()
            if now - began > self._options.patience_s:
                raise PipelineError(
                    f"[dask]: no worker came within {self._options.patience_s:g} s (start_timeout_s); "
                    "look at the queue, or at the log of a worker"
                )
            if now - asked > ASK_S:
                asked = now
                self.ask_for_workers()
                self.note(f"no worker is there yet; jobs wait for one{self._whence()}")
            wait(LOOK_S)
        return found


def _largest(workers: Mapping[str, Any]) -> Resources:
    given = [worker.get("resources") or {} for worker in workers.values()]
    cores = [int(one.get("cores", worker["nthreads"])) for one, worker in zip(given, workers.values(), strict=True)]
    if not all({"cores", "memory_mb", "gpus", "node"} <= set(one) for one in given):
        raise PipelineError(
            "[dask]: a worker was not told what it has; start each with "
            f'--resources "cores=16 memory_mb=64000 gpus=0 node={NODE}", or set cores and memory_gb'
        )
    memory_gb = max(int(one["memory_mb"]) for one in given) / 1000
    return Resources(max(cores), memory_gb, max(int(one["gpus"]) for one in given))


def _refuse_impossible(jobs: Sequence[Job], node: Resources) -> None:
    """Refuse what no worker can take: Dask would wait for one for ever."""
    for job in jobs:
        wanted = {"cores": job.cores, "GB of memory": job.memory_gb or 0.0, "CUDA devices": job.gpus}
        there = {"cores": node.cores, "GB of memory": node.memory_gb, "CUDA devices": node.gpus}
        for what, number in wanted.items():
            if number > there[what] and what != "cores":
                raise PipelineError(
                    f"{job.name}: needs {number:g} {what}, and a worker has {there[what]:g}; ask for less, or change "
                    "[dask] in pipeline.cfg"
                )
