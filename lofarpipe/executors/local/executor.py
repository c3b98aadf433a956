"""Runs jobs on this machine, as many at a time as its cores and memory allow."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import field

from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.process import (
    RunningJob,
    directories_of,
    expand_directories,
    raise_open_files,
    remove_directories,
    send_signal,
    session_members,
    start,
    write_log_lines,
)
from lofarpipe.executors.local.resources import Admission, Admitted, cuda_devices, detect_resources
from lofarpipe.executors.local.signals import Cancellable, Guardian, Watch
from lofarpipe.jobs import (
    DoneCallback,
    Job,
    JobResult,
    JobStart,
    Resources,
    StartCallback,
    ended_result,
)
from lofarpipe.support.dataclass import dataclass

LOOK_S = 3.0  # interval of log checks


class GivingUp:
    """Watches the logs of running jobs; a diverging job gets SIGTERM, later SIGKILL.

    Parameters
    ----------
    grace_s: seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._next_look = time.monotonic() + LOOK_S
        self._kill_at: dict[int, float] = {}  # session -> monotonic clock, s

    def check(self, running: Sequence[RunningJob]) -> None:
        """Check the logs if due, and end diverging jobs, without waiting."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_S
            for job in running:
                if job.log_watch is not None and not job.stopped and (fault := job.log_watch.check_log()):
                    self._stop(job, fault)
        overdue = [job.group for job in running if job.stopped and now >= self._kill_at.get(job.group, now)]
        if overdue:
            send_signal(session_members(overdue), signal.SIGKILL)

    def _stop(self, job: RunningJob, fault: str) -> None:
        job.stopped = fault
        self._kill_at[job.group] = time.monotonic() + self._grace_s
        with contextlib.suppress(OSError):  # a full disk
            write_log_lines(job.log, f"stopped: {fault}")
        send_signal(session_members([job.group]), signal.SIGTERM)


GRACE_S = 5.0
KILL_WAIT_S = 2.0
POLL_ENDING_S = 0.05


class LocalExecutor(Cancellable):
    """Runs jobs as children of this process, each in a session of its own.

    However the run ends (a signal, an exception, ``cancel``), no process of any job is alive afterwards: SIGTERM to
    its process group, ``grace_s`` seconds later SIGKILL; a second signal from the user shortens the grace. If this
    process itself is killed, the guardian does the same. A program that ends by SIGSEGV is run a second time,
    unless its job has one try.

    Parameters
    ----------
    capacity: resources for all jobs together; default: all available to this process.
    grace_s: seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, capacity: Resources | None = None, grace_s: float = GRACE_S) -> None:
        super().__init__()
        self._capacity = capacity or detect_resources()
        self._grace_s = grace_s

    def capacity(self, partition: str = "") -> Resources:  # noqa: ARG002 - there is no queue
        """Return the resources for all jobs together."""
        return self._capacity

    def run(
        self, jobs: Sequence[Job], on_done: DoneCallback | None = None, on_start: StartCallback | None = None
    ) -> list[JobResult]:
        """Run all jobs and return their results in the order given; see ``Executor.run``."""
        jobs = [expand_directories(job) for job in jobs]
        self.notices += _other_machine_notice(jobs)
        raise_open_files()
        devices = cuda_devices() if any(job.gpus for job in jobs) else []
        admission = Admission(jobs, self._capacity, devices[: self._capacity.gpus])
        with self._watched() as watch:
            guardian = Guardian(self._grace_s)
            batch = _Batch(admission, on_done, on_start, watch, self.must_end, self._grace_s, guardian)
            with guardian:
                batch.work()
        return [batch.results.get(index) or ended_result(job) for index, job in enumerate(jobs)]


@dataclass
class _Batch:
    """The jobs of one ``run``."""

    admission: Admission
    on_done: DoneCallback | None
    on_start: StartCallback | None
    watch: Watch
    must_end: Callable[[], bool]
    grace_s: float
    guardian: Guardian
    results: dict[int, JobResult] = field(default_factory=dict)
    _running: list[RunningJob] = field(default_factory=list)
    _environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._giving_up = GivingUp(self.grace_s)

    def work(self) -> None:
        """Start jobs and collect results until all are done or the run is to end."""
        self._environment = {**os.environ, **self.guardian.environment}
        try:
            while not self.must_end() and (self._start_admitted() or self._running):
                if self._running:
                    self.watch.wait()
                    self._collect()
                    self._giving_up.check(self._running)
        finally:
            self._end_all()

    def _start_admitted(self) -> bool:
        started = False
        while not self.must_end() and (admitted := self.admission.admit_job()) is not None:
            # Registered before they exist, so that they are removed however this process ends.
            self.guardian.add_directories(admitted.index, directories_of(admitted.job))
            try:
                self._start(admitted)
            except PipelineError:
                self._remove_directories(admitted)
                raise
            started = True
        return started

    def _start(self, admitted: Admitted, is_retry: bool = False) -> None:
        job = start(admitted, self._environment, is_retry)
        if isinstance(job, RunningJob):
            self.guardian.watch(job.group)
            self._running.append(job)
            if self.on_start is not None:
                self.on_start(JobStart(admitted.job.name, os.uname().nodename, job.group, job.start_s))
        else:
            self._finish(admitted, job)

    def _collect(self) -> None:
        for job in [job for job in self._running if job.has_ended()]:
            result = self._finish_job(job)
            # Source: doc/spec/lofarpipe.md, section 8.4.
            is_final = job.is_retry or job.stopped or job.admitted.job.one_try
            if result.exit_code == -signal.SIGSEGV and not is_final:
                self._start(job.admitted, is_retry=True)
            else:
                self._finish(job.admitted, result)

    def _finish_job(self, job: RunningJob) -> JobResult:
        self._running.remove(job)
        self.guardian.drop_group(job.group)
        return job.reap()

    def _remove_directories(self, admitted: Admitted) -> None:
        if directories_of(admitted.job):
            remove_directories(admitted.job)
            self.guardian.drop_directories(admitted.index)

    def _finish(self, admitted: Admitted, result: JobResult) -> None:
        self._remove_directories(admitted)
        self.admission.release(admitted)
        self.results[admitted.index] = result
        if self.on_done is not None:
            self.on_done(result)

    def _end_all(self) -> None:
        """End running jobs: SIGTERM, a grace period, SIGKILL."""
        sessions = [job.group for job in self._running]
        if sessions:
            send_signal(session_members(sessions), signal.SIGTERM)
            signals_so_far = len(self.watch.received)
            self._wait_for_end(sessions, self.grace_s, lambda: len(self.watch.received) > signals_so_far)
            # Repeated, as a newly forked process may have been missed.
            self._wait_for_end(sessions, KILL_WAIT_S, lambda: send_signal(session_members(sessions), signal.SIGKILL))
            self._end_stray_processes()
        for job in list(self._running):
            self.results[job.admitted.index] = self._finish_job(job)
            self._remove_directories(job.admitted)

    def _end_stray_processes(self) -> None:
        """End processes that left the sessions of their jobs, such as daemons."""
        start_s = time.monotonic()
        while (strays := self.guardian.stray_processes()) and (passed := time.monotonic() - start_s) < 2 * KILL_WAIT_S:
            send_signal(strays, signal.SIGTERM if passed < KILL_WAIT_S else signal.SIGKILL)
            self.watch.wait(POLL_ENDING_S)

    def _wait_for_end(self, sessions: Sequence[int], limit_s: float, is_enough: Callable[[], bool | None]) -> None:
        deadline = time.monotonic() + limit_s
        while session_members(sessions) and time.monotonic() < deadline and not is_enough():
            self.watch.wait(POLL_ENDING_S)


def _other_machine_notice(jobs: Sequence[Job]) -> list[str]:
    """Return a notice about jobs bound to other machines by their data."""
    local_names = {"localhost", "", os.uname().nodename, os.uname().nodename.partition(".")[0]}
    hosts = sorted({job.host for job in jobs if job.at_host and job.host.partition(".")[0] not in local_names})
    if not hosts:
        return []
    return [f"data is on {', '.join(hosts)}, and the jobs run on this machine: [remote] of pipeline.cfg says local"]
