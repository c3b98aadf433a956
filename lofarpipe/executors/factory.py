"""Which executor runs the jobs: what [remote] of pipeline.cfg says, and the section of its method."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

from lofarpipe.config import Settings
from lofarpipe.errors import CheckFailed, Finding, PipelineError, nearest
from lofarpipe.executors.jobs import Executor
from lofarpipe.executors.site_options import read_section, unknown_keys, where

ORDERS = "jobs"  # directory, below that of the pipeline's job
REMOTE_KEYS = ("method", "max_per_node", "cores", "memory_gb", "lost_retries")
#: Methods of the original runner. Source: spec of lofarpipe, remotecommand.py.
FORMER = {
    "mpirun": "local, or slurm",
    "juropa_mpi": "slurm",
    "cep_mpi": "ssh, or slurm",
    "slurm_srun_cep3": "slurm",
    "custom_cmdline": "dask: its section starts workers in several ways",
    "rpyc": "dask",
    "paramiko": "ssh",
}


def make_executor(settings: Settings) -> Executor:
    """Return the executor that the site's configuration asks for.

    Raises
    ------
    CheckFailed
        If a section has an unknown key or an impossible value; all of them are named.
    PipelineError
        If what it needs is not installed.
    """
    remote = own_keys(settings, "remote")
    method = method_of(settings)
    found = [] if settings.lenient else unknown_keys(settings.config_file, "remote", remote, REMOTE_KEYS)
    if method not in MAKERS:
        raise CheckFailed([*found, Finding(where(settings.config_file, "remote", "method"), _not_a_method(method))])
    executor, more = MAKERS[method](settings)
    if executor is None or found or more:
        raise CheckFailed([*found, *more])
    return executor


def method_of(settings: Settings) -> str:
    """Return the method of [remote]."""
    return settings.sections.get("remote", {}).get("method", "").strip() or "local"


def end_earlier(settings: Settings) -> None:
    """End jobs of an earlier run that this one's method knows nothing of; to be called by who owns the job directory.

    Raises
    ------
    PipelineError
        If that is not possible.
    """
    directory = orders_directory(settings)
    if method_of(settings) == "local" and directory.is_dir():
        from lofarpipe.executors.earlier import end_all

        end_all(directory)


def orders_directory(settings: Settings) -> Path:
    """Return where orders and records go."""
    return settings.job_directory / ORDERS


def own_keys(settings: Settings, section: str) -> dict[str, str]:
    """Return what a section says by itself, without what [DEFAULT] gives to all sections."""
    there: Mapping[str, str] = settings.sections.get(section, {})
    return {key: value for key, value in there.items() if settings.defaults.get(key) != value}


def _not_a_method(method: str) -> str:
    known = ", ".join(MAKERS)
    if method in FORMER:
        return f"method = {method} of the original runner is not there any more; use {FORMER[method]} (one of {known})"
    return f"method is '{method}'{nearest(method, MAKERS)}; one of {known} is needed"


Made = tuple[Executor | None, list[Finding]]


def _local(settings: Settings) -> Made:
    from lofarpipe.executors.local import LocalExecutor
    from lofarpipe.executors.resources import engine_resources

    given, limit = engine_resources(settings.cores, settings.memory_gb)
    executor = LocalExecutor(given)
    executor.notices += [f"{limit}; --cores and --memory-gb say otherwise"] if limit else []
    return executor, []


def _slurm(settings: Settings) -> Made:
    from lofarpipe.executors.slurm import SlurmExecutor
    from lofarpipe.executors.slurm_options import SlurmOptions

    options, found = read_section(SlurmOptions, settings.config_file, "slurm", own_keys(settings, "slurm"))
    return (SlurmExecutor(options, orders_directory(settings)) if options and not found else None), found


def _dask(settings: Settings, **fixed: str) -> Made:
    from lofarpipe.executors.dask_cluster import MISSING, DaskOptions
    from lofarpipe.executors.dask_executor import DaskExecutor

    if importlib.util.find_spec("distributed") is None:
        raise PipelineError(MISSING)
    section = {**own_keys(settings, "dask"), **fixed}
    options, found = read_section(DaskOptions, settings.config_file, "dask", section)
    return (DaskExecutor(options, orders_directory(settings)) if options and not found else None), found


def _ssh(settings: Settings) -> Made:
    return _dask(settings, launcher="ssh")


MAKERS: dict[str, Callable[[Settings], Made]] = {"local": _local, "slurm": _slurm, "dask": _dask, "ssh": _ssh}
