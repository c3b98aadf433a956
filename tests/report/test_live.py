"""A run on a terminal: real runs in a pseudo-terminal."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from copy_pipeline import list_step
from journal_events import began, job_began, job_end, run_began
from lofarpipe.jobs import JobResult
from lofarpipe.report import live
from lofarpipe.report import live as journal_tail
from lofarpipe.report.board import Line
from lofarpipe.report.live import JournalTail, LiveTerminal, LogTails
from lofarpipe.report.terminal import VERBOSE, shows_live
from lofarpipe.state.events import JobStarted, Notice, RunEnded, RunStarted, Warned
from lofarpipe.state.run_state import JobState, RunState
from pseudo_terminal import COLOUR, PseudoTerminal

STEPS = """\
pipeline.steps = [make, first, second]
first.control.type = executable_args
first.control.executable = /bin/sh
first.control.mapfile_in = make.output.mapfile
first.control.inputkey = ms
first.control.arguments = [{script}, ms]
second.control.type = executable_args
second.control.executable = /bin/true
second.control.mapfile_in = make.output.mapfile
second.control.inputkey = ms
second.control.arguments = [ms]
"""
PARSET = STEPS + list_step("[/d/a.ms, /d/b.ms]", "make")
# a.ms fails, b.ms goes on until the file go exists.
SCRIPT = """
case $1 in *a.ms) exit 3;; esac
echo '0%....10....20'
until [ -e {folder}/go ]; do sleep 0.05; done
"""
# START_S and LATEST_S are 0: the picture is there at once, and the test need not wait.
RUN = (
    "import sys; from lofarpipe.report import live; live.START_S = live.LATEST_S = 0;"
    "from lofarpipe.cli import main; sys.exit(main())"
)

Start = Callable[..., PseudoTerminal]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts the run in a terminal."""
    script = tmp_path / "script.sh"
    script.write_text(SCRIPT.format(folder=tmp_path))
    (tmp_path / "field.parset").write_text(PARSET.format(script=script))
    started: list[PseudoTerminal] = []

    def begin(*options: str, columns: int = 80, rows: int = 24, **changes: str | None) -> PseudoTerminal:
        argv = [sys.executable, "-c", RUN, "field.parset", *options]
        changes.setdefault("PYTHONPATH", str(Path(live.__file__).parents[2]))
        started.append(PseudoTerminal(argv, tmp_path, columns, rows, **changes))
        return started[-1]

    yield begin
    for terminal in started:
        terminal.close()


def test_run_is_shown_in_place(start: Start, tmp_path: Path) -> None:
    terminal = start()
    terminal.until("b.ms 20%", "1 failed")
    (tmp_path / "go").touch()
    assert terminal.finish() == 0
    lines = terminal.lines()
    assert any(
        re.fullmatch(r"field: running, [\d.]+ s; cores \d of \d+, memory \S+ of \S+ GB, \S+ GB in use", line)
        for line in lines
    )
    assert any(line.startswith("▶ first   0/2, 1 failed, ") for line in lines)
    last = next(place for place in range(len(lines) - 1, 0, -1) if lines[place].startswith("field: done, "))
    assert [line.partition("  ")[0] for line in lines[last + 1 : last + 4]] == ["✓ make", "✓ first", "✓ second"]
    assert "✓ second  2/2" in lines[last + 3]
    assert COLOUR.search(terminal.raw)
    assert terminal.raw.rstrip().rpartition("\x1b[?25h")[1], "the cursor is shown again"


def test_warnings_and_failures_stay_above(start: Start, tmp_path: Path) -> None:
    terminal = start()
    terminal.until("b.ms 20%")
    (tmp_path / "go").touch()
    terminal.finish()
    text = "\n".join(terminal.lines())
    assert "first/000 (/d/a.ms) exited with 3 after " in text
    assert "warning: first: 1 of 2 jobs failed" in text


def test_ctrl_c_ends_the_run_in_order(start: Start) -> None:
    terminal = start()
    terminal.until("b.ms 20%")
    terminal.type(b"\x03")
    assert terminal.finish() == 130
    lines = terminal.lines()
    assert any(line.startswith("field: interrupted, ") for line in lines)
    assert any(line.startswith("! first   0/2, 1 failed, interrupted") for line in lines)
    assert "interrupted by SIGINT: all jobs were ended; run again to resume" in lines[-2]
    assert "\x1b[?25h" in terminal.raw


def test_narrow_terminal_without_colours(start: Start, tmp_path: Path) -> None:
    terminal = start(columns=40, rows=8, NO_COLOR="1")
    terminal.until("b.ms 20%")
    (tmp_path / "go").touch()
    assert terminal.finish() == 0
    assert not COLOUR.search(terminal.raw)
    pictures = [line for line in terminal.lines() if line.startswith(("✓", "▶", "·", "    0", "field: running"))]
    assert len(pictures) > 4
    assert max(map(len, pictures)) <= 40


def test_dumb_terminal_has_plain_lines(start: Start, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    terminal = start(TERM="dumb")
    assert terminal.finish() == 0
    assert "\x1b" not in terminal.raw
    assert any(line.endswith(" second: 2 jobs") for line in terminal.lines())


def test_verbose_run_lists_each_job_above(start: Start, tmp_path: Path) -> None:
    terminal = start("-v")
    terminal.until("b.ms 20%")
    (tmp_path / "go").touch()
    terminal.finish()
    assert any("second/001 (/d/b.ms) exited with 0 after" in line for line in terminal.lines())


def test_short_run_uses_plain_lines(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "go").touch()
    monkeypatch.setattr(sys.modules[__name__], "RUN", RUN.replace("LATEST_S = 0", "LATEST_S = 1000"))
    terminal = start()
    assert terminal.finish() == 0
    assert "\x1b[" not in terminal.raw
    assert any(line.endswith(" second: 2 jobs") for line in terminal.lines())


# Without a terminal


@pytest.mark.parametrize(
    ("is_tty", "term", "live"), [(True, "xterm", True), (True, "dumb", False), (False, "xterm", False)]
)
def test_live_display_needs_capable_terminal(
    monkeypatch: pytest.MonkeyPatch, is_tty: bool, term: str, live: bool
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: is_tty, raising=False)
    monkeypatch.setenv("TERM", term)
    assert shows_live(stream) is live


def test_unstarted_run_shows_only_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = LiveTerminal(RunState())
    terminal.warning(Warned("coarse"))
    terminal.run_ended(RunEnded(False, "refused", job="field"))
    said = capsys.readouterr()
    assert said.err.endswith(" warning: coarse\n")
    assert re.fullmatch(r"[\d:]+ field: failed after 0.0 s\n", said.out)


class FakeScreen:
    """Records boards and messages."""

    height, has_marks = 24, True
    shown: list[list[str]]
    said: list[str]

    def __init__(self, stream: object, err_too: bool) -> None:
        self.is_shown.set()

    def show(self, lines: list[Line]) -> None:
        self.shown.append([line.text for line in lines])

    def print_line(self, text: str, style: str = "") -> None:
        self.said.append(text)

    def close(self) -> None:
        """Nothing to give back."""


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> type[FakeScreen]:
    facts = {"shown": [], "said": [], "is_shown": threading.Event()}
    fake = type("Screen", (FakeScreen,), facts)
    monkeypatch.setattr(live, "Screen", fake)
    monkeypatch.setattr(live, "START_S", 0.0)
    monkeypatch.setattr(live, "LATEST_S", 0.0)
    return fake


def wait_for_picture(terminal: LiveTerminal, screen: type[FakeScreen]) -> None:
    assert screen.is_shown.wait(60)  # type: ignore[attr-defined]
    end = time.monotonic() + 60
    while terminal._screen is None:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_empty_run_state_gives_waiting_board(tmp_path: Path, screen: type[FakeScreen]) -> None:
    terminal = LiveTerminal(RunState())
    terminal.run_started(RunStarted("field", job_directory=tmp_path, step_count=1))
    wait_for_picture(terminal, screen)
    terminal.run_ended(RunEnded(True, job="field"))
    assert screen.shown[-1] == ["run: waiting, 0.0 s"]


def test_notices_and_jobs_go_above_board(
    tmp_path: Path, screen: type[FakeScreen], capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = LiveTerminal(RunState(), VERBOSE)
    terminal.run_started(RunStarted("field", job_directory=tmp_path, step_count=1))
    wait_for_picture(terminal, screen)
    terminal.notice(Notice("a \x1b[2Jnotice"))
    terminal.job_done(job_end("a", JobResult("a/000", 0, 1.0, 1.0, 1.0, 1.0, tmp_path / "log", ("x",))))
    terminal.warning(Warned("coarse"))  # standard error is not this terminal
    assert [line.partition(" ")[2] for line in screen.said] == ["a notice", "a/000 exited with 0 after 1.0 s, 1 of 0"]
    assert capsys.readouterr().err.endswith(" warning: coarse\n")
    terminal.run_ended(RunEnded(True, job="field"))


def test_lost_terminal_does_not_end_run(
    tmp_path: Path, screen: type[FakeScreen], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(screen, "show", gone)
    terminal = LiveTerminal(RunState())
    terminal.run_started(RunStarted("field", job_directory=tmp_path, step_count=1))
    assert screen.is_shown.wait(60)  # type: ignore[attr-defined]
    terminal.run_ended(RunEnded(True, job="field"))
    assert " field: finished after " in capsys.readouterr().out


class Waits(threading.Event):
    """Notes how long it is asked to wait, waits no time, and is set by the fourth time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.asked.append(timeout or 0.0)
        return len(self.asked) == 4


def test_costly_boards_are_drawn_less_often(screen: type[FakeScreen], monkeypatch: pytest.MonkeyPatch) -> None:
    # The first one takes 0.5 s, for it imports the display, the second one 1 ms, and the third one 20 ms.
    clock = iter([0.0, 0.5, 1.0, 1.001, 2.0, 2.02])
    monkeypatch.setattr(live.time, "thread_time", lambda: next(clock))
    terminal = LiveTerminal(RunState())
    terminal._over = Waits()
    terminal._refresh()
    assert terminal._over.asked == pytest.approx([live.START_S, 1.0, 1.0, live.PATIENCE * 0.02])
    assert len(screen.shown) == 3


class Clock:
    """Time that passes while the display waits; the run is over after ``end_s``."""

    def __init__(self, end_s: float) -> None:
        self.now_s = 0.0
        self._end_s = end_s

    def wait(self, timeout: float) -> bool:
        self.now_s = min(self._end_s, self.now_s + timeout)
        return self.now_s >= self._end_s


def first_picture_s(monkeypatch: pytest.MonkeyPatch, end_s: float, job_start_s: float | None = None) -> float | None:
    """Return when a picture is shown first of a run that lasts so long, with a job that begins then and goes on."""
    clock, state = Clock(end_s), RunState()
    monkeypatch.setattr(live.time, "monotonic", lambda: clock.now_s)
    monkeypatch.setattr(live.time, "time", lambda: clock.now_s)
    if job_start_s is not None:
        state.apply(JobStarted("a", "a/000", start_s=job_start_s))
    terminal = LiveTerminal(state)
    terminal._over = clock  # type: ignore[assignment]
    return None if terminal._wait_until_due() else clock.now_s


def test_long_wait_starts_the_board(monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_picture_s(monkeypatch, 3600.0, job_start_s=0.0) == live.START_S
    assert first_picture_s(monkeypatch, 3600.0, job_start_s=3.0) == live.START_S + 3.0
    assert first_picture_s(monkeypatch, 3600.0) == live.LATEST_S  # jobs are short
    assert first_picture_s(monkeypatch, 11.0) is None
    assert first_picture_s(monkeypatch, 4.0, job_start_s=0.0) is None


def written(*events: dict[str, object]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def test_appended_lines_are_read(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_text(written(run_began(1.0, ["a", "b"])))
    tail = JournalTail(journal)
    assert list(tail.read_state().steps) == ["a", "b"]
    whole = written(began("a", 2.0, 1), job_began("a/000", 2.0))
    with journal.open("a") as stream:
        stream.write(whole[:-20])  # the last line is not complete yet
        stream.flush()
        assert tail.read_state().steps["a"].state == "running"
        assert tail.read_state().steps["a"].jobs == {}
        stream.write(whole[-20:])
        stream.flush()
        assert list(tail.read_state().steps["a"].jobs) == ["a/000"]


def test_damaged_line_is_skipped(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_text(written(run_began(1.0, ["a"])) + "{damaged\n" + written(began("a", 2.0, 1)))
    assert JournalTail(journal).read_state().steps["a"].state == "running"


def test_replaced_journal_is_read_again(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_text(written(run_began(1.0, ["a"]), began("a", 2.0, 1)))
    tail = JournalTail(journal)
    tail.read_state()
    other = tmp_path / "other"
    other.write_text(written(run_began(1.0, ["b"]), began("b", 2.0, 1), began("b", 2.0, 1)))
    other.replace(journal)
    assert list(tail.read_state().steps) == ["b"]
    journal.write_text(written(run_began(1.0, ["c"])))  # shorter
    assert list(tail.read_state().steps) == ["c"]


def test_missing_journal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        JournalTail(tmp_path / "journal.jsonl").read_state()


def test_log_tails_show_job_progress(tmp_path: Path) -> None:
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


def test_missing_or_truncated_log_is_handled(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    jobs = [JobState("a/000", log=str(log)), JobState("a/001")]
    tails = LogTails()
    assert tails.progress(jobs)["a/000"].text == ""
    log.write_text("the first attempt said much\n")
    assert tails.progress(jobs)["a/000"].text == "the first attempt said much"
    log.write_text("again\n")
    assert tails.progress(jobs)["a/000"].text == "again"


def test_long_log_is_read_from_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_tail, "TAIL_BYTES", 100)
    log = tmp_path / "0.log"
    log.write_text("Reordering: 0%....10%\n" + "x" * 1000 + "\nlast\n")
    tails = LogTails()
    assert tails.progress([JobState("a/000", log=str(log))])["a/000"].text == "last"
