"""The contract of all executors; each is a parameter of the fixture."""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from living import living
from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.executor import LocalExecutor
from lofarpipe.executors.local.process import OPEN_FILES
from lofarpipe.executors.slurm.client import SlurmOptions
from lofarpipe.executors.slurm.executor import SlurmExecutor
from lofarpipe.executors.ssh.executor import SshExecutor
from lofarpipe.executors.ssh.options import SshOptions
from lofarpipe.jobs import Executor, Job, JobResult, Resources, Staged
from lofarpipe.programs.find import job_environment

LIMIT_S = 60.0
MakeJob = Callable[..., Job]


def local_executor(request: pytest.FixtureRequest, tmp_path: Path) -> Executor:
    return LocalExecutor(Resources(2, 4.0), grace_s=1.0)


def slurm_executor(request: pytest.FixtureRequest, tmp_path: Path) -> Executor:
    request.getfixturevalue("slurm")
    options = SlurmOptions(memory_gb=4.0, extra=("--nodelist=n1",), poll_s=0.5, queue_poll_s=1.0, vanished_s=1.0)
    return SlurmExecutor(options, tmp_path / "jobs", grace_s=1.0)


@pytest.fixture(scope="module")
def dask_address() -> Iterator[str]:
    """The scheduler of a cluster of Dask with one worker, in a process of its own."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    from lofarpipe.executors.dask.cluster import tokens

    given = tokens(Resources(2, 4.0))
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, resources=given, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster.scheduler_address


def dask_executor(request: pytest.FixtureRequest, tmp_path: Path) -> Executor:
    address = request.getfixturevalue("dask_address")
    from lofarpipe.executors.dask.cluster import DaskOptions
    from lofarpipe.executors.dask.executor import DaskExecutor

    return DaskExecutor(DaskOptions("address", address=address), tmp_path / "jobs", grace_s=1.0)


def ssh_executor(request: pytest.FixtureRequest, tmp_path: Path) -> Executor:
    extra = ("-F", str(request.getfixturevalue("ssh_config")))
    options = SshOptions("n1", cores=2, memory_gb=4.0, extra=extra)
    return SshExecutor(options, tmp_path / "jobs", grace_s=1.0)


EXECUTORS = {"local": local_executor, "slurm": slurm_executor, "dask": dask_executor, "ssh": ssh_executor}


@pytest.fixture(params=EXECUTORS)
def executor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Executor]:
    """An executor with one machine of two cores and 4 GB."""
    executor = EXECUTORS[request.param](request, tmp_path)
    yield executor
    executor.close()


@pytest.fixture
def make_job(tmp_path: Path) -> MakeJob:
    def make(number: int, script: str = "exit 0", **changes: object) -> Job:
        log = tmp_path / "logs" / f"{number:03}.log"
        facts = {"name": f"step/{number:03}", "argv": ("sh", "-c", script), "workdir": tmp_path, "log": log}
        return Job(**{**facts, **changes})  # type: ignore[arg-type]

    return make


def test_jobs_have_same_environment_everywhere(
    executor: Executor, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/of/a module")
    monkeypatch.setenv("OF_THE_USER", "a b")
    named = job_environment()
    (result,) = executor.run([make_job(0, "env -0 > seen", env=named)])
    assert result.ok
    seen = dict(text.split("=", 1) for text in (tmp_path / "seen").read_text().split("\0") if text)
    assert seen.items() >= {**named, "LD_LIBRARY_PATH": "/of/a module", "OF_THE_USER": "a b"}.items()
    of_executor = re.compile(
        r"(SLURM|DASK|LOFARPIPE|PYTEST|CUDA)_?\w*|PWD|OLDPWD|SHLVL|_|ENVIRONMENT|TMPDIR|HOSTNAME|LINES|COLUMNS"
    )
    assert {name for name in seen if not of_executor.fullmatch(name)} <= {*os.environ, *named}


def test_open_file_limit_is_raised(executor: Executor, make_job: MakeJob, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, before[1]), before[1]))
    (result,) = executor.run([make_job(0, "ulimit -Sn >soft; ulimit -Hn >hard")])
    assert result.ok
    soft, hard = ((tmp_path / name).read_text().strip() for name in ("soft", "hard"))
    assert int(soft) == min(OPEN_FILES, int(hard) if hard != "unlimited" else OPEN_FILES)


def test_results_keep_order_of_jobs(executor: Executor, make_job: MakeJob, tmp_path: Path) -> None:
    seen: list[str] = []

    def note(result: JobResult) -> None:
        seen.append(result.name)
        (tmp_path / f"noted{len(seen)}").touch()

    jobs = [make_job(0, f"until [ -e {tmp_path}/noted2 ]; do sleep 0.05; done; exit 4"), make_job(1, "exit 5")]
    results = executor.run([*jobs, make_job(2)], note)
    assert [(result.name, result.exit_code) for result in results] == [
        ("step/000", 4),
        ("step/001", 5),
        ("step/002", 0),
    ]
    assert seen[-1] == "step/000"
    assert sorted(seen) == ["step/000", "step/001", "step/002"]


def test_empty_list_gives_no_results(executor: Executor) -> None:
    assert executor.run([]) == []


def test_capacity_is_respected(executor: Executor, make_job: MakeJob, tmp_path: Path) -> None:
    meeting = f"touch {tmp_path}/here.$$; until [ $(ls {tmp_path} | grep -c here) -ge 2 ]; do sleep 0.05; done"
    results = executor.run([make_job(number, meeting) for number in range(2)])  # each ends only when both are there
    assert [result.exit_code for result in results] == [0, 0]
    alone = f"mkdir {tmp_path}/alone && sleep 0.2 && rmdir {tmp_path}/alone"
    both_cores = executor.run([make_job(number, alone, cores=2) for number in range(3)])
    one_by_one = executor.run([make_job(number, alone, max_per_node=1) for number in range(3)])
    assert [result.exit_code for result in [*both_cores, *one_by_one]] == [0] * 6


def test_failed_job_does_not_stop_siblings(executor: Executor, make_job: MakeJob) -> None:
    results = executor.run([make_job(0, "exit 1", max_per_node=1), make_job(1, max_per_node=1)])
    assert [(result.exit_code, result.problem) for result in results] == [(1, ""), (0, "")]


def test_missing_program_fails_job(executor: Executor, make_job: MakeJob) -> None:
    results = executor.run([make_job(0, argv=("/no/such/program",)), make_job(1, cores=2)])
    assert [result.exit_code for result in results] == [127, 0]


def test_impossible_job_is_refused_before_any_starts(executor: Executor, make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="needs 5 GB of memory"):
        executor.run([make_job(0, f"touch {tmp_path}/began"), make_job(1, memory_gb=5.0)])
    assert not (tmp_path / "began").exists()


def test_tempdir_exists_only_during_job(executor: Executor, make_job: MakeJob, tmp_path: Path) -> None:
    tempdirs = [tmp_path / "scratch" / str(number) for number in range(2)]
    scripts = [f"touch {tempdirs[0]}/file", f"touch {tempdirs[1]}/file && exit 1"]
    results = executor.run([make_job(n, s, tempdir=t) for n, s, t in zip(range(2), scripts, tempdirs, strict=True)])
    assert [result.exit_code for result in results] == [0, 1]
    assert [tempdir.exists() for tempdir in tempdirs] == [False, False]


def test_incomplete_staged_outputs_do_not_appear(executor: Executor, make_job: MakeJob, tmp_path: Path) -> None:
    jobs = []
    for number, end in enumerate(("exit 0", "exit 3")):
        stage = tmp_path / "out" / f".{number}.incomplete"
        script = f"mkdir {stage}/{number}.ms; touch {stage}/{number}.ms/table.dat {stage}/{number}.fits; {end}"
        jobs.append(make_job(number, "touch shown", staged=Staged(("sh", "-c", script), stage, tmp_path / "out")))
    good, bad = executor.run(jobs)
    assert (good.exit_code, bad.exit_code) == (0, 3)
    assert good.argv == ("sh", "-c", "touch shown")
    assert good.outputs == tuple(str(tmp_path / "out" / name) for name in ("0.fits", "0.ms"))
    assert bad.outputs == ()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.fits", "0.ms"]
    assert [path.name for path in (tmp_path / "out" / "0.ms").iterdir()] == ["table.dat"]
    assert not (tmp_path / "shown").exists()


def test_unplaceable_outputs_fail_only_their_job(executor: Executor, make_job: MakeJob, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    stage = tmp_path / "file" / ".x.incomplete"
    bad, good = executor.run([make_job(0, staged=Staged(("true",), stage, tmp_path / "file")), make_job(1)])
    assert (bad.ok, good.ok) == (False, True)
    assert f"temporary directory {stage} cannot be made: " in bad.reason()


def test_unwritable_log_removes_tempdir(executor: Executor, make_job: MakeJob, tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    if isinstance(executor, LocalExecutor):  # it is known at once, and no other job would have a log either
        with pytest.raises(PipelineError, match="cannot be written"):
            executor.run([make_job(0, tempdir=tmp_path / "scratch")])
    else:
        (result,) = executor.run([make_job(0, tempdir=tmp_path / "scratch")])
        assert "cannot be written" in result.problem
        assert result.exit_code > 0
    assert not (tmp_path / "scratch").exists()


def test_segmentation_fault_is_retried_once(executor: Executor, make_job: MakeJob, tmp_path: Path) -> None:
    crash = "kill -SEGV $$"
    results = executor.run(
        [
            make_job(0, f"test -e {tmp_path}/again && exit 0; touch {tmp_path}/again; {crash}"),
            make_job(1, f"echo x >> {tmp_path}/count; {crash}"),
        ]
    )
    assert [result.exit_code for result in results] == [0, -signal.SIGSEGV]
    assert (tmp_path / "count").read_text() == "x\nx\n"


def test_single_attempt_job_is_not_retried(executor: Executor, make_job: MakeJob, tmp_path: Path) -> None:
    (result,) = executor.run([make_job(0, f"echo x >> {tmp_path}/count; kill -SEGV $$", one_try=True)])
    assert result.exit_code == -signal.SIGSEGV
    assert (tmp_path / "count").read_text() == "x\n"


def test_callback_error_ends_all_jobs(executor: Executor, make_job: MakeJob, tmp_path: Path) -> None:
    def fail(result: JobResult) -> None:
        raise ZeroDivisionError

    late = make_job(1, f"sleep 99 && touch {tmp_path}/late", tempdir=tmp_path / "scratch")
    with pytest.raises(ZeroDivisionError):
        executor.run([make_job(0), late], fail)
    assert not (tmp_path / "late").exists()
    assert not (tmp_path / "scratch").exists()


def test_callback_can_cancel(executor: Executor, make_job: MakeJob) -> None:
    jobs = [make_job(0), make_job(1, "sleep 60"), make_job(2, "sleep 60", cores=2)]
    results = executor.run(jobs, lambda result: executor.cancel())
    assert [result.exit_code for result in results] == [0, -signal.SIGTERM, -signal.SIGTERM]
    assert results[2].reason() == "was not started"
    assert executor.run([make_job(3)])[0].ok  # it can be used again


def test_thread_can_cancel(executor: Executor, make_job: MakeJob) -> None:
    timer = threading.Timer(0.3, executor.cancel)
    timer.start()
    results = executor.run([make_job(0, "sleep 60")])
    timer.join()
    assert results[0].exit_code == -signal.SIGTERM


def test_cancel_without_run_is_harmless(executor: Executor, make_job: MakeJob) -> None:
    executor.cancel()
    assert executor.run([make_job(0)])[0].ok


def test_executor_runs_in_thread(executor: Executor, make_job: MakeJob) -> None:
    results: list[JobResult] = []
    thread = threading.Thread(target=lambda: results.extend(executor.run([make_job(0), make_job(1, "exit 2")])))
    thread.start()
    thread.join(30)
    assert [result.exit_code for result in results] == [0, 2]


def test_jobs_get_devices(executor: Executor, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    with_devices = LocalExecutor(Resources(2, 4.0, 1))
    result = with_devices.run([make_job(0, "echo $CUDA_VISIBLE_DEVICES", gpus=1)])[0]
    assert result.tail() == ["4"]
    with pytest.raises(PipelineError, match="needs 2 CUDA devices, and this machine has 1"):
        with_devices.run([make_job(0, gpus=2)])


def test_many_jobs_finish(executor: Executor, make_job: MakeJob) -> None:
    count = 200 if isinstance(executor, LocalExecutor) else 12  # a queue starts a few in a second
    jobs = [make_job(number, argv=("/bin/true",)) for number in range(count)]
    assert all(result.ok for result in executor.run(jobs))


def test_descriptors_are_closed(executor: Executor, make_job: MakeJob) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    executor.run([make_job(0)])
    before = descriptors()
    executor.run([make_job(number) for number in range(5)])
    # Threads of clusters that other tests had open and close theirs at any time.
    deadline = time.monotonic() + LIMIT_S
    while descriptors() > before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_job_does_not_inherit_descriptors(executor: Executor, make_job: MakeJob) -> None:
    program = (sys.executable, "-c", "import os; print(*sorted(os.listdir('/proc/self/fd')))")
    result = executor.run([make_job(0, argv=program)])[0]
    assert result.tail()[0].split() == ["0", "1", "2", "3"]  # 3: the listing itself


def test_job_gets_directory_environment_and_log(executor: Executor, make_job: MakeJob, tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    script = 'pwd; echo "$COLOUR"; echo oops >&2; cat; exit 7'
    env = {"COLOUR": "dark\nblue"}
    (result,) = executor.run([make_job(0, script, workdir=tmp_path / "a b", env=env, label="L1.MS", host="node7")])
    assert result.tail() == [f"{tmp_path}/a b", "dark", "blue", "oops"]
    assert (result.exit_code, result.label, result.host, result.is_lost) == (7, "L1.MS", "node7", False)
    lines = result.log.read_text().splitlines()
    assert lines[0].startswith("### step/000 L1.MS on node7, ")
    assert any(line.startswith(f"### cd '{tmp_path}/a b' && env 'COLOUR=dark") for line in lines)
    assert result.duration_s > 0
    assert result.cpu_s > 0


def test_starts_are_reported(executor: Executor, make_job: MakeJob) -> None:
    told: list[str] = []
    jobs = [make_job(0), make_job(1, "exit 1")]
    executor.run(
        jobs, lambda result: told.append(f"end {result.name}"), lambda start: told.append(f"begin {start.name}")
    )
    assert sorted(told) == ["begin step/000", "begin step/001", "end step/000", "end step/001"]
    for job in jobs:
        assert told.index(f"begin {job.name}") < told.index(f"end {job.name}")


def test_lost_worker_loses_job(executor: Executor, make_job: MakeJob, tmp_path: Path) -> None:
    if isinstance(executor, LocalExecutor):
        pytest.skip("on this machine there is nothing between the engine and its jobs that could be lost")
    script = f"echo x >> {tmp_path}/count; sleep 60 && touch {tmp_path}/late"
    (lost,) = executor.run([make_job(0, script)], on_start=lambda start: os.kill(start.pid, signal.SIGKILL))
    assert (lost.ok, lost.is_lost) == (False, True)
    assert "lost" in lost.problem
    assert [member for member in living(tmp_path).values() if "sleep" in member] == []
    (again,) = executor.run([make_job(0, f"echo x >> {tmp_path}/count")])  # it is for the engine to say so
    assert again.ok
    assert not (tmp_path / "late").exists()


def test_reported_result_is_not_reused(executor: Executor, make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(0, f"echo x >> {tmp_path}/count")
    assert [executor.run([job])[0].ok for _ in range(2)] == [True, True]
    assert (tmp_path / "count").read_text() == "x\nx\n"
