"""Which executor runs the jobs: what [remote] of pipeline.cfg says, and the section of its method."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lofarpipe.config import Settings
from lofarpipe.errors import CheckFailed, Finding, PipelineError, misspelt, nearest
from lofarpipe.jobs import Executor
from lofarpipe.support.config_file import check_values, read_section, unknown_keys, where

if TYPE_CHECKING:
    from lofarpipe.executors.dask.cluster import DaskOptions
    from lofarpipe.executors.slurm.options import SlurmOptions

ORDERS = "jobs"  # directory, below that of the pipeline's job
SECTIONS = ("layout", "logging", "feedback", "remote", "slurm", "dask", "report")
REMOTE_KEYS = ("method", "max_per_node", "cores", "memory_gb", "lost_retries")
USERS = {"slurm": ("slurm",), "dask": ("dask", "ssh")}  # section -> methods that read it
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
    found += [] if settings.lenient else _misspelt_sections(settings)
    if method not in MAKERS:
        raise CheckFailed([*found, Finding(where(settings.config_file, "remote", "method"), _not_a_method(method))])
    executor, more = MAKERS[method](settings)
    if executor is None or found or more:
        raise CheckFailed([*found, *more])
    return executor


def _misspelt_sections(settings: Settings) -> list[Finding]:
    """Return a finding for each section whose name is misspelt; others may be for other programs."""
    meant = misspelt([name for name in settings.sections if name not in SECTIONS], SECTIONS)
    return [
        Finding(where(settings.config_file, name), f"[{name}]: there is no such section; did you mean [{known}]?")
        for name, known in meant.items()
    ]


def unused_sections(settings: Settings) -> list[Finding]:
    """Return what is wrong in the sections of other methods than the one in use, as far as single keys tell.

    These are warnings: the run that does not read them is not worse for them, and they may be unfinished. Whoever
    changes the method later has read of them.
    """
    method = method_of(settings)
    found = []
    for name, methods in USERS.items():
        if method not in methods and (own := own_keys(settings, name)):
            found += check_values(_options_of(name), settings.config_file, name, own)
    return [Finding(one.where, f"{one.what}; not in use while method = {method}") for one in found]


def _options_of(section: str) -> type[SlurmOptions] | type[DaskOptions]:
    from lofarpipe.executors.dask.cluster import DaskOptions
    from lofarpipe.executors.slurm.options import SlurmOptions

    return SlurmOptions if section == "slurm" else DaskOptions


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
        from lofarpipe.executors.remote.lease import end_all

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
    from lofarpipe.executors.local.executor import LocalExecutor
    from lofarpipe.executors.local.resources import engine_resources

    given, limit = engine_resources(settings.cores, settings.memory_gb)
    executor = LocalExecutor(given)
    executor.notices += [f"{limit}; --cores and --memory-gb say otherwise"] if limit else []
    return executor, []


def _slurm(settings: Settings) -> Made:
    from lofarpipe.executors.slurm.executor import SlurmExecutor
    from lofarpipe.executors.slurm.options import SlurmOptions

    options, found = read_section(SlurmOptions, settings.config_file, "slurm", own_keys(settings, "slurm"))
    return (SlurmExecutor(options, orders_directory(settings)) if options and not found else None), found


def _dask(settings: Settings, **fixed: str) -> Made:
    from lofarpipe.executors.dask.cluster import MISSING, DaskOptions
    from lofarpipe.executors.dask.executor import DaskExecutor

    if importlib.util.find_spec("distributed") is None:
        raise PipelineError(MISSING)
    section = {**own_keys(settings, "dask"), **fixed}
    options, found = read_section(DaskOptions, settings.config_file, "dask", section)
    return (DaskExecutor(options, orders_directory(settings)) if options and not found else None), found


def _ssh(settings: Settings) -> Made:
    return _dask(settings, launcher="ssh")


MAKERS: dict[str, Callable[[Settings], Made]] = {"local": _local, "slurm": _slurm, "dask": _dask, "ssh": _ssh}
