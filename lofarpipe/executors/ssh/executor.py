"""Jobs on hosts reached by ssh, each under a guard there that writes a record of its end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.process import (
    NOT_WRITTEN,
    finish_job,
    make_directories,
    open_log,
    remove_directories,
    usage_text,
    write_end,
    write_log_lines,
)
from lofarpipe.executors.local.signals import Cancellable, Watch
from lofarpipe.executors.remote.lease import earlier_results, ended_order, read_claim, state_of
from lofarpipe.executors.remote.order import (
    BEAT_S,
    Order,
    new_order,
    read_record,
    remove_order,
    withdraw_orders,
)
from lofarpipe.executors.ssh.host import LIMIT_S, TRIES, Host, guard_input
from lofarpipe.executors.ssh.options import SshOptions, is_this_machine, walltime_s
from lofarpipe.jobs import (
    DoneCallback,
    Job,
    JobResult,
    JobStart,
    Resources,
    StartCallback,
    duration_text,
    ended_result,
    result_of,
)
from lofarpipe.programs.logs import LogWatch
from lofarpipe.support.dataclass import dataclass

GRACE_S = 30.0
CONNECTING_S = 0.05  # polling interval while hosts are being connected
LOOK_S = 1.0  # polling interval of logs, time limits and lost hosts
LOG_LOOK_S = 3.0  # interval of log checks
ANSWER_S = 15.0  # beyond the grace period: the longest wait for an agent to end its jobs
UNREACHED = os.EX_UNAVAILABLE


class SshExecutor(Cancellable):
    """Runs jobs on a list of hosts, connected before the first job and disconnected by ``close``.

    Jobs end with this process, and with the connection to their host. A started job is never restarted here.

    Parameters
    ----------
    options: section [ssh] of the site's configuration.
    orders: directory for orders and records, with the same path on all hosts.
    grace_s: seconds between SIGTERM and SIGKILL for the processes of a job.

    Raises
    ------
    PipelineError
        If the options are invalid.
    """

    def __init__(self, options: SshOptions, orders: Path, grace_s: float = GRACE_S) -> None:
        if problems := options.problems():
            raise PipelineError("\n".join(f"[ssh]: {problem}" for problem in problems))
        super().__init__()
        self.options = options
        self.orders = orders.absolute()
        self.grace_s = grace_s
        self.hosts = [Host(name, options, grace_s) for name in options.names()]
        self._noted_hosts: set[str] = set()
        self._over = threading.Event()
        self._beats: threading.Thread | None = None

    def capacity(self, partition: str = "") -> Resources:  # noqa: ARG002 - hosts have no partitions
        """Return the largest job for any host; nothing is written.

        Raises
        ------
        PipelineError
            If no host can be reached, or one cannot be used.
        """
        self._wait_for_hosts(time.sleep, lambda: False)
        sizes = [host.size for host in self.hosts if host.size is not None]
        return Resources(
            max(size.cores for size in sizes), max(size.memory_gb for size in sizes), max(size.gpus for size in sizes)
        )

    def close(self) -> None:
        """Leave the hosts."""
        self._over.set()
        if self._beats is not None:
            self._beats.join()
            self._beats = None
        for host in self.hosts:
            host.disconnect()  # in parallel
        for host in self.hosts:
            host.close()

    def run(
        self, jobs: Sequence[Job], on_done: DoneCallback | None = None, on_start: StartCallback | None = None
    ) -> list[JobResult]:
        """Run all jobs and return their results in the order given; see ``Executor.run``."""
        if not jobs:
            return []
        with self._watched() as watch:
            try:
                self.orders.mkdir(parents=True, exist_ok=True)
            except OSError as err:
                raise PipelineError(f"{self.orders}: cannot be made: {err.strerror}; check the directory") from err
            is_first = not any(host.is_placed for host in self.hosts)
            for host in self.hosts:
                host.send_orders(self.orders)
            if is_first:
                self._wait_for_hosts(watch.wait, self.must_end)
            self._refuse_impossible(jobs)
            batch = _Batch(self, jobs, on_done, on_start, watch)
            batch.work()
        return [batch.results.get(place) or ended_result(job) for place, job in enumerate(jobs)]

    def connect(self) -> None:
        """Connect the hosts, if not connected."""
        for host in self.hosts:
            host.connect()
        if self._beats is None:
            self._over.clear()
            self._beats = threading.Thread(target=self._beat, daemon=True)
            self._beats.start()

    def judge_hosts(self) -> None:
        """Report unreachable hosts, each once.

        Raises
        ------
        PipelineError
            If a reached host is unusable.
        """
        refused = [f"[ssh]: host {host.name}: {host.refused}" for host in self.hosts if host.refused]
        if refused:
            raise PipelineError("\n".join(refused))
        for host in self.hosts:
            if host.is_down and host.name not in self._noted_hosts:
                self._noted_hosts.add(host.name)
                self.add_notice(f"{unreachable_problem(host)}; jobs that are not bound to it run on other hosts")

    def host_of(self, job: Job) -> Host | None:
        """Return the host that a job is bound to; None: any host."""
        if not job.at_host or job.host in ("localhost", ""):  # default host in maps
            return None
        if is_this_machine(job.host):
            return next((host for host in self.hosts if host.is_here), None)
        names = (job.host, job.host.partition(".")[0])
        bound_host = next((host for name in names for host in self.hosts if host.name == name), None)
        if bound_host is None:
            step = job.name.rpartition("/")[0]
            self.add_notice(f"{job.host}, where data of {step} is, is none of the hosts; any of them takes its jobs")
        return bound_host

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            for host in self.hosts:
                host.send("")

    def _wait_for_hosts(self, wait: Callable[[float], object], must_end: Callable[[], bool]) -> None:
        """Wait until each host is known to be usable or not.

        Raises
        ------
        PipelineError
            If no host can be reached, or one is unusable.
        """
        while not must_end() and not all(host.is_settled for host in self.hosts):
            self.connect()
            wait(CONNECTING_S)
            for host in self.hosts:
                list(host.read_messages())  # no messages about jobs yet
        if all(host.is_down for host in self.hosts):
            raise PipelineError("\n".join(f"[ssh]: {unreachable_problem(host)}" for host in self.hosts))
        self.judge_hosts()

    def _refuse_impossible(self, jobs: Sequence[Job]) -> None:
        """Refuse jobs too large for every host.

        Raises
        ------
        PipelineError
            If a job needs more memory or GPUs than its host, or the largest host, has.
        """
        for job in jobs:
            bound = self.host_of(job)
            sizes = [host.size for host in ([bound] if bound else self.hosts) if host.size is not None]
            # The size of an unreachable host is unknown: not refused.
            if not sizes or any(host.size and host.fits_when_idle(job) for host in ([bound] if bound else self.hosts)):
                continue
            where = f"host {bound.name}" if bound else "the largest host"
            has = f"{max(size.memory_gb for size in sizes):.1f} GB and {max(size.gpus for size in sizes)} CUDA devices"
            raise PipelineError(
                f"{job.name}: needs {job.memory_gb or 0:g} GB of memory and {job.gpus} CUDA devices, and {where} has "
                f"{has}; ask for less, or name larger hosts in [ssh]"
            )


@dataclass
class _Running:
    """A job on a host."""

    place: int  # index among the jobs of the run
    order: Order
    host: Host
    is_retry: bool
    log_watch: LogWatch | None
    started_at_s: float = 0.0  # monotonic clock, s; 0: not started
    stopped: str = ""  # reason why the runner ended it
    lost_at: float = 0.0  # monotonic clock, s: when its host was lost
    lost_because: str = ""


class _Batch:
    """The jobs of one ``run``."""

    def __init__(
        self,
        owner: SshExecutor,
        jobs: Sequence[Job],
        on_done: DoneCallback | None,
        on_start: StartCallback | None,
        watch: Watch,
    ) -> None:
        self.results: dict[int, JobResult] = {}
        self._owner = owner
        self._jobs = jobs
        self._on_done = on_done
        self._on_start = on_start
        self._watch = watch
        self._waiting: dict[Host | None, deque[int]] = {}  # host of bound jobs, or None -> indices of waiting jobs
        self._lost: dict[int, list[Host]] = {}  # index of an unstarted job -> hosts lost with it
        self._running: dict[str, _Running] = {}  # by name of the order
        self._adrift: dict[str, _Running] = {}  # jobs of lost hosts
        self._next_look = self._next_log = 0.0
        self._is_ending = False

    def work(self) -> None:
        """Start jobs, read messages and collect results until all jobs are done or the run is to end."""
        try:
            self._collect_earlier_results()
            while (any(self._waiting.values()) or self._running or self._adrift) and not self._owner.must_end():
                self._start_some()
                self._wait(LOOK_S)
                self._read_messages()
                if time.monotonic() >= self._next_look:
                    self._next_look = time.monotonic() + LOOK_S
                    self._check_jobs()
        finally:
            self._end_all()

    def _collect_earlier_results(self) -> None:
        """Collect results of an earlier engine, and wait for its jobs to end."""
        owner = self._owner
        earlier = earlier_results(owner.orders, self._jobs, self._watch.wait, owner.must_end, owner.add_notice)
        for place, former, result in earlier:
            result = finish_job(former, result, None, "")
            if result.ok and place not in self.results:
                self._finish(place, result)
        for place, job in enumerate(self._jobs):
            if place not in self.results:
                self._waiting.setdefault(owner.host_of(job), deque()).append(place)

    # ---- starting

    def _start_some(self) -> None:
        """Start the jobs that fit, in order; only a job waiting for a busy host lets others pass."""
        while not self._owner.must_end():
            for place, bound in sorted(
                ((queue[0], bound) for bound, queue in self._waiting.items() if queue), key=lambda head: head[0]
            ):
                free = [host for host in self._candidates(place, bound) if host.has_room_for(self._jobs[place])]
                if free:
                    self._waiting[bound].popleft()
                    self._start(place, max(free, key=lambda host: host.free_cores))
                    break
                if bound is None:
                    return
            else:
                return

    def _candidates(self, place: int, bound: Host | None) -> Sequence[Host]:
        """Return the candidate hosts of a job, if possible without hosts lost with it before."""
        if bound is not None:
            return [bound]
        others = [host for host in self._owner.hosts if host not in self._lost.get(place, ()) and not host.is_down]
        return others or self._owner.hosts

    def _start(self, place: int, host: Host, is_retry: bool = False) -> None:
        job = self._jobs[place]
        start_s = time.time()
        try:
            log = open_log(job, again=is_retry)
            try:
                write_log_lines(log, f"host {host.name}")
                make_directories(replace(job, tempdir=None))
            except PipelineError as err:
                os.write(log, os.fsencode(f"{err}\n"))
                raise
            finally:
                os.close(log)
        except PipelineError as err:
            write_end(job.log, str(err))
            self._finish(place, replace(result_of(job, NOT_WRITTEN, start_s), problem=str(err)))
            return
        stale_s = 2 * LIMIT_S + self._owner.grace_s
        order = new_order(self._owner.orders, job, stale_s=stale_s, grace_s=self._owner.grace_s)
        name = str(order.path.with_suffix("").relative_to(self._owner.orders))
        devices = host.reserve(name, job)
        cards = {"CUDA_VISIBLE_DEVICES": ",".join(devices)} if devices else {}
        try:
            order.script.write_text(guard_input(order, host, self._owner.options, cards), errors="surrogateescape")
        except OSError as err:
            host.release(name)
            remove_order(order)
            raise PipelineError(f"{job.name}: {order.script} cannot be written: {err.strerror}") from err
        self._running[name] = _Running(place, order, host, is_retry, LogWatch.of(job))
        host.send(f"run {name}")

    # ---- listening

    def _wait(self, limit_s: float) -> None:
        self._watch.wait(limit_s, [host.descriptor for host in self._owner.hosts if host.descriptor >= 0])

    def _read_messages(self) -> None:
        for host in self._owner.hosts:
            for words in host.read_messages():
                running = self._running.get(words[-1])
                if words == ["lost"]:
                    self._set_adrift(host)
                elif running is not None and words[0] == "began":
                    running.started_at_s = time.monotonic()
                    if self._on_start is not None:
                        start_s = int(words[2]) / 1000
                        self._on_start(JobStart(running.order.job.name, host.node, int(words[1]), start_s))
                elif running is not None:
                    self._collect(words[-1], running)

    def _set_adrift(self, host: Host) -> None:
        """Mark the jobs of a lost host as adrift: their guards end them, and write a record if possible."""
        for name in list(host.jobs):
            host.release(name)
            running = self._running.pop(name)
            running.lost_at, running.lost_because = time.monotonic(), f"lost with host {host.name}: {host.problem}"
            self._adrift[name] = running
            if read_claim(running.order) is None:
                withdraw_orders(running.order)  # a guard just starting sees it, and ends

    def _check_jobs(self) -> None:
        """Check logs, time limits and lost hosts."""
        now = time.monotonic()
        reads_logs = now >= self._next_log
        self._next_log = now + LOG_LOOK_S if reads_logs else self._next_log
        for name, running in self._running.items():
            if not running.started_at_s or running.stopped:
                continue
            limit_s = walltime_s(running.order.job.batch.get("walltime", "") or self._owner.options.walltime)
            fault = running.log_watch.check_log() if reads_logs and running.log_watch else None
            if now - running.started_at_s > limit_s:
                fault = (
                    f"it ran into its time limit of {duration_text(limit_s)}; raise walltime of the step, or in [ssh]"
                )
            if fault:
                running.stopped = fault
                self._write_to_log(running.order.job, f"stopped: {fault}")
                running.host.send(f"end {name}")
        self._finish_adrift_jobs()
        self._owner.connect()
        self._owner.judge_hosts()
        self._fail_unreached()

    def _finish_adrift_jobs(self) -> None:
        """Finish jobs of lost hosts once all their processes must be dead."""
        for name, running in list(self._adrift.items()):
            state = state_of(running.order)
            silent_s = time.monotonic() - running.lost_at
            if state in ("done", "lost") or (state == "waiting" and silent_s > running.order.beat_s):
                del self._adrift[name]
                self._conclude(running)

    def _fail_unreached(self) -> None:
        """Fail jobs without a reachable host: their own, or all large enough, are down."""
        for bound, queue in self._waiting.items():
            while queue:
                job = self._jobs[queue[0]]
                hosts = [host for host in ([bound] if bound else self._owner.hosts) if host.fits_when_idle(job)]
                if not all(host.is_down for host in hosts):
                    break
                subject = (
                    f"host {bound.name}, to which it is bound," if bound else "none of the hosts that could take it"
                )
                messages = "; ".join(dict.fromkeys(f"{host.name}: {host.problem}" for host in hosts))
                reason = f"{subject} {'cannot' if bound else 'can'} be reached, {TRIES} tries: {messages}"
                result = replace(ended_result(job), exit_code=UNREACHED, problem=reason)
                self._finish(queue.popleft(), result)

    # ---- results

    def _collect(self, name: str, running: _Running) -> None:
        """Collect the result of a job reported as ended by the agent."""
        del self._running[name]
        running.host.release(name)
        running.lost_because = f"lost on host {running.host.name}: its guard was killed, or could not write its record"
        self._conclude(running)

    def _conclude(self, running: _Running) -> None:
        order, place = running.order, running.place
        job = order.job
        record = read_record(order)
        claim = read_claim(order)
        if record is None and claim is None:
            self._requeue_unstarted(running)
            return
        if record is None:
            result = replace(ended_order(order), problem=running.lost_because, is_lost=True)
        else:
            result = self._checked_result(running, replace(record, memory_gb=job.memory_gb))
        is_final = running.is_retry or job.one_try
        may_retry = not (is_final or running.stopped or running.lost_at or self._is_ending)
        if result.exit_code == -signal.SIGSEGV and may_retry:
            remove_order(order)
            self._start(place, running.host, is_retry=True)
            return
        remove_directories(replace(job, tempdir=None))
        self._write_to_log(job, usage_text(result))
        write_end(job.log, usage_text(result))
        try:
            self._finish(place, result)
        finally:
            remove_order(order)  # only after the result is recorded

    def _requeue_unstarted(self, running: _Running) -> None:
        """Requeue an unstarted job for another host, or fail it after the last try."""
        order, place = running.order, running.place
        job = order.job
        remove_order(order)
        remove_directories(replace(job, tempdir=None))
        lost = self._lost.setdefault(place, [])
        lost.append(running.host)
        if len(lost) < TRIES:
            self._waiting.setdefault(self._owner.host_of(job), deque()).appendleft(place)
        else:
            problem = f"did not begin, {TRIES} tries; the last one was {running.lost_because}"
            self._finish(place, replace(ended_result(job), exit_code=UNREACHED, problem=problem))

    def _checked_result(self, running: _Running, record: JobResult) -> JobResult:
        if record.is_lost or record.problem:
            return record
        return finish_job(running.order.job, record, running.log_watch, running.stopped)

    def _finish(self, place: int, result: JobResult) -> None:
        self.results[place] = result
        if self._on_done is not None and not self._is_ending:
            self._on_done(result)

    def _write_to_log(self, job: Job, text: str) -> None:
        with contextlib.suppress(OSError):  # a full disk
            log = os.open(job.log, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                write_log_lines(log, text)
            finally:
                os.close(log)

    # ---- the end

    def _end_all(self) -> None:
        """End all remaining jobs, normally none, and wait until they are dead."""
        if not (self._running or self._adrift):
            return
        self._is_ending = True
        for name, running in self._running.items():
            running.host.send(f"end {name}")
        signals = len(self._watch.received)
        deadline = time.monotonic() + self._owner.grace_s + ANSWER_S
        while self._running and time.monotonic() < deadline:
            if len(self._watch.received) > signals:
                signals = len(self._watch.received)
                for name, running in self._running.items():
                    running.host.send(f"kill {name}")
            self._wait(LOOK_S / 5)
            self._read_messages()
        for host in self._owner.hosts:  # silent agents
            self._set_adrift(host)
        while self._adrift and len(self._watch.received) == signals:
            self._finish_adrift_jobs()
            self._wait(LOOK_S)
        if self._adrift:
            hosts = ", ".join(sorted({running.host.name for running in self._adrift.values()}))
            raise PipelineError(
                f"{len(self._adrift)} jobs may still run on {hosts}, which cannot be reached; they end by themselves "
                f"within {duration_text(LIMIT_S + self._owner.grace_s)}, and the next run waits for that"
            )


def unreachable_problem(host: Host) -> str:
    """Return the problem of an unreachable host, and the remedy."""
    remedy = f"see that 'ssh -o BatchMode=yes {host.name} true' works, or take it out of hosts"
    return f"host {host.name} cannot be reached, {TRIES} tries: {host.problem}; {remedy}"
