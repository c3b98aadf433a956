"""Ends of jobs that wrote nothing are told together: before any other event, and soon."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.jobs import Interrupted, JobResult
from lofarpipe.report import NORMAL, VERBOSE, ClassicLog, Reporter, Reporters, Terminal, events, terminal
from lofarpipe.report.events import Ended, Soon

LONG_S = 60.0  # no test lasts so long


@pytest.fixture
def silent() -> JobResult:
    return JobResult("s/000", 0, 1e9, 65.0, 1.0, 10.0, Path("none.log"), ("true",), "node1", "/d/a.ms", is_silent=True)


def numbered(result: JobResult, count: int) -> list[JobResult]:
    return [replace(result, name=f"s/{number:03d}") for number in range(count)]


def end_jobs(told: Reporters, silent: JobResult, count: int) -> None:
    """Tell of the ends of so many jobs."""
    for result in numbered(silent, count):
        told.job_done("s", result, None)


class Hearer(Reporter):
    """Notes the names of the jobs that it is told of together, and other events."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.is_told = threading.Event()

    def jobs_done(self, ended: Sequence[Ended]) -> None:
        self.told.append([one.result.name for one in ended])
        self.is_told.set()

    def job_done(self, step: str, result: JobResult, problem: str | None) -> None:
        self.told.append((result.name, problem))

    def step_done(self, step: str, duration_s: float, jobs: int, failed: int) -> None:
        self.told.append(step)

    def notice(self, text: str) -> None:
        self.told.append(text)

    def run_ended(self, ok: bool, job_name: str, problem: str = "") -> None:
        self.told.append(ok)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "WAIT_S", LONG_S)


@pytest.mark.usefixtures("patient")
def test_ends_are_told_together_before_the_next_other_event(silent: JobResult) -> None:
    hearer = Hearer()
    told = Reporters([hearer])
    end_jobs(told, silent, 4)
    assert hearer.told == [["s/000"]]  # the first one at once
    told.notice("n")
    assert hearer.told == [["s/000"], ["s/001", "s/002", "s/003"], "n"]


@pytest.mark.usefixtures("patient")
def test_jobs_that_said_something_or_failed_are_told_at_once(silent: JobResult) -> None:
    hearer = Hearer()
    told = Reporters([hearer])
    told.job_done("s", silent, None)
    told.job_done("s", replace(silent, name="s/001"), None)
    told.job_done("s", replace(silent, name="s/002", is_silent=False), None)
    told.job_done("s", replace(silent, name="s/003"), "has no output")
    assert hearer.told == [["s/000"], ["s/001"], ("s/002", None), ("s/003", "has no output")]


def test_ends_are_told_soon_although_nothing_else_happens(silent: JobResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "WAIT_S", 0.2)
    hearer = Hearer()
    told = Reporters([hearer])
    told._told_s = 1e12  # as if it were now
    monkeypatch.setattr(events.time, "time", lambda: 1e12)
    told.job_done("s", silent, None)
    assert hearer.told == []
    assert hearer.is_told.wait(LONG_S)
    assert hearer.told == [["s/000"]]


def test_ends_of_which_there_are_few_are_told_at_once(silent: JobResult, monkeypatch: pytest.MonkeyPatch) -> None:
    hearer = Hearer()
    told = Reporters([hearer])
    for time_s, result in zip((1e9, 1e9 + 1, 1e9 - 3600), numbered(silent, 3), strict=True):  # or a clock is set back
        monkeypatch.setattr(events.time, "time", lambda now=time_s: now)
        told.job_done("s", result, None)
    assert hearer.told == [["s/000"], ["s/001"], ["s/002"]]


@pytest.mark.usefixtures("patient")
def test_not_too_many_wait(silent: JobResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_WAITING", 3)
    hearer = Hearer()
    told = Reporters([hearer])
    end_jobs(told, silent, 6)
    assert hearer.told == [["s/000"], ["s/001", "s/002", "s/003"]]


@pytest.mark.usefixtures("patient")
def test_who_does_not_hear_of_many_hears_of_each(silent: JobResult) -> None:
    heard: list[tuple[str, str, str | None]] = []

    class Single(Reporter):
        """Knows of single jobs."""

        def job_done(self, step: str, result: JobResult, problem: str | None) -> None:
            heard.append((step, result.name, problem))

    told = Reporters([Single()])
    told.jobs_done([Ended("s", result, 1e9) for result in numbered(silent, 2)])
    assert heard == [("s", "s/000", None), ("s", "s/001", None)]


@pytest.mark.usefixtures("patient")
def test_reporters_of_reporters_wait_once(silent: JobResult) -> None:
    hearer, other = Hearer(), Hearer()
    told = Reporters([other, Reporters([hearer])])
    end_jobs(told, silent, 3)
    told.step_done("s", 1.0, 3, 0)
    assert hearer.told == other.told == [["s/000"], ["s/001", "s/002"], "s"]
    assert told._of_ends == [other, hearer]
    assert told._of_starts == []  # so that a start of a job does not end the wait


@pytest.mark.usefixtures("patient")
def test_ends_are_told_before_the_end_of_the_run(silent: JobResult) -> None:
    hearer = Hearer()
    told = Reporters([hearer])
    end_jobs(told, silent, 2)
    told.run_ended(True, "field")
    assert hearer.told == [["s/000"], ["s/001"], True]


class Failing(Hearer):
    """Cannot take in ends of jobs."""

    def jobs_done(self, ended: Sequence[Ended]) -> None:
        super().jobs_done(ended)
        raise PipelineError("disk full")


def late(reporter: Hearer, silent: JobResult, monkeypatch: pytest.MonkeyPatch) -> Reporters:
    """Return reporters of which the thread has told of a job."""
    monkeypatch.setattr(events, "WAIT_S", 0.01)
    monkeypatch.setattr(events.time, "time", lambda: 1e12)
    told = Reporters([reporter])
    told._told_s = 1e12
    told.job_done("s", silent, None)
    assert reporter.is_told.wait(LONG_S)
    return told


def test_what_goes_wrong_in_the_thread_is_raised_by_the_next_event(
    silent: JobResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing()
    told = late(failing, silent, monkeypatch)
    with pytest.raises(PipelineError, match="disk full"):
        told.notice("n")
    told.notice("m")
    assert failing.told == [["s/000"], "m"]


def test_what_goes_wrong_in_the_thread_is_raised_by_the_end_of_a_job_too(
    silent: JobResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = late(Failing(), silent, monkeypatch)
    with pytest.raises(PipelineError, match="disk full"):
        told.job_done("s", silent, None)


@pytest.mark.parametrize("ok", [True, False])
def test_all_hear_of_the_end_whatever_went_wrong(silent: JobResult, monkeypatch: pytest.MonkeyPatch, ok: bool) -> None:
    failing = Failing()
    told = late(failing, silent, monkeypatch)
    # Of a run that failed another reason is known, which must not be hidden.
    with pytest.raises(PipelineError, match="disk full") if ok else contextlib.nullcontext():
        told.run_ended(ok, "field")
    assert failing.told == [["s/000"], ok]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("error", [PipelineError, KeyboardInterrupt])
def test_all_hear_of_the_jobs_whatever_one_of_them_raises(silent: JobResult, error: type[BaseException]) -> None:
    class Raising(Reporter):
        """Raises an error."""

        def jobs_done(self, ended: Sequence[Ended]) -> None:
            if len(ended) > 1:
                raise error("why")

    hearer = Hearer()
    told = Reporters([Raising(), hearer])
    end_jobs(told, silent, 3)
    with pytest.raises(error, match="why"):
        told.step_done("s", 1.0, 3, 0)
    assert hearer.told == [["s/000"], ["s/001", "s/002"]]
    told.run_ended(False, "field")
    assert hearer.told[-1] is False


@pytest.mark.usefixtures("patient")
def test_signal_is_not_kept_for_later(silent: JobResult) -> None:
    class Interrupting(Hearer):
        """Is interrupted by a signal."""

        def jobs_done(self, ended: Sequence[Ended]) -> None:
            if len(ended) > 1:
                raise Interrupted(signal.SIGTERM)

    told = Reporters([Interrupting()])
    end_jobs(told, silent, 3)
    with pytest.raises(Interrupted):
        told.run_ended(False, "field")


def test_many_jobs_are_counted_before_how_many_are_done_is_said(
    silent: JobResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "PROGRESS_INTERVAL_S", 0.0)
    out = io.StringIO()
    shown = Terminal(NORMAL, out)
    shown.step_started("s", "dppp", 9)
    shown.jobs_done([Ended("s", result, 1e9) for result in numbered(silent, 4)])
    shown.jobs_done([])
    assert [line.partition(" ")[2] for line in out.getvalue().splitlines()[1:]] == ["s: 4 of 9 jobs done"]


def test_each_of_many_jobs_is_shown_to_who_wants_to_see_it(silent: JobResult) -> None:
    out = io.StringIO()
    shown = Terminal(VERBOSE, out)
    shown.step_started("s", "dppp", 2)
    shown.jobs_done([Ended("s", result, 1e9) for result in numbered(silent, 2)])
    lines = [line.partition(" ")[2] for line in out.getvalue().splitlines()[1:]]
    assert lines == [f"s/00{number} (/d/a.ms) exited with 0 after 1 min 5 s, {number + 1} of 2" for number in (0, 1)]


def test_no_end_is_lost_between_two_threads(silent: JobResult, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counter(Reporter):
        """Counts jobs that ended."""

        count = 0

        def jobs_done(self, ended: Sequence[Ended]) -> None:
            self.count += len(ended)

    monkeypatch.setattr(events, "WAIT_S", 1e-5)
    monkeypatch.setattr(events.time, "time", lambda: 1e12)
    counters = [Counter(), Counter()]
    told = Reporters(counters)
    told._told_s = 1e12
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5000):
            told.job_done("s", silent, None)
    finally:
        sys.setswitchinterval(interval_s)
    told.notice("n")
    assert [counter.count for counter in counters] == [5000, 5000]


def test_log_has_the_time_of_each_end(silent: JobResult, tmp_path: Path) -> None:
    log = ClassicLog(tmp_path / "pipeline.log")
    log.run_started("field", tmp_path, 1)
    log.step_started("s", "dppp", 2)
    log.jobs_done([Ended("s", result, 1e9 + 100 * number) for number, result in enumerate(numbered(silent, 2))])
    lines = (tmp_path / "pipeline.log").read_text().splitlines()[-2:]
    assert [line[19:] for line in lines] == [
        f" INFO    node.node1.dppp.a.ms: s/00{number} exited with 0 after 1 min 5 s" for number in (0, 1)
    ]
    seconds = [int(line[14:16]) * 60 + int(line[17:19]) for line in lines]
    assert (seconds[1] - seconds[0]) % 3600 == 100


def test_soon_is_done_each_time_that_it_is_asked_for() -> None:
    is_done = threading.Event()
    soon = Soon(is_done.set, 0.01)
    for _ in range(2):
        soon.ask()
        assert is_done.wait(LONG_S)
        is_done.clear()


def test_soon_is_once_for_all_who_ask() -> None:
    soon = Soon(pytest.fail, LONG_S)
    soon.ask()
    timer = soon._timer
    soon.ask()
    assert soon._timer is timer
    soon.stop()


def test_soon_is_now_where_there_is_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    done: list[str] = []
    soon = Soon(lambda: done.append("done"), LONG_S)
    monkeypatch.setattr(threading.Timer, "start", refuse)
    soon.ask()
    soon.ask()
    assert done == ["done", "done"]


def test_soon_is_forgotten() -> None:
    soon = Soon(pytest.fail, LONG_S)
    soon.stop()
    soon.ask()
    timer = soon._timer
    assert timer is not None
    soon.stop()
    timer.join(LONG_S)
    assert not timer.is_alive()
