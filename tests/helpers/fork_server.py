"""Pipelines without their start-up: a process that has imported everything, and forks for each run and each script.

A run behaves as from the command line; the seconds of importing numpy, astropy and matplotlib are spent once, and
not eight times in each run.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

NODES = ("lofarpipe.engine.script_job", "lofarpipe.archive.feedback_job")
IMPORTED = (
    *("numpy", "scipy.optimize", "scipy.ndimage", "scipy.spatial", "scipy.interpolate", "casacore.tables", "everybeam"),
    *("astropy.io.fits", "astropy.wcs", "astropy.visualization.wcsaxes", "matplotlib.figure", "PIL.Image"),
    *(
        "matplotlib.backends.backend_agg",
        "lofarpipe.cli",
        "lofarpipe.engine.run",
        "lofarpipe.imaging.plan.plan",
        *NODES,
    ),
    *(f"lofarpipe.imaging.quality.{name}" for name in ("numbers", "plot", "comparison")),
    *("lofarpipe.programs.wsclean.beam_images", "lofarpipe.imaging.ms.uv_coverage"),
    *("lofarpipe.executors.local.process", "lofarpipe.report.html.writer", "lofarpipe.imaging.ms.inputs"),
)


class ForkServer:
    """Runs ``genericpipeline.py`` in forks of one process; a context manager."""

    def __init__(self, modules: Sequence[str] = ()) -> None:
        command = [sys.executable, __file__, *modules]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()

    def run(self, here: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run the command line in the directory ``here``."""
        words = list(map(str, arguments))
        self._process.stdin.write(json.dumps({"here": str(here), "arguments": words}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return subprocess.CompletedProcess(words, answer["status"], answer["stdout"], answer["stderr"])


def serve(orders: Any, answers: Any) -> None:
    """Answer one line of JSON with another, until there are no more."""
    from lofarpipe.cli import main

    for line in orders:
        order = json.loads(line)
        outputs = [Path(order["here"], f".{name}-{os.getpid()}") for name in ("stdout", "stderr")]
        child = fork(lambda order=order: main(order["arguments"]), order["here"], *outputs)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = [path.read_text() for path in outputs]
        for path in outputs:
            path.unlink()
        json.dump({"status": status, "stdout": texts[0], "stderr": texts[1]}, answers)
        answers.write("\n")
        answers.flush()


def fork(work: Callable[[], int], here: str | Path, stdout: Path | int, stderr: Path | int) -> int:
    """Return the id of a child in its own session that runs a function and exits with its result."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setsid()
        os.chdir(here)
        for number, target in ((0, Path(os.devnull)), (1, stdout), (2, stderr)):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(target if isinstance(target, int) else os.open(target, flags, 0o666), number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        status = work()
    except SystemExit as err:
        status = err.code if isinstance(err.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def popen_or_fork(started: Callable[..., Any]) -> Callable[..., Any]:
    """Return the starter of a job: scripts in a fork, other programs as ``started`` does."""

    def start(job: Any, env: Mapping[str, str], log: int) -> Any:
        words = list(job.argv)
        if words[1:3] != ["-P", "-m"] or words[3] not in NODES:
            return started(job, env, log)
        node = importlib.import_module(words[3])

        def work() -> int:
            os.environ.clear()
            os.environ.update(env)
            return int(node.main(words[3:]))

        return SimpleNamespace(pid=fork(work, job.workdir, log, log), returncode=None)

    return start


if __name__ == "__main__":
    for module in (*IMPORTED, *sys.argv[1:]):
        importlib.import_module(module)
    from lofarpipe.executors.local import process

    process._popen_once = popen_or_fork(process._popen_once)
    requests, replies = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    serve(requests, replies)
