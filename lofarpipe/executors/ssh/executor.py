"""Runs jobs on hosts that are reached by ssh, each below a guard there; a record says what became of it."""

from __future__ import annotations

import importlib.resources
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.signals import Cancellable
from lofarpipe.executors.remote.order import BEAT_S, new_attempt
from lofarpipe.executors.ssh.batch import SshBatch
from lofarpipe.executors.ssh.host import LIMIT_S, TRIES, Host
from lofarpipe.executors.ssh.options import SshOptions, is_here
from lofarpipe.jobs import DoneCallback, Job, JobResult, Resources, StartCallback, ended_result
from lofarpipe.support.utilities import write_atomically

GRACE_S = 30.0
LOOK_S = 0.05  # while hosts are connected
AGENT = "ssh/agent.sh"  # below the directory of the orders


class SshExecutor(Cancellable):
    """Runs jobs on the hosts of a list; each is connected with the first of them, and left by ``close``.

    Jobs end with this process, and with the connection to their host. What has begun is never begun again here.

    Parameters
    ----------
    options: section [ssh] of the site's configuration.
    orders: directory for orders and records, which all hosts see under this name.
    grace_s: seconds between SIGTERM and SIGKILL for the processes of a job.

    Raises
    ------
    PipelineError
        If the options make no sense.
    """

    def __init__(self, options: SshOptions, orders: Path, grace_s: float = GRACE_S) -> None:
        if problems := options.problems():
            raise PipelineError("\n".join(f"[ssh]: {problem}" for problem in problems))
        super().__init__()
        self.options = options
        self.orders = orders.absolute()
        self.grace_s = grace_s
        self.token = new_attempt()
        self.hosts = [Host(name, options, self.orders, self.token) for name in options.names()]
        self._told: set[str] = set()
        self._over = threading.Event()
        self._beats: threading.Thread | None = None

    def capacity(self, partition: str = "") -> Resources:  # noqa: ARG002 - hosts are where they are
        """Return the largest job that a host takes.

        Raises
        ------
        PipelineError
            If no host can be reached, or one cannot be used.
        """
        self._settle(time.sleep, lambda: False)
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
            host.close()

    def run(
        self, jobs: Sequence[Job], on_done: DoneCallback | None = None, on_start: StartCallback | None = None
    ) -> list[JobResult]:
        """Run all jobs and return their results in the order given; see ``Executor.run``."""
        if not jobs:
            return []
        with self._watched() as watch:
            if any(host.size for host in self.hosts):
                for host in self.hosts:
                    host.try_again()  # without waiting for it
            else:
                self._settle(watch.wait, self.must_end)
            if not self.must_end():
                self._refuse_impossible(jobs)
            batch = SshBatch(self, jobs, on_done, on_start, watch)
            batch.work()
        return [batch.results.get(place) or ended_result(job) for place, job in enumerate(jobs)]

    def connect(self) -> None:
        """Connect the hosts that are not, and may be; tell of those that cannot be reached."""
        command = ["/bin/sh", str(self.orders / AGENT), "agent", self.token, f"{LIMIT_S:.0f}"]
        for host in self.hosts:
            host.connect([*command, str(round(10 * self.grace_s)), self.options.env_file])
            if host.is_down and host.name not in self._told:
                self._told.add(host.name)
                self.note(f"{unreachable(host)}; jobs that are not bound to it run on other hosts")
        if self._beats is None:
            self._over.clear()
            self._beats = threading.Thread(target=self._beat, daemon=True)
            self._beats.start()

    def host_of(self, job: Job) -> Host | None:
        """Return the host that a job is bound to; None if any will do."""
        if not job.at_host:
            return None
        names = [job.host, job.host.partition(".")[0]]
        found = next((host for name in names for host in self.hosts if host.name == name), None)
        if found is None and is_here(job.host):
            return next((host for host in self.hosts if host.is_here), None)
        if found is None:
            self.note(f"{job.host}, where data of {job.name} is, is none of the hosts; any of them takes such jobs")
        return found

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            for host in self.hosts:
                host.send("")

    def _settle(self, wait: Callable[[float], object], must_end: Callable[[], bool]) -> None:
        """Wait until it is known of each host whether jobs can run there; the first time, that is."""
        self._write_agent()
        while not must_end():
            self.connect()
            if all(host.is_settled for host in self.hosts):
                break
            wait(LOOK_S)
            for host in self.hosts:
                list(host.hear()) if not host.is_settled else None
        refused = [f"[ssh]: host {host.name}: {host.refused}" for host in self.hosts if host.refused]
        if refused:
            raise PipelineError("\n".join(refused))
        if all(host.is_down for host in self.hosts):
            raise PipelineError("\n".join(f"[ssh]: {unreachable(host)}" for host in self.hosts))

    def _write_agent(self) -> None:
        text = importlib.resources.files(__package__).joinpath("agent.sh").read_text(encoding="utf-8")
        path = self.orders / AGENT
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                write_atomically(path, text)
        except OSError as err:
            raise PipelineError(f"{path}: cannot be written: {err.strerror}; check the directory") from err

    def _refuse_impossible(self, jobs: Sequence[Job]) -> None:
        """Refuse what no host can ever take.

        Raises
        ------
        PipelineError
            If a job needs more memory or graphics cards than its host has, or the largest of all.
        """
        for job in jobs:
            bound = self.host_of(job)
            sizes = [host.size for host in ([bound] if bound else self.hosts) if host.size is not None]
            if any((job.memory_gb or 0.0) <= size.memory_gb + 1e-7 and job.gpus <= size.gpus for size in sizes):
                continue
            if not sizes:  # its host is away, which is its own failure
                continue
            where = f"host {bound.name}" if bound else "the largest host"
            has = f"{max(size.memory_gb for size in sizes):.1f} GB and {max(size.gpus for size in sizes)} CUDA devices"
            raise PipelineError(
                f"{job.name}: needs {job.memory_gb or 0:g} GB of memory and {job.gpus} CUDA devices, and {where} has "
                f"{has}; ask for less, or name larger hosts in [ssh]"
            )


def unreachable(host: Host) -> str:
    """Return what is wrong with a host that cannot be reached, and what to do."""
    remedy = f"see that 'ssh -o BatchMode=yes {host.name} true' works, or take it out of hosts"
    return f"host {host.name} cannot be reached, {TRIES} tries: {host.said}; {remedy}"
