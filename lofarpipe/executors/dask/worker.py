"""What a worker of Dask does: start the guard of an order, and wait for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from lofarpipe.executors.remote.order import guard_command, read_order

_guards: set[subprocess.Popen[bytes]] = set()
_lock = threading.Lock()


def run_order(path: str, environment: Mapping[str, str]) -> int:
    """Run an order to its end; return the exit status of its guard. What became of the job is in the record.

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


def end_guards() -> int:
    """Tell every guard of this worker to end its job; return how many there are."""
    with _lock:
        for guard in _guards:
            with contextlib.suppress(ProcessLookupError):
                guard.terminate()
        return len(_guards)
