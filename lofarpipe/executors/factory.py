"""Construction of the executor from [remote] of pipeline.cfg and the section of its method.

Each folder here with a function ``make`` is a method of that name; there is no list. So is each module named by an
entry point in the group ``genericpipeline.executors`` of an installed package. It imports nothing heavy, and
defines:

- ``make(settings) -> Executor``: the executor; raises CheckFailed with the problems of its section;
- ``SECTION``: its section of pipeline.cfg, or "";
- ``section_type() -> type``: the dataclass with the keys of the section as fields;
- ``end_earlier(orders)``, if its jobs can outlive the engine: ends jobs of earlier runs;
- ``TAKES_OVER = True``: its ``run`` takes over, or ends, jobs of earlier runs.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from lofarpipe.config import Settings, shipped_config
from lofarpipe.errors import CheckFailed, Finding, PipelineError, misspelt, nearest
from lofarpipe.jobs import Executor
from lofarpipe.support.config_file import check_values, read_section, unknown_keys
from lofarpipe.support.dataclass import dataclass

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")
GROUP = "genericpipeline.executors"  # group of entry points
PACKAGE = "lofarpipe.executors"
ORDERS = "jobs"  # directory below the job directory
#: Other sections, and the keys of sections that are not read as a whole anywhere else.
SECTIONS = ("layout", "logging", "feedback", "remote", "report", "notify")
OWN_KEYS = {
    "layout": ("job_directory", "job_workdir", "other_runs"),
    "logging": ("log_file", "xml_stat_file", "keep"),
    "feedback": ("method",),
    "report": ("html", "checksum_limit_gb"),
}
#: Sections of the original runner's configuration. Source: doc/migrating.md.
FORMER_SECTIONS = ("cluster", "deploy", "docker")
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


@functools.cache
def methods() -> Mapping[str, Any]:
    """Return method name -> folder; ``local`` comes first."""
    folders = importlib.import_module(PACKAGE).__path__
    names = sorted(
        (info.name for info in pkgutil.iter_modules(folders) if info.ispkg), key=lambda name: name != "local"
    )
    folders_by_name = {name: importlib.import_module(f"{PACKAGE}.{name}") for name in names}
    return {name: folder for name, folder in folders_by_name.items() if hasattr(folder, "make")}


@functools.cache
def all_methods() -> Mapping[str, Any]:
    """Return the built-in methods, then those of installed packages, whose entry points take time to find.

    An unusable method is refused when requested. Built-in names have priority.
    """
    from importlib.metadata import entry_points

    points = {point.name: point for point in entry_points(group=GROUP) if point.name not in methods()}
    return {**methods(), **{name: _loaded(point) for name, point in points.items()}}


def _loaded(point: EntryPoint) -> Any:
    """Return the module of an entry point."""
    try:
        folder = point.load()
    except Exception as err:
        return Unusable(f"{_origin(point)} cannot be loaded: {type(err).__name__}: {err}")
    missing = [name for name in ("make", "SECTION") if not hasattr(folder, name)]
    missing += ["section_type"] if getattr(folder, "SECTION", "") and not hasattr(folder, "section_type") else []
    return Unusable(f"{_origin(point)} has no {', '.join(missing)}; see doc/add_an_executor.md") if missing else folder


def _origin(point: EntryPoint) -> str:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "a package"
    return f"the executor '{point.name}' of {package} ({point.value})"


@dataclass(frozen=True)
class Unusable:
    """An unusable method of an installed package."""

    problem: str
    SECTION: ClassVar[str] = ""

    def make(self, settings: Settings) -> Executor:
        """Raise PipelineError with the reason."""
        raise PipelineError(f"{settings.where('remote', 'method')}: {self.problem}")


def _folder(method: str) -> Any:
    """Return the folder of a method; None if unknown."""
    return methods().get(method) or all_methods().get(method)


def make_executor(settings: Settings) -> Executor:
    """Return the executor chosen in the site's configuration.

    Raises
    ------
    CheckFailed
        If a section has unknown keys or invalid values; all are named.
    PipelineError
        If a required package is not installed.
    """
    method = method_of(settings)
    findings = [] if settings.lenient else [*_unknown_keys(settings), *_misspelt_sections(settings)]
    folder = _folder(method)
    if folder is None:
        raise CheckFailed([*findings, Finding(settings.where("remote", "method"), _not_a_method(method))])
    try:
        executor: Executor = folder.make(settings)
    except CheckFailed as err:
        raise CheckFailed([*findings, *err.findings]) from err
    if findings:
        executor.close()
        raise CheckFailed(findings)
    return executor


def section_options(kind: type[T], settings: Settings, name: str) -> T:
    """Return the options of a section.

    Raises
    ------
    CheckFailed
        If an option is invalid.
    """
    values = own_keys(settings, name)
    options, findings = read_section(kind, settings.config_file, name, values, settings.laid_over)
    if options is None or findings:
        raise CheckFailed(findings)
    return options


def _unknown_keys(settings: Settings) -> list[Finding]:
    values = own_keys(settings, "remote")
    return unknown_keys(settings.config_file, "remote", values, REMOTE_KEYS, settings.laid_over)


def _misspelt_sections(settings: Settings) -> list[Finding]:
    """Return a finding for each misspelt section; unknown ones may belong to other programs."""
    valid_names = [*SECTIONS, *_folders(settings)]
    suggestions = misspelt([name for name in settings.sections if name not in valid_names], valid_names)
    return [
        Finding(settings.where(name), f"[{name}]: there is no such section; did you mean [{suggestion}]?")
        for name, suggestion in suggestions.items()
    ]


def unread_parts(settings: Settings) -> list[tuple[str, str, Finding]]:
    """Return (section, key, finding) for each unused section, and each unused key of the runner's sections.

    A parset may still refer to them. The key is "" for a whole section.
    """
    known_sections = [*SECTIONS, *filter(None, (folder.SECTION for folder in methods().values()))]
    unknown_sections = [name for name in settings.sections if name not in (*known_sections, *FORMER_SECTIONS)]
    near = misspelt(unknown_sections, known_sections)
    section_names = ", ".join(sorted(known_sections))
    remedy = f"the sections are {section_names}; others are for parsets that refer to them, and none does; remove it"
    unread = [
        (name, "", Finding(settings.where(name), f"[{name}]: there is no such section; {remedy}"))
        for name in unknown_sections
        if name not in near
    ]
    for name, keys in OWN_KEYS.items():
        for key in own_keys(settings, name):
            if key not in keys:
                problem = f"[{name}] has no key '{key}'{nearest(key, keys)}; its keys are {', '.join(keys)}"
                unread.append((name, key, Finding(settings.where(name, key), problem)))
    return unread


def unused_sections(settings: Settings) -> list[Finding]:
    """Return the problems of keys in sections of unused methods.

    These are only warnings for a later change of the method: this run does not read them, and they may be
    unfinished. The sections of the shipped file are valid, and are not checked.
    """
    method = method_of(settings)
    section_in_use = getattr(_folder(method), "SECTION", "")
    of_methods = {name: folder for name, folder in _folders(settings).items() if name != section_in_use}
    findings = []
    shipped = () if settings.config_file != shipped_config() else settings.sections.keys() - settings.laid_over.keys()
    for name in settings.sections:
        if name in of_methods and name not in shipped and (values := own_keys(settings, name)):
            findings += check_values(of_methods[name].section_type(), settings.config_file, name, values)
    return [Finding(one.where, f"{one.what}; not in use while method = {method}") for one in findings]


def _folders(settings: Settings) -> dict[str, Any]:
    """Return section -> method; methods of installed packages only for sections without a built-in one."""
    ours = {folder.SECTION: folder for folder in methods().values() if folder.SECTION}
    if settings.sections.keys() <= {*ours, *SECTIONS}:
        return ours
    return {folder.SECTION: folder for folder in all_methods().values() if folder.SECTION}


def method_of(settings: Settings) -> str:
    """Return the method of [remote]."""
    return settings.sections.get("remote", {}).get("method", "").strip() or "local"


def end_earlier(settings: Settings) -> None:
    """End jobs of an earlier run with another method; the caller must hold the job directory.

    Raises
    ------
    PipelineError
        If the jobs cannot be ended.
    """
    orders = orders_directory(settings)
    if not orders.is_dir() or getattr(_folder(method_of(settings)), "TAKES_OVER", False):
        return
    for folder in all_methods().values():
        if hasattr(folder, "end_earlier"):
            folder.end_earlier(orders)
    from lofarpipe.executors.remote.lease import end_claimed

    end_claimed(orders)


def orders_directory(settings: Settings) -> Path:
    """Return the directory for orders and records."""
    return settings.job_directory / ORDERS


def own_keys(settings: Settings, section: str) -> dict[str, str]:
    """Return the keys of a section, without those inherited from [DEFAULT]."""
    section_values: Mapping[str, str] = settings.sections.get(section, {})
    return {key: value for key, value in section_values.items() if settings.defaults.get(key) != value}


def _not_a_method(method: str) -> str:
    choices = ", ".join(all_methods())
    if method in FORMER:
        return (
            f"method = {method} of the original runner is not there any more; use {FORMER[method]} (one of {choices})"
        )
    return f"method is '{method}'{nearest(method, all_methods())}; one of {choices} is needed"
