"""Programs, packages and machine of a run."""

from __future__ import annotations

import importlib.util
import os
import pwd
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lofarpipe import __version__
from lofarpipe.archive.checksums import FULL, checksum_of
from lofarpipe.config import PACKAGE, Settings
from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.resources import detect_resources
from lofarpipe.pipeline.steps import Step, flattened, references
from lofarpipe.programs.base import KNOWN_PROGRAMS
from lofarpipe.programs.container import step_executable
from lofarpipe.support.data_directories import data_directories

Facts = dict[str, Any]

#: Python packages used by the steps or the runner.
PACKAGES = (
    *("astropy", "bdsf", "dask", "distributed", "dp3", "everybeam", "fissix", "lofarantpos", "lsmtool"),
    *("matplotlib", "numpy", "python-casacore", "scipy"),
)
GIT_TIMEOUT_S = 20
OF_COMMIT, NO_COMMIT = "# branch.oid ", "(initial)"


def runner_facts(package: Path = PACKAGE) -> Facts:
    """Return version and path of this package; in a checkout also the commit, and whether files differ from it."""
    commit, has_changes = _checkout(package.parent)
    return {
        "name": "genericpipeline",
        "version": __version__,
        "path": str(package),
        "commit": commit,
        "has_changes": has_changes,
        "python": sys.version.partition(" ")[0],
        "interpreter": sys.executable,
    }


def _checkout(directory: Path) -> tuple[str | None, bool | None]:
    if not (directory / ".git").exists():
        return None, None
    status = _git(directory, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    if status is None:
        return None, None
    lines = status.splitlines()
    commit = next((line.removeprefix(OF_COMMIT) for line in lines if line.startswith(OF_COMMIT)), NO_COMMIT)
    return None if commit == NO_COMMIT else commit, any(not line.startswith("#") for line in lines)


def _git(directory: Path, *arguments: str) -> str | None:
    """Return the output of git; None if it is missing or fails."""
    command = ["git", "--no-optional-locks", "-C", str(directory), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def package_facts() -> list[Facts]:
    """Return name, version and path of the installed ones among the packages."""
    places = list(dict.fromkeys(path or "." for path in sys.path))
    packages: dict[str, Facts] = {}
    for place in places:
        for name, version in _installed(place):
            packages.setdefault(name, _package(name, version, Path(place)))
    if any(place.endswith(".egg") or os.path.isfile(place) for place in places):  # noqa: PTH113
        packages |= {name: package for name in PACKAGES if name not in packages and (package := _known_to_python(name))}
    return [packages[name] for name in PACKAGES if name in packages]


def _package(name: str, version: str, place: Path) -> Facts:
    return {"name": name, "version": version, "path": str(place)}


def _installed(place: str) -> Iterator[tuple[str, str]]:
    """Yield name and version of the packages found in a directory.

    Both are in the names of the metadata directories of packages; reading these takes ten times as long.
    """
    try:
        entries = os.listdir(place)  # noqa: PTH208
    except OSError:  # missing, or an archive
        return
    for entry in entries:
        stem, _, ending = entry.rpartition(".")
        if ending in ("dist-info", "egg-info"):
            words = stem.split("-")  # numpy-2.4.6, python_casacore-3.8.1, scipy-1.10.1-py3.11, or without a version
            name = words[0].lower().replace("_", "-")
            if name in PACKAGES:
                is_plain = len(words) > 1 and "_" not in words[1]  # _ replaces characters that names may not have
                yield name, words[1] if is_plain else _version(name)


def _version(name: str) -> str:
    from importlib import metadata  # only where it is needed: it brings email

    return metadata.version(name)


def _known_to_python(name: str) -> Facts | None:
    """Return the facts of a package in an archive, or in its own directory."""
    if importlib.util.find_spec(name.removeprefix("python-")) is None:
        return None
    from importlib import metadata

    try:
        package = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    return _package(name, package.version, Path(str(package.locate_file(""))))


def program_facts(steps: Iterable[Step], settings: Settings) -> list[Facts]:
    """Return the programs and scripts of the steps: name, path, version, checksum, steps.

    Version and checksum are null where unknown; a program with a version gets no checksum.
    """
    programs: dict[Path, Facts] = {}
    for step in flattened(list(steps)):
        path = _executable(step, settings)
        if path is None:
            continue
        if path not in programs:
            program = step.checking_program(settings.lenient)
            version = version_of(path, program)
            programs[path] = {
                "name": _name(path, program),
                "path": str(path),
                "version": version,
                "sha256": None if version else program_checksum(path),
                "steps": [],
            }
        programs[path]["steps"].append(step.name)
    return list(programs.values())


def _executable(step: Step, settings: Settings) -> Path | None:
    """Return the program of a step; None without one, or if it is only known during the run."""
    texts = step.given
    typed = texts.get("executable", "")
    if step.kind != "recipe" or not typed or references(typed + texts.get("container", "")):
        return None
    try:
        return step_executable(texts, settings)
    except PipelineError:  # already reported by the check, in a lenient run
        return None


def _name(path: Path, program: str) -> str:
    return KNOWN_PROGRAMS[program].name if program in KNOWN_PROGRAMS else path.name


def version_of(path: Path, program: str) -> str | None:
    """Return the version of a known program; unknown programs are not run, as they might do anything."""
    if program not in KNOWN_PROGRAMS:
        return None
    from lofarpipe.programs.find import program_version

    try:
        return KNOWN_PROGRAMS[program].version(path) or program_version(path).rpartition(" ")[2]
    except PipelineError:
        return None


def program_checksum(path: Path) -> str | None:
    """Return the SHA-256 of a program's file; None if it cannot be read."""
    try:
        return checksum_of(str(path), FULL)
    except OSError:
        return None


def _user() -> str:
    try:
        return os.environ.get("USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container without this user
        return str(os.getuid())


def _system(machine: os.uname_result) -> str:
    """Return the text of ``platform.platform()``, without the program that it starts."""
    library = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
    ending = f"-with-{library.replace(' ', '')}" if library else ""
    return f"{machine.sysname}-{machine.release}-{machine.machine}{ending}"


def host_facts() -> Facts:
    """Return the machine that runs the pipeline: name, system, resources, directories of EveryBeam and casacore."""
    resources, machine = detect_resources(), os.uname()
    return {
        "name": machine.nodename,
        "system": _system(machine),
        "machine": machine.machine,
        "cores": resources.cores,
        "memory_gb": round(resources.memory_gb, 3),
        "gpus": resources.gpus,
        "user": _user(),
        "data_directories": {name: os.environ.get(name, path) for name, path in data_directories().items()},
    }
