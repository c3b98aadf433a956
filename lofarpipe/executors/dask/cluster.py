"""Dask workers: one for each node, started through a queue or ssh, or those of an existing cluster.

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

# Shares of a node for jobs with max_per_node; integers, which add up without rounding.
NODE = 1_000_000
PRELOAD = "lofarpipe.executors.dask.worker"
ENDING_S = 10.0
UNQUEUED_S = 120.0
DASHBOARD_PORT = 8787
QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster"}
ACCOUNTS = {"slurm": "account", "pbs": "account", "lsf": "project", "sge": "project"}  # keyword by launcher
CLASS = "class"  # any cluster class, by its import path
LAUNCHERS = (*QUEUES, "ssh", "address", "local", CLASS)
MISSING = "Dask is not installed; run: pip install 'genericpipeline[dask]'"


@dataclass(frozen=True)
class DaskOptions:
    """Section [dask] of pipeline.cfg.

    Attributes
    ----------
    launcher: how workers are started: slurm, pbs, lsf, sge, ssh, local, address for a scheduler of the site, or
        class for any class of Dask clusters.
    nodes: number of workers, one for each node.
    cores, memory_gb, gpus: of one node; memory in 10^9 bytes.
    walltime, queue, account, extra: for the queue; ``extra``: further options, passed unchanged.
    hosts: for ssh.
    cluster_class, cluster_kwargs: for class: module.Class, and a JSON object of its arguments.
    address: of the scheduler, tcp://host:port.
    interface: network interface of this machine for the workers' connections, such as ib0.
    start_timeout_s: longest wait for the first worker, s; without a queue two minutes at most.
    death_timeout_s: a worker ends this long after losing its scheduler, s.
    dashboard: whether to serve Dask's web page, on this machine only.
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
        """Whether workers may start later than requested."""
        return self.launcher in (*QUEUES, CLASS)

    @property
    def patience_s(self) -> float:
        """Longest wait for the first worker, s."""
        return self.start_timeout_s if self.is_queued else min(self.start_timeout_s, UNQUEUED_S)

    @property
    def node(self) -> Resources:
        """Resources of one node."""
        return Resources(self.cores, self.memory_gb, self.gpus)


def tokens(size: Resources, parts: int = NODE) -> dict[str, int]:
    """Return resources as Dask counts them: integers, which add up without rounding."""
    return {"cores": size.cores, "memory_mb": int(size.memory_gb * 1000), "gpus": size.gpus, "node": parts}


def worker_options(options: DaskOptions) -> list[str]:
    """Return the options of a worker: its resources, without memory limit, spilling and restarts by Dask."""
    # Commas, because queue scripts do not quote spaces.
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
    if options.launcher == "ssh":  # workers of a site's scheduler stay
        stack.callback(client.retire_workers, close_workers=True)
    if options.launcher == CLASS:
        client.register_plugin(worker_plugin(tokens(options.node)))
    return client


_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # tasks of a dead worker are not repeated
    "distributed.worker.daemon": False,
    "distributed.worker.preload": [PRELOAD],
    "distributed.worker.profile.enabled": False,
    "distributed.nanny.pre-spawn-environ": {},  # inherited by jobs: thread counts and malloc settings
    "distributed.admin.tick.limit": "1h",
    "distributed.deploy.lost-worker-timeout": "5s",  # after it a replacement is requested
    "distributed.logging": {"distributed": "error", "distributed.worker": "error", "distributed.scheduler": "error"},
}
# The runner reports lost workers and schedulers itself; in this process Dask's configuration would come too late.
LOGGERS = ("distributed", "distributed.client", "distributed.core", "distributed.nanny", "distributed.scheduler")


def _cluster(options: DaskOptions, stack: ExitStack, logs: Path) -> Any:
    if options.launcher == "address":
        return options.address
    if options.launcher == CLASS:
        return _create_custom_cluster(options, stack)
    if options.launcher in QUEUES:
        return _queued(options, stack, logs)
    return (_over_ssh if options.launcher == "ssh" else _local)(options, stack)


def _dashboard(options: DaskOptions) -> str:
    return f"127.0.0.1:{DASHBOARD_PORT if options.dashboard else 0}"  # no password, so for this machine only


def _local(options: DaskOptions, stack: ExitStack) -> Any:
    """Start local processes, each in the role of a node."""
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
    """Return Dask's nanny without the PYTHONHASHSEED that it would set in the environment of this process."""
    from distributed import Nanny

    def begin(self: Any, *args: Any, **kwargs: Any) -> None:
        Nanny.__init__(self, *args, **kwargs)
        for variables in (self.pre_spawn_env, self.env):
            variables.pop("PYTHONHASHSEED", None)

    return type("Nanny", (Nanny,), {"__init__": begin})


def _queued(options: DaskOptions, stack: ExitStack, logs: Path) -> Any:
    """Request one queue job for each node."""
    kind = getattr(_jobqueue(), QUEUES[options.launcher])
    refused: dict[object, str] = {}
    cluster = kind(
        job_cls=_reporting_job_class(kind.job_cls, refused),
        cores=options.cores,
        memory=f"{options.memory_gb:g} GB",
        processes=1,
        nanny=False,
        python=f"exec {sys.executable}",  # exec: the queue signals the worker, not a shell around it
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


def _create_custom_cluster(options: DaskOptions, stack: ExitStack) -> Any:
    """Create a cluster of a class imported by name; a plugin sets the resources of its workers."""
    try:
        kind = _imported(options.cluster_class)
        arguments = json.loads(options.cluster_kwargs or "{}")
        return stack.enter_context(kind(**arguments))
    except (ImportError, AttributeError, TypeError, ValueError) as err:
        raise PipelineError(f"[dask] cluster_class = {options.cluster_class}: no cluster: {err}; correct it") from err


def _reporting_job_class(kind: Any, refused: dict[object, str]) -> Any:
    """Return a job class of dask-jobqueue that reports the queue's message for a refused job.

    The original class raises an exception in a thread of Dask, where it is printed and lost.
    """
    from distributed.core import Status

    async def start(self: Any) -> None:
        try:
            await kind.start(self)
        except (OSError, RuntimeError, ValueError) as err:
            refused[self.name] = " ".join(str(err).rpartition("stderr:")[2].split())
            self.status = Status.running  # asserted by Dask

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
    """Import a module without the signal handlers of dask-jobqueue, which make Ctrl-C exit with success."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return importlib.import_module(name)
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


def ask_for_workers(options: DaskOptions, client: Any) -> str:
    """Request missing workers from the queue: lost and refused ones again.

    Return the queue's message for the last refused job, "" if all were accepted.
    """
    if options.launcher == CLASS:
        client.cluster.scale(options.nodes)
    if options.launcher not in QUEUES:
        return ""
    cluster, refusal = client.cluster, ""
    for name in [name for name in cluster.refused if name in cluster.workers]:  # Dask has finished with this worker
        refusal = cluster.refused.pop(name)
        del cluster.workers[name]
        cluster.worker_spec.pop(name, None)
    cluster.scale(jobs=options.nodes)
    return refusal


def _over_ssh(options: DaskOptions, stack: ExitStack) -> Any:
    """Start a scheduler here and a worker on each host; a worker ends with its connection."""
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
    """Return the command to start a worker on a host; -tt sends it SIGHUP when ssh ends."""
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
        start_new_session=True,  # Ctrl-C goes to the runner, which then ends the workers
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
