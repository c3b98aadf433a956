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

CLOSING_S = 20.0  # a worker still closing after this is killed; seen with distributed 2026.8


def dask_teardown(worker: object) -> None:
    """Dask's hook at the close of a worker: after the loss of its scheduler, at its time limit, or on request."""
    del worker
    end_worker_guards()
    if threading.current_thread() is threading.main_thread():  # else the worker runs inside another program
        threading.Thread(target=_end_process, daemon=True).start()


def worker_plugin(size: Mapping[str, int]) -> Any:
    """Return a plugin for workers started by others: sets their resources, and ends their jobs."""
    from distributed import WorkerPlugin

    class GivenResources(WorkerPlugin):  # type: ignore[misc]
        name = "lofarpipe"

        async def setup(self, worker: Any) -> None:
            await worker.set_resources(**size)

        def teardown(self, worker: Any) -> None:  # noqa: ARG002 - Dask's signature
            end_worker_guards()

    return GivenResources()


def _end_process() -> None:
    time.sleep(CLOSING_S)
    os._exit(1)  # guards notice that, and end their jobs


_guards: set[subprocess.Popen[bytes]] = set()
_lock = threading.Lock()


def run_order(path: str, environment: Mapping[str, str]) -> int:
    """Run an order, and return the exit status of its guard; the job's result is in the record.

    Parameters
    ----------
    environment: variables of the engine, missing in workers started by others.

    Raises
    ------
    PipelineError
        If the order was withdrawn.
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
                start_new_session=True,  # Ctrl-C goes to the engine only
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
