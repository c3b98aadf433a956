"""Arrays as files, and the end of tasks, with a scripted Slurm."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.executors.remote.order import Order, new_attempt, order_path, write_order
from lofarpipe.executors.slurm import arrays as slurm_tasks
from lofarpipe.executors.slurm.arrays import Request, SlurmQueue, end_tasks
from lofarpipe.executors.slurm.client import Node, SlurmBusy, SlurmClient, SlurmOptions, SlurmRefused
from lofarpipe.executors.slurm.executor import SlurmExecutor
from lofarpipe.jobs import Interrupted, Job

PLAIN = Request(1, 0, 0, "", ())


class FakeClient(SlurmClient):
    """The test sets the content of the queue; submissions and cancellations are recorded."""

    def __init__(self, **queue: str) -> None:
        self.queue = {name.replace("x", "_"): (state, "None") for name, state in queue.items()}
        self.calls: list[object] = []
        self.refusal: Exception | None = None

    def submit(self, arguments: Sequence[str], environment: Mapping[str, str]) -> str:
        self.calls.append(["submit", arguments[0]])
        if self.refusal:
            raise self.refusal
        return "77"

    def queued(self, ids: Iterable[str]) -> dict[str, tuple[str, str]]:
        if self.refusal:
            raise self.refusal
        wanted = set(ids)
        return {task: state for task, state in self.queue.items() if task.partition("_")[0] in wanted}

    def queued_by_name(self, name: str) -> dict[str, tuple[str, str]]:
        self.calls.append(["named", name])
        return self.queue

    def cancel(self, tasks: Iterable[str], force: bool = False) -> None:
        self.calls.append(["cancel", *sorted(tasks), *(["force"] if force else [])])

    def nodes(self, partition: str = "") -> list[Node]:
        return []


def ordered(directory: Path, name: str = "step/000") -> Order:
    job = Job(name, ("true",), directory, directory / "log")
    attempt = new_attempt()
    return write_order(job, attempt, order_path(directory, job, attempt))


def test_array_writes_script_and_list(tmp_path: Path) -> None:
    orders = [ordered(tmp_path), ordered(tmp_path, "step/001")]
    queue = SlurmQueue(tmp_path / "slurm", SlurmOptions(), FakeClient())
    array = queue.submit(PLAIN, orders, 0, {"A": "b"})
    token = array.stem.name
    assert (array.id, array.task(1)) == ("77", "77_1")
    assert json.loads(Path(f"{array.stem}.list").read_text()) == [str(order.path) for order in orders]
    assert json.loads(Path(f"{array.stem}.id").read_text()) == {"id": "77", "name": f"step.{token}"}
    assert "export A=b\n" in Path(f"{array.stem}.sh").read_text()
    assert queue.earlier() == [array]
    assert array.output_of(0) == ""
    Path(f"{array.stem}.0.out").write_text("oops\n")
    assert array.output_of(0) == "oops\n"
    array.remove_files()
    assert list((tmp_path / "slurm").iterdir()) == []


def test_refused_array_names_script(tmp_path: Path) -> None:
    client = FakeClient()
    queue = SlurmQueue(tmp_path / "slurm", SlurmOptions(), client)
    client.refusal = SlurmRefused("sbatch exited with 1: no")
    with pytest.raises(
        SlurmRefused, match=r"sbatch refused step/000: sbatch exited with 1: no; script: .*\.sh; correct"
    ):
        queue.submit(PLAIN, [ordered(tmp_path)], 0, {})
    client.refusal = SlurmBusy("later")
    with pytest.raises(SlurmBusy):
        queue.submit(PLAIN, [ordered(tmp_path)], 0, {})
    assert queue.earlier() == []


def test_unwritable_files_stop_submission(tmp_path: Path) -> None:
    (tmp_path / "slurm").touch()
    client = FakeClient()
    with pytest.raises(PipelineError, match="cannot be written: File exists; check the directory"):
        SlurmQueue(tmp_path / "slurm", SlurmOptions(), client).submit(PLAIN, [ordered(tmp_path)], 0, {})
    assert client.calls == []  # an unwritable array is not submitted


def test_missing_array_number_is_found_by_name(tmp_path: Path) -> None:
    order = ordered(tmp_path)
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "abc.list").write_text(json.dumps([str(order.path)]))
    (tmp_path / "slurm" / "empty.list").write_text("[]")
    client = FakeClient(**{"55x0": "RUNNING"})
    arrays = SlurmQueue(tmp_path / "slurm", SlurmOptions(), client).earlier()
    assert [(array.stem.name, array.id) for array in arrays] == [("abc", "55"), ("empty", "")]
    assert client.calls == [["named", "step.abc"]]


def test_cancel_repeats_until_tasks_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient(**{"7x0": "RUNNING", "7x1": "COMPLETING", "7x2": "RUNNING"})
    monkeypatch.setattr(slurm_tasks, "FORCE_AFTER_S", -1.0)

    def wait(_: float) -> None:
        client.queue.pop("7_0", None)
        if ["cancel", "7_1", "force"] in client.calls:
            client.queue.pop("7_1")

    end_tasks(client, ["7_0", "7_1"], wait=wait)
    assert client.calls == [*[["cancel", "7_0", "7_1", "force"]] * 2, *[["cancel", "7_1", "force"]] * 2]
    end_tasks(client, [], wait=wait)
    end_tasks(client, ["8_0", "8_1"], whole_arrays=True, wait=wait)
    assert client.calls[-1] == ["cancel", "8", "force"]


@pytest.mark.parametrize("refusal", [None, SlurmBusy("Unable to contact slurm controller")])
def test_endless_tasks_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Exception | None) -> None:
    client = FakeClient(**{"7x0": "COMPLETING"})
    client.refusal = refusal
    order = ordered(tmp_path)
    monkeypatch.setattr(slurm_tasks, "END_LIMIT_S", 0.05)
    why = "Unable to contact slurm controller" if refusal else "Slurm does not say that they have ended"
    with pytest.raises(PipelineError, match=f"1 jobs may be in the queue, .*: {why}; the next run .*: scancel 7_0"):
        end_tasks(client, ["7_0"], [order])
    assert not order.path.exists()  # the guard sees that, and ends its job


def test_withdrawn_jobs_end_without_slurm(tmp_path: Path) -> None:
    client = FakeClient(**{"7x0": "RUNNING", "7x1": "PENDING"})
    client.refusal = SlurmBusy("Unable to contact slurm controller")
    orders = [ordered(tmp_path), ordered(tmp_path, "step/001")]
    told: list[str] = []
    there: list[list[bool]] = []

    def wait(_: float) -> None:
        there.append([order.path.exists() for order in orders])
        client.refusal = None if len(there) == 2 else client.refusal
        client.queue.clear()

    end_tasks(client, ["7_0", "7_1"], orders, wait=wait, note=told.append)
    assert there == [[False, False]] * 2  # at once: Slurm may stay silent for long
    why = "jobs cannot be ended by Slurm, and end by themselves; it is asked again"
    assert told == [f"{why}: Unable to contact slurm controller"]


def test_second_interrupt_skips_wait(tmp_path: Path) -> None:
    client = FakeClient(**{"7x0": "RUNNING", "7x1": "RUNNING"})
    client.refusal = SlurmBusy("silence")
    order = ordered(tmp_path)
    asked: list[float] = []
    with pytest.raises(PipelineError, match=r"2 jobs may be in the queue, .*: silence; .*, or: scancel 7$"):
        end_tasks(client, ["7_0", "7_1"], [order], True, asked.append, must_stop=lambda: len(asked) > 0)
    assert len(asked) == 1
    assert not order.path.exists()


def test_partition_without_nodes_is_refused(tmp_path: Path) -> None:
    executor = SlurmExecutor(SlurmOptions(partition="empty"), tmp_path, FakeClient())
    with pytest.raises(PipelineError, match=r"^partition 'empty' of Slurm has no nodes; sinfo lists"):
        executor.capacity()
    job = Job("step/000", ("true",), tmp_path, tmp_path / "log", batch={"partition": "none"})
    with pytest.raises(PipelineError, match=r"^step/000: partition 'none' of Slurm has no nodes; sinfo lists"):
        executor.run([job])


def test_signal_during_error_is_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nodes(*_: object) -> list[Node]:
        os.kill(os.getpid(), signal.SIGTERM)
        raise SlurmBusy("Unable to contact slurm controller")

    monkeypatch.setattr(FakeClient, "nodes", nodes)
    executor = SlurmExecutor(SlurmOptions(), tmp_path, FakeClient())
    with pytest.raises(Interrupted, match="SIGTERM: Unable to contact slurm controller; run again") as caught:
        executor.run([Job("step/000", ("true",), tmp_path, tmp_path / "log")])
    assert caught.value.signal == signal.SIGTERM


def test_capacity_takes_maximum_of_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lofarpipe.jobs import Resources

    nodes = [Node("a", Resources(64, 100.0), True), Node("b", Resources(8, 500.0, 2), True)]
    monkeypatch.setattr(FakeClient, "nodes", lambda *_: [*nodes, Node("c", Resources(999, 999.0, 9), False)])
    executor = SlurmExecutor(SlurmOptions(), tmp_path, FakeClient())
    assert executor.capacity() == Resources(64, 500.0, 2)
    named = SlurmExecutor(SlurmOptions(cores=4, memory_gb=7.0, gpus=1), tmp_path, FakeClient())
    assert named.capacity() == Resources(4, 7.0, 1)
