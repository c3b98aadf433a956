"""Loaded by workers of Dask (``--preload``): what ends them ends their jobs, and soon."""

from __future__ import annotations

import os
import threading
import time

from lofarpipe.executors.dask.worker import end_guards

CLOSING_S = 20.0  # then a worker that hangs while it closes is ended; seen with distributed 2026.8


def dask_teardown(worker: object) -> None:
    """Be called by Dask when a worker closes: its scheduler is gone, its time is over, or it was told to."""
    del worker
    end_guards()
    if threading.current_thread() is threading.main_thread():  # else it is a guest in the process of another program
        threading.Thread(target=_end_process, daemon=True).start()


def _end_process() -> None:
    time.sleep(CLOSING_S)
    os._exit(1)  # guards notice that, and end their jobs
