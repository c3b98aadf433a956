"""The throttle: so many hold a slot at the same time, a dead holder's is taken over, each is given back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.state import slots as module
from lofarpipe.state.lock import Holder, RunLock
from lofarpipe.state.slots import STALE_S, io_slot, is_in_queue

HOLD = """
import sys, time
from pathlib import Path
from lofarpipe.state.slots import io_slot
with io_slot(Path(sys.argv[1]), int(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(directory: Path, slots: int) -> subprocess.Popen[str]:
    """Start a process that holds a slot."""
    command = [sys.executable, "-c", HOLD, str(directory), str(slots)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while "held" not in (line := process.stdout.readline()):
        assert line
    return process


class NotFreeError(Exception):
    """The caller would have to wait."""


def refuse(_: float) -> None:
    raise NotFreeError


def test_holders_never_exceed_slots(tmp_path: Path) -> None:
    with io_slot(tmp_path / "slots", 2) as one, io_slot(tmp_path / "slots", 2) as other:
        assert {one, other} == {"slot-0", "slot-1"}
        with pytest.raises(NotFreeError), io_slot(tmp_path / "slots", 2, refuse):
            pass
    assert list((tmp_path / "slots").iterdir()) == []


def test_error_releases_slot(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), io_slot(tmp_path, 1):
        raise ZeroDivisionError
    with io_slot(tmp_path, 1, refuse) as name:
        assert name == "slot-0"


def test_slot_of_killed_holder_is_reused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    process = hold(tmp_path, 1)
    with pytest.raises(NotFreeError), io_slot(tmp_path, 1, refuse):
        pass
    process.kill()
    process.wait()
    with io_slot(tmp_path, 1, refuse):
        assert "a holder that has died was taken over" in capsys.readouterr().out


def test_sigterm_of_script_frees_slot(tmp_path: Path) -> None:
    code = HOLD.replace("import sys, time", "import signal, sys, time; signal.signal(15, lambda n, _: sys.exit(143))")
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), "1"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "held" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    assert list(tmp_path.iterdir()) == []


def test_wait_is_noted_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise NotFreeError

    with io_slot(tmp_path, 1), pytest.raises(NotFreeError), io_slot(tmp_path, 1, wait):
        pass
    assert capsys.readouterr().out.count("waiting for one (io_slots)") == 1


def put_foreign(path: Path, age_s: float, job: str = "") -> None:
    """Write the record of a holder on another machine."""
    path.write_text(json.dumps(asdict(replace(Holder.current(), host="elsewhere", boot="other", job=job))))
    os.utime(path, (time.time() - age_s,) * 2)


def test_live_remote_holder_keeps_slot(tmp_path: Path) -> None:
    put_foreign(tmp_path / "slot-0", STALE_S - 30)
    with pytest.raises(NotFreeError), io_slot(tmp_path, 1, refuse):
        pass


def test_queued_job_keeps_slot_of_silent_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_foreign(tmp_path / "slot-0", STALE_S + 30, "17")
    monkeypatch.setattr(module, "is_in_queue", lambda holder: holder.job == "17")
    with pytest.raises(NotFreeError), io_slot(tmp_path, 1, refuse):
        pass


def test_silent_remote_holder_loses_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_foreign(tmp_path / "slot-0", STALE_S + 30)
    monkeypatch.setattr("lofarpipe.state.lock.LOOK_S", 0.1)
    with io_slot(tmp_path, 1, refuse) as name:
        assert name == "slot-0"


def test_slot_check_queries_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text('#!/bin/sh\ncase "$*" in *"--jobs 17"*) echo RUNNING;; *) exit 1;; esac\n')
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert is_in_queue(replace(Holder(), job="17"))
    assert not is_in_queue(replace(Holder(), job="18"))
    assert not is_in_queue(Holder())
    monkeypatch.setenv("SLURM_JOB_ID", "17")  # it was put back, and runs elsewhere now
    assert not is_in_queue(replace(Holder(), job="17"))
    monkeypatch.delenv("SLURM_JOB_ID")
    squeue.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not is_in_queue(replace(Holder(), job="17"))


def test_impossible_slot_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineError, match="set io_slots_dir to a directory"), io_slot(tmp_path / "file" / "a", 1):
        pass


def test_unwritable_directory_ends_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: RunLock, path: Path, **_: object) -> None:
        raise PipelineError(f"{path}: cannot be written")

    monkeypatch.setattr(RunLock, "__init__", fail)
    monkeypatch.setattr(module, "_is_writable", lambda _: False)
    with pytest.raises(PipelineError, match="cannot be written"), io_slot(tmp_path, 1, refuse):
        pass
    monkeypatch.undo()
    assert module._is_writable(tmp_path)
    assert not module._is_writable(tmp_path / "missing")
