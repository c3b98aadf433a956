"""Workers of Dask as jobs of a real Slurm; and requests to other queues."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from living import living
from lofarpipe.errors import PipelineError
from lofarpipe.executors.dask import cluster as dask_cluster
from lofarpipe.executors.dask.cluster import DaskOptions
from lofarpipe.jobs import Job

if importlib.util.find_spec("dask_jobqueue") is None:
    pytest.skip("dask-jobqueue is not installed", allow_module_level=True)
from lofarpipe.executors.dask.executor import DaskExecutor

LIMIT_S = 60.0
OPTIONS = DaskOptions(
    "slurm", nodes=2, cores=2, memory_gb=1.0, walltime="00:10:00", interface="lo", start_timeout_s=LIMIT_S
)


def _jobs_of_slurm() -> list[str]:
    return subprocess.run(["squeue", "-h", "-o", "%i"], capture_output=True, text=True, check=True).stdout.split()


def _wait_until_queue_is_empty() -> None:
    deadline = time.monotonic() + LIMIT_S
    while _jobs_of_slurm():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _wait_until_nothing_runs_in(directory: Path) -> None:
    deadline = time.monotonic() + LIMIT_S
    while left := living(directory):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def _job(root: Path, number: int, script: str) -> Job:
    return Job(f"s/{number:03}", ("bash", "-c", script), root, root / f"{number}.log", cores=2)


@pytest.mark.usefixtures("slurm")
def test_lost_worker_of_node_is_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    executor = DaskExecutor(OPTIONS, tmp_path / "orders", grace_s=1.0)
    meeting = f"touch {tmp_path}/here.$$; until [ $(ls {tmp_path} | grep -c here) -ge 2 ]; do sleep 0.05; done"
    results = executor.run([_job(tmp_path, n, f"{meeting}; echo $SLURMD_NODENAME") for n in range(2)])
    assert sorted(line for result in results for line in result.tail()) == ["n1", "n2"]
    first = _jobs_of_slurm()
    assert len(first) == 2  # one for each node, for all jobs
    lost = executor.run([_job(tmp_path, 7, "sleep 120")], on_start=lambda _: _cancel(first))
    assert lost[0].is_lost
    assert executor.run([_job(tmp_path, 8, "exit 3")])[0].exit_code == 3  # by a new worker
    assert not set(_jobs_of_slurm()) & set(first)
    executor.close()
    _wait_until_queue_is_empty()
    _wait_until_nothing_runs_in(tmp_path)
    assert list((tmp_path / "orders" / "dask").glob("*.out"))
    assert not list(tmp_path.glob("*.out"))


def _cancel(jobs: list[str]) -> None:
    subprocess.run(["scancel", *jobs], check=True)


@pytest.mark.usefixtures("slurm")
def test_refused_worker_ends_run(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("lofarpipe.executors.dask.executor.ASK_S", 0.5)
    executor = DaskExecutor(replace(OPTIONS, queue="nowhere"), tmp_path / "orders")
    said = (
        r"launcher = slurm: the queue takes no worker: sbatch: error: invalid partition specified: nowhere .*; correct"
    )
    with pytest.raises(PipelineError, match=said):
        executor.run([_job(tmp_path, 0, "true")])
    executor.close()
    assert "Traceback" not in capfd.readouterr().err
    assert _jobs_of_slurm() == []


@pytest.mark.usefixtures("slurm")
def test_busy_queue_is_retried(tmp_path, monkeypatch):
    monkeypatch.setattr("lofarpipe.executors.dask.executor.ASK_S", 0.5)
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    busy = "sbatch: error: Unable to contact slurm controller (connect failure)"
    sbatch.write_text(
        f'#!/bin/sh\nif [ ! -e {tmp_path}/asked ]; then touch {tmp_path}/asked; echo "{busy}" >&2; exit 1; fi\n'
        f'exec {shutil.which("sbatch")} "$@"\n'
    )
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{os.environ['PATH']}")
    executor = DaskExecutor(replace(OPTIONS, nodes=1), tmp_path / "orders")
    assert executor.run([_job(tmp_path, 0, "true")])[0].ok
    executor.close()
    assert f"the queue took no worker, and is asked again: {busy}" in executor.notices
    assert "no worker is there yet; jobs wait for one: 1 were asked for by launcher = slurm" in executor.notices
    _wait_until_queue_is_empty()


ENGINE = """
import sys
from pathlib import Path
from lofarpipe.executors.dask.cluster import DaskOptions
from lofarpipe.executors.dask.executor import DaskExecutor
from lofarpipe.jobs import Interrupted, Job
root = Path(sys.argv[1])
options = DaskOptions("slurm", cores=1, memory_gb=1.0, walltime="00:10:00", interface="lo", death_timeout_s=3)
executor = DaskExecutor(options, root / "orders", grace_s=1.0)
try:
    script = f"touch {root}/began; sleep 300; touch {root}/late"
    executor.run([Job("s/0", ("bash", "-c", script), root, root / "0.log")])
except Interrupted as err:
    executor.close()
    sys.exit(128 + err.signal)
"""


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_engine_end_empties_queue(tmp_path, number):
    engine = subprocess.Popen([sys.executable, "-c", ENGINE, str(tmp_path)], cwd=tmp_path, start_new_session=True)
    try:
        deadline = time.monotonic() + LIMIT_S
        while not (tmp_path / "began").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(engine.pid, number)
        engine.wait(LIMIT_S)
    finally:
        engine.kill()
    _wait_until_nothing_runs_in(tmp_path)
    _wait_until_queue_is_empty()  # killed: the worker misses its scheduler, and its job ends with it
    assert not (tmp_path / "late").exists()


@pytest.mark.parametrize(
    ("launcher", "directives"),
    [
        ("slurm", ["#SBATCH -p long", "#SBATCH -A project", "#SBATCH --cpus-per-task=4", "#SBATCH -t 01:00:00"]),
        ("pbs", ["#PBS -q long", "#PBS -A project", "#PBS -l walltime=01:00:00"]),
        ("lsf", ["#BSUB -q long", '#BSUB -P "project"', "#BSUB -n 4", "#BSUB -W 01:00"]),
        ("sge", ["#$ -q long", "#$ -P project", "#$ -l h_rt=01:00:00"]),
    ],
)
def test_options_become_queue_directives(launcher, directives, monkeypatch, tmp_path):
    made = []
    kind = getattr(dask_cluster._jobqueue(), dask_cluster.QUEUES[launcher])
    monkeypatch.setattr(kind, "scale", lambda cluster, *n, **limits: made.append((cluster.job_script(), limits)))
    walltime = "01:00" if launcher == "lsf" else "01:00:00"
    options = DaskOptions(
        launcher, nodes=3, cores=4, memory_gb=8, walltime=walltime, queue="long", account="project", interface="lo"
    )
    with ExitStack() as stack:
        cluster = dask_cluster._queued(options, stack, tmp_path / "logs")
        dask_cluster.ask_for_workers(options, SimpleNamespace(cluster=cluster))
    script, limits = made[0]
    assert [line for line in directives if line not in script.splitlines()] == []
    assert "--resources" in script
    assert "--death-timeout 60" in script
    assert f"exec {sys.executable} -m" in script
    assert limits == {"jobs": 3}


def test_control_c_handler_is_unchanged():
    program = "import signal; from lofarpipe.executors.dask.cluster import _jobqueue; _jobqueue(); "
    program += "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
