"""The task of a Dask worker: start the guard of an order, and wait for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lofarpipe.executors.remote.order import guard_command, read_order

CLOSING_S = 20.0  # then a worker that hangs while it closes is ended; seen with distributed 2026.8


def dask_teardown(worker: object) -> None:
    """Be called by Dask when a worker closes: its scheduler is gone, its time is over, or it was closed."""
    del worker
    end_worker_guards()
    if threading.current_thread() is threading.main_thread():  # else it is a guest in the process of another program
        threading.Thread(target=_end_process, daemon=True).start()


def worker_plugin(size: Mapping[str, int]) -> Any:
    """Return a Dask plugin for workers that others start: their resources, and the end of their jobs."""
    from distributed import WorkerPlugin

    class GivenResources(WorkerPlugin):  # type: ignore[misc]
        name = "lofarpipe"

        async def setup(self, worker: Any) -> None:
            await worker.set_resources(**size)

        def teardown(self, worker: Any) -> None:  # noqa: ARG002 - its signature is Dask's
            end_worker_guards()

    return GivenResources()


def _end_process() -> None:
    time.sleep(CLOSING_S)
    os._exit(1)  # guards notice that, and end their jobs


_guards: set[subprocess.Popen[bytes]] = set()
_lock = threading.Lock()


def run_order(path: str, environment: Mapping[str, str]) -> int:
    """Run an order to its end; return the exit status of its guard. The job's result is in the record.

    Parameters
    ----------
    environment: variables of the engine, which a worker that somebody else started does not have.

    Raises
    ------
    PipelineError
        If there is no such order: it was withdrawn.
    OSError
        If the guard cannot be started.
    """
    order = read_order(Path(path))
    with order.output.open("ab") as output:
        with _lock:
            guard = subprocess.Popen(
                guard_command(path, "--parent", str(os.getpid())),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C in the terminal of the engine is the engine's
            )
            _guards.add(guard)
        try:
            return guard.wait()
        finally:
            with _lock:
                _guards.discard(guard)


def end_worker_guards() -> int:
    """Signal every guard of this worker to end its job; return their number."""
    with _lock:
        for guard in _guards:
            with contextlib.suppress(ProcessLookupError):
                guard.terminate()
        return len(_guards)
