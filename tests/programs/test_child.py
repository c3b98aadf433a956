"""A known program as a child of a job: refused, failed, ended for its log, and its command."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from lofarpipe.jobs import Resources
from lofarpipe.programs import child as module
from lofarpipe.programs.base import Program
from lofarpipe.programs.child import ChildFailed, run_program

GIVEN = Resources(1, 1.0)


class Made(Program):
    """A program that is a shell script."""

    name = "Made"
    messages = ((r"no such grid", "make size a multiple of 8"),)
    findings: tuple[str, ...] = ()

    def __init__(self, script: Path) -> None:
        self.task = {"executable": str(script), "args_format": "gnu"}

    def check(self, executable, keywords, flags, machine) -> list[str]:
        return list(self.findings)

    def complete(self, executable, keywords, flags, given):
        return {**keywords, "threads": str(given.cores)}, list(flags), ["one thread"]

    def detector(self, limits):
        return lambda line: "it diverged" if "diverged" in line else None


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def make(script: str) -> Made:
        path = tmp_path / "made"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        program = Made(path)
        monkeypatch.setattr(module, "KNOWN_PROGRAMS", {"made": program})
        return program

    return make


def test_command_is_completed_and_shown(made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made('echo "$OMP_NUM_THREADS $OPENBLAS_NUM_THREADS"; pwd')
    argv = run_program("made", {"size": "8"}, ["in put"], GIVEN, tmp_path)
    printed = capsys.readouterr().out
    assert argv == (f"{tmp_path}/made", "in put", "--size=8", "--threads=1")
    assert f"{tmp_path}/made 'in put' --size=8 --threads=1" in printed
    assert "Made: one thread" in printed
    assert f"1 1\n{tmp_path}\n" in printed


def test_predicted_refusal_starts_nothing(made, tmp_path: Path) -> None:
    made("touch started").findings = ("size is 7", "grid is 3")
    with pytest.raises(ChildFailed, match="would refuse its arguments: size is 7; grid is 3"):
        run_program("made", {}, [], GIVEN, tmp_path)
    assert not (tmp_path / "started").exists()


def test_failure_has_message_and_remedy(made, tmp_path: Path) -> None:
    made('echo "std exception detected: no such grid"; exit 3')
    with pytest.raises(ChildFailed, match=r"Made exited with 3: .*no such grid.*; make size a multiple of 8"):
        run_program("made", {}, [], GIVEN, tmp_path)


def test_killed_program_is_named_with_its_signal(made, tmp_path: Path) -> None:
    made("kill -9 $$")
    with pytest.raises(ChildFailed, match="Made killed by SIGKILL"):
        run_program("made", {}, [], GIVEN, tmp_path)


def test_diverged_program_is_ended(made, tmp_path: Path) -> None:
    made("echo diverged; exec sleep 60")
    began = time.monotonic()
    with pytest.raises(ChildFailed, match="killed by SIGTERM: it diverged"):
        run_program("made", {}, [], GIVEN, tmp_path)
    assert time.monotonic() - began < 30


def test_program_ignoring_sigterm_is_killed(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "END_S", 0.2)
    made("trap '' TERM; echo diverged; exec sleep 60")
    with pytest.raises(ChildFailed, match="killed by SIGKILL"):
        run_program("made", {}, [], GIVEN, tmp_path)


def test_program_ends_with_job(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made("echo $$ > pid; exec sleep 60")

    def interrupt() -> None:
        while not (tmp_path / "pid").is_file():
            time.sleep(0.02)
        time.sleep(0.3)  # until it is known here that the program has begun
        os.kill(os.getpid(), signal.SIGUSR1)

    def leave(*_: object) -> None:
        raise SystemExit(143)

    before = signal.signal(signal.SIGUSR1, leave)
    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(SystemExit):
            run_program("made", {}, [], GIVEN, tmp_path)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()
