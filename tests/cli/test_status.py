"""How far a run is, from another shell."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import begun_run
from begun_run import begin
from journal_events import emit
from lofarpipe import cli
from lofarpipe.cli import status
from lofarpipe.cli.status import Watched, is_alive
from lofarpipe.state.journal import Journal
from lofarpipe.state.lock import STALE_S, Holder
from pseudo_terminal import PseudoTerminal

LIMIT_S = 60.0


ROOT = str(Path(cli.__file__).parents[2])
HELPERS = Path(begun_run.__file__).parent


@pytest.fixture
def running(tmp_path: Path):
    """The job directory of a run that this process has in hand."""
    journal = Journal(tmp_path / "journal.jsonl")
    begin(journal)
    yield journal
    with contextlib.suppress(OSError):  # a test may have closed it
        journal.close()


def test_running_run_shows_progress(running: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", str(running.path.parent)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("field: running, ")
    assert lines[0].endswith("; cores 2 of 2, memory 4 of 8 GB")
    assert re.fullmatch(r"  began \d{4}-\d\d-\d\d \d\d:\d\d:\d\d on \S+", lines[1])
    assert lines[2].startswith("✓ average  2/2, ")
    assert lines[3].startswith("▶ image    0/1, ")
    assert lines[4] == "    000 a.ms"


def test_status_accepts_journal_path(running: Journal) -> None:
    assert cli.main(["status", str(running.path)]) == 0


def test_failed_run_shows_problem(running: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    emit(running, "warning", text="the input is \x1b[2Jcoarse")
    emit(running, "step_failed", step="image", problem="1 of 1 jobs failed")
    emit(running, "run_ended", ok=False, problem="step 'image': 1 of 1 jobs failed\nmore", signal=None)
    assert cli.main(["status", str(running.path.parent)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("field: failed, ")
    assert re.fullmatch(r"  began .* on .*, ended \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", lines[1])
    assert lines[3].startswith("✗ image    0/1, failed, ")
    assert lines[4:] == ["step 'image': 1 of 1 jobs failed", "warning: the input is coarse"]


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import begun_run
from begun_run import begin
from lofarpipe.state.journal import Journal
journal = Journal(Path({journal!r}))
begin(journal)
os.kill(os.getpid(), 9)
"""


def test_killed_run_is_shown_as_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = KILLED.format(tests=str(HELPERS), journal=str(tmp_path / "journal.jsonl"))
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": ROOT}, check=False)
    assert done.returncode == -9
    assert (tmp_path / "journal.lock").exists()
    assert cli.main(["status", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("field: killed, ")
    assert re.fullmatch(r"  began .*, last heard of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", lines[1])
    assert lines[3].startswith("! image    0/1, interrupted, ")
    assert lines[4] == "the run was killed; run again to resume"


def test_run_ending_during_look_is_done(running: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(*_: object) -> bool:
        emit(running, "run_ended", ok=True, problem=None, signal=None)
        return False

    monkeypatch.setattr(status, "is_alive", ends)
    assert Watched(running.path.parent).read_state().state == "done"


def test_json_describes_run(running: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--json", str(running.path.parent)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["state"], facts["facts"]["job"], facts["run"]) == ("running", "field", 1)
    average = facts["steps"]["average"]
    assert (average["state"], average["total"], average["done"], average["failed"]) == ("done", 2, 2, 0)
    assert facts["steps"]["image"]["jobs"]["image/000"]["label"] == "/d/a.ms"


def test_json_shows_progress_of_jobs(running: Journal, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "0.log"
    emit(running, "job_started", step="image", job="image/000", label="/d/a.ms", log=str(log))
    for peak, peak_jy in (("1.5 Jy", 1.5), ("nan Jy", None)):
        log.write_text(f" == Deconvolving (2) ==\nInitial peak: {peak} at 1,2\n")
        assert cli.main(["status", "--json", str(tmp_path)]) == 0
        facts = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        progress = facts["steps"]["image"]["jobs"]["image/000"]["progress"]
        assert (progress["major_iteration"], progress["peak_jy"]) == (2, peak_jy)
        assert progress["text"].startswith("major iteration 2, peak ")
        assert progress["written_s"] == log.stat().st_mtime


def test_journal_without_times_is_shown(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text('{"event": "run_started"}\n')
    watched = Watched(tmp_path)
    watched.read_state()
    assert watched.lines()[1].text == "  began at a time unknown, last heard of at a time unknown"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_follow_ends_with_run(
    running: Journal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    monkeypatch.setattr(status, "LOOK_S", 0.01)
    readings = []
    whole = Watched.read_state

    def read_state(watched: Watched):
        readings.append(1)
        if len(readings) == 3:
            emit(running, "job_done", step="image", job="image/000", exit_code=0)
            emit(running, "step_done", step="image", jobs=1, failed=0, outputs={})
        if len(readings) == 5:
            emit(running, "run_ended", ok=True, problem=None, signal=None)
        return whole(watched)

    monkeypatch.setattr(Watched, "read_state", read_state)
    assert cli.main(["status", "--follow", *options, str(running.path.parent)]) == 0
    lines = capsys.readouterr().out.splitlines()
    if options:
        assert [json.loads(line)["state"] for line in lines] == ["running", "running", "done"]
    else:
        assert lines == [
            "average: done, 2 of 2 jobs",
            "image: running, 0 of 1 jobs",
            "field: running",
            "image: done, 1 of 1 jobs",
            "field: done",
        ]


def test_follow_without_run_ends_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        emit(journal, "step_forgotten", step="average")
    assert cli.main(["status", "--follow", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "run: waiting\n"


def test_follow_redraws_terminal(running: Journal) -> None:
    argv = [sys.executable, "-m", "lofarpipe.cli", "status", "--follow", str(running.path.parent)]
    terminal = PseudoTerminal(argv, running.path.parent, columns=40, PYTHONPATH=ROOT)
    try:
        terminal.until("▶ image    0/1", "000 a.ms")
        emit(running, "run_ended", ok=False, problem="it failed", signal=None)
        terminal.until("it failed")
        page = running.path.with_name("report.html")
        time.sleep(0.5)  # one that does not wait would be gone; one that does, waits longer
        page.touch()
        running.close()  # not by unlinking the lock: its owner renews it
        assert terminal.finish() == 1
    finally:
        terminal.close()
    lines = list(filter(None, terminal.lines()))
    assert "it failed" in lines
    assert lines[-1] == f"report: {page}"
    assert max(map(len, lines[:-1])) <= 40
    assert "\x1b[?25h" in terminal.raw.rpartition("it failed")[2], "the cursor is shown again"


def test_interrupted_follow_ends_quietly(running: Journal) -> None:
    argv = [sys.executable, "-m", "lofarpipe.cli", "status", "--follow", str(running.path.parent)]
    terminal = PseudoTerminal(argv, running.path.parent, PYTHONPATH=ROOT)
    try:
        terminal.until("000 a.ms")
        terminal.type(b"\x03")
        assert terminal.finish() == 128 + signal.SIGINT
    finally:
        terminal.close()
    assert "interrupted" not in terminal.raw
    assert "\x1b[?25h" in terminal.raw, "the cursor is shown again"
    assert Watched(running.path.parent).read_state().state == "running"


@pytest.mark.parametrize(("name", "directory"), [("", ""), ("run.parset", "run")])
def test_directory_without_journal_is_refused(
    name: str, directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.parset").touch()
    assert cli.main(["status", str(tmp_path / name)]) == 1
    assert capsys.readouterr().err == (
        f"genericpipeline.py: {tmp_path / directory}: there is no journal.jsonl; name the job directory of a run\n"
    )


def test_unreadable_journal_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "journal.jsonl").mkdir()
    assert cli.main(["status", str(tmp_path)]) == 1
    assert "journal.jsonl: cannot be read: Is a directory" in capsys.readouterr().err


# Who holds the job directory


def hold(directory: Path, **changes: object) -> dict[str, object]:
    """Write a lock, and return the facts of the run that holds it."""
    holder = {**vars(Holder.current()), **changes}
    (directory / "journal.lock").write_text(json.dumps(holder))
    return {"host": holder["host"], "pid": holder["pid"]}


def test_local_process_is_checked(tmp_path: Path) -> None:
    assert not is_alive(tmp_path, {})
    assert is_alive(tmp_path, hold(tmp_path))
    assert is_alive(tmp_path, {})  # an old journal does not say who
    ended = subprocess.Popen(["true"])
    ended.wait(LIMIT_S)
    assert not is_alive(tmp_path, hold(tmp_path, pid=ended.pid, ticks=1))


def test_remote_process_is_alive_by_heartbeat(tmp_path: Path) -> None:
    facts = hold(tmp_path, host="n1", boot="other")
    assert is_alive(tmp_path, facts)
    long_ago_s = time.time() - 10 * STALE_S
    os.utime(tmp_path / "journal.lock", (long_ago_s, long_ago_s))
    assert not is_alive(tmp_path, facts)


def test_lock_of_another_run_is_ignored(tmp_path: Path) -> None:
    facts = hold(tmp_path)
    assert not is_alive(tmp_path, {**facts, "pid": 1})
    (tmp_path / "journal.lock").write_text("")
    assert not is_alive(tmp_path, facts)
