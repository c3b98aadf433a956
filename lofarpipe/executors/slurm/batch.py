"""The jobs of one ``run`` on Slurm, from submission to results."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace

from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.process import write_end
from lofarpipe.executors.local.signals import Watch
from lofarpipe.executors.remote.lease import ended_order, read_claim
from lofarpipe.executors.remote.order import CLAIM, Order, read_record, remove_order, withdraw_orders
from lofarpipe.executors.slurm.arrays import Request, SlurmQueue, Task, end_tasks
from lofarpipe.executors.slurm.client import (
    OF_OTHERS,
    EndedJob,
    SlurmBusy,
    SlurmClient,
    SlurmFull,
    SlurmOptions,
    SlurmRefused,
    cannot_start,
    refined,
    result_without_record,
)
from lofarpipe.jobs import DoneCallback, JobResult, StartCallback
from lofarpipe.support.dataclass import dataclass

FIRST_LOOK_S, FIRST_QUESTION_S = 0.2, 2.0
GROWTH = 1.5
LOOKING_SHARE = 20  # 1/20 of the time is spent on looking for records
FULL_PAUSE_S = 3.0  # jobs count for a while after their end
BUSY_PAUSE_S, BUSY_LIMIT_S = 15.0, 3600.0
PROBE_S = 60.0  # interval of tries to submit more jobs than last time
STUCK_REPORTS = 2  # required reports: a single one may be out of date


@dataclass
class SubmitLimit:
    """Limit on this run's jobs in the queue.

    Attributes
    ----------
    jobs: the limit; 0: unknown.
    is_fixed: whether it was configured; a limit learnt from refusals is probed now and then, as other users' jobs
        that count too may have ended.
    """

    jobs: int = 0
    is_fixed: bool = True
    _most_taken: int = 0
    _next_probe: float = 0.0

    def room(self, present: int, requested: int) -> int:
        """Return how many of the ``requested`` jobs to submit now, with ``present`` in the queue; 0: wait.

        For few large arrays instead of many small ones, half of the limit has to be free, unless fewer are requested.
        """
        if not self.jobs:
            return requested
        if not self.is_fixed and time.monotonic() > self._next_probe:
            self.jobs += max(1, self.jobs // 4)
            self._next_probe = time.monotonic() + PROBE_S
        free = self.jobs - present
        return min(requested, free) if free >= min(requested, max(1, self.jobs // 2)) else 0

    def record_accepted(self, total: int) -> None:
        """Record the number of jobs in the queue."""
        self._most_taken = max(self._most_taken, total)

    def record_refusal(self, present: int, refused: int, limit: int = 0) -> None:
        """Update the limit after the refusal of an array.

        Parameters
        ----------
        limit: limit according to Slurm's accounting; 0: none.
        """
        if present + refused <= self._most_taken:  # accepted before: other users' jobs, or jobs just ended, count too
            return
        self.jobs = limit if 0 < limit < present + refused else max(1, present + refused // 2)
        self.is_fixed = False
        self._next_probe = time.monotonic() + PROBE_S


@dataclass
class Submission:
    """The jobs of one array before submission."""

    request: Request
    orders: Sequence[tuple[int, Order]]  # (index, order)


@dataclass
class Batch:
    """The state of one ``run``."""

    queue: SlurmQueue
    client: SlurmClient
    options: SlurmOptions
    environment: Mapping[str, str]
    watch: Watch
    must_end: Callable[[], bool]
    on_done: DoneCallback | None
    on_start: StartCallback | None
    note: Callable[[str], None]  # callback for notices
    waiting: list[Submission]
    limit: SubmitLimit = field(default_factory=SubmitLimit)  # learnt during the run
    tasks: dict[int, Task] = field(default_factory=dict)  # tasks in the queue, as last reported
    results: dict[int, JobResult] = field(default_factory=dict)
    _next_look: float = 0.0
    _look_s: float = FIRST_LOOK_S
    _next_question: float = 0.0
    _question_s: float = FIRST_QUESTION_S
    _next_submission: float = 0.0
    _busy_since: float | None = None
    _is_told: bool = False  # whether the full queue was reported
    _is_silent: bool = False  # whether Slurm did not answer the last query

    def work(self) -> None:
        """Submit jobs, read records and query the queue until all jobs are done or the run is to end."""
        self._next_question = time.monotonic() + self._question_s
        try:
            while (self.waiting or self.tasks) and not self.must_end():
                now = time.monotonic()
                if self.waiting and now >= self._next_submission:
                    self._submit()
                if now >= self._next_look:
                    self._read_records()
                if self.tasks and now >= self._next_question and not self.must_end():
                    self._ask()
                if (self.waiting or self.tasks) and not self.must_end():
                    self.watch.wait(max(0.0, self._next_look - time.monotonic()))
        finally:
            self._end_all()

    # Submission

    def _submit(self) -> None:
        """Submit the next array, if the limits allow."""
        submission = self.waiting[0]
        count, throttle = self.limit.room(len(self.tasks), len(submission.orders)), self._task_limit()
        if not count or throttle is None:
            return
        members = submission.orders[:count]
        try:
            array = self.queue.submit(submission.request, [order for _, order in members], throttle, self.environment)
        except SlurmFull as err:
            self._is_full(submission.request, count, err)
            return
        except SlurmBusy as err:
            self._is_busy(err)
            return
        self._busy_since = None
        self.limit.record_accepted(len(self.tasks) + count)
        submission.orders = submission.orders[count:]
        if not submission.orders:
            self.waiting.pop(0)
        for index, (place, order) in enumerate(members):
            self.tasks[place] = Task(place, order, array, index)
        self._next_look = 0.0

    def _task_limit(self) -> int | None:
        """Return the number of tasks of an array allowed to run at the same time, 0 for all; None: wait."""
        limit, present = self.options.array_limit, len(self.tasks)
        if present and limit and 2 * present > limit:
            return None
        return limit - present if limit else 0

    def _is_full(self, request: Request, count: int, err: SlurmFull) -> None:
        """Continue with a smaller array, or wait for jobs to end.

        Raises
        ------
        SlurmRefused
            If not a single job is accepted, with none in the queue that could end.
        """
        present = len(self.tasks)
        if count == 1 and not present:
            if not OF_OTHERS.search(str(err)) and not self.client.has_jobs():
                raise SlurmRefused(
                    f"{err}; not a single job is taken, though you have no other in the queue: correct account, "
                    "partition or --qos of [slurm] in pipeline.cfg, or of the step"
                ) from err
            self._is_busy(err)
            return
        batch, options = dict(request.batch), self.options
        partition, account = (batch.get(key) or getattr(options, key) for key in ("partition", "account"))
        limit = 0
        if not self._is_told:
            self._is_told = True
            limit = self.client.submit_limit(partition, account, [*options.extra, batch.get("options", "")])
            self.note(f"Slurm does not take {present + count} jobs together, and is given fewer: {err}")
        self.limit.record_refusal(present, count, limit)
        self._next_submission = time.monotonic() + (FULL_PAUSE_S if present else 0.0)

    def _is_busy(self, err: SlurmBusy) -> None:
        now = time.monotonic()
        if self._busy_since is None:
            self._busy_since = now
            self.note(f"Slurm takes no jobs at the moment, and is asked again: {err}")
        if now - self._busy_since > BUSY_LIMIT_S:
            raise err
        self._next_submission = now + BUSY_PAUSE_S

    # Files

    def _read_records(self) -> None:
        """Read new claims and records; poll less often while there are none."""
        start_s = time.monotonic()
        former_count = len(self.tasks)
        names = {name for folder in {task.order.path.parent for task in self.tasks.values()} for name in _names(folder)}
        for task in list(self.tasks.values()):
            if self.must_end():
                break
            self._check_task(task, names)
        now = time.monotonic()
        came = len(self.tasks) < former_count
        self._look_s = FIRST_LOOK_S if came else min(self._look_s * GROWTH, self.options.poll_s)
        self._next_look = now + max(self._look_s, LOOKING_SHARE * (now - start_s))

    def _check_task(self, task: Task, names: set[str]) -> None:
        stem = task.order.path.stem
        if not task.has_started and f"{stem}{CLAIM}0" in names:
            claim = read_claim(task.order)
            if claim is not None:
                task.has_started = True
                if self.on_start is not None:
                    self.on_start(claim.start(task.order))
        if task.interrupted is None and task.order.record.name in names:
            result = read_record(task.order)
            if result is not None and result.is_lost:
                task.interrupted = result
                self._next_question = 0.0
            elif result is not None:
                self._finish(task, result)

    def _finish(self, task: Task, result: JobResult) -> None:
        del self.tasks[task.place]
        self.results[task.place] = result
        try:
            if self.on_done is not None:
                self.on_done(result)
        finally:
            # Discarded only after the result is recorded. It must not be read as a new result later, and a guard
            # still alive without contact ends its job.
            remove_order(task.order)
        if not any(other.array == task.array for other in self.tasks.values()):
            task.array.remove_files()

    # The queue

    def _ask(self) -> None:
        """Query Slurm for all jobs at once, at growing intervals; find vanished ones."""
        self._question_s = min(self._question_s * GROWTH, self.options.queue_poll_s)
        self._next_question = time.monotonic() + self._question_s
        try:
            queued = self.client.queued(task.array.id for task in self.tasks.values())
        except SlurmRefused as err:
            self._is_silent = True
            self.note(f"Slurm does not answer, and is asked again: {err}")
            return
        self._is_silent = False
        for task in list(self.tasks.values()):
            state = queued.get(task.id)
            if task.interrupted is not None and state is not None and state[0] == "PENDING":
                self._finish_requeued(task, task.interrupted)
            else:
                self._record_state(task, state)
        now = time.monotonic()
        missing = [task for task in self.tasks.values() if task.missing_s is not None]
        gone = [task for task in missing if task.interrupted or now - (task.missing_s or 0) >= self.options.vanished_s]
        if len(gone) < len(missing):
            self._next_question = min(self._next_question, now + self.options.vanished_s + FIRST_LOOK_S)
        if gone:
            self._conclude(gone)

    def _finish_requeued(self, task: Task, result: JobResult) -> None:
        """Cancel a requeued job: the pipeline decides whether it runs again."""
        is_interrupted = functools.partial(bool, self.watch.received)
        end_tasks(self.client, [task.id], [task.order], wait=self.watch.wait, must_stop=is_interrupted, note=self.note)
        self._finish(task, replace(result, problem=f"lost: Slurm put it back into the queue, from {result.node}"))

    def _record_state(self, task: Task, state: tuple[str, str] | None) -> None:
        if state is None:
            task.missing_s = time.monotonic() if task.missing_s is None else task.missing_s
            return
        task.missing_s = None
        task.stuck_reports = task.stuck_reports + 1 if cannot_start(*state) else 0
        if task.stuck_reports:
            self._next_question = min(self._next_question, time.monotonic() + FIRST_QUESTION_S)
        if task.stuck_reports >= STUCK_REPORTS:
            raise PipelineError(
                f"{task.order.job.name}: Slurm will never run it: {state[1]}; it was job {task.id}; correct [slurm] of "
                "pipeline.cfg, or cores, memory_gb, walltime, partition of the step"
            )

    def _conclude(self, gone: Sequence[Task]) -> None:
        """Finish jobs that have left the queue, with a late record or their state in Slurm."""
        self._read_records()
        gone = [task for task in gone if task.place in self.tasks]
        try:
            ends = self.client.job_ends(task.array.id for task in gone)
        except SlurmRefused as err:
            self.note(f"Slurm does not answer, and is asked again: {err}")
            return
        for task in gone:
            if self.must_end():
                return
            output = task.array.output_of(task.index)
            end_in_slurm = ends.get(task.id)
            result = _final_result(task, end_in_slurm, output)
            write_end(result.log, result.reason())  # not written by the guard, or without the reason
            self._finish(task, result)

    # The end

    def _end_all(self) -> None:
        """Cancel the jobs still in the queue, normally none."""
        for submission in self.waiting:
            for _, order in submission.orders:
                remove_order(order)
        remaining = list(self.tasks.values())
        if not remaining:
            return
        for task in remaining if self._is_silent else []:  # withdrawn at once, as queries to a silent Slurm take time
            withdraw_orders(task.order)
        signals = len(self.watch.received)
        end_tasks(
            self.client,
            [task.id for task in remaining],
            [task.order for task in remaining],
            whole_arrays=True,
            wait=self.watch.wait,
            must_stop=lambda: len(self.watch.received) > signals,
            note=self.note,
        )
        for task in remaining:
            record = read_record(task.order)
            self.results[task.place] = record if record and not record.is_lost else ended_order(task.order)
            remove_order(task.order)
        for array in {task.array for task in remaining}:
            array.remove_files()
        self.tasks.clear()


def _final_result(task: Task, end_in_slurm: EndedJob | None, output: str) -> JobResult:
    """Return the result of a job that has left the queue, with its end ``end_in_slurm`` in Slurm's memory."""
    if task.interrupted is not None:
        return refined(task.order, task.interrupted, end_in_slurm, output)
    claim = read_claim(task.order)
    result = result_without_record(task.order, end_in_slurm, claim.node if claim else "", output)
    if claim is None:
        return result
    return replace(result, start_s=claim.start_s, duration_s=max(0.0, time.time() - claim.start_s))


def _names(directory: os.PathLike[str]) -> list[str]:
    """Return the names in a directory; opening it makes NFS query the server."""
    try:
        return os.listdir(directory)  # noqa: PTH208 - many names
    except OSError:
        return []
