"""The journal: finished work stays finished, whatever damage the file takes."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from journal_events import emit
from lofarpipe.errors import PipelineError
from lofarpipe.programs.find import job_environment
from lofarpipe.state import journal as module
from lofarpipe.state.events import Event, JobDone, RunEnded, StepDone, StepForgotten, StepStarted, Unknown, read_events
from lofarpipe.state.fingerprints import fingerprint
from lofarpipe.state.journal import Journal, RunLock, Stream, read_state

OUTPUTS = {"mapfile": "/m/average.mapfile", "break": False}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def record_step(journal: Journal, step: str, mark: str) -> None:
    emit(journal, "step_started", step=step)
    emit(journal, "job_done", job=f"{step}/000", fingerprint=mark, exit_code=0)
    emit(journal, "step_done", step=step, fingerprint=mark, outputs=OUTPUTS)


def done(journal: Journal, step: str, mark: str) -> dict[str, Any] | None:
    """Return the outputs of a step that was done with this fingerprint."""
    event = journal.state.work.last_done(step)
    return dict(event.outputs) if event and event.fingerprint == mark else None


def job_done(journal: Journal, job: str, mark: str) -> JobDone | None:
    event = journal.state.work.last_job(job)
    return event if event and event.fingerprint == mark else None


def test_finished_step_stays_done(path: Path) -> None:
    with Journal(path) as journal:
        record_step(journal, "average", "f1")
        assert done(journal, "average", "f1") == OUTPUTS
    with Journal(path) as journal:
        assert done(journal, "average", "f1") == OUTPUTS
        assert journal.notices == []


def test_different_fingerprint_or_step_is_not_done(path: Path) -> None:
    with Journal(path) as journal:
        record_step(journal, "average", "f1")
        assert done(journal, "average", "f2") is None
        assert done(journal, "concat", "f1") is None


def test_restarted_step_is_not_done(path: Path) -> None:
    with Journal(path) as journal:
        record_step(journal, "average", "f1")
        emit(journal, "step_started", step="average")
        assert done(journal, "average", "f1") is None
    with Journal(path) as journal:
        assert done(journal, "average", "f1") is None


def test_steps_keep_order_and_last_event(path: Path) -> None:
    with Journal(path) as journal:
        record_step(journal, "b", "f1")
        record_step(journal, "a", "f2")
        emit(journal, "step_started", step="c")
        emit(journal, "run_ended", ok=False)
        assert {name: event.kind for name, event in journal.state.work.steps.items()} == {
            "b": "step_done",
            "a": "step_done",
            "c": "step_started",
        }
        assert list(journal.state.work.steps) == ["b", "a", "c"]


def test_interrupted_step_keeps_finished_jobs(path: Path) -> None:
    with Journal(path) as journal:
        emit(journal, "step_started", step="average")
        emit(journal, "job_done", job="average/000", fingerprint="j0", exit_code=0)
    with Journal(path) as journal:
        found = job_done(journal, "average/000", "j0")
        assert found is not None
        assert found.exit_code == 0
        assert job_done(journal, "average/000", "other") is None
        assert job_done(journal, "average/001", "j0") is None


def test_unfinished_jobs_are_listed(path: Path) -> None:
    with Journal(path) as journal:
        emit(journal, "run_started", job="field", boot="b", executor="local")
        for place in range(3):
            emit(journal, "job_started", step="s", job=f"s/{place}", before={"/out": None, "/in": "1@2"})
        emit(journal, "job_done", step="s", job="s/0", problem=None, written={"/in": "3@4"})
        emit(journal, "job_done", step="s", job="s/1", problem="lost", is_lost=True, written={"/in": "5@6"})
        emit(journal, "job_cleared", step="s", job="s/1")
    with Journal(path) as journal:
        work = journal.state.work
        began = work.open_jobs
        assert list(began) == ["s/1", "s/2"]
        assert (began["s/2"].boot, began["s/2"].executor) == ("b", "local")
        assert (began["s/1"].is_lost, began["s/1"].is_cleared) == (True, True)
        assert work.written == {"/in": "3@4"}  # what one that was lost did is not known
        assert len([end for end in work.jobs_ended("s") if end.problem is None]) == 1
        assert work.jobs_of("s") == ["s/0", "s/1", "s/2"]
        assert work.is_in_flux("/in", "7@8", besides="t")
        assert not work.is_in_flux("/in", "7@8", besides="s")
        assert not work.is_in_flux("/in", None, besides="t")  # it was there when they began
        assert work.is_in_flux("/out", None, besides="t")
        emit(journal, "job_done", step="t", job="t/0", problem=None, written={"/in": "9@10"})
        assert not work.is_in_flux("/in", "7@8", besides="t")  # another step has made it anew since they began
        emit(journal, "job_started", step="s", job="s/2", before={"/in": "9@10"})
        assert work.is_in_flux("/in", "7@8", besides="t")


@pytest.mark.parametrize("what", ["job_forgotten", "step_forgotten"])
def test_forgotten_jobs_are_not_done(path: Path, what: str) -> None:
    with Journal(path) as journal:
        record_step(journal, "average", "f1")
        emit(journal, "job_started", step="average", job="average/001")
        for job in ("average/000", "average/001"):
            emit(journal, what, step="average", **({"job": job} if what == "job_forgotten" else {}))
        assert journal.state.work.open_jobs == {}
        assert journal.state.work.last_job("average/000") is None
        assert journal.state.work.last_done("average") is None
        assert journal.state.work.steps["average"].kind == "step_forgotten"


def test_runs_without_end_were_killed(path: Path) -> None:
    with Journal(path) as journal:
        for pid in (1, 2, 3):
            emit(journal, "run_started", job="field", pid=pid)
            if pid == 2:
                emit(journal, "run_ended", ok=False)
    with Journal(path) as journal:
        assert [run.pid for run in journal.state.work.killed_runs] == [1, 3]


def test_paths_survive_round_trip(path: Path) -> None:
    with Journal(path) as journal:
        emit(journal, "step_done", step="s", fingerprint="f", outputs={"mapfile": Path("/m")})
    with Journal(path) as journal:
        assert done(journal, "s", "f") == {"mapfile": "/m"}


def test_unwritable_event_leaves_journal_untouched(path: Path) -> None:
    with Journal(path) as journal:
        with pytest.raises(TypeError, match="set cannot be written as JSON"):
            emit(journal, "notice", text={1, 2})
        with pytest.raises(ValueError, match="not JSON compliant"):
            emit(journal, "notice", text=float("nan"))
    assert path.read_bytes() == b""


def test_line_breaks_stay_inside_their_line(path: Path) -> None:
    with Journal(path) as journal:
        emit(journal, "notice", text="a\nb\r\x1e\u2028c")
    assert path.read_bytes().count(b"\n") == 1
    assert [event.text for event in read_events(path.read_bytes())[0]] == ["a\nb\r\x1e\u2028c"]


def test_unknown_events_are_kept_and_ignored(path: Path) -> None:
    path.write_text('{"event": "from_the_future", "step": 3}\n{"event": "step_done"}\n{"event": "job_done"}\n')
    with Journal(path) as journal:
        assert journal.state.work.steps == {}
        assert journal.notices == []


def whole_journal(path: Path) -> bytes:
    with Journal(path) as journal:
        for number in range(4):
            record_step(journal, f"step{number}", f"f{number}")
    return path.read_bytes()


def test_truncation_loses_only_later_events(path: Path) -> None:
    content = whole_journal(path)
    done_at = [content.index(b"\n", content.index(b'"step_done"')) + 1]
    for _ in range(3):
        done_at.append(content.index(b"\n", content.index(b'"step_done"', done_at[-1])) + 1)
    for cut in range(0, len(content) + 1, 7):
        path.write_bytes(content[:cut])
        with Journal(path) as journal:
            known = [number for number in range(4) if done(journal, f"step{number}", f"f{number}")]
            assert known == [number for number in range(4) if done_at[number] <= cut]
            record_step(journal, "later", "g")
        with Journal(path) as journal:
            assert done(journal, "later", "g") == OUTPUTS
            assert journal.notices == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(damage=st.binary(min_size=1, max_size=40), where=st.integers(0, 1500))
def test_damage_loses_only_damaged_lines(path: Path, damage: bytes, where: int) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(".damaged").unlink(missing_ok=True)
    content = whole_journal(path)
    spoilt = content[:where] + damage + content[where + len(damage) :]
    path.write_bytes(spoilt)
    with Journal(path) as journal:
        record_step(journal, "later", "g")
    lines = path.read_bytes().splitlines(keepends=True)
    first, last = content.count(b"\n", 0, where), content.count(b"\n", 0, where + len(damage))
    whole = content.splitlines(keepends=True)
    assert lines[:first] == whole[:first]
    assert lines[-3 - len(whole[last + 1 :]) : -3] == whole[last + 1 :]
    events, damaged = read_events(path.read_bytes())
    assert damaged == []
    assert events[-1].step == "later"


def test_live_state_equals_replayed_state(path: Path) -> None:
    with Journal(path) as journal:
        record_step(journal, "average", "f1")
        emit(journal, "run_started", job="field", steps=["average", "image"], argv=["a"])
        emit(journal, "step_skipped", step="average", jobs=1)
        emit(journal, "job_started", step="image", job="image/000", before={"/a": None})
        emit(journal, "warning", text="w")
        live = journal.state
    again = read_state(path)
    assert again == live
    for name in ("steps", "files", "written", "written_at", "maps", "owners", "serial", "killed_runs"):
        assert getattr(again.work, name) == getattr(live.work, name)
    assert {job: opened.serial for job, opened in again.work.open_jobs.items()} == {"image/000": 6}
    assert again.work.end_events("average") == live.work.end_events("average")


def test_job_files_are_known_before_step_end(path: Path) -> None:
    with Journal(path) as journal:
        emit(journal, "job_done", job="a/000", files={"/in": "1"}, written={"/out": "2"})
        emit(journal, "job_started", job="a/001")
        emit(journal, "job_done", job="a/001", files={"/lost": "3"}, is_lost=True)
        now = journal.state.work.files
    assert now == read_state(path).work.files == {"/in": "1", "/out": "2"}


def test_damaged_middle_line_is_set_aside(path: Path) -> None:
    lines = whole_journal(path).splitlines(keepends=True)
    lines[4] = b"\0" * len(lines[4])  # job_done of step1, with its end
    path.write_bytes(b"".join(lines))
    with Journal(path) as journal:
        assert [number for number in range(4) if done(journal, f"step{number}", f"f{number}")] == [0, 2, 3]
        (notice,) = journal.notices
    lost = lines[4] + lines[5]  # the line break was in it as well
    assert path.with_suffix(".damaged").read_bytes() == lost
    assert f"journal.jsonl: {len(lost)} bytes are not readable" in notice
    assert path.read_bytes() == b"".join(lines[:4] + lines[6:])


def serial_of(journal: Journal, step: str) -> int:
    event = journal.state.work.last_done(step)
    return event.serial if event else 0


def test_lost_line_keeps_event_numbers(path: Path) -> None:
    lines = whole_journal(path).splitlines(keepends=True)
    with Journal(path) as journal:
        before = serial_of(journal, "step3")
    path.write_bytes(b"".join([lines[0], b"?\n", *lines[2:]]))
    with Journal(path) as journal:
        assert serial_of(journal, "step3") == before == 12  # three events for each step
        record_step(journal, "later", "g")
        assert serial_of(journal, "later") == 15


def test_order_of_lines_overrides_clock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(path) as journal:
        record_step(journal, "average", "f1")
        monkeypatch.setattr(time, "time", lambda: 1e9)  # years earlier
        record_step(journal, "average", "f2")
        emit(journal, "step_started", step="concat")
    with Journal(path) as journal:
        assert done(journal, "average", "f2") == OUTPUTS
        assert [end.time_s for end in journal.state.work.jobs_ended("average")] == [1e9]
        assert done(journal, "concat", "f") is None


def test_torn_line_is_reported(path: Path) -> None:
    content = whole_journal(path)
    path.write_bytes(content[:-10])
    with Journal(path) as journal:
        (notice,) = journal.notices
    torn = len(content) - 10 - content[:-10].rfind(b"\n") - 1
    assert f"the last {torn} bytes are not readable" in notice
    assert path.read_bytes() == content[: content[:-10].rfind(b"\n") + 1]
    assert path.with_suffix(".damaged").stat().st_size == torn


@pytest.mark.parametrize(
    "line",
    [
        b"{}\n",
        b"[]\n",
        b'{"event": 1}\n',
        b'{"event": "step_done", "step": "s", "files": "x"}\n',
        b"\xff\n",
        b"\n",
        b'{"event": "a"}',
    ],
)
def test_invalid_lines_are_damaged(line: bytes) -> None:
    events, damaged = read_events(b'{"event": "a"}\n' + line + b'{"event": "b"}\n')
    assert b"".join(damaged).startswith(line)
    assert events[0] == Unknown("a", time_s=None)
    assert len(events) + len(damaged) == (3 if line.endswith(b"\n") else 2)


def test_kill_keeps_recorded_events(path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from lofarpipe.state.journal import Journal;"
        "from lofarpipe.state.events import JobDone, StepDone;"
        "journal = Journal(Path(sys.argv[1])); journal.write(StepDone('s', 'f'), 1);"
        "journal.write(JobDone('t', 't/0', fingerprint='f'), 2); os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, **job_environment()}
    assert subprocess.run([sys.executable, "-c", code, str(path)], env=environment).returncode == -9
    with Journal(path) as journal:  # and the one that was killed does not hold it
        assert done(journal, "s", "f") == {}
        assert job_done(journal, "t/0", "f")


@pytest.mark.parametrize(
    ("event", "waits"),
    [
        (StepDone("s"), True),
        (RunEnded(True), True),
        (StepForgotten("s"), True),
        (StepStarted("s", unsafe={"s/0": {"/a": "1@2"}}), True),
        (StepStarted("s"), False),
        (JobDone("s", "s/0"), False),
    ],
    ids=lambda value: type(value).__name__,  # their texts have the time
)
def test_important_events_wait_for_disk(path: Path, monkeypatch: pytest.MonkeyPatch, event: Event, waits: bool) -> None:
    synced: list[int] = []
    with Journal(path) as journal:
        monkeypatch.setattr(module.os, "fsync", synced.append)
        Stream(journal).emit(event)
    assert bool(synced) == waits


def test_full_disk_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    with Journal(path) as journal:
        emit(journal, "notice", text="1")
        monkeypatch.setattr(module.os, "write", lambda file, line: real(file, line[:5]))
        with pytest.raises(PipelineError, match="journal cannot be written: the disk is full"):
            emit(journal, "notice", text="2")

        def no_space(file: int, line: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(module.os, "write", no_space)
        with pytest.raises(PipelineError, match="journal cannot be written: No space left on device"):
            emit(journal, "notice", text="3")
        monkeypatch.setattr(module.os, "write", real)
        emit(journal, "notice", text="4")
    assert [event.text for event in read_events(path.read_bytes())[0]] == ["1", "4"]


def test_unopenable_journal_is_reported(path: Path) -> None:
    path.mkdir()
    with pytest.raises(PipelineError, match="the journal cannot be written: Is a directory"):
        Journal(path)
    RunLock(path.with_suffix(".lock")).release()  # it was given back


def test_unopenable_lock_is_reported(path: Path) -> None:
    with pytest.raises(PipelineError, match="cannot be written: No such file or directory; check the directory"):
        Journal(path.parent / "none" / "journal.jsonl")


# One run at a time.


def test_second_run_names_lock_holder(path: Path) -> None:
    who = f"process {os.getpid()} on {socket.gethostname()}"
    with (
        Journal(path),
        pytest.raises(PipelineError, match=f"{path.parent}: another run works here: {who}; wait for it"),
    ):
        Journal(path)
    Journal(path).close()


def test_lost_lock_ends_run(path: Path) -> None:
    with Journal(path) as journal:
        journal._lock.is_lost = True
        with pytest.raises(PipelineError, match=f"{path.parent}: another run has taken over; this one ends"):
            emit(journal, "notice")


# Fingerprints.


def test_fingerprint_ignores_key_order() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": (1, 2), "a": 1})


@pytest.mark.parametrize("other", [{"a": 2}, {"a": "1"}, {"b": 1}, {"a": 1, "b": None}, [1], {"a": [1]}])
def test_fingerprint_sees_every_difference(other: object) -> None:
    assert fingerprint({"a": 1}) != fingerprint(other)


def test_known_text_has_known_fingerprint() -> None:
    # printf '{"a":["x",1.5]}' | sha256sum
    assert fingerprint({"a": ("x", 1.5)}).startswith("75b2027c70de0f4c")
    assert fingerprint(Path("/x")) == fingerprint("/x")


@pytest.mark.parametrize("thing", [{1, 2}, object(), b"bytes", lambda: 1])
def test_unserialisable_value_has_no_fingerprint(thing: Callable[[], int] | object) -> None:
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        fingerprint(thing)


def test_nan_has_no_fingerprint() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        fingerprint([float("nan")])
