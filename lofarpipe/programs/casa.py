"""CASA: where its Python is, and runs of its tasks in a process of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lofarpipe.errors import PipelineError
from lofarpipe.programs.find import find, quiet_environment
from lofarpipe.support.data_directories import CASACORE, set_data_directories

INSTALL = "pip install 'genericpipeline[casa]', or set casa_python to the Python that has casatasks"
HAS_CASA = "import importlib.util, sys; sys.exit(importlib.util.find_spec('casatasks') is None)"
LIMIT_S = 60
NOISE = ("leap second", "TAI_UTC", "IERS", "MeasTable::dUTC")  # of old tables; phases of calibrators do not need them
TAIL_LINES = 5
#: Settings against updates, and against files outside of the working directory.
SITE = """measurespath = {measures!r}
measures_auto_update = False
data_auto_update = False
nologfile = True
nogui = True
"""


class CasaError(PipelineError):
    """CASA is not installed, or a task failed."""


def find_casa(python: str = "") -> Path:
    """Return the Python with casatasks: ``casa_python``, or else the current one.

    Raises
    ------
    CasaError
        If casatasks is missing; with the command to install it.
    """
    if not python:
        if find_spec("casatasks") is None:
            raise CasaError(f"backend: casa needs casatasks, which is not installed in {sys.executable}; {INSTALL}")
        return Path(sys.executable)
    try:
        executable = find(python)
        done = subprocess.run([executable, "-c", HAS_CASA], capture_output=True, timeout=LIMIT_S, check=False)
    except (PipelineError, OSError, subprocess.TimeoutExpired) as err:
        raise CasaError(f"casa_python: {python} cannot be run: {err}; {INSTALL}") from err
    if done.returncode:
        raise CasaError(f"casa_python: {python} has no casatasks; {INSTALL}")
    return executable


def run_tasks(python: Path, tasks: Sequence[tuple[str, Mapping[str, Any]]], directory: Path) -> list[Any]:
    """Run tasks with their keywords, in order, in one process; return their results.

    ``directory`` is where they work, and keeps the request. Their log is that of this process.

    Raises
    ------
    CasaError
        If a task fails.
    """
    set_data_directories()
    directory.mkdir(parents=True, exist_ok=True)
    request, results, site = (directory / name for name in ("tasks.json", "results.json", "casa_site.py"))
    request.write_text(json.dumps([{"task": name, "keywords": dict(keywords)} for name, keywords in tasks], indent=1))
    results.unlink(missing_ok=True)
    site.write_text(SITE.format(measures=os.environ.get(CASACORE, "")))
    environment = {**quiet_environment(), "CASASITECONFIG": str(site), "MPLBACKEND": "agg"}
    environment.pop("PYTHONPATH", None)  # CASA's Python has its own packages
    # A copy, as Python imports from the program's directory, which must not be ours.
    program = directory / "casa_tasks.py"
    shutil.copyfile(Path(__file__).with_name(program.name), program)
    argv = [str(python), str(program), str(request), str(results)]
    tail: list[str] = []
    with subprocess.Popen(
        argv,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            if line.strip() and not any(noise in line for noise in NOISE):
                sys.stdout.write(line)
                tail = [*tail[-TAIL_LINES:], " ".join(line.split())]
    if process.returncode or not results.is_file():
        reason = tail[-1] if tail else "it wrote nothing"
        raise CasaError(f"CASA exited with {process.returncode}: {reason}; look at the log of this job")
    return list(json.loads(results.read_text()))
