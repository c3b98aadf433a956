"""Jobs of a killed engine: here with process groups of our own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lofarpipe.executors.local import signals as module
from lofarpipe.executors.local.process import MARKER, session_members
from lofarpipe.executors.local.signals import ENDING, Guardian

LIMIT_S = 50.0  # longest wait on a busy machine
ENGINE = """
import os, signal, subprocess, sys
from pathlib import Path
from lofarpipe.executors.local.signals import Guardian
with Guardian(float(sys.argv[1])) as guardian:
    env = {**os.environ, **guardian.environment}
    for number, arguments in enumerate(sys.argv[2:]):
        script, _, tempdir = arguments.partition("|")
        guardian.add_directories(number, [Path(tempdir)] if tempdir else [])
        process = subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.DEVNULL, env=env)
        if not script.startswith(": not told of;"):
            guardian.watch(process.pid)
        print(process.pid, flush=True)
    sys.stdin.read()
"""


def killed_engine(grace_s: float, *jobs: str) -> list[int]:
    """Start an engine with these jobs, kill it by SIGKILL, and return the sessions of the jobs."""
    engine = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ENGINE), str(grace_s), *jobs],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert engine.stdout is not None
    sessions = [int(engine.stdout.readline()) for _ in jobs]
    time.sleep(0.2)
    assert len(session_members(sessions)) >= len(jobs)
    engine.kill()
    engine.communicate()
    return sessions


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_until_gone(sessions: list[int]) -> None:
    wait_until(lambda: not session_members(sessions))


def ignores(process: int, number: signal.Signals) -> bool:
    ignored = re.search(r"SigIgn:\s+(\w+)", Path(f"/proc/{process}/status").read_text())
    return ignored is not None and bool(int(ignored[1], 16) & 1 << (number - 1))


def test_groups_end_with_engine() -> None:
    sessions = killed_engine(0.3, "sleep 60", "sleep 61 & sleep 62 & wait")
    wait_until_gone(sessions)


def test_group_ignoring_sigterm_is_killed() -> None:
    sessions = killed_engine(0.5, "trap '' TERM; sleep 60")
    wait_until_gone(sessions)


@pytest.mark.parametrize(
    "scripts", [[": not told of; sleep 60"], ["sleep 60", ": not told of; trap '' TERM; sleep 61"]]
)
def test_unregistered_group_ends_with_engine(scripts: list[str]) -> None:
    wait_until_gone(killed_engine(0.3, *scripts))


def test_daemon_process_ends_with_engine(tmp_path: Path) -> None:
    daemon = "setsid sh -c 'echo $$ >daemon.new; mv daemon.new daemon; exec sleep 60' &"
    wait_until_gone(killed_engine(0.3, f"cd {tmp_path}; {daemon} until [ -e daemon ]; do sleep 0.05; done; sleep 60"))
    wait_until_gone([int((tmp_path / "daemon").read_text())])


def test_normal_engine_end_keeps_process() -> None:
    with Guardian(0.1) as guardian:
        mine = subprocess.Popen(["sleep", "60"], env={**os.environ, **guardian.environment}, start_new_session=True)
        wait_until(lambda: guardian.stray_processes() == [mine.pid])
    assert mine.poll() is None
    mine.kill()
    mine.wait()
    assert guardian.stray_processes() == []


def own_directory(path: Path) -> Path:
    path.mkdir()
    (path / MARKER).touch()
    (path / "file").touch()
    return path


def test_directories_are_removed(tmp_path: Path) -> None:
    first, second = own_directory(tmp_path / "a b "), own_directory(tmp_path / "second")
    own_directory(tmp_path / "a b")
    (tmp_path / "empty").mkdir()
    jobs = [f"sleep 60|{directory}" for directory in (first, second, tmp_path / "empty", tmp_path / "not made yet")]
    wait_until_gone(killed_engine(0.1, *jobs))
    wait_until(lambda: [path.name for path in tmp_path.iterdir()] == ["a b"])


def test_foreign_directory_stays(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").touch()
    ours = own_directory(tmp_path / "ours")
    wait_until_gone(killed_engine(0.1, f"sleep 60|{tmp_path / 'data'}", f"sleep 60|{ours}"))
    wait_until(lambda: not ours.exists())
    assert (tmp_path / "data" / "precious").exists()


def test_disowned_directory_stays(tmp_path: Path) -> None:
    kept, removed = own_directory(tmp_path / "kept"), own_directory(tmp_path / "removed")
    with Guardian(0.0) as guardian:
        guardian.add_directories(1, [kept])
        guardian.add_directories(11, [removed])
        guardian.drop_directories(1)
        os.close(guardian._pipe)
        guardian._process.wait(timeout=LIMIT_S)
        guardian._pipe = os.open(os.devnull, os.O_WRONLY)  # for the end of the block to close
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_forgotten_group_keeps_running() -> None:
    with Guardian(0.1) as guardian:
        with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
            guardian.watch(process.pid)
            guardian.watch(process.pid + 1_000_000)
            guardian.drop_group(process.pid)
            guardian.drop_group(process.pid + 1_000_000)
            os.close(guardian._pipe)
            guardian._process.wait(timeout=LIMIT_S)
            assert process.poll() is None
            process.kill()
        guardian._pipe = os.open(os.devnull, os.O_WRONLY)  # for the end of the block to close


def test_directory_with_line_break_is_not_registered(tmp_path: Path) -> None:
    with Guardian(0.0) as guardian:
        read_end, write_end = os.pipe()
        own, guardian._pipe = guardian._pipe, write_end
        guardian.add_directories(0, [tmp_path / "a\n- 12", tmp_path])
        guardian.watch(12)
        guardian._pipe = own
        assert os.read(read_end, 1000).decode() == f"+ d0 {tmp_path}/\n+ 12 \n"
        os.close(read_end)
        os.close(write_end)


def test_engine_survives_killed_guardian() -> None:
    with Guardian(0.0) as guardian:
        guardian._process.send_signal(signal.SIGKILL)
        guardian._process.wait()
        guardian.watch(12)
        guardian.drop_group(12)


def test_guardian_ignores_ending_signals() -> None:
    with Guardian(0.0) as guardian:
        wait_until(lambda: ignores(guardian._process.pid, signal.SIGXCPU))
        for number in ENDING:
            guardian._process.send_signal(number)
        time.sleep(0.1)
        assert guardian._process.poll() is None


def test_guardian_closes_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Guardian(0.0):
        pass

    def no_process(*args: object, **kwargs: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(module.subprocess, "Popen", no_process)
    with pytest.raises(OSError, match="Cannot allocate"), Guardian(0.0):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) <= before  # what other tests left in threads may close
