"""The workers of Dask: one for each node, started through a queue or ssh, or a cluster that is there already.

The scheduler lives in this process, unless the site runs one. A worker that loses its scheduler ends after a while, and
its jobs with it. Source of the settings: measured; Dask by itself repeats the tasks of a killed worker, which here is
the engine's decision.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lofarpipe.errors import PipelineError, nearest
from lofarpipe.executors.dask.worker import worker_plugin
from lofarpipe.executors.remote.queue import walltime_problem
from lofarpipe.jobs import Resources
from lofarpipe.support.dataclass import dataclass

# Parts of a node that jobs with max_per_node share; whole numbers lose nothing when they are added up.
NODE = 1_000_000
PRELOAD = "lofarpipe.executors.dask.worker"
ENDING_S = 10.0
UNQUEUED_S = 120.0
DASHBOARD_PORT = 8787
QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster"}
ACCOUNTS = {"slurm": "account", "pbs": "account", "lsf": "project", "sge": "project"}  # what they call it
CLASS = "class"  # of any package, by its name
LAUNCHERS = (*QUEUES, "ssh", "address", "local", CLASS)
MISSING = "Dask is not installed; run: pip install 'genericpipeline[dask]'"


@dataclass(frozen=True)
class DaskOptions:
    """Section [dask] of pipeline.cfg.

    Attributes
    ----------
    launcher: how workers are started: slurm, pbs, lsf, sge, ssh, local, address for a scheduler that the site runs, or
        class for any class of Dask clusters.
    nodes: number of workers, one for each node.
    cores, memory_gb, gpus: of one node; memory in 10^9 bytes.
    walltime, queue, account, extra: for the queue; ``extra`` are further options, passed on as they are.
    hosts: for ssh.
    cluster_class, cluster_kwargs: for class: module.Class, and a JSON object of its arguments.
    address: of the scheduler, tcp://host:port.
    interface: network interface that the workers reach this machine by, such as ib0.
    start_timeout_s: how long the first worker may take; queues can be long. Without a queue: two minutes at most.
    death_timeout_s: a worker without its scheduler ends after this.
    dashboard: whether Dask's web page is served, on this machine only.
    """

    launcher: str
    nodes: int = 1
    cores: int = 0
    memory_gb: float = 0.0
    gpus: int = 0
    walltime: str = ""
    queue: str = ""
    account: str = ""
    extra: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    cluster_class: str = ""
    cluster_kwargs: str = ""
    address: str = ""
    interface: str = ""
    start_timeout_s: float = 86400.0
    death_timeout_s: float = 60.0
    dashboard: bool = False

    def faults(self) -> dict[str, str]:
        """Return the expected values of keys whose own value is invalid."""
        problem = walltime_problem(self.walltime, self.launcher) if self.launcher in QUEUES else ""
        return {"walltime": problem} if problem else {}

    def problems(self) -> list[str]:
        """Return the problems of the options, each as ``<key> ...``."""
        if self.launcher not in LAUNCHERS:
            choices = ", ".join(LAUNCHERS)
            return [f"launcher is '{self.launcher}'{nearest(self.launcher, LAUNCHERS)}; one of {choices} is needed"]
        messages = []
        if self.launcher != "address" and (self.cores < 1 or self.memory_gb <= 0):
            messages.append("cores and memory_gb of a node are needed: jobs are fitted to them")
        if self.launcher in (*QUEUES, "local", CLASS) and self.nodes < 1:
            messages.append(f"nodes is {self.nodes}; at least 1 is needed")
        if self.launcher == "ssh" and not self.hosts:
            messages.append("hosts is empty; the names of the machines are needed, as node1 node2")
        if self.launcher == CLASS and "." not in self.cluster_class:
            messages.append(f"cluster_class is '{self.cluster_class}'; module and class are needed, as package.Cluster")
        if self.launcher == "address" and "://" not in self.address:
            messages.append(f"address is '{self.address}'; the scheduler's, such as tcp://head:8786, is needed")
        return messages

    @property
    def is_queued(self) -> bool:
        """Whether workers may come later than they are asked for."""
        return self.launcher in (*QUEUES, CLASS)

    @property
    def patience_s(self) -> float:
        """How long the first worker may take."""
        return self.start_timeout_s if self.is_queued else min(self.start_timeout_s, UNQUEUED_S)

    @property
    def node(self) -> Resources:
        """Resources of one node."""
        return Resources(self.cores, self.memory_gb, self.gpus)


def tokens(size: Resources, parts: int = NODE) -> dict[str, int]:
    """Return resources as Dask counts them: whole numbers, so that nothing is lost when they are added up."""
    return {"cores": size.cores, "memory_mb": int(size.memory_gb * 1000), "gpus": size.gpus, "node": parts}


def worker_options(options: DaskOptions) -> list[str]:
    """Return the options of a worker: its resources, without memory limit, spilling and restarts by Dask."""
    # Commas: scripts of queues do not quote what stands between blanks.
    resources = ",".join(f"{name}={number}" for name, number in tokens(options.node).items())
    return ["--resources", resources, "--memory-limit", "0", "--no-dashboard", "--preload", PRELOAD]


def connect(options: DaskOptions, stack: ExitStack, logs: Path) -> Any:
    """Return a client of running workers; ``stack`` ends them. Workers of a queue write into ``logs``.

    Raises
    ------
    PipelineError
        If Dask is not installed, or the cluster cannot be reached or started.
    """
    try:
        import dask
        import distributed
    except ImportError as err:
        raise PipelineError(MISSING) from err
    dask.config.set(_SETTINGS)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        cluster = _cluster(options, stack, logs)
        client = stack.enter_context(distributed.Client(cluster, set_as_default=False))
    except (OSError, RuntimeError, TimeoutError, ValueError) as err:
        raise PipelineError(f"[dask] launcher = {options.launcher}: no cluster: {err}; check the section") from err
    if options.launcher == "ssh":  # those of a scheduler of the site stay
        stack.callback(client.retire_workers, close_workers=True)
    if options.launcher == CLASS:
        client.register_plugin(worker_plugin(tokens(options.node)))
    return client


_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # what a dead worker had begun is not begun again
    "distributed.worker.daemon": False,
    "distributed.worker.preload": [PRELOAD],
    "distributed.worker.profile.enabled": False,
    "distributed.nanny.pre-spawn-environ": {},  # jobs inherit it: numbers of threads, and settings of malloc
    "distributed.admin.tick.limit": "1h",
    "distributed.deploy.lost-worker-timeout": "5s",  # then another one can be asked for
    "distributed.logging": {"distributed": "error", "distributed.worker": "error", "distributed.scheduler": "error"},
}
# What they say of lost workers and schedulers, we say in our words; settings come too late for those of this process.
LOGGERS = ("distributed", "distributed.client", "distributed.core", "distributed.nanny", "distributed.scheduler")


def _cluster(options: DaskOptions, stack: ExitStack, logs: Path) -> Any:
    if options.launcher == "address":
        return options.address
    if options.launcher == CLASS:
        return _of_class(options, stack)
    if options.launcher in QUEUES:
        return _queued(options, stack, logs)
    return (_over_ssh if options.launcher == "ssh" else _local)(options, stack)


def _dashboard(options: DaskOptions) -> str:
    return f"127.0.0.1:{DASHBOARD_PORT if options.dashboard else 0}"  # it has no password: for this machine only


def _local(options: DaskOptions, stack: ExitStack) -> Any:
    """Start processes on this machine, each as if it were a node."""
    import distributed

    return stack.enter_context(
        distributed.LocalCluster(
            n_workers=options.nodes,
            threads_per_worker=options.cores,
            worker_class=_nanny(),
            host="127.0.0.1",
            resources=tokens(options.node),
            memory_limit=0,
            dashboard_address=_dashboard(options),
            worker_dashboard_address=None,
        )
    )


def _nanny() -> Any:
    """Return Dask's nanny without its PYTHONHASHSEED, which it would put into the environment of this process."""
    from distributed import Nanny

    def begin(self: Any, *args: Any, **kwargs: Any) -> None:
        Nanny.__init__(self, *args, **kwargs)
        for variables in (self.pre_spawn_env, self.env):
            variables.pop("PYTHONHASHSEED", None)

    return type("Nanny", (Nanny,), {"__init__": begin})


def _queued(options: DaskOptions, stack: ExitStack, logs: Path) -> Any:
    """Ask a queue for one job for each node."""
    kind = getattr(_jobqueue(), QUEUES[options.launcher])
    refused: dict[object, str] = {}
    cluster = kind(
        job_cls=_telling(kind.job_cls, refused),
        cores=options.cores,
        memory=f"{options.memory_gb:g} GB",
        processes=1,
        nanny=False,
        python=f"exec {sys.executable}",  # the worker itself is what the queue ends, not a shell around it
        queue=options.queue or None,
        **{ACCOUNTS[options.launcher]: options.account or None},
        walltime=options.walltime or None,
        job_extra_directives=list(options.extra),
        interface=options.interface or None,
        death_timeout=options.death_timeout_s,
        log_directory=str(logs),
        worker_extra_args=worker_options(options),
        scheduler_options={"dashboard_address": _dashboard(options)},
    )
    cluster.refused = refused
    stack.enter_context(cluster)
    return cluster


def _of_class(options: DaskOptions, stack: ExitStack) -> Any:
    """Make a cluster of a class imported by name; a plugin gives its workers their resources."""
    try:
        kind = _imported(options.cluster_class)
        arguments = json.loads(options.cluster_kwargs or "{}")
        return stack.enter_context(kind(**arguments))
    except (ImportError, AttributeError, TypeError, ValueError) as err:
        raise PipelineError(f"[dask] cluster_class = {options.cluster_class}: no cluster: {err}; correct it") from err


def _telling(kind: Any, refused: dict[object, str]) -> Any:
    """Return a job class of dask-jobqueue that reports the queue's message when a job is refused.

    As they are, they raise an exception that ends in a thread of Dask; it is shown, and nobody hears of it.
    """
    from distributed.core import Status

    async def start(self: Any) -> None:
        try:
            await kind.start(self)
        except (OSError, RuntimeError, ValueError) as err:
            refused[self.name] = " ".join(str(err).rpartition("stderr:")[2].split())
            self.status = Status.running  # for Dask, which asserts it

    return type(kind.__name__, (kind,), {"start": start})


def _jobqueue() -> Any:
    try:
        return _module("dask_jobqueue")
    except ImportError as err:
        raise PipelineError(MISSING) from err


def _imported(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(_module(module), attribute)


def _module(name: str) -> Any:
    """Import a module without the signal handlers of dask-jobqueue: Ctrl-C would end this process with success."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return importlib.import_module(name)
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


def ask_for_workers(options: DaskOptions, client: Any) -> str:
    """Have as many jobs in the queue as workers are wanted; those that were lost or refused are asked for again.

    Return the queue's message for the last refused job, "" if all were accepted.
    """
    if options.launcher == CLASS:
        client.cluster.scale(options.nodes)
    if options.launcher not in QUEUES:
        return ""
    cluster, refusal = client.cluster, ""
    for name in [name for name in cluster.refused if name in cluster.workers]:  # Dask has done with it
        refusal = cluster.refused.pop(name)
        del cluster.workers[name]
        cluster.worker_spec.pop(name, None)
    cluster.scale(jobs=options.nodes)
    return refusal


def _over_ssh(options: DaskOptions, stack: ExitStack) -> Any:
    """Start a scheduler here and a worker on each host, which ends when its connection does."""
    import distributed
    from distributed.utils import get_ip, get_ip_interface

    cluster = stack.enter_context(
        distributed.LocalCluster(
            n_workers=0,
            host=str(get_ip_interface(options.interface) if options.interface else get_ip()),
            dashboard_address=_dashboard(options),
            worker_dashboard_address=None,
        )
    )
    for host in options.hosts:
        stack.callback(_end, _ssh(ssh_command(options, host, cluster.scheduler_address)))
    return cluster


def ssh_command(options: DaskOptions, host: str, scheduler: str) -> list[str]:
    """Return the command that starts a worker on a host; with -tt it gets SIGHUP when ssh ends."""
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--no-nanny", "--name", host]
    worker += ["--nthreads", str(options.cores), "--death-timeout", f"{options.death_timeout_s:g}"]
    ours = {name: os.environ[name] for name in ("PYTHONPATH", "PATH") if name in os.environ}
    variables = [f"{name}={value}" for name, value in ours.items()]
    remote = shlex.join(["env", *variables, *worker, *worker_options(options)])
    return ["ssh", "-tt", "-o", "BatchMode=yes", *options.extra, host, remote]


def _ssh(command: Sequence[str]) -> subprocess.Popen[bytes]:
    program = shutil.which(command[0])
    if program is None:
        raise PipelineError("[dask] launcher = ssh: there is no ssh on this machine; install openssh-client")
    return subprocess.Popen(
        [program, *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us: the workers end when we say so
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
