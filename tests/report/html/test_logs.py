"""Commands and logs of the page: all of them, or as much as fits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import journal_events
from lofarpipe.report.html import logs as html_logs
from lofarpipe.report.html.logs import displayable_text, read_commands, read_log, shortened, shown_steps, slowest
from lofarpipe.state.run_state import RunState
from made_jobs import BEGAN_S, job_events, write_log


def state_of(job: Path, count: int, failing: tuple[int, ...] = (), text: str = "done\n") -> RunState:
    """A step whose job number n took n s, with logs."""
    events = [{"event": "step_started", "time_s": BEGAN_S, "step": "a", "jobs": count}]
    for place in range(count):
        log = write_log(job, f"a/{place:03d}", text)
        failed = {"exit_code": 1, "problem": "bad"} if place in failing else {}
        events += job_events("a", place, log, BEGAN_S, duration_s=float(place), **failed)
    return journal_events.state_of(events)


def test_short_log_is_complete(tmp_path: Path) -> None:
    log = read_log(str(write_log(tmp_path, "a/000", "first\nlast\n")), 1000)
    assert log.head == "### cd /w && run a/000\nfirst\nlast\n"
    assert (log.tail, log.omitted, log.problem) == ("", 0, "")


def test_long_log_omits_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "long.log"
    path.write_text("".join(f"line {number:03d}\n" for number in range(100)))  # 900 bytes
    log = read_log(str(path), 100)
    # 30 bytes are three whole lines; the last 70 begin within a line: seven whole ones are left.
    assert log.head == "line 000\nline 001\nline 002\n"
    assert log.tail.splitlines() == [f"line {number:03d}" for number in range(93, 100)]
    assert log.omitted == 900 - 10 * 9


def test_single_long_line_is_cut(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("x" * 500)
    log = read_log(str(tmp_path / "x.log"), 100)
    assert (len(log.head), len(log.tail), log.omitted) == (30, 70, 400)


def test_missing_logs_are_reported(tmp_path: Path) -> None:
    assert read_log("", 100).problem == "no log is known"
    assert read_log(str(tmp_path / "none.log"), 100).problem.endswith("none.log: No such file or directory")
    os.mkfifo(tmp_path / "pipe.log")
    assert "pipe.log is no file" in read_log(str(tmp_path / "pipe.log"), 100).problem


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("10 %\r20 %\r\nend", "10 %\n20 %\nend"),
        ("a\x00b\x08c\td", "abc\td"),
        ("Größe <b>", "Größe <b>"),
    ],
)
def test_undisplayable_characters_are_removed(text: str, shown: str) -> None:
    assert displayable_text(text) == shown


def test_invalid_bytes_become_replacement_characters(tmp_path: Path) -> None:
    (tmp_path / "b.log").write_bytes(b"a\xff\xfeb")
    assert read_log(str(tmp_path / "b.log"), 100).head == "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b"


def test_commands_are_shortened_in_the_middle() -> None:
    assert shortened("a" * 10, 10) == "a" * 10
    assert shortened("abcdefghij", 4) == "ab ... (6 characters) ... ij"


def test_commands_are_read_from_file(tmp_path: Path) -> None:
    (tmp_path / "commands.txt").write_text("a/000: DP3 msin=x: y\nno command\n")
    assert read_commands(tmp_path / "commands.txt") == {"a/000": "DP3 msin=x: y"}
    assert read_commands(tmp_path / "none") == {}


def test_command_falls_back_to_log(tmp_path: Path) -> None:
    (step,) = shown_steps(state_of(tmp_path, 1), tmp_path)
    assert step.jobs[0].command == "cd /w && run a/000"


def test_iterations_have_the_commands_of_their_step(tmp_path: Path) -> None:
    (tmp_path / "commands.txt").write_text("a/000: the command\n")
    (tmp_path / "empty.log").touch()
    (step,) = shown_steps(journal_events.state_of(job_events("a@2@0", 0, tmp_path / "empty.log", BEGAN_S)), tmp_path)
    assert step.jobs[0].job.name == "a@2@0/000"
    assert step.jobs[0].command == "the command"


def test_iteration_prefers_command_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "commands.txt").write_text("a/000: the command of the last one\n")
    log = tmp_path / "own.log"
    log.write_text("### a@0/000 on here\n### cd /w && run this\n")
    (step,) = shown_steps(journal_events.state_of(job_events("a@0", 0, log, BEGAN_S)), tmp_path)
    assert step.jobs[0].command == "cd /w && run this"


def test_failed_jobs_come_first(tmp_path: Path) -> None:
    (step,) = shown_steps(state_of(tmp_path, 4, failing=(2,)), tmp_path)
    assert [shown.job.name for shown in step.jobs] == ["a/002", "a/000", "a/001", "a/003"]
    assert step.left_out == 0


def test_job_limit_prefers_failed_and_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_logs, "MOST_JOBS", 10)
    (step,) = shown_steps(state_of(tmp_path, 30, failing=(3,)), tmp_path)
    assert [shown.job.name for shown in step.jobs] == ["a/003", *(f"a/{place:03d}" for place in range(21, 30))]
    assert step.left_out == 20


def test_logs_share_the_byte_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_logs, "BUDGET_BYTES", 20_000)
    (step,) = shown_steps(state_of(tmp_path, 10, failing=(5,), text="a line of a log\n" * 1000), tmp_path)
    sizes = [len(shown.log.head) + len(shown.log.tail) for shown in step.jobs]
    assert all(1900 < size <= 2000 for size in sizes[1:])
    assert 7800 < sizes[0] <= 8000  # the failed one gets four times as much


def test_slowest_steps_are_listed_first(tmp_path: Path) -> None:
    events = [{"event": "run_started", "time_s": 0.0}]
    for name, duration_s in (("a", 5.0), ("b", 50.0), ("c", 1.0)):
        events += [
            {"event": "step_started", "time_s": 100.0, "step": name},
            {"event": "step_done", "time_s": 100.0 + duration_s, "step": name},
        ]
    assert [step.name for step in slowest(journal_events.state_of(events), 2)] == ["b", "a"]
