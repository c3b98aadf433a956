"""Partitions of steps, and the resources of their nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.cli import main
from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.executor import LocalExecutor
from lofarpipe.jobs import Resources
from lofarpipe.pipeline import preflight

CONFIG = "[DEFAULT]\nruntime_directory = {here}\nworking_directory = {here}\n"
STEP = "control.type = executable_args\n{0}.control.executable = /bin/true\n"
NODES = {"": Resources(8, 10.0, 0), "big": Resources(64, 500.0, 2)}


class Queue(LocalExecutor):
    """Has two partitions, and counts calls of ``close``."""

    closed = 0

    def capacity(self, partition: str = "") -> Resources:
        if partition not in NODES:
            raise PipelineError(f"partition '{partition}' of Slurm has no nodes; sinfo lists those that there are")
        return NODES[partition]

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pipeline.cfg").write_text(CONFIG.format(here=tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preflight, "make_executor", lambda _: Queue())
    monkeypatch.setattr(Queue, "closed", 0)
    return tmp_path


def write(here: Path, *controls: str) -> None:
    """Write a pipeline with one step for each text of control keys; one of them is in a loop."""
    names = [f"step{number}" for number in range(len(controls))]
    text = f"pipeline.steps = [{', '.join(names[:-1])}, again]\nagain.control.kind = loop\n"
    text += f"again.control.loopcount = 1\nagain.control.loopsteps = [{names[-1]}]\n"
    for name, control in zip(names, controls, strict=True):
        text += f"{name}.{STEP.format(name)}" + "".join(f"{name}.control.{line}\n" for line in control.split(";"))
    (here / "run.parset").write_text(text)


@pytest.mark.parametrize("options", [[], ["--fields", "fields.csv"]], ids=["one", "fields"])
def test_impossible_queue_requests_are_findings(
    here: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    (here / "fields.csv").write_text("field\na\n")
    write(
        here,
        "partition = bgi",
        "partition = big;memory_gb = 500;gpus = 2",
        "partition = big;memory_gb = 501;gpus = 3",
        "partition = gone;memory_gb = some",
    )
    assert main(["run.parset", "--check", *options]) == 1
    lines = [line for line in capsys.readouterr().err.replace(f"{here}/", "").splitlines() if "partition" in line]
    assert [line.partition("run.parset:")[2] for line in lines] == [
        "7: step0.control.partition: partition 'bgi' of Slurm has no nodes; sinfo lists those that there are",
        "16: step2.control.memory_gb: is '501'; the nodes of partition 'big' have 500 at most; ask for less",
        "17: step2.control.gpus: is '3'; the nodes of partition 'big' have 2 at most; ask for less",
        "20: step3.control.partition: partition 'gone' of Slurm has no nodes; sinfo lists those that there are",
    ]
    assert Queue.closed == 1


def test_valid_or_later_partition_is_accepted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here, "partition = big", "partition = step0.output.partition", "memory_gb = 1", "partition = big")
    main(["run.parset", "--check"])
    assert "of Slurm" not in capsys.readouterr().err


def test_machine_without_queue_has_no_partitions(tmp_path: Path) -> None:
    executor = LocalExecutor(Resources(2, 3.0))
    assert executor.capacity("any") == executor.capacity() == Resources(2, 3.0)
