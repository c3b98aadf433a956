"""Jobs on workers of Dask: behaviour beyond the common contract."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from living import living
from lofarpipe.errors import PipelineError
from lofarpipe.executors.dask import cluster as dask_cluster
from lofarpipe.executors.dask.cluster import NODE, DaskOptions, connect, ssh_command, tokens, worker_options
from lofarpipe.executors.local.process import session_members
from lofarpipe.executors.remote.order import order_path, write_order, write_record
from lofarpipe.jobs import Job, JobResult, Resources

distributed = pytest.importorskip("distributed", reason="Dask is not installed")
from lofarpipe.executors.dask.executor import DaskExecutor, _largest, slots  # noqa: E402

LIMIT_S = 60.0
QUIET = {"protocol": "tcp", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
LOCAL = DaskOptions("local", nodes=2, cores=2, memory_gb=4.0)


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskExecutor]:
    """Two workers on this machine, of two cores each."""
    made = DaskExecutor(LOCAL, tmp_path_factory.mktemp("orders"), grace_s=1.0)
    yield made
    made.close()


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    def make(number: int, script: str = "exit 0", **changes: object) -> Job:
        facts = {"name": f"{tmp_path.name}/{number:03}", "argv": ("bash", "-c", script), "workdir": tmp_path}
        return Job(**{**facts, "log": tmp_path / f"{number:03}.log", **changes})  # type: ignore[arg-type]

    return make


def wait_until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_workers_keep_hash_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "0")  # what Dask does not like
    with ExitStack() as stack:
        connect(LOCAL, stack, tmp_path).wait_for_workers(LOCAL.nodes)
        assert os.environ["PYTHONHASHSEED"] == "0"


def worker_of(guard: int) -> int:
    """The process that started a guard."""
    return int(Path(f"/proc/{guard}/stat").read_text().rpartition(")")[2].split()[1])


def test_job_of_killed_worker_is_lost(executor, make_job, tmp_path):
    script = f"echo $$ >> {tmp_path}/starts; sleep 120 & wait; touch {tmp_path}/late"
    results = executor.run(
        [make_job(0, script), make_job(1)],
        on_start=lambda start: (
            os.kill(worker_of(start.pid), signal.SIGKILL) if start.name.endswith("000") else None  # a node dies
        ),
    )
    assert results[0].is_lost
    assert "lost with its worker: " in results[0].reason() or "lost with node" in results[0].reason()
    assert results[1].ok
    sessions = (
        [int(line) for line in (tmp_path / "starts").read_text().split()] if (tmp_path / "starts").exists() else []
    )
    assert len(sessions) <= 1  # killed before it began, or once
    assert session_members(sessions) == []
    assert not (tmp_path / "late").exists()


def test_job_of_killed_guard_is_lost(executor, make_job, tmp_path):
    result = executor.run([make_job(0, "sleep 120")], on_start=lambda start: os.kill(start.pid, signal.SIGKILL))[0]
    assert result.is_lost
    assert result.reason().startswith("lost with node")


def test_result_of_earlier_engine_is_reused(executor, make_job, tmp_path):
    job = make_job(0, f"touch {tmp_path}/again")
    order = write_order(job, "0ld", order_path(executor.orders, job, "0ld"))
    write_record(order, JobResult(job.name, 0, 5.0, 2.5, 1.0, 3.0, job.log, job.argv, node="n7"))
    assert executor.run([job])[0].node == "n7"
    assert not (tmp_path / "again").exists()
    assert executor.run([job])[0].ok  # it was taken once
    assert (tmp_path / "again").exists()


def test_result_of_different_job_is_not_reused(executor, make_job, tmp_path):
    before, job = make_job(0), make_job(0, f"touch {tmp_path}/ran")
    order = write_order(before, "0ld", order_path(executor.orders, before, "0ld"))
    write_record(order, JobResult(before.name, 0, 5.0, 2.5, 1.0, 3.0, before.log, before.argv))
    assert executor.run([job])[0].ok
    assert (tmp_path / "ran").exists()


def test_limit_per_node_is_respected(executor, make_job, tmp_path):
    script = f"mkdir {tmp_path}/on.$PPID && rmdir {tmp_path}/on.$PPID"
    assert all(result.ok for result in executor.run([make_job(n, script, max_per_node=1) for n in range(4)]))
    assert tokens(Resources(2, 1.5, 1), NODE // 3) == {"cores": 2, "memory_mb": 1500, "gpus": 1, "node": 333333}


@pytest.mark.parametrize(("wish", "what"), [({"memory_gb": 5.0}, "5 GB of memory"), ({"gpus": 1}, "1 CUDA devices")])
def test_impossible_job_is_refused(executor, make_job, wish, what):
    with pytest.raises(PipelineError, match=f"needs {what}, and a worker has"):
        executor.run([make_job(0, **wish)])


def test_host_without_worker_is_reported_once(executor, make_job):
    jobs = [make_job(n, host="node9", at_host=True) for n in range(2)]
    assert all(result.ok for result in executor.run(jobs))
    (notice,) = executor.notices
    assert "no worker runs on node9" in notice
    executor.notices.clear()


def test_job_runs_on_worker_of_host(executor, make_job):
    assert executor.run([make_job(0, host="127.0.0.1", at_host=True)])[0].ok
    assert executor.notices == []


def test_broken_guard_loses_its_job(executor, make_job, monkeypatch):
    monkeypatch.setattr("lofarpipe.executors.dask.executor.run_order", _no_guard)
    result = executor.run([make_job(0)])[0]
    assert (result.is_lost, result.reason()) == (True, "lost with its worker: its guard gave no record: what it said")


def test_unstartable_guard_loses_its_job(executor, make_job, monkeypatch):
    monkeypatch.setattr("lofarpipe.executors.dask.executor.run_order", _cannot)
    assert (
        executor.run([make_job(0)])[0].reason() == "lost with its worker: PermissionError: [Errno 13] no, you may not"
    )


def _cannot(path: str, environment: object) -> int:
    raise PermissionError(13, "no, you may not")


def _no_guard(path: str, environment: object) -> int:
    Path(path).with_suffix(".out").write_text("what it said\n")
    return 1


ENGINE = """
import sys
from pathlib import Path
from lofarpipe.executors.dask.cluster import DaskOptions
from lofarpipe.executors.dask.executor import DaskExecutor
from lofarpipe.jobs import Interrupted, Job
if __name__ == "__main__":
    root = Path(sys.argv[1])
    executor = DaskExecutor(DaskOptions("local", nodes=1, cores=2, memory_gb=4.0), root / "orders", grace_s=1.0)
    script = f"echo $$ > {root}/$$.session; sleep 300 & wait"
    jobs = [Job(f"s/{n}", ("bash", "-c", script), root, root / f"{n}.log") for n in range(3)]
    try:
        executor.run(jobs)
    except Interrupted as err:
        executor.close()
        sys.exit(128 + err.signal)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_engine_end_leaves_no_process(tmp_path, number):
    program = tmp_path / "engine.py"
    program.write_text(ENGINE)
    engine = subprocess.Popen([sys.executable, str(program), str(tmp_path)], start_new_session=True)
    wait_until(lambda: len(list(tmp_path.glob("*.session"))) == 2 and all(map(_text, tmp_path.glob("*.session"))))
    sessions = [int(path.read_text()) for path in tmp_path.glob("*.session")]
    engine.send_signal(number)
    code = engine.wait(LIMIT_S)
    assert code == (-number if number == signal.SIGKILL else 128 + number)
    wait_until(lambda: not session_members(sessions))
    assert len(list(tmp_path.glob("*.session"))) == 2  # the third did not begin


def _text(path: Path) -> str:
    return path.read_text().strip()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"launcher": "slrum"}, "launcher is 'slrum'; did you mean 'slurm'?; one of slurm, pbs"),
        ({"cores": 0}, "cores and memory_gb of a node are needed"),
        ({"nodes": 0}, "nodes is 0; at least 1"),
        ({"launcher": "ssh"}, "hosts is empty"),
        ({"launcher": "address", "address": "head"}, "address is 'head'"),
        ({"launcher": "class", "cluster_class": "Cluster"}, "cluster_class is 'Cluster'; module and class are needed"),
    ],
)
def test_invalid_options_are_refused(tmp_path, changes, problem):
    options = {"launcher": "local", "nodes": 1, "cores": 2, "memory_gb": 4.0}
    with pytest.raises(PipelineError) as caught:
        DaskExecutor(DaskOptions(**{**options, **changes}), tmp_path)
    assert problem in str(caught.value)


def test_site_cluster_reports_worker_resources(tmp_path):
    with distributed.LocalCluster(
        n_workers=1, processes=False, resources=tokens(Resources(6, 7.5)), **QUIET
    ) as cluster:
        theirs = DaskExecutor(DaskOptions("address", address=cluster.scheduler_address), tmp_path)
        assert theirs.capacity() == Resources(6, 7.5, 0)
        theirs.close()
        assert len(cluster.workers) == 1  # it is not ours to end


def test_worker_without_resources_is_refused():
    with pytest.raises(PipelineError, match="has no resources set; start each with"):
        _largest({"tcp://a": {"nthreads": 4, "resources": {}}})


def test_cluster_of_named_class_runs_jobs(make_job, tmp_path):
    arguments = {"n_workers": 0, "processes": False, **QUIET}
    options = DaskOptions("class", nodes=1, cores=2, memory_gb=4.0, cluster_class="distributed.LocalCluster")
    theirs = DaskExecutor(replace(options, cluster_kwargs=json.dumps(arguments)), tmp_path / "orders")
    results = theirs.run([make_job(0, "exit 3"), make_job(1)])
    theirs.close()
    assert [result.exit_code for result in results] == [3, 0]


@pytest.mark.parametrize(
    ("cluster_class", "problem"),
    [("distributed.NoCluster", "NoCluster"), ("nowhere.Cluster", "nowhere"), ("dask_jobqueue.SLURMCluster", "cores")],
)
def test_invalid_cluster_class_is_named(tmp_path, cluster_class, problem):
    options = DaskOptions("class", 1, 2, 4.0, cluster_class=cluster_class, cluster_kwargs='{"processes": 1}')
    theirs = DaskExecutor(options, tmp_path)
    with pytest.raises(PipelineError, match=problem):
        theirs.workers()


def test_missing_workers_end_run(tmp_path):
    with distributed.LocalCluster(n_workers=0, processes=False, **QUIET) as cluster:
        options = DaskOptions("address", address=cluster.scheduler_address, start_timeout_s=0.2)
        theirs = DaskExecutor(options, tmp_path)
        with pytest.raises(PipelineError, match=r"no worker came within 0\.2 s"):
            theirs.capacity()
        theirs.close()


def test_dead_scheduler_ends_run(make_job, tmp_path):
    import dask

    def start(program: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{program}", "--scheduler-file", str(tmp_path / "scheduler")]
        return subprocess.Popen([*command, *options, "--no-dashboard"], stderr=subprocess.DEVNULL)

    scheduler = start("dask_scheduler", "--host", "127.0.0.1", "--port", "0")
    wait_until(lambda: (tmp_path / "scheduler").exists() and (tmp_path / "scheduler").read_text().endswith("}"))
    worker = start(
        "dask_worker", "--no-nanny", "--nthreads", "1", "--resources", "cores=1 memory_mb=1000 gpus=0 node=1000000"
    )
    address = json.loads((tmp_path / "scheduler").read_text())["address"]
    executor = DaskExecutor(DaskOptions("address", address=address), tmp_path / "orders", grace_s=1.0)
    try:
        with (
            dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
            pytest.raises(PipelineError, match=f"the scheduler at {address} does not answer any more; start it"),
        ):
            executor.run([make_job(0, "sleep 120")], on_start=lambda _: scheduler.kill())
        executor.close()
        assert living(tmp_path).keys() <= {worker.pid}
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    assert not logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)  # it is told in our words


def test_unreachable_cluster_is_reported(monkeypatch, tmp_path):
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("connection refused")

    monkeypatch.setattr(distributed, "Client", refuse)
    with ExitStack() as stack, pytest.raises(PipelineError, match="no cluster: connection refused"):
        connect(DaskOptions("address", address="tcp://127.0.0.1:1"), stack, tmp_path)


@pytest.mark.parametrize(("module", "launcher"), [("distributed", "local"), ("dask_jobqueue", "pbs")])
def test_missing_dask_names_install_command(monkeypatch, tmp_path, module, launcher):
    monkeypatch.setitem(sys.modules, module, None)
    with ExitStack() as stack, pytest.raises(PipelineError, match=r"pip install 'genericpipeline\[dask\]'"):
        connect(DaskOptions(launcher, cores=1, memory_gb=1.0), stack, tmp_path)


def test_submission_matches_capacity():
    workers = {"a": {"resources": tokens(Resources(4, 8.0))}, "b": {"resources": tokens(Resources(2, 2.0))}, "c": {}}
    assert slots(tokens(Resources(1, 0.5), 0), workers) == 6
    assert slots(tokens(Resources(1, 2.0), 0), workers) == 5
    assert slots(tokens(Resources(3, 2.0), 0), workers) == 1
    assert slots(tokens(Resources(1, 0.0), NODE // 3), workers) == 5
    assert slots(tokens(Resources(1, 0.0, 1), 0), workers) == 0


def test_worker_command_runs_over_ssh(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/a b")
    options = DaskOptions("ssh", cores=4, memory_gb=8.0, hosts=("n1",), extra=("-p", "2222"))
    *first, remote = ssh_command(options, "n1", "tcp://head:1")
    assert first == ["ssh", "-tt", "-o", "BatchMode=yes", "-p", "2222", "n1"]
    assert "env 'PYTHONPATH=/a b'" in remote
    assert f"{sys.executable} -m distributed.cli.dask_worker tcp://head:1 --no-nanny --name n1 --nthreads 4" in remote
    assert f"--resources cores=4,memory_mb=8000,gpus=0,node={NODE} --memory-limit 0" in remote
    assert worker_options(options)[0] == "--resources"


def test_missing_ssh_is_reported(monkeypatch):
    monkeypatch.setattr(dask_cluster.shutil, "which", lambda name: None)
    with pytest.raises(PipelineError, match="install openssh-client"):
        dask_cluster._ssh(["ssh"])


def test_stubborn_ssh_is_killed(monkeypatch):
    monkeypatch.setattr(dask_cluster, "ENDING_S", 0.1)
    process = subprocess.Popen(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], stdout=-1)
    process.stdout.readline()
    dask_cluster._end(process)
    assert process.returncode == -signal.SIGKILL
    process.stdout.close()
