"""A process is distinguished from a later one with the same id."""

import os
import subprocess
from pathlib import Path

import pytest

from lofarpipe.support import processes
from lofarpipe.support.processes import boot_id, process_space, start_ticks


def test_child_started_after_parent() -> None:
    own = start_ticks(os.getpid())
    with subprocess.Popen(["sleep", "60"]) as process:
        began = start_ticks(process.pid)
        process.kill()
    assert own is not None
    assert began is not None
    assert own <= began
    assert start_ticks(process.pid) is None


def test_zombie_process_is_not_alive() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert start_ticks(process.pid) is None
    process.wait()


def test_process_name_may_contain_parentheses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "7").mkdir()
    fields = " ".join(map(str, range(4, 23)))  # proc(5): the 4th to the 22nd, of which the last counts
    (tmp_path / "7" / "stat").write_text(f"7 (a) Z (b) S {fields}\n")
    monkeypatch.setattr(processes, "PROC", tmp_path)
    assert start_ticks(7) == 22


def test_machine_and_namespace_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert boot_id() == boot_id() != ""
    assert process_space().startswith("pid:")
    monkeypatch.setattr(processes, "PROC", tmp_path)
    assert (boot_id(), process_space()) == ("", "")


def test_process_starting_program_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment is empty for a moment; a thread of the kernel has none ever, and is not waited for."""
    beginning, kernel = tmp_path / "4242", tmp_path / "17"
    for process in (beginning, kernel):
        process.mkdir()
        (process / "environ").touch()
    (beginning / "exe").symlink_to("/bin/true")
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        (beginning / "environ").write_bytes(b"B=2\0A=1\0")

    monkeypatch.setattr(processes.time, "sleep", sleep)
    assert processes.carrying("A=1", tmp_path) == [4242]
    assert waited == [processes.LOOK_S]


def test_process_without_environment_is_skipped(tmp_path: Path) -> None:
    process = tmp_path / "4242"
    process.mkdir()
    (process / "environ").touch()
    (process / "exe").symlink_to("/bin/true")
    assert processes.carrying("A=1", tmp_path) == []
