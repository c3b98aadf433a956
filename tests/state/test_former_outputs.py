"""Outputs of earlier runs are set aside before a job starts, and restored if it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from copy_pipeline import CONFIG, journalled, list_step
from journal_events import emit
from lofarpipe.cli import main
from lofarpipe.engine.run import Run
from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.executor import LocalExecutor
from lofarpipe.state import former_outputs as module
from lofarpipe.state.former_outputs import FormerOutputs, settle_former_outputs
from lofarpipe.state.journal import Journal, Stream

# Writes WSClean's files for this many channels, and in seen.txt the files at its start.
WSCLEAN = """\
#!/bin/sh
case $1 in
  -version|--version) echo 'WSClean version 3.1.0 (2022-04-01)'; echo 'WGridder is available.'; exit;;
  -help|--help) for word in name channels-out temp-dir j abs-mem niter; do echo "-$word <value>"; done; exit;;
esac
while [ $# -gt 0 ]; do
  case $1 in -name) name=$2;; -channels-out) channels=$2;; esac
  shift
done
ls {here}/images > {here}/seen.txt
number=0
while [ $number -lt $channels ]; do
  echo "$channels channels" > $name-000$number-image.fits
  number=$((number + 1))
done
echo "$channels channels" > $name-MFS-image.fits
while [ -e {here}/wait ]; do sleep 0.05; done
test ! -e {here}/broken
"""
CORRECT = """\
import pathlib
from lofarpipe.support.utilities import files_of, list_text
def main(products, image_root):
    written = []
    for name in files_of(products):
        corrected = pathlib.Path(name.replace("-image.fits", "-image-pb.fits"))
        corrected.write_text(pathlib.Path(name).read_text())
        written.append(str(corrected))
    return {"products": list_text(written)}
"""
STEPS = """\
pipeline.steps = [list, image, correct]
image.control.type = wsclean
image.control.executable = {here}/wsclean
image.control.mapfile_in = list.output.mapfile
image.control.inputkey = msfile
image.control.list_products = True
image.control.error_tolerance = False
image.argument.flags = [msfile]
image.argument.name = {here}/images/{{{{ root }}}}
image.argument.channels-out = {{{{ channels }}}}
correct.control.type = pythonplugin
correct.control.executable = {here}/correct.py
correct.control.mapfile_in = image.output.products.mapfile
correct.control.inputkey = products
correct.argument.products = products
correct.argument.image_root = {here}/images/{{{{ root }}}}
! root = x
! channels = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pipeline.cfg").write_text(CONFIG.format(here=tmp_path))
    (tmp_path / "p.parset").write_text(STEPS.format(here=tmp_path) + list_step("[a.ms]"))
    for name, text in (("wsclean", WSCLEAN), ("correct.py", CORRECT)):
        (tmp_path / name).write_text(text.replace("{here}", str(tmp_path)))
        (tmp_path / name).chmod(0o755)
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments(channels: int, *more: str) -> list[str]:
    return ["p.parset", "-c", "pipeline.cfg", f"--set=channels={channels}", *more]


def run(channels: int, *more: str) -> int:
    return main(arguments(channels, *more))


def images(here: Path) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in sorted((here / "images").iterdir())}


def expected(channels: int, root: str = "x") -> dict[str, str]:
    """All that a run with so many channels leaves."""
    places = [f"{number:04d}" for number in range(channels)] + ["MFS"]
    return {f"{root}-{p}-image{end}.fits": f"{channels} channels" for p in places for end in ("", "-pb")}


def test_fewer_channels_leave_no_stale_images(here: Path) -> None:
    assert run(3) == run(1) == 0
    assert images(here) == expected(1)
    assert (here / "seen.txt").read_text() == ""
    assert run(2) == 0
    assert images(here) == expected(2)


def test_foreign_files_stay(here: Path) -> None:
    foreign = {"x-0007-image.fits": "mine", "x-MFS-notes.txt": "mine", "y-MFS-image.fits": "mine"}
    for name, text in foreign.items():
        (here / "images" / name).write_text(text)
    assert run(3) == run(1) == 0
    assert images(here) == expected(1) | foreign


def test_images_of_another_root_name_stay(here: Path) -> None:
    assert run(3) == run(1, "--set=root=y") == 0
    assert images(here) == expected(3) | expected(1, "y")
    assert run(1) == 0
    assert images(here) == expected(1) | expected(1, "y")


def test_failed_job_restores_former_outputs(here: Path) -> None:
    assert run(3) == 0
    (here / "broken").touch()
    assert run(1) == 1
    assert images(here) == expected(3)
    (here / "broken").unlink()
    assert run(1) == 0
    assert images(here) == expected(1)


def test_removed_step_loses_stale_products(here: Path) -> None:
    assert run(3) == run(1, "--set=pipeline.steps=[list, image]") == 0
    assert set(images(here)) == {"x-0000-image.fits", "x-MFS-image.fits"}


def test_lenient_run_moves_nothing(here: Path) -> None:
    assert run(3, "--lenient") == run(2, "--lenient") == 0
    assert images(here) == expected(3) | expected(2)
    assert not journalled(here / "p", "job_set_aside")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_ended_run_restores_former_outputs(here: Path, number: signal.Signals) -> None:
    assert run(3) == 0
    (here / "wait").touch()
    command = [sys.executable, "-m", "lofarpipe.cli", *arguments(1)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not any(path.name == "x-MFS-image.fits" for path in here.glob("images/.x.*/*")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert images_in_sight(here) == []
        process.send_signal(number)
    (here / "broken").touch()
    (here / "wait").unlink()
    assert run(1) == 1
    assert images(here) == expected(3)
    (here / "broken").unlink()
    assert run(2) == 0
    assert images(here) == expected(2)


def images_in_sight(here: Path) -> list[str]:
    return [path.name for path in (here / "images").iterdir() if not path.name.startswith(".")]


@pytest.mark.parametrize("moved", [0, 1, 2])
@pytest.mark.parametrize("is_done", [True, False])
def test_kill_at_any_point_restores_outputs(tmp_path: Path, moved: int, is_done: bool) -> None:
    """The journal suffices, whichever files were moved or placed before."""
    names = [str(tmp_path / name) for name in ("a", "b")]
    stream = Stream()
    emit(stream, "run_started", executor="local")
    hidden = {name: f"{name}.hidden" for name in names}
    for number, (name, place) in enumerate(hidden.items()):
        Path(place if number < moved else name).write_text("old")
        stream.state.work.owners[name] = "s/000"
    emit(stream, "job_set_aside", step="s", job="s/000", aside=hidden)
    if is_done:
        Path(names[0]).write_text("new")
        emit(stream, "job_done", step="s", job="s/000", problem=None, made=names[:1])
    for _ in range(2):  # the second run finds nothing to do
        for job in stream.state.work.jobs_set_aside():
            settle_former_outputs(stream, job)
    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    if is_done and moved == 2:
        assert left == {"a": "new"}
        assert stream.state.work.owners == {names[0]: "s/000"}
    elif not is_done:
        assert left == {"a": "old", "b": "old"}
        assert set(stream.state.work.owners) == set(names)


def test_partly_placed_outputs_are_withdrawn(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is killed while complete outputs get their names: a channel that was not there before is not left."""
    assert run(1) == 0
    work = here / "p"
    with Journal(work / "journal.jsonl") as journal:
        emit(journal, "run_started", executor="local", pid=0, boot=None, job="p")
        old = [str(here / "images" / name) for name in expected(1)]
        FormerOutputs(Stream(journal), "image").set_aside("image/000", old)
        makes = [str(here / "images" / f"x-000{number}-image.fits") for number in range(3)]
        emit(journal, "job_started", step="image", job="image/000", pid=0, before={}, makes=makes)
    for path in makes[1:]:
        Path(path).write_text("3 channels")
    (here / "images" / "x-MFS-image.fits").write_text("3 channels")
    (here / "broken").touch()
    assert run(2) == 1
    assert images(here) == expected(1)


def test_failed_commit_removes_partial_outputs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lofarpipe.executors.local import process

    def commit(staged: Any) -> list[str]:
        (staged.directory / "x-0001-image.fits").rename(staged.destination / "x-0001-image.fits")
        raise PipelineError("outputs could not be moved")

    assert run(1) == 0
    monkeypatch.setattr(process, "commit", commit)
    assert run(3) == 1
    assert images(here) == expected(1)


def test_queued_jobs_keep_outputs_aside(tmp_path: Path) -> None:
    """They may be running: the files set aside are handled at their end."""
    path = tmp_path / "a"
    path.write_text("old")
    stream = Stream()
    emit(stream, "run_started", executor="slurm")
    former = FormerOutputs(stream, "s")
    former.set_aside("s/000", [str(path)])
    assert stream.state.work.jobs_set_aside() == []
    path.write_text("new, of the job that runs")
    former.set_aside("s/000", [str(path)])
    assert path.exists()
    emit(stream, "job_done", step="s", job="s/000", problem=None, made=[str(path)])
    assert stream.state.work.jobs_set_aside() == ["s/000"]
    settle_former_outputs(stream, "s/000")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


class SlurmExecutor(LocalExecutor):
    """Somewhere jobs go on when the run has ended."""

    def run(self, *_: Any) -> Any:
        raise PipelineError("no contact with the queue")


def test_lost_queue_keeps_outputs_aside(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(3) == 0
    monkeypatch.setattr(Run, "execute", lambda self: _with(self, SlurmExecutor()))
    assert run(1) == 1
    assert images_in_sight(here) == []
    monkeypatch.undo()
    os.chdir(here)
    assert run(1) == 0
    assert images(here) == expected(1)


_execute = Run.execute


def _with(run: Run, executor: LocalExecutor) -> Any:
    run.scope.executor = executor
    return _execute(run)


def test_products_of_unrecorded_attempt_are_removed(here: Path) -> None:
    """A job of a queue wrote three channels while no run was there; the next one makes two."""
    assert run(1) == 0
    with Journal(here / "p" / "journal.jsonl") as journal:
        emit(journal, "run_started", executor="slurm", pid=0, boot=None, job="p")
        makes = [str(here / "images" / f"x-000{number}-image.fits") for number in (1, 2)]
        emit(journal, "job_started", step="image", job="image/000", pid=0, before={}, makes=makes)
    for path in makes:
        Path(path).write_text("3 channels")
    assert run(2) == 0
    assert images(here) == expected(2)


def test_unmovable_output_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.touch()

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    stream = Stream()
    emit(stream, "run_started", executor="local")
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PipelineError, match=r"/a: of an earlier run, and cannot be renamed to .*: .*ermission"):
        FormerOutputs(stream, "s").set_aside("s/000", [str(path)])
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(PipelineError, match=r"/a: of an earlier run, and cannot be removed: .*ermission"):
        module.remove(str(path))


def test_hidden_name_is_free(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / ".a.earlier-0").touch()
    stream = Stream()
    FormerOutputs(stream, "s").set_aside("s/000", [str(tmp_path / "a")])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.earlier-0", ".a.earlier-1"]


def test_directory_name_does_not_match_as_prefix(tmp_path: Path) -> None:
    """A set a.MS is set aside for the job that makes it, a.MS.avg is not."""
    for name in ("a.MS", "a.MS.avg"):
        (tmp_path / name).mkdir()
    stream = Stream()
    stream.state.work.owners = {str(tmp_path / "a.MS"): "s/000", str(tmp_path / "a.MS.avg"): "s/009"}
    job: Any = type("Job", (), {"staged": None})()
    found = FormerOutputs(stream, "s").find_for_jobs({"s/000": job}, lambda _: {str(tmp_path / "a.MS")}, ())
    assert found == {"s/000": {str(tmp_path / "a.MS")}}
