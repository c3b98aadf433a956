"""Jobs as Slurm arrays, on nodes that see the same files under the same names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.resources import refuse_impossible
from lofarpipe.executors.local.signals import Cancellable
from lofarpipe.executors.remote.lease import end_guards, orders_of
from lofarpipe.executors.remote.order import GRACE_S, new_order
from lofarpipe.executors.slurm.arrays import ARRAYS, SlurmQueue, Task, adopt_tasks, grouped, node_of, request_of
from lofarpipe.executors.slurm.batch import Batch, Submission, SubmitLimit
from lofarpipe.executors.slurm.client import Node, SlurmBusy, SlurmClient, SlurmOptions, retry_while_down
from lofarpipe.jobs import (
    DoneCallback,
    Job,
    JobResult,
    Resources,
    StartCallback,
    ended_result,
)
from lofarpipe.programs.find import job_environment


class SlurmExecutor(Cancellable):
    """Submits jobs to Slurm; a guard runs each job, and its record is the result.

    Interpreter, this package, job directory and data must be on a file system shared by all nodes. Killed by
    SIGKILL, this process leaves its jobs in the queue; the next run of the same jobs adopts them.

    Parameters
    ----------
    options: section [slurm] of the site's configuration.
    orders: directory for orders and records, exclusive to this job directory.
    grace_s: seconds between SIGTERM and SIGKILL for the processes of a job.
    """

    def __init__(
        self, options: SlurmOptions, orders: Path, client: SlurmClient | None = None, grace_s: float = GRACE_S
    ) -> None:
        super().__init__()
        self._options = options
        self._orders = orders
        self._client = client or SlurmClient()
        self._queue = SlurmQueue(orders / ARRAYS, options, self._client)
        self._grace_s = grace_s
        self._partitions: dict[str, list[Node]] = {}
        self._largest_array = 0
        self._limit = SubmitLimit(options.max_submitted)

    def capacity(self, partition: str = "") -> Resources:
        """Return the largest node of a partition, from the configuration or Slurm."""
        return self._node_of(partition or self._options.partition)

    def run(
        self, jobs: Sequence[Job], on_done: DoneCallback | None = None, on_start: StartCallback | None = None
    ) -> list[JobResult]:
        """Run all jobs and return their results in the order given; see ``Executor.run``."""
        with self._watched() as watch:
            tasks, waiting = retry_while_down(lambda: self._prepared(jobs), watch.wait, self.must_end, self.add_notice)
            batch = Batch(
                queue=self._queue,
                client=self._client,
                options=self._options,
                environment=job_environment(),
                watch=watch,
                must_end=self.must_end,
                on_done=on_done,
                on_start=on_start,
                note=self.add_notice,
                waiting=waiting,
                limit=self._limit,
                tasks={task.place: task for task in tasks},
            )
            batch.work()
        return [batch.results.get(place) or ended_result(job) for place, job in enumerate(jobs)]

    def _prepared(self, jobs: Sequence[Job]) -> tuple[list[Task], list[Submission]]:
        """Return the adopted jobs, and those to submit.

        Raises
        ------
        PipelineError
            If a job can never run.
        """
        for job in jobs:
            self._refuse_impossible(job)
        tasks = self._adopt_earlier_jobs(jobs)
        return tasks, self._submissions(jobs, {task.place for task in tasks})

    def _adopt_earlier_jobs(self, jobs: Sequence[Job]) -> list[Task]:
        """Adopt jobs of an earlier run, done or in the queue; end its other jobs."""
        tasks = adopt_tasks(self._queue, self._client, jobs) if self._queue.directory.exists() else []
        if tasks:
            count = f"{len(tasks)} job{'s' if len(tasks) > 1 else ''}"
            self.add_notice(f"{count} of the run before this one, in Slurm's queue or done there since: taken over")
        order_paths = {task.order.path for task in tasks}
        end_guards(order for order in orders_of(self._orders, jobs) if order.path not in order_paths)
        return tasks

    def _submissions(self, jobs: Sequence[Job], adopted_places: set[int]) -> list[Submission]:
        """Write the orders of all jobs except those at ``adopted_places``; return the jobs to submit."""
        places = [place for place in range(len(jobs)) if place not in adopted_places]
        if not places:
            return []
        self._largest_array = self._largest_array or self._options.max_array_size or self._client.max_array_size()
        hosts = self._hosts(jobs)
        requests = [
            request_of(jobs[place], self._node_of(_partition(jobs[place], self._options)), hosts, self._options)
            for place in places
        ]
        return [
            Submission(
                request,
                [
                    (places[member], new_order(self._orders, jobs[places[member]], grace_s=self._grace_s))
                    for member in members
                ],
            )
            for request, members in grouped(requests, self._largest_array)
        ]

    def _hosts(self, jobs: Sequence[Job]) -> list[str]:
        """Return the nodes that jobs may request; report unknown ones."""
        asking = [job for job in jobs if job.at_host]
        if not asking:
            return []
        hosts = [node.name for node in self._nodes("")]
        unknown = sorted({job.host for job in asking if not node_of(job, hosts)})
        if unknown:
            self.add_notice(
                f"Slurm has no node {', '.join(unknown)}; its jobs run on any node, not where their data is"
            )
        return hosts

    def _nodes(self, partition: str) -> list[Node]:
        if partition not in self._partitions:
            self._partitions[partition] = self._client.nodes(partition)
        return self._partitions[partition]

    def _node_of(self, partition: str) -> Resources:
        """Return the largest node of a partition: the maximum of each resource over its nodes.

        Raises
        ------
        PipelineError
            If the partition has no nodes.
        """
        nodes = self._nodes(partition)
        if not partition:  # then the default partition, if any
            nodes = [node for node in nodes if node.is_default] or nodes
        if not nodes:
            raise PipelineError(f"partition '{partition}' of Slurm has no nodes; sinfo lists those that there are")
        size = self._options
        return Resources(
            cores=size.cores or max(node.size.cores for node in nodes),
            memory_gb=size.memory_gb or max(node.size.memory_gb for node in nodes),
            gpus=size.gpus or max(node.size.gpus for node in nodes),
        )

    def _refuse_impossible(self, job: Job) -> None:
        """Refuse jobs that Slurm can never run.

        Raises
        ------
        PipelineError
            If a job needs more memory or GPUs than any node has, or its partition has no nodes.
        """
        partition = _partition(job, self._options)
        try:
            node = self._node_of(partition)
        except SlurmBusy:
            raise
        except PipelineError as err:
            raise PipelineError(f"{job.name}: {err}") from err
        where = f"the largest node of partition '{partition}' has" if partition else "the largest node has"
        refuse_impossible(job, node, where, "set another partition")


def _partition(job: Job, options: SlurmOptions) -> str:
    return job.batch.get("partition", "") or options.partition
