"""How an image came to be: the versions and the exact commands, for its FITS HISTORY."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Mapping
from pathlib import Path

import lofarpipe
from lofarpipe.errors import PipelineError
from lofarpipe.programs.wsclean.build import quiet_environment

VERSION_TIMEOUT_S = 60
PYTHON_PACKAGES = ("everybeam", "astropy")


def program_version(path: str | Path) -> str:
    """Return the first line that a program prints for --version, such as ``DP3 6.6.0``.

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
    """Return one line per program and package; a program without a path was not found, and the line says so.

    ``programs`` is name -> path. Ours and the Python packages that make the primary beam are added.
    """
    lines = [f"genericpipeline {lofarpipe.__version__}"]
    for name, path in programs.items():
        lines.append(program_version(path) if path else f"{name}: not found on this machine")
    return lines + [f"{name} {_package_version(name)}" for name in PYTHON_PACKAGES]


def _package_version(name: str) -> str:
    """Return the version of an installed Python package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def command_lines(commands_file: str | Path, last_step: str = "") -> list[str]:
    """Return the commands that a run wrote down, one a line: ``<step>/<job>: <command>``.

    They are those up to ``last_step``, all if it is empty: the file also tells of later steps where an earlier run
    came further.

    Raises
    ------
    PipelineError
        If there is no such file.
    """
    try:
        text = Path(commands_file).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as err:
        raise PipelineError(
            f"{commands_file}: the commands of this run cannot be read: {err.strerror}; "
            "give no commands_file where there is none"
        ) from err
    lines = [line for line in text.splitlines() if line.strip()]
    own = [place for place, line in enumerate(lines) if last_step and line.startswith(f"{last_step}/")]
    return lines[: own[-1] + 1] if own else lines
