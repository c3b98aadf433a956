"""Cleanup after a killed run waits for its processes, removes its files, and touches nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from journal_events import emit
from lofarpipe.config import Overrides, load_settings
from lofarpipe.engine import crew as module
from lofarpipe.engine.crew import StaleOutputs
from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.process import MARKER, session_members
from lofarpipe.executors.local.signals import Guardian
from lofarpipe.programs.find import job_environment
from lofarpipe.state.journal import Stream
from lofarpipe.state.uptodate import Ledger
from lofarpipe.support.processes import boot_id, start_ticks


class Site:
    """The journal of a killed run, and its cleanup."""

    def __init__(self, here: Path) -> None:
        (here / "pipeline.cfg").write_text(f"[DEFAULT]\nruntime_directory = {here}\nworking_directory = {here}\n")
        self.settings = load_settings(here / "run.parset", Overrides(config=str(here / "pipeline.cfg")))
        self.work = self.settings.job_workdir
        self.work.mkdir()
        self.stream = Stream()
        self.told: list[str] = []

    def killed(self, executor: str = "local", boot: str | None = None, **facts: Any) -> None:
        emit(self.stream, "run_started", job="run", pid=0, boot=boot or boot_id(), executor=executor)
        emit(self.stream, "job_started", **{"step": "s", "job": "s/000", "pid": 0, "before": {}, **facts})

    def clear(self) -> None:
        StaleOutputs(Ledger(self.stream, self.settings), self.told.append).remove()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def make(path: Path, *names: str) -> Path:
    path.mkdir(parents=True)
    for name in names:
        (path / name).touch()
    return path


def test_job_directories_are_removed(site: Site, tmp_path: Path) -> None:
    tempdir, stage = make(tmp_path / "tempdir", MARKER, "x"), make(tmp_path / "stage")
    site.killed(tempdir=str(tempdir), stage=str(stage))
    site.clear()
    assert not tempdir.exists()
    assert not stage.exists()  # it had just been made
    assert site.told == []


def test_foreign_directory_stays(site: Site, tmp_path: Path) -> None:
    data = make(tmp_path / "data", "x")
    site.killed(tempdir=str(data), stage=str(tmp_path / "never made"))
    site.clear()
    assert (data / "x").exists()


def test_queued_jobs_are_not_cleared(site: Site) -> None:
    (site.work / "x").touch()
    site.killed("slurm", before={f"{site.work}/x": None})
    site.clear()
    assert (site.work / "x").exists()
    emit(site.stream, "job_done", step="s", job="s/000", problem="lost", is_lost=True)
    site.clear()
    assert not (site.work / "x").exists()


@pytest.mark.parametrize("kind", ["file", "link", "table"])
def test_incomplete_product_is_removed(site: Site, kind: str) -> None:
    path = site.work / "x"
    if kind == "file":
        path.touch()
    elif kind == "link":
        path.symlink_to(site.work)
    else:
        make(path, "table.dat")
    site.killed(before={str(path): None})
    site.clear()
    assert not os.path.lexists(path)
    assert site.work.exists()
    assert site.told == [f"s/000 was cut off; {path} was not complete, and is removed"]


def test_older_product_stays(site: Site) -> None:
    (site.work / "x").touch()
    site.killed(before={f"{site.work}/x": "sha256:1@2", f"{site.work}/none": None})
    site.clear()
    assert (site.work / "x").exists()


def test_product_of_another_job_stays(site: Site) -> None:
    """Both jobs name the directory; one has a complete product in it."""
    make(site.work / "shared", "done", "table.dat")
    (site.work / "log").touch()
    site.killed(before={f"{site.work}/shared": None, f"{site.work}/log": None})
    written = {f"{site.work}/shared/done": "1@2", f"{site.work}/log": "3@4"}
    emit(site.stream, "job_done", step="s", job="s/001", problem=None, written=written)
    site.clear()
    assert (site.work / "shared/done").exists()
    assert (site.work / "log").exists()


@pytest.mark.parametrize("is_output", [True, False])
def test_only_product_directories_are_removed(site: Site, is_output: bool) -> None:
    path = make(site.work / "plots", "a.png")
    site.killed(before={str(path): None}, outputs=[str(path)] if is_output else [])
    site.clear()
    assert path.exists() != is_output


def test_runner_files_stay(site: Site) -> None:
    logs = make(site.settings.job_directory / "logs", "000.log")
    site.killed(before={f"{logs}/000.log": None})
    site.clear()
    assert (logs / "000.log").exists()


def test_failed_removal_names_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.work / "x").touch()
    site.killed(before={f"{site.work}/x": None})

    def unlink(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(PipelineError, match=r"x: not complete, and cannot be removed before it is made again: .*den"):
        site.clear()


# Processes.


def session(script: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sh", "-c", script], start_new_session=True)


def reap(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def test_stubborn_job_is_killed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    monkeypatch.setattr(module, "FORCE_S", 0.5)
    process = session("trap '' TERM; while :; do sleep 0.1; done")
    site.killed(pid=process.pid, ticks=start_ticks(process.pid))
    site.clear()
    assert session_members([process.pid]) == []
    assert process.wait() == -signal.SIGKILL
    assert "the run before this one was killed; waiting until its processes have ended" in site.told[0]
    assert "did not end, and are ended now" in site.told[1]


def test_unkillable_job_is_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATIENCE_S", "FORCE_S"):
        monkeypatch.setattr(module, name, 0.1)
    monkeypatch.setattr(module, "send_signal", lambda processes, number: None)
    process = session("exec sleep 60")
    site.killed(pid=process.pid, ticks=start_ticks(process.pid))
    with pytest.raises(PipelineError, match=f"cannot be ended: {process.pid}"):
        site.clear()
    reap(process)


@pytest.mark.parametrize("why", ["another process", "another boot", "no process"])
def test_unrelated_process_keeps_running(site: Site, why: str) -> None:
    process = session("exec sleep 60")
    site.killed(
        boot="of yesterday" if why == "another boot" else None,
        pid=0 if why == "no process" else process.pid,
        ticks=1 if why == "another process" else start_ticks(process.pid),
    )
    site.clear()
    assert process.poll() is None
    assert site.told == []
    reap(process)


ENGINE = """
import sys
from lofarpipe.executors.local.signals import Guardian
import subprocess
with Guardian(30.0) as guardian:
    process = subprocess.Popen(["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"], start_new_session=True)
    guardian.watch(process.pid)
    print(process.pid, flush=True)
    sys.stdin.read()
"""


def test_cleanup_awaits_guardian_of_killed_run(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would remove directories of the same name from under the jobs of this run."""
    for name in ("PATIENCE_S", "FORCE_S"):
        monkeypatch.setattr(module, name, 0.2)
    environment = {**os.environ, **job_environment()}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    engine = subprocess.Popen([sys.executable, "-c", ENGINE], env=environment, **pipes)  # type: ignore[call-overload]
    job = int(engine.stdout.readline())
    engine.kill()
    engine.wait()  # not for the end of its output, which the job holds
    engine.stdin.close()
    engine.stdout.close()
    for pid in (engine.pid, 0, os.getpid()):  # this run has begun, after another that was killed at once
        emit(site.stream, "run_started", job="run", pid=pid, boot=boot_id(), executor="local")
    assert module.guardians({engine.pid})  # two, if it is about to begin a program
    site.clear()  # the job itself is not known: its start was not recorded
    assert module.guardians({engine.pid}) == []
    os.killpg(job, signal.SIGKILL)


def test_guardian_of_live_engine_is_ignored(site: Site) -> None:
    """The process id of a killed run may be that of another one today."""
    with Guardian(1.0):
        assert module.guardians({os.getpid()}) == []


def test_guardian_of_ended_run_is_ignored(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "guardians", lambda pids: [1])
    emit(site.stream, "run_started", job="run", pid=os.getpid() + 1, boot=boot_id(), executor="local")
    emit(site.stream, "run_ended", ok=True)
    site.clear()
    assert site.told == []


def test_unrecorded_job_is_found(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run was killed while it started it."""
    for name in ("PATIENCE_S", "FORCE_S"):
        monkeypatch.setattr(module, name, 0.3)
    monkeypatch.setenv(module.OWNER, "elsewhere")
    other = session("exec sleep 60")
    module.mark_processes(site.settings.job_directory)
    process = session("exec sleep 60")
    started = [module.started_by(site.settings.job_directory), module.started_by(Path("elsewhere"))]
    assert process.pid in started[0]
    assert process.pid not in started[1]
    assert other.pid in started[1]
    for pid in (1 << 30, os.getpid()):  # the one that was killed, and this one
        emit(site.stream, "run_started", job="run", pid=pid, boot=boot_id(), executor="local")
    site.clear()
    assert process.wait() == -signal.SIGTERM
    assert other.poll() is None
    reap(other)


def test_wait_ends_with_processes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 1e6)
    process = session("exec sleep 60")

    def end(text: str) -> None:
        site.told.append(text)
        process.kill()

    site.killed(pid=process.pid, ticks=start_ticks(process.pid))
    StaleOutputs(Ledger(site.stream, site.settings), end).remove()
    assert len(site.told) == 1
    process.wait()
