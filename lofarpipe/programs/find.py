"""Locations of programs, and the environment of their jobs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import lofarpipe
from lofarpipe.config import PACKAGE, Settings, find_file, share_directory
from lofarpipe.errors import PipelineError
from lofarpipe.programs.base import program_of
from lofarpipe.support.data_directories import data_directories, home_directory
from lofarpipe.support.patterns import lazy_pattern
from lofarpipe.support.utilities import is_file

VERSION_TIMEOUT_S = 60
PYTHON_PACKAGES = ("everybeam", "astropy")


def program_version(path: str | Path) -> str:
    """Return the first line of ``--version``, such as ``DP3 6.6.0``.

    Raises
    ------
    PipelineError
        If it cannot be started, prints nothing, or takes longer than a minute.
    """
    try:
        process = subprocess.run(
            [str(path), "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            env=quiet_environment(),
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise PipelineError(f"{path}: --version failed: {err}; is it the program that it should be?") from err
    lines = [line.strip() for line in process.stdout.splitlines() if line.strip()]
    if not lines:
        raise PipelineError(
            f"{path}: --version printed nothing (exit code {process.returncode}); see if it runs by hand"
        )
    return lines[0]


def version_lines(programs: Mapping[str, str | Path | None]) -> list[str]:
    """Return one line per program and package; a program without a path is marked as not found.

    ``programs`` is name -> path. Ours and the Python packages that make the primary beam are added.
    """
    lines = [f"genericpipeline {lofarpipe.__version__}"]
    for name, path in programs.items():
        lines.append(program_version(path) if path else f"{name}: not found on this machine")
    return lines + [f"{name} {_package_version(name)}" for name in PYTHON_PACKAGES]


def _package_version(name: str) -> str:
    """Return the version of an installed Python package."""
    import importlib.metadata  # imported on demand, as it imports email

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def command_lines(commands_file: str | Path, last_step: str = "") -> list[str]:
    """Return the recorded commands of a run, one a line: ``<step>/<job>: <command>``.

    Commands after ``last_step`` are left out, unless it is empty: the file has those of later steps if an earlier run
    came further.

    Raises
    ------
    PipelineError
        If the file is missing.
    """
    try:
        text = Path(commands_file).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as err:
        raise PipelineError(
            f"{commands_file}: the commands of this run cannot be read: {err.strerror}; "
            "give no commands_file where there is none"
        ) from err
    lines = [line for line in text.splitlines() if line.strip()]
    step_lines = [place for place, line in enumerate(lines) if last_step and line.startswith(f"{last_step}/")]
    return lines[: step_lines[-1] + 1] if step_lines else lines


PYTHON_PLUGIN = "python_plugin"
#: Variables with an effect on the loader, Python, OpenMP, HDF5, casacore and LOFAR's software.
CARRIED = lazy_pattern(
    r"LANG|TZ|PYTHONPATH|LC_(ALL|COLLATE|CTYPE|NUMERIC|MESSAGES|TIME)|(LD|OMP|HDF5|AIPS|CASA|CASACORE|EVERYBEAM|LOFAR(?!PIPE))_?[A-Z0-9_]*"
)


def quiet_environment() -> dict[str, str]:
    """Return the variables required to start programs: one OpenBLAS thread, and HOME."""
    return {"HOME": "/", **os.environ, "OPENBLAS_NUM_THREADS": "1"}


def find(name: str) -> Path:
    """Return the path of a program: as given if it has a slash, else from PATH, else beside this interpreter.

    Raises
    ------
    PipelineError
        If the program is missing or not executable; with the package to install.
    """
    if "/" in name:
        return _check_path(Path(name))
    if executable := shutil.which(name, path=_searched()):
        return Path(executable).absolute()
    known_program = program_of(name)  # imports the known programs
    later = known_program.executables[known_program.executables.index(name) + 1 :] if known_program else ()
    for candidate in later:
        if executable := shutil.which(candidate, path=_searched()):
            return Path(executable).absolute()
    advice = known_program.install if known_program else f"install {name}, or add its directory to PATH"
    raise PipelineError(f"{name}: no such program on PATH or in {_own_programs()}; {advice}")


def _check_path(path: Path) -> Path:
    if not is_file(path):
        raise PipelineError(f"{path}: no such program; correct the path, or give {path.name} alone to search PATH")
    if not os.access(path, os.X_OK):
        raise PipelineError(f"{path}: this file may not be executed; chmod +x it, or name another program")
    return path.absolute()


def is_own_program(path: Path) -> bool:
    """Return whether a program or script is shipped, or in this interpreter's environment."""
    return path.parent in (_own_programs(), share_directory() / "scripts") or PACKAGE in path.parents


def job_environment(is_ours: bool = True, runs_package: bool = True) -> dict[str, str]:
    """Return the variables that every job has by name: on this machine, through a queue, on a node, or typed by hand.

    Programs of this interpreter's environment come first on PATH if ``is_ours``. For any other job they come
    last, as in ``find``, so that the job calls the user's programs by name. The same applies to this
    package on PYTHONPATH, unless the job runs a module of it.

    These variables determine the programs' behaviour. DP3 and WSClean refuse more than one OpenBLAS thread;
    EveryBeam and casacore need the table directories of the installed packages; WSClean needs HOME. Values of
    the user are kept, except for OpenBLAS. Other variables of the user are passed if the executor can do that, and
    are not needed.
    """
    environment = {name: value for name, value in os.environ.items() if CARRIED.fullmatch(name)}
    environment["OPENBLAS_NUM_THREADS"] = "1"
    environment["PATH"] = _prepended("PATH", _own_programs(), os.defpath) if is_ours else _searched()
    environment["PYTHONHASHSEED"] = os.environ.get("PYTHONHASHSEED") or "0"  # a set has the same order in every run
    if PACKAGE.parent.name not in {"site-packages", "dist-packages"}:  # else Python finds it by itself
        put = _prepended if runs_package else _appended
        environment["PYTHONPATH"] = put("PYTHONPATH", PACKAGE.parent)
    environment["HOME"] = home_directory()
    return environment | {name: os.environ.get(name) or place for name, place in data_directories().items()}


OF_ONE_JOB = lazy_pattern(r"(OMP|OPENBLAS|MKL)_NUM_THREADS|PYTHONHASHSEED")


def portable_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a job to be passed to another host.

    They are not the places of this machine, nor the user's settings on it.
    """
    places = {"PATH", "PYTHONPATH", "HOME", *data_directories()}
    return {
        name: value
        for name, value in environment.items()
        if OF_ONE_JOB.fullmatch(name) or (name not in places and os.environ.get(name) != value)
    }


def _searched() -> str:
    """Return the PATH of the user, and behind it the programs of this interpreter's environment."""
    return _appended("PATH", _own_programs(), os.defpath)


def _appended(variable: str, directory: Path, default: str = "") -> str:
    present = os.environ.get(variable, default)
    is_there = str(directory) in present.split(os.pathsep)
    return present if is_there else os.pathsep.join(filter(None, [present, str(directory)]))


def _own_programs() -> Path:
    """Return the directory of this interpreter's programs; without resolving links, as in a venv python is a link."""
    return Path(sys.executable).parent


def _prepended(variable: str, directory: Path, default: str = "") -> str:
    present = [part for part in os.environ.get(variable, default).split(os.pathsep) if part]
    return os.pathsep.join([str(directory), *(part for part in present if part != str(directory))])


NODESCRIPTS = ("executable_args", PYTHON_PLUGIN)
SCIENCE = "imaging/"  # its modules with a main can be called like scripts


def find_executable(typed: str, nodescript: str, settings: Settings) -> Path:
    """Return the program or the script of a step.

    A script is looked up as typed, then among the site's and the shipped scripts, ``imaging/...`` among the modules of
    the package; a program on PATH.

    Raises
    ------
    PipelineError
        If it is missing, or is a program without execute permission.
    """
    if not typed:
        raise PipelineError("no executable; set it to the program that the step runs")
    scripts = settings.search_path("scripts")
    if nodescript == PYTHON_PLUGIN:
        modules = [PACKAGE] if typed.startswith(SCIENCE) else []
        script = find_file(typed, [*scripts, *modules], "script")
        if settings.lenient and Path(typed).is_absolute() and not os.access(script, os.X_OK):
            raise PipelineError(f"{script}: may not be executed; run chmod +x on it")
        return script
    for directory in scripts:
        if os.access(directory / typed, os.X_OK) and not Path(typed).is_absolute() and (directory / typed).is_file():
            return directory / typed
    return find(typed)
