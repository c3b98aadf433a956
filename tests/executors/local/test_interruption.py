"""Ctrl-C, SIGTERM and SIGKILL to the engine: nothing of any job is alive afterwards, and no scratch is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lofarpipe.executors.local.process import session_members

ENGINE = """
import sys
from pathlib import Path
from lofarpipe.jobs import Interrupted, Job, Resources, Staged
from lofarpipe.executors.local.executor import LocalExecutor
root, grace, *scripts = sys.argv[1:]
root = Path(root)
jobs = []
for n, script in enumerate(scripts):
    argv = ("bash", "-c", f"touch scratch{n}/file .{n}.incomplete/half; {script}")
    staged = Staged(argv, root / f".{n}.incomplete", root)
    jobs.append(Job(f"step/{n:03}", ("shown",), root, root / f"{n}.log", tempdir=root / f"scratch{n}", staged=staged))
try:
    LocalExecutor(Resources(2, 4.0), float(grace)).run(jobs)
except Interrupted as err:
    print(err)
    sys.exit(128 + err.signal)
"""
LIMIT_S = 50.0  # longest end of an engine on a busy machine
LONG_GRACE_S = 100.0  # an engine that waited for its end would not end within the limit
# Each writes its session where the test finds it.
PLAIN = "echo $$ > $$.session; sleep 60"
WITH_CHILDREN = "echo $$ > $$.session; sleep 60 & (sleep 61 & wait) & wait"
OWN_GROUP = "echo $$ > $$.session; set -m; sleep 60 & wait"  # job control: the child is in another process group
DEAF = "trap 'touch asked' TERM; trap '' INT; echo $$ > $$.session; while true; do sleep 0.1; done"
TIDY = "trap 'sleep 0.2; echo tidied > tidied; exit 1' TERM; echo $$ > $$.session; sleep 60 & wait"
UNTIL_GO = "echo $$ > $$.session; until [ -e go ]; do sleep 0.05; done"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Engine:
    """An engine in a process of its own, with two jobs that run and one that waits."""

    def __init__(self, root: Path, *scripts: str, grace_s: float = LONG_GRACE_S, prefix: tuple[str, ...] = ()) -> None:
        self.root = root
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", ENGINE, str(root), str(grace_s), *scripts, "touch third_job_ran"],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        wait_for(lambda: len([path for path in root.glob("*.session") if path.read_text().endswith("\n")]) == 2)
        time.sleep(0.2)  # for their children
        self.sessions = [int(path.read_text()) for path in root.glob("*.session")]
        assert len(session_members(self.sessions)) >= 2

    def end(self) -> tuple[int, str]:
        """Wait for the end; return exit code and output."""
        printed, _ = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, printed

    def leftovers(self) -> list[Path]:
        return [path for pattern in ("scratch*", ".*.incomplete", "half") for path in self.root.glob(pattern)]

    def assert_nothing_is_left(self) -> None:
        assert session_members(self.sessions) == []
        assert self.leftovers() == []
        assert not (self.root / "third_job_ran").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2])
@pytest.mark.parametrize("script", [PLAIN, WITH_CHILDREN, OWN_GROUP], ids=["plain", "children", "own_group"])
def test_signal_ends_engine_and_jobs(tmp_path: Path, number: signal.Signals, script: str) -> None:
    engine = Engine(tmp_path, script, script)
    engine.process.send_signal(number)
    code, printed = engine.end()  # no job used the grace time
    assert code == 128 + number
    assert f"interrupted by {number.name}" in printed
    engine.assert_nothing_is_left()


def test_daemon_ends_with_its_job(tmp_path: Path) -> None:
    daemon = "setsid sh -c 'echo $$ >daemon.new; mv daemon.new daemon; exec sleep 60' &"
    script = f"{daemon} until [ -e daemon ]; do sleep 0.05; done; {PLAIN}"
    engine = Engine(tmp_path, script, PLAIN)
    engine.process.send_signal(signal.SIGTERM)
    assert engine.end()[0] == 143
    assert session_members([int((tmp_path / "daemon").read_text())]) == []
    engine.assert_nothing_is_left()


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGXCPU])
def test_scheduler_warning_ends_engine(tmp_path: Path, number: signal.Signals) -> None:
    engine = Engine(tmp_path, PLAIN, PLAIN)
    os.killpg(engine.process.pid, number)
    code, printed = engine.end()
    assert code == 128 + number
    assert f"interrupted by {number.name}" in printed
    engine.assert_nothing_is_left()


def test_control_c_reaches_process_group(tmp_path: Path) -> None:
    engine = Engine(tmp_path, WITH_CHILDREN, PLAIN)
    os.killpg(engine.process.pid, signal.SIGINT)
    assert engine.end()[0] == 130
    engine.assert_nothing_is_left()


def test_deaf_job_is_killed_after_grace(tmp_path: Path) -> None:
    engine = Engine(tmp_path, DEAF, PLAIN, grace_s=1.0)
    engine.process.send_signal(signal.SIGTERM)
    assert engine.end()[0] == 143
    engine.assert_nothing_is_left()


def test_second_control_c_shortens_grace(tmp_path: Path) -> None:
    engine = Engine(tmp_path, DEAF, DEAF)
    engine.process.send_signal(signal.SIGINT)
    wait_for((tmp_path / "asked").exists)
    engine.process.send_signal(signal.SIGINT)
    assert engine.end()[0] == 130
    engine.assert_nothing_is_left()


def test_job_may_clean_up(tmp_path: Path) -> None:
    engine = Engine(tmp_path, TIDY, PLAIN)
    engine.process.send_signal(signal.SIGINT)
    assert engine.end()[0] == 130
    assert (tmp_path / "tidied").exists()
    engine.assert_nothing_is_left()


def test_log_records_end_of_job(tmp_path: Path) -> None:
    engine = Engine(tmp_path, PLAIN, PLAIN)
    engine.process.send_signal(signal.SIGTERM)
    engine.end()
    assert "killed by signal 15 (SIGTERM)" in (tmp_path / "0.log").read_text().splitlines()[-1]


@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["engine", "its_group"])
@pytest.mark.parametrize("script", [WITH_CHILDREN, DEAF], ids=["children", "deaf"])
def test_killed_engine_ends_its_jobs(tmp_path: Path, script: str, kill: Callable[[int, int], None]) -> None:
    engine = Engine(tmp_path, script, PLAIN, grace_s=0.5)
    kill(engine.process.pid, signal.SIGKILL)
    engine.end()
    deadline = time.monotonic() + LIMIT_S
    while (session_members(engine.sessions) or engine.leftovers()) and time.monotonic() < deadline:
        time.sleep(0.05)
    engine.assert_nothing_is_left()


def test_nohup_is_respected(tmp_path: Path) -> None:
    engine = Engine(tmp_path, UNTIL_GO, UNTIL_GO, prefix=("nohup",))
    engine.process.send_signal(signal.SIGHUP)
    (tmp_path / "go").touch()
    assert engine.end()[0] == 0
    assert (tmp_path / "third_job_ran").exists()
