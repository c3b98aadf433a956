"""Workers of Dask over ssh: a real sshd on the loopback interface."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from lofarpipe.executors.dask.cluster import DaskOptions
from lofarpipe.jobs import Job

pytest.importorskip("distributed", reason="Dask is not installed")
from lofarpipe.executors.dask.executor import DaskExecutor

LIMIT_S = 60.0


def _job(root: Path, number: int, script: str, **changes: object) -> Job:
    return Job(f"s/{number:03}", ("bash", "-c", script), root, root / f"{number}.log", **changes)  # type: ignore[arg-type]


def _workers() -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it may end while it is looked at
            continue
        if b"distributed.cli.dask_worker" in words and b"n1" in words:
            found.append(int(process.name))
    return found


def test_ssh_worker_runs_jobs_and_ends(ssh_config, tmp_path, monkeypatch):
    monkeypatch.setattr("lofarpipe.executors.dask.executor.WITHOUT_WORKERS_S", 1.0)
    options = DaskOptions(
        "ssh",
        cores=2,
        memory_gb=4.0,
        hosts=("n1",),
        extra=("-F", str(ssh_config)),
        interface="lo",
        start_timeout_s=LIMIT_S,
    )
    executor = DaskExecutor(options, tmp_path / "orders", grace_s=1.0)
    jobs = [_job(tmp_path, n, f"echo $SSH_CONNECTION; exit {n}", host="n1", at_host=True) for n in range(3)]
    results = executor.run(jobs)
    assert [result.exit_code for result in results] == [0, 1, 2]
    assert "127.0.0.1" in results[0].tail()[0]  # it did go through ssh
    assert executor.notices == []
    worker = _workers()[0]
    jobs = [_job(tmp_path, n, "sleep 120", cores=2) for n in (8, 9)]
    first, second = executor.run(jobs, on_start=lambda _: os.kill(worker, signal.SIGKILL))
    assert first.is_lost
    assert second.is_lost
    assert "no worker is left" in second.reason()
    executor.close()
    deadline = time.monotonic() + LIMIT_S
    while _workers():
        assert time.monotonic() < deadline
        time.sleep(0.05)
