"""A process is told from a later one with the same id."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lofarpipe.support import processes
from lofarpipe.support.processes import boot_id, process_space, start_ticks


def test_living_process_began_after_the_one_that_started_it() -> None:
    own = start_ticks(os.getpid())
    with subprocess.Popen(["sleep", "60"]) as process:
        began = start_ticks(process.pid)
        process.kill()
    assert own is not None
    assert began is not None
    assert own <= began
    assert start_ticks(process.pid) is None


def test_process_that_nobody_waited_for_does_not_live() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert start_ticks(process.pid) is None
    process.wait()


def test_name_of_a_process_may_hold_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
