"""One run at a time in a job directory, without locks of the file system."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.programs.find import job_environment
from lofarpipe.state import lock as module
from lofarpipe.state.lock import Holder, OutputClaim, RunLock, has_sign_of_life

LIMIT_S = 50.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.lock"


def held(path: Path, **facts: object) -> Holder:
    """Write a lock file as this process would, but for some facts; return the holder."""
    holder = replace(Holder.current(), **facts)  # type: ignore[arg-type]
    path.write_text(json.dumps(asdict(holder)))
    return holder


def dead_process() -> int:
    with subprocess.Popen(["true"]) as process:
        return process.pid


def only(path: Path) -> bool:
    """Whether nothing is left beside the lock."""
    return [entry.name for entry in path.parent.iterdir()] in ([path.name], [])


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_lock_names_its_holder_and_vanishes(path: Path) -> None:
    lock = RunLock(path)
    said = json.loads(path.read_text())
    assert (said["host"], said["pid"]) == (socket.gethostname(), os.getpid())
    assert lock.notice == ""
    assert only(path)
    lock.release()
    assert not path.exists()


def test_living_holder_is_respected_and_named(path: Path) -> None:
    lock = RunLock(path)
    who = f"process {os.getpid()} on {socket.gethostname()}"
    with pytest.raises(PipelineError, match=f"{path.parent}: another run works here: {who}; wait for it, end it"):
        RunLock(path)
    assert only(path)
    lock.release()
    RunLock(path).release()


def test_children_do_not_hold_lock(path: Path) -> None:
    lock = RunLock(path)
    child = subprocess.Popen(["sleep", "60"])
    lock.release()
    RunLock(path).release()
    child.kill()
    child.wait()


@pytest.mark.parametrize(
    "dead",
    [
        lambda: {"pid": dead_process()},
        lambda: {"ticks": 1},  # the id is in use again
    ],
)
def test_dead_holder_is_replaced_with_notice(path: Path, dead: Callable[[], dict[str, int]]) -> None:
    holder = held(path, **dead())
    lock = RunLock(path)
    assert lock.notice == f"{path.parent}: {holder} worked here and has died; this run takes over"
    assert json.loads(path.read_text())["pid"] == os.getpid()
    assert only(path)
    lock.release()


def test_record_of_older_version_is_read(path: Path) -> None:
    """It names host and process; absent facts count as equal."""
    path.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getppid()}))
    with pytest.raises(PipelineError, match=f"process {os.getppid()} on"):
        RunLock(path)
    path.write_text(json.dumps({"host": socket.gethostname(), "pid": dead_process()}))
    RunLock(path).release()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "n", "pid": "x"}'])
def test_unreadable_record_is_replaced(path: Path, content: str) -> None:
    path.write_text(content)
    RunLock(path).release()


def test_unfinished_record_is_respected(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("")
    monkeypatch.setattr(module, "POLL_S", LIMIT_S)
    writer = threading.Timer(0.3, path.write_text, [json.dumps(asdict(Holder.current()))])
    monkeypatch.setattr(module.time, "sleep", lambda _: threading.Event().wait(0.05))
    writer.start()
    with pytest.raises(PipelineError, match="on some host; try again"):
        RunLock(path)
    writer.join()


ELSEWHERE = ({"host": "node042"}, {"boot": "another"}, {"space": "pid:[1]"})


@pytest.mark.parametrize("place", ELSEWHERE)
def test_live_remote_holder_is_respected(path: Path, place: dict[str, str]) -> None:
    held(path, **place)
    with pytest.raises(PipelineError, match=r"its last sign of life was \d+ s ago; wait for it or end it; "):
        RunLock(path)


@pytest.mark.parametrize("place", ELSEWHERE)
@pytest.mark.parametrize("age_s", [1000, -1000])  # the clock of the file server was set back since then
def test_silent_remote_holder_is_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch, place: dict[str, str], age_s: int
) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.1)
    held(path, **place)
    os.utime(path, (time.time() - age_s,) * 2)
    lock = RunLock(path)
    assert "has died; this run takes over" in lock.notice
    lock.release()


def test_remote_holder_revived_by_heartbeat_is_respected(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", LIMIT_S)
    held(path, host="node042")
    os.utime(path, (1, 1))
    beat = threading.Timer(0.3, os.utime, [path])
    beat.start()
    with pytest.raises(PipelineError, match="on node042; its last sign of life"):
        RunLock(path)
    beat.join()


def test_holder_sends_heartbeats(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.05)
    lock = RunLock(path)
    os.utime(path, (1, 1))
    wait_until(lambda: path.stat().st_mtime > 1)
    path.unlink()  # by a careless hand
    wait_until(path.exists)
    assert not lock.is_lost
    lock.release()
    assert not path.exists()


def test_replaced_holder_loses_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.05)
    lock = RunLock(path)
    held(path, host="node042")
    wait_until(lambda: lock.is_lost)
    lock.release()
    assert "node042" in path.read_text()  # it is not ours to remove


def test_heartbeat_retries_after_server_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.02)
    asked: list[int] = []

    def silent(self: RunLock) -> None:
        asked.append(1)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(RunLock, "_renew", silent)
    lock = RunLock(path)
    wait_until(lambda: len(asked) > 2)
    assert not lock.is_lost
    lock.release()


CONTENDER = (
    "import sys; from pathlib import Path; from lofarpipe.state.lock import RunLock; from lofarpipe.errors import *\n"
    "sys.stdin.readline()\n"
    "try:\n    RunLock(Path(sys.argv[1]))\nexcept PipelineError:\n    print('refused', flush=True)\n"
    "else:\n    print('taken', flush=True)\n"
    "sys.stdin.readline()\n"
)


def test_single_contender_takes_over(path: Path) -> None:
    held(path, pid=dead_process())
    contenders = [
        subprocess.Popen(
            [sys.executable, "-c", CONTENDER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **job_environment()},
        )
        for _ in range(4)
    ]
    for contender in contenders:
        assert contender.stdin is not None
        contender.stdin.write("\n")
        contender.stdin.flush()
    said = [contender.stdout.readline().strip() for contender in contenders if contender.stdout is not None]
    assert sorted(said) == ["refused"] * 3 + ["taken"]
    for contender in contenders:
        contender.communicate("\n")


def test_dead_contender_is_replaced(path: Path) -> None:
    dead = held(path, pid=dead_process())
    content = path.read_bytes()
    right = path.with_name(f"{path.name}.{module.hashlib.sha256(content).hexdigest()[:12]}")
    held(right, pid=dead.pid)
    held(path.with_name(f".{path.name}.{dead.token}"), pid=dead.pid)
    lock = RunLock(path)
    assert only(path)
    lock.release()


DYING = """
import os, signal, sys
from pathlib import Path

left = int(sys.argv[2])

def dying(call):
    def work(*arguments, **keywords):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **keywords)
    return work

from lofarpipe.state.lock import RunLock
for name in ("link", "open", "write", "fsync", "unlink", "replace"):
    setattr(os, name, dying(getattr(os, name)))
RunLock(Path(sys.argv[1]))
"""


def test_contender_death_never_blocks_takeover(path: Path) -> None:
    died = 0
    while True:
        held(path, pid=dead_process(), ticks=1)
        argv = [sys.executable, "-c", DYING, path, str(died)]
        if subprocess.run(argv, check=False, env=job_environment()).returncode != -signal.SIGKILL:
            break
        died += 1
        for left in path.parent.iterdir():
            os.utime(left, (0.0, 0.0))
        lock = RunLock(path)
        assert only(path), died
        lock.release()
    assert died > 10  # there are so many calls of the system at which it can
    assert only(path)


def test_new_file_of_contender_stays(path: Path) -> None:
    other = path.with_name(f".{path.name}.0123456789abcdef")
    other.touch()
    RunLock(path).release()
    assert other.exists()


def test_takeover_of_live_contender_is_respected(path: Path) -> None:
    held(path, pid=dead_process())
    right = path.with_name(f"{path.name}.{module.hashlib.sha256(path.read_bytes()).hexdigest()[:12]}")
    held(right)
    with pytest.raises(PipelineError, match=f"process {os.getpid()} on"):
        RunLock(path)


def test_concurrent_replacement_is_detected(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A contender checks again that the dead holder is still the same one."""
    held(path, pid=dead_process())
    real = RunLock._acquire

    def seize(self: RunLock, what: Path) -> None:
        if what != path:
            held(path)  # another was faster
        real(self, what)

    monkeypatch.setattr(RunLock, "_acquire", seize)
    with pytest.raises(PipelineError, match=f"process {os.getpid()} on"):
        RunLock(path)
    assert only(path)


def test_lock_works_without_hard_links(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(module.os, "link", link)
    lock = RunLock(path)
    with pytest.raises(PipelineError, match="another run works here"):
        RunLock(path)
    lock.release()
    held(path, pid=dead_process())
    RunLock(path).release()


def test_lost_link_reply_is_recovered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link

    def link(source: Path, target: Path) -> None:
        real(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(module.os, "link", link)
    RunLock(path).release()


def test_link_error_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: Path, target: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(module.os, "link", link)
    with pytest.raises(PipelineError, match="cannot be written: Input/output error; check the directory"):
        RunLock(path)
    assert only(path)


def test_missing_directory_is_reported(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="cannot be written: No such file or directory; check the directory"):
        RunLock(tmp_path / "none" / "journal.lock")


# ---- claims of outputs


def claim_of(path: Path, **changes: object) -> None:
    """Write the claim of another process."""
    record = {**asdict(Holder.current(str(path.parent / "run"))), "token": "other", **changes}
    (path.parent / f".{path.name}.lock").write_text(json.dumps(record))


def test_outputs_are_claimed_by_one_run(tmp_path: Path) -> None:
    claim = OutputClaim(tmp_path / "img", tmp_path / "run")
    with pytest.raises(
        PipelineError, match=rf"{tmp_path}/img: process {os.getpid()} on .* in the run {tmp_path}/run; wait"
    ):
        OutputClaim(tmp_path / "img", tmp_path / "other")
    OutputClaim(tmp_path / "img2", tmp_path / "other").release()
    claim.release()
    OutputClaim(tmp_path / "img", tmp_path / "other").release()
    assert list(tmp_path.iterdir()) == []


def test_claim_of_dead_process_is_replaced(tmp_path: Path) -> None:
    claim_of(tmp_path / "img", pid=dead_process())
    OutputClaim(tmp_path / "img", tmp_path / "run").release()
    assert list(tmp_path.iterdir()) == []


def test_remote_claim_lasts_as_long_as_run(tmp_path: Path) -> None:
    claim_of(tmp_path / "img", host="elsewhere")
    with pytest.raises(PipelineError, match=rf"if it was killed, remove {tmp_path}/.img.lock"):
        OutputClaim(tmp_path / "img", tmp_path / "mine")
    (tmp_path / "run").mkdir()
    assert not has_sign_of_life(tmp_path / "run")
    (tmp_path / "run/journal.lock").touch()
    assert has_sign_of_life(tmp_path / "run")
    os.utime(tmp_path / "run/journal.lock", (1, 1))
    OutputClaim(tmp_path / "img", tmp_path / "mine").release()


def test_unwritable_claim_is_reported(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"\.img\.lock: cannot be written: No such file"):
        OutputClaim(tmp_path / "none/img", tmp_path)
