"""Following a journal and the logs of running jobs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from journal_events import began, job_began, run_began
from lofarpipe.report import journal_tail
from lofarpipe.report.journal_tail import JournalTail, LogTails
from lofarpipe.state.run_state import JobState


def written(*events: dict[str, object]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def test_what_was_appended_is_read(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_text(written(run_began(1.0, ["a", "b"])))
    tail = JournalTail(journal)
    assert list(tail.look().steps) == ["a", "b"]
    whole = written(began("a", 2.0, 1), job_began("a/000", 2.0))
    with journal.open("a") as stream:
        stream.write(whole[:-20])  # the last line is not complete yet
        stream.flush()
        assert tail.look().steps["a"].state == "running"
        assert tail.look().steps["a"].jobs == {}
        stream.write(whole[-20:])
        stream.flush()
        assert list(tail.look().steps["a"].jobs) == ["a/000"]


def test_damaged_line_is_passed_over(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_text(written(run_began(1.0, ["a"])) + "{damaged\n" + written(began("a", 2.0, 1)))
    assert JournalTail(journal).look().steps["a"].state == "running"


def test_journal_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_text(written(run_began(1.0, ["a"]), began("a", 2.0, 1)))
    tail = JournalTail(journal)
    tail.look()
    other = tmp_path / "other"
    other.write_text(written(run_began(1.0, ["b"]), began("b", 2.0, 1), began("b", 2.0, 1)))
    other.replace(journal)
    assert list(tail.look().steps) == ["b"]
    journal.write_text(written(run_began(1.0, ["c"])))  # shorter
    assert list(tail.look().steps) == ["c"]


def test_journal_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        JournalTail(tmp_path / "journal.jsonl").look()


def test_logs_tell_what_jobs_do(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_text("### a/000\n0%....10")
    job = JobState("a/000", log=str(log))
    tails = LogTails()
    assert tails.progress([job])["a/000"].text == "10%"
    os.utime(log, (50.0, 50.0))
    assert tails.progress([job])["a/000"].written_s == 50.0
    with log.open("a") as stream:
        stream.write("....20")
    assert tails.progress([job])["a/000"].text == "20%"
    assert tails.progress([]) == {}


def test_log_that_is_elsewhere_or_shorter_now(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    jobs = [JobState("a/000", log=str(log)), JobState("a/001")]
    tails = LogTails()
    assert tails.progress(jobs)["a/000"].text == ""
    log.write_text("the first attempt said much\n")
    assert tails.progress(jobs)["a/000"].text == "the first attempt said much"
    log.write_text("again\n")
    assert tails.progress(jobs)["a/000"].text == "again"


def test_of_a_long_log_only_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_tail, "TAIL_BYTES", 100)
    log = tmp_path / "0.log"
    log.write_text("Reordering: 0%....10%\n" + "x" * 1000 + "\nlast\n")
    tails = LogTails()
    assert tails.progress([JobState("a/000", log=str(log))])["a/000"].text == "last"
