"""Jobs on a real Slurm: limits, losses, refusals, and an engine that dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from living import living
from lofarpipe.errors import PipelineError
from lofarpipe.executors.slurm.client import EndedJob, SlurmBusy, SlurmClient, SlurmFull, SlurmOptions, SlurmRefused
from lofarpipe.executors.slurm.executor import SlurmExecutor
from lofarpipe.jobs import Job, JobResult, JobStart
from slurm_cluster import Cluster, wait_for

MakeJob = Callable[..., Job]
QUICK = {"poll_s": 0.5, "queue_poll_s": 1.0, "vanished_s": 1.0}


class RecordingClient(SlurmClient):
    """Records submissions."""

    def __init__(self) -> None:
        super().__init__()
        self.submitted: list[list[str]] = []

    def submit(self, arguments: Sequence[str], environment: Mapping[str, str]) -> str:
        self.submitted.append(list(arguments))
        return super().submit(arguments, environment)


def executor_in(directory: Path, client: SlurmClient | None = None, **options: object) -> SlurmExecutor:
    return SlurmExecutor(SlurmOptions(**{**QUICK, **options}), directory / "jobs", client, grace_s=1.0)  # type: ignore[arg-type]


@pytest.fixture
def make_job(tmp_path: Path) -> MakeJob:
    def make(number: int, script: str = "exit 0", **changes: object) -> Job:
        log = tmp_path / "logs" / f"{number:03}.log"
        facts = {"name": f"step/{number:03}", "argv": ("bash", "-c", script), "workdir": tmp_path, "log": log}
        return Job(**{**facts, **changes})  # type: ignore[arg-type]

    return make


def assert_nothing_is_left(directory: Path) -> None:
    """No process, no task, no order."""
    wait_for(lambda: not living(directory), "the end of all processes")
    assert [path for path in (directory / "jobs").rglob("*") if path.is_file()] == []


def test_jobs_use_all_nodes(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    meet = "touch here.$SLURMD_NODENAME.$$; until [ $(ls | grep -c here) -ge 4 ]; do sleep 0.05; done"
    results = executor_in(tmp_path).run([make_job(number, meet) for number in range(4)])
    assert [result.exit_code for result in results] == [0] * 4
    assert sorted(result.node for result in results) == ["n1", "n1", "n2", "n2"]
    assert_nothing_is_left(tmp_path)


def test_array_limit_is_respected(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    client = RecordingClient()
    alone = "mkdir alone && sleep 0.2 && rmdir alone"
    results = executor_in(tmp_path, client, array_limit=1).run([make_job(number, alone) for number in range(3)])
    assert [result.exit_code for result in results] == [0] * 3
    assert [word for word in client.submitted[0] if word.startswith("--array")] == ["--array=0-2%1"]


def test_arrays_fill_maximum_size(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    client = RecordingClient()
    jobs = [make_job(number, f"exit {number}", cores=1 + number % 2) for number in range(5)]
    results = executor_in(tmp_path, client, max_array_size=2).run(jobs)
    assert [result.exit_code for result in results] == [0, 1, 2, 3, 4]
    asked = [(words[1], words[4]) for words in client.submitted]
    assert asked == [
        ("--array=0-1", "--cpus-per-task=1"),  # 0, 2
        ("--array=0-0", "--cpus-per-task=1"),  # 4
        ("--array=0-1", "--cpus-per-task=2"),  # 1, 3
    ]
    assert SlurmClient().max_array_size() == 1001
    assert_nothing_is_left(tmp_path)


def test_jobs_beyond_queue_limit_wait_locally(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    client = RecordingClient()
    results = executor_in(tmp_path, client, max_submitted=2).run([make_job(number) for number in range(5)])
    assert all(result.ok for result in results)
    assert 3 <= len(client.submitted) <= 4


class Limited(RecordingClient):
    """Refuses like a QOS with a limit of four jobs per user."""

    most, reason = 4, "QOSMaxSubmitJobPerUserLimit"

    def submit(self, arguments: Sequence[str], environment: Mapping[str, str]) -> str:
        (array,) = [word for word in arguments if word.startswith("--array=0-")]
        count = 1 + int(array.removeprefix("--array=0-").partition("%")[0])
        if len(self._squeue()) + count > self.most:
            raise SlurmFull(self.reason)
        return super().submit(arguments, environment)

    def submit_limit(self, partition: str, account: str, options: Sequence[str]) -> int:
        return 0


@pytest.mark.parametrize("known", [0, 4])
def test_array_beyond_submit_limit_is_split(
    slurm: Cluster, tmp_path: Path, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, known: int
) -> None:
    monkeypatch.setattr("lofarpipe.executors.slurm.batch.FULL_PAUSE_S", 0.2)
    monkeypatch.setattr(Limited, "submit_limit", lambda *_: known)
    client = Limited()
    executor = executor_in(tmp_path, client)
    results = executor.run([make_job(number) for number in range(10)])
    assert all(result.ok for result in results)
    first = [word for word in client.submitted[0] if word.startswith("--array")]
    assert first == [f"--array=0-{3 if known else 1}"]
    assert executor.notices == ["Slurm does not take 10 jobs together, and is given fewer: QOSMaxSubmitJobPerUserLimit"]
    assert_nothing_is_left(tmp_path)


def test_zero_limit_is_immediate_error(
    slurm: Cluster, tmp_path: Path, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Limited, "most", 0)
    with pytest.raises(
        SlurmRefused, match="QOSMaxSubmitJobPerUserLimit; not a single job is taken, though you have no other"
    ):
        executor_in(tmp_path, Limited()).run([make_job(number) for number in range(3)])
    monkeypatch.setattr(Limited, "reason", "AssocGrpSubmitJobsLimit")  # the jobs of others may end
    monkeypatch.setattr("lofarpipe.executors.slurm.batch.BUSY_LIMIT_S", -1.0)
    with pytest.raises(SlurmFull):
        executor_in(tmp_path, Limited()).run([make_job(0)])
    assert_nothing_is_left(tmp_path)


def test_busy_slurm_is_retried(
    slurm: Cluster, tmp_path: Path, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Busy(RecordingClient):
        def submit(self, arguments: Sequence[str], environment: Mapping[str, str]) -> str:
            number = super().submit(arguments, environment) if self.submitted else ""
            self.submitted += [] if number else [[]]
            if not number:
                raise SlurmBusy("Socket timed out")
            return number

    monkeypatch.setattr("lofarpipe.executors.slurm.batch.BUSY_PAUSE_S", 0.1)
    executor = executor_in(tmp_path, Busy())
    assert executor.run([make_job(0)])[0].ok
    assert executor.notices == ["Slurm takes no jobs at the moment, and is asked again: Socket timed out"]
    monkeypatch.setattr("lofarpipe.executors.slurm.batch.BUSY_LIMIT_S", -1.0)
    with pytest.raises(SlurmBusy):
        executor_in(tmp_path, Busy()).run([make_job(0)])
    assert_nothing_is_left(tmp_path)


def test_lost_sbatch_answer_is_recovered(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    class Deaf(RecordingClient):
        def submit(self, arguments: Sequence[str], environment: Mapping[str, str]) -> str:
            super().submit(arguments, environment)
            raise SlurmBusy("Socket timed out on send/recv operation")

        def queued_by_name(self, name: str) -> dict[str, tuple[str, str]]:
            found = super().queued_by_name(name)
            (tmp_path / "found").touch()
            return found

    client = Deaf()
    until_found = "until [ -e found ]; do sleep 0.05; done"
    assert executor_in(tmp_path, client).run([make_job(0, f"echo x >> count; {until_found}")])[0].ok
    assert (tmp_path / "count").read_text() == "x\n"
    assert len(client.submitted) == 1


def test_silent_controller_is_retried(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    class Silent(SlurmClient):
        def queued(self, ids: object) -> dict[str, tuple[str, str]]:
            raise SlurmBusy("Unable to contact slurm controller")

    executor = executor_in(tmp_path, Silent())
    executor.on_notice = lambda: (tmp_path / "told").touch()
    until_told = "for _ in $(seq 600); do [ -e told ] && exit; sleep 0.1; done; exit 1"  # not when it is over
    assert executor.run([make_job(0, until_told)])[0].ok
    assert executor.notices == [
        "Slurm does not answer, and is asked again: Unable to contact slurm controller",
    ]


def test_withdrawal_ends_jobs_of_silent_slurm(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    orders: list[list[Path]] = []  # those that are valid when Slurm is asked

    class Silent(SlurmClient):
        def queued(self, ids: Iterable[str]) -> dict[str, tuple[str, str]]:
            if not orders:
                raise SlurmBusy("Unable to contact slurm controller")
            return super().queued(ids)

        def cancel(self, tasks: Iterable[str], force: bool = False) -> None:
            orders.append(list((tmp_path / "jobs" / "step").glob("*.json")))
            super().cancel(tasks, force)

    executor = executor_in(tmp_path, Silent())
    executor.on_notice = executor.cancel
    (result,) = executor.run([make_job(0, "sleep 60 && touch late")])
    assert not result.ok
    assert orders[0] == []
    assert_nothing_is_left(tmp_path)


def test_job_outcome_awaits_controller(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    class Forgetful(SlurmClient):
        asked = 0

        def job_ends(self, ids: Iterable[str]) -> dict[str, EndedJob]:
            Forgetful.asked += 1
            if Forgetful.asked < 3:
                raise SlurmBusy("Unable to contact slurm controller")
            return super().job_ends(ids)

    def cancel(start: JobStart) -> None:
        slurm.call("scancel", *slurm.running())

    (result,) = executor_in(tmp_path, Forgetful()).run([make_job(0, "sleep 60")], on_start=cancel)
    assert result.problem.startswith("was cancelled in Slurm on n")
    assert Forgetful.asked == 3


def test_cancelled_running_job_fails(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    def cancel(start: JobStart) -> None:
        slurm.call("scancel", *slurm.running())

    (result,) = executor_in(tmp_path).run([make_job(0, "sleep 60")], on_start=cancel)
    assert (result.exit_code, result.is_lost) == (-signal.SIGTERM, False)
    assert result.problem.startswith("was cancelled in Slurm on n")
    assert_nothing_is_left(tmp_path)


def test_cancelled_waiting_job_fails(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    def cancel(start: JobStart) -> None:
        slurm.call("scancel", "--state=PENDING", "--user=root")
        (tmp_path / "cancelled").touch()

    jobs = [make_job(0, "until [ -e cancelled ]; do sleep 0.1; done", cores=2), make_job(1, "touch ran", cores=2)]
    results = executor_in(tmp_path, array_limit=1).run(jobs, on_start=cancel)
    assert results[0].ok
    assert (results[1].start_s, results[1].is_lost) == (0, False)
    assert "was cancelled in Slurm" in results[1].reason()
    assert not (tmp_path / "ran").exists()


def test_lost_guard_loses_job(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    def kill(start: JobStart) -> None:
        os.kill(start.pid, signal.SIGKILL)

    (result,) = executor_in(tmp_path).run([make_job(0, "echo $$ > pid; sleep 60 && touch late")], on_start=kill)
    assert (result.ok, result.is_lost) == (False, True)
    assert result.problem.startswith("lost with its guard (signal 9) on n")
    assert_nothing_is_left(tmp_path)
    assert not (tmp_path / "late").exists()


def test_lost_node_loses_job(
    slurm: Cluster, tmp_path: Path, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill_node(start: JobStart) -> None:
        slurm.script("kill", start.node)
        slurm.call("scontrol", "update", f"nodename={start.node}", "state=down", "reason=test")

    monkeypatch.setattr("lofarpipe.executors.remote.order.BEAT_S", 0.5)
    job = make_job(0, "sleep 60 && touch late", host="n2", at_host=True)
    try:
        (result,) = executor_in(tmp_path).run([job], on_start=kill_node)
        # The node lives, in truth: its guard ends the job because the order was withdrawn.
        wait_for(lambda: not living(tmp_path), "the end of the job on a node that was given up")
    finally:
        slurm.script("node", "n2")
        wait_for(lambda: "idle" in slurm.call("sinfo", "-h", "-n", "n2", "-p", "main", "-o", "%T"), "node n2")
    assert (result.ok, result.is_lost, result.node) == (False, True, "n2")
    assert result.problem == "lost with its node on n2"
    assert not (tmp_path / "late").exists()


def test_preempted_job_is_lost(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    def preempt(start: JobStart) -> None:
        slurm.call(
            "sbatch", "--partition=urgent", "--nodelist=n1", "--cpus-per-task=2", "--output=/dev/null", "--wrap=sleep 1"
        )

    (result,) = executor_in(tmp_path, extra=("--nodelist=n1",)).run(
        [make_job(0, "sleep 60", cores=2)], on_start=preempt
    )
    assert (result.ok, result.is_lost) == (False, True)
    assert result.problem == "lost: another job took its place on n1"


def test_requeued_job_does_not_run_twice(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    def requeue(start: JobStart) -> None:
        wait_for((tmp_path / "count").exists, "the job's first act")
        slurm.call("scontrol", "requeue", slurm.running()[0])

    job = make_job(0, "echo x >> count; sleep 60", batch={"options": "--requeue"})
    (result,) = executor_in(tmp_path).run([job], on_start=requeue)
    assert (result.ok, result.is_lost) == (False, True)
    assert (tmp_path / "count").read_text() == "x\n"


def test_excess_memory_fails_job(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    greedy = (sys.executable, "-c", "import time; x = bytearray(400_000_000); time.sleep(60)")
    results = executor_in(tmp_path).run([make_job(0, argv=greedy, memory_gb=0.2), make_job(1, memory_gb=0.2)])
    assert (results[0].exit_code, results[0].is_lost) == (-signal.SIGKILL, False)
    assert re.match(
        r"out of memory: it used 0\.\d GB, more than the 0.2 GB that it was given on n", results[0].reason()
    )
    assert "out of memory" in results[0].log.read_text().splitlines()[1]  # Slurm killed the guard as well
    assert results[1].ok


def test_impossible_requests_are_refused(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    executor = executor_in(tmp_path)
    with pytest.raises(PipelineError, match=r"step/001: needs 9 GB of memory, and the largest node has 4\.2 GB"):
        executor.run([make_job(0, "touch ran"), make_job(1, memory_gb=9.0)])
    with pytest.raises(
        PipelineError, match="step/000: needs 2 CUDA devices, and the largest node of partition 'main' has 1"
    ):
        executor.run([make_job(0, gpus=2, batch={"partition": "main"})])
    with pytest.raises(PipelineError, match="partition 'nowhere' of Slurm has no nodes"):
        executor.run([make_job(0, batch={"partition": "nowhere"})])
    with pytest.raises(PipelineError, match="Slurm will never run it: PartitionTimeLimit"):
        executor.run([make_job(0, batch={"partition": "short", "walltime": "2:00:00"}), make_job(1, "sleep 60")])
    with pytest.raises(SlurmRefused, match=r"sbatch refused step/000: sbatch exited with 255: .*nonsense"):
        executor.run([make_job(0, "touch ran", batch={"options": "--nonsense"})])
    (script,) = (tmp_path / "jobs" / "slurm").iterdir()  # the message names it
    script.unlink()
    assert_nothing_is_left(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_resources_reach_slurm(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    ask = "scontrol show job -o $SLURM_JOB_ID; echo gpu=$CUDA_VISIBLE_DEVICES"
    batch = {"partition": "short", "walltime": "7", "options": "--comment='a comment'"}
    (result,) = executor_in(tmp_path).run([make_job(0, ask, cores=2, memory_gb=1.0, gpus=1, batch=batch)])
    said = " ".join(result.tail())
    for fact in ("Partition=short", "TimeLimit=00:07:00", "NumCPUs=2", "mem=953M", "Comment=a comment", "gpu=0"):
        assert fact in said
    assert executor_in(tmp_path).capacity().gpus == 1


def test_job_runs_on_host_of_data(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    executor = executor_in(tmp_path)
    hosts = ["n2.example.org", "n1", "elsewhere"]
    results = executor.run([make_job(number, host=host, at_host=True) for number, host in enumerate(hosts)])
    assert [result.node for result in results[:2]] == ["n2", "n1"]
    assert results[2].ok
    assert executor.notices == ["Slurm has no node elsewhere; its jobs run on any node, not where their data is"]


def test_engine_submits_from_allocation(
    slurm: Cluster, tmp_path: Path, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "SLURM_JOB_ID": "99",
        "SLURM_MEM_PER_NODE": "17",
        "SBATCH_WAIT": "1",
        "SLURM_CPUS_PER_TASK": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    script = (
        "echo $SLURM_CPUS_PER_TASK $SBATCH_WAIT ${SLURM_MEM_PER_NODE} $CUDA_VISIBLE_DEVICES; [ $SLURM_JOB_ID != 99 ]"
    )
    (result,) = executor_in(tmp_path).run([make_job(0, script, cores=2, memory_gb=1.0)])
    assert result.ok
    assert result.tail() == ["2 953"]


ENGINE = """
import sys
from pathlib import Path
from lofarpipe.jobs import Interrupted, Job
from lofarpipe.executors.slurm.executor import SlurmExecutor
from lofarpipe.executors.slurm.client import SlurmOptions
root, *scripts = sys.argv[1:]
root = Path(root)
jobs = [Job(f"step/{n:03}", ("bash", "-c", s), root, root / f"{n}.log") for n, s in enumerate(scripts)]
options = SlurmOptions(poll_s=0.5, queue_poll_s=1.0, vanished_s=1.0)
try:
    SlurmExecutor(options, root / "jobs", grace_s=1.0).run(jobs)
except Interrupted as err:
    sys.exit(128 + err.signal)
"""


def start_engine(root: Path, *scripts: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", ENGINE, root, *scripts], start_new_session=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_engine_leaves_no_job(slurm: Cluster, tmp_path: Path, number: signal.Signals) -> None:
    engine = start_engine(tmp_path, *["touch $$.began; sleep 60 && touch late"] * 6)
    wait_for(lambda: len(list(tmp_path.glob("*.began"))) == 4, "four jobs at work")
    engine.send_signal(number)
    assert engine.wait(60) == 128 + number
    assert slurm.running() == []
    assert_nothing_is_left(tmp_path)
    assert not (tmp_path / "late").exists()


def test_next_engine_adopts_jobs(slurm: Cluster, tmp_path: Path) -> None:
    count = "echo {0} >> count"
    scripts = [
        f"{count.format('done')}",  # is done when the engine dies
        f"{count.format('running')}; until [ -e go ]; do sleep 0.05; done",
        "touch old.began; sleep 60 && touch late",  # the next run wants something else in its place
        f"{count.format('failed')}; exit 1",
        f"until [ -e go ]; do sleep 0.05; done; {count.format('waiting')}",
        f"until [ -e go ]; do sleep 0.05; done; {count.format('queued')}",
    ]
    engine = start_engine(tmp_path, *scripts)
    # Records, not the log: the engine may take one before it dies, as it would at any other time.
    count_file = tmp_path / "count"
    wait_for(lambda: (tmp_path / "old.began").exists() and "failed" in _text_of(count_file), "the jobs")
    os.kill(engine.pid, signal.SIGKILL)
    engine.wait()
    wait_for(lambda: len(slurm.running()) <= 4, "the end of two jobs")
    taken = {path.name.partition(".")[0] for path in (tmp_path / "jobs" / "step").glob("*.json")}
    new = [*scripts[:2], "echo new >> count", *scripts[3:]]
    jobs = [Job(f"step/{n:03}", ("bash", "-c", s), tmp_path, tmp_path / f"{n}.log") for n, s in enumerate(new)]
    started: list[str] = []

    def go(start: JobStart) -> None:
        started.append(start.name)
        (tmp_path / "go").touch()

    results = executor_in(tmp_path).run(jobs, on_start=go)
    assert [result.exit_code for result in results] == [0, 0, 0, 1, 0, 0]
    words = (tmp_path / "count").read_text().split()
    once = ["running", "new", "waiting", "queued", *(["done"] if "000" in taken else [])]
    assert [words.count(word) for word in once] == [1] * len(once)
    assert words.count("failed") == 2
    assert not (tmp_path / "late").exists()
    assert len(started) == 6
    assert_nothing_is_left(tmp_path)


def test_unrecorded_array_is_found(slurm: Cluster, tmp_path: Path) -> None:
    engine = start_engine(tmp_path, "echo x >> count; until [ -e go ]; do sleep 0.05; done")
    wait_for(lambda: (tmp_path / "count").exists(), "the job")
    os.kill(engine.pid, signal.SIGKILL)
    engine.wait()
    for path in (tmp_path / "jobs" / "slurm").glob("*.id"):
        path.unlink()
    (tmp_path / "jobs" / "slurm" / "torn.list").write_text('["/tmp/')
    script = "echo x >> count; until [ -e go ]; do sleep 0.05; done"
    job = Job("step/000", ("bash", "-c", script), tmp_path, tmp_path / "0.log")
    (result,) = executor_in(tmp_path).run([job], on_start=lambda _: (tmp_path / "go").touch())
    assert result.ok
    assert (tmp_path / "count").read_text() == "x\n"


def test_callback_error_ends_all_jobs(slurm: Cluster, tmp_path: Path, make_job: MakeJob) -> None:
    def fail(result: JobResult) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        executor_in(tmp_path).run([make_job(0), make_job(1, "sleep 60")], fail)
    assert_nothing_is_left(tmp_path)


def _text_of(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
