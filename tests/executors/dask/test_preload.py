"""The end of a worker of Dask."""

from __future__ import annotations

import subprocess
import sys
import threading

from lofarpipe.executors.dask import worker as dask_preload

HANGING = """
import sys, threading
from lofarpipe.executors.dask import worker as dask_preload
dask_preload.CLOSING_S = 0.1
dask_preload.dask_teardown(None)
print("closing", flush=True)
threading.Event().wait()
"""


def test_hanging_worker_is_ended():
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "closing\n")


def test_teardown_ends_guards_first(monkeypatch):
    called = []
    monkeypatch.setattr(dask_preload, "end_worker_guards", lambda: called.append("guards"))
    monkeypatch.setattr(dask_preload, "_end_process", lambda: called.append("process"))
    dask_preload.dask_teardown(None)
    assert called[0] == "guards"


def test_foreign_process_is_not_ended(monkeypatch):
    """A worker within a process, as LocalCluster(processes=False) has it, runs in a thread of it."""
    called = []
    monkeypatch.setattr(dask_preload, "end_worker_guards", lambda: called.append("guards"))
    monkeypatch.setattr(dask_preload, "_end_process", lambda: called.append("process"))
    thread = threading.Thread(target=dask_preload.dask_teardown, args=(None,))
    before = threading.active_count()
    thread.start()
    thread.join()
    assert called == ["guards"]
    assert threading.active_count() == before
