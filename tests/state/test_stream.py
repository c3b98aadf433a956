"""Ends of silent jobs are reported in batches: before any other event, and without long delay."""

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

from journal_events import job_end
from lofarpipe.errors import PipelineError
from lofarpipe.jobs import Interrupted, JobResult
from lofarpipe.report import terminal
from lofarpipe.report.pipeline_log import ClassicLog
from lofarpipe.report.terminal import NORMAL, VERBOSE, Terminal
from lofarpipe.state import journal as module
from lofarpipe.state.events import JobDone, JobStarted, Notice, RunEnded, RunStarted, StepDone, StepStarted
from lofarpipe.state.journal import Debounce, Journal, Stream

LONG_S = 60.0  # no test lasts so long


@pytest.fixture
def silent() -> JobResult:
    return JobResult("s/000", 0, 1e9, 65.0, 1.0, 10.0, Path("none.log"), ("true",), "node1", "/d/a.ms", is_silent=True)


def numbered(result: JobResult, count: int) -> list[JobResult]:
    return [replace(result, name=f"s/{number:03d}") for number in range(count)]


def end_jobs(told: Stream, silent: JobResult, count: int) -> None:
    """Emit the ends of this number of jobs."""
    for result in numbered(silent, count):
        told.emit(job_end("s", result))


class Hearer:
    """Notes the names of jobs reported together, and other events."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.is_told = threading.Event()

    def jobs_done(self, ended: Sequence[JobDone]) -> None:
        self.told.append([event.job for event in ended])
        self.is_told.set()

    def job_done(self, event: JobDone) -> None:
        self.told.append((event.job, event.problem))

    def step_done(self, event: StepDone) -> None:
        self.told.append(event.step)

    def notice(self, event: Notice) -> None:
        self.told.append(event.text)

    def run_ended(self, event: RunEnded) -> None:
        self.told.append(event.ok)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_S", LONG_S)


@pytest.mark.usefixtures("patient")
def test_job_ends_are_batched_before_next_event(silent: JobResult) -> None:
    hearer = Hearer()
    told = Stream(reporters=[hearer])
    end_jobs(told, silent, 4)
    assert hearer.told == [["s/000"]]  # the first one at once
    told.notice("n")
    assert hearer.told == [["s/000"], ["s/001", "s/002", "s/003"], "n"]


@pytest.mark.usefixtures("patient")
def test_noisy_and_failed_jobs_are_reported_at_once(silent: JobResult) -> None:
    hearer = Hearer()
    told = Stream(reporters=[hearer])
    told.emit(job_end("s", silent))
    told.emit(job_end("s", replace(silent, name="s/001")))
    told.emit(job_end("s", replace(silent, name="s/002", is_silent=False)))
    told.emit(job_end("s", replace(silent, name="s/003"), "has no output"))
    assert hearer.told == [["s/000"], ["s/001"], ("s/002", None), ("s/003", "has no output")]


def test_quiet_stream_still_reports_job_ends(silent: JobResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_S", 0.2)
    hearer = Hearer()
    told = Stream(reporters=[hearer])
    told._last_report_s = 1e12  # as if it were now
    monkeypatch.setattr(module.time, "time", lambda: 1e12)
    told.emit(job_end("s", silent))
    assert hearer.told == []
    assert hearer.is_told.wait(LONG_S)
    assert hearer.told == [["s/000"]]


def test_rare_job_ends_are_reported_at_once(silent: JobResult, monkeypatch: pytest.MonkeyPatch) -> None:
    hearer = Hearer()
    told = Stream(reporters=[hearer])
    for time_s, result in zip((1e9, 1e9 + 1, 1e9 - 3600), numbered(silent, 3), strict=True):  # or a clock is set back
        monkeypatch.setattr(module.time, "time", lambda now=time_s: now)
        told.emit(job_end("s", result))
    assert hearer.told == [["s/000"], ["s/001"], ["s/002"]]


@pytest.mark.usefixtures("patient")
def test_full_batch_is_reported(silent: JobResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    hearer = Hearer()
    told = Stream(reporters=[hearer])
    end_jobs(told, silent, 6)
    assert hearer.told == [["s/000"], ["s/001", "s/002", "s/003"]]


@pytest.mark.usefixtures("patient")
def test_simple_reporter_hears_each_job(silent: JobResult) -> None:
    heard: list[str] = []

    class Single:
        """Knows of single jobs."""

        def job_done(self, event: JobDone) -> None:
            heard.append(event.job)

    told = Stream(reporters=[Single()])
    end_jobs(told, silent, 3)
    told.emit(RunEnded(True))
    assert heard == ["s/000", "s/001", "s/002"]


@pytest.mark.usefixtures("patient")
def test_unheard_event_keeps_batch_open(silent: JobResult) -> None:
    hearer, deaf = Hearer(), object()
    told = Stream(reporters=[deaf, hearer])
    end_jobs(told, silent, 2)
    told.emit(JobStarted("s", "s/002"))
    assert hearer.told == [["s/000"]]


@pytest.mark.usefixtures("patient")
def test_failed_attempt_is_not_job_end(silent: JobResult) -> None:
    hearer = Hearer()
    told = Stream(reporters=[hearer])
    told.emit(replace(job_end("s", silent, "lost"), is_tried_again=True))
    assert hearer.told == []
    assert [end.problem for end in told.state.work.jobs_ended("s")] == ["lost"]


def test_unwritten_event_reaches_no_reporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the end of a run that failed: of that there is another reason."""

    def refuse(*_: object) -> None:
        raise PipelineError("disk full")

    hearer = Hearer()
    with Journal(tmp_path / "journal.jsonl") as journal:
        told = Stream(journal, [hearer])
        monkeypatch.setattr(journal, "write", refuse)
        for event in (Notice("n"), RunEnded(True)):
            with pytest.raises(PipelineError, match="disk full"):
                told.emit(event)
        assert (hearer.told, told.state.notices, told.state.ended) == ([], [], False)
        told.emit(RunEnded(False, "it failed"))
    assert hearer.told == [False]
    assert told.state.problem == "it failed"


def test_journal_precedes_reporters(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"

    class Reader:
        """Reads the journal when it hears of something."""

        def notice(self, event: Notice) -> None:
            assert f'"text": "{event.text}"' in path.read_text()
            assert stream.state.notices == [event.text]

    with Journal(path) as journal:
        stream = Stream(journal, [Reader()])
        stream.notice("n")


@pytest.mark.usefixtures("patient")
def test_job_ends_precede_run_end(silent: JobResult) -> None:
    hearer = Hearer()
    told = Stream(reporters=[hearer])
    end_jobs(told, silent, 2)
    told.emit(RunEnded(True, job="field"))
    assert hearer.told == [["s/000"], ["s/001"], True]


class Failing(Hearer):
    """Cannot take in ends of jobs."""

    def jobs_done(self, ended: Sequence[JobDone]) -> None:
        super().jobs_done(ended)
        raise PipelineError("disk full")


def late(reporter: Hearer, silent: JobResult, monkeypatch: pytest.MonkeyPatch) -> Stream:
    """Return reporters to which the thread has reported a job."""
    monkeypatch.setattr(module, "WAIT_S", 0.01)
    monkeypatch.setattr(module.time, "time", lambda: 1e12)
    told = Stream(reporters=[reporter])
    told._last_report_s = 1e12
    told.emit(job_end("s", silent))
    assert reporter.is_told.wait(LONG_S)
    return told


def test_next_event_raises_thread_error(silent: JobResult, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Failing()
    told = late(failing, silent, monkeypatch)
    with pytest.raises(PipelineError, match="disk full"):
        told.notice("n")
    told.notice("m")
    assert failing.told == [["s/000"], "m"]


def test_next_job_end_raises_thread_error(silent: JobResult, monkeypatch: pytest.MonkeyPatch) -> None:
    told = late(Failing(), silent, monkeypatch)
    with pytest.raises(PipelineError, match="disk full"):
        told.emit(job_end("s", silent))


@pytest.mark.parametrize("ok", [True, False])
def test_every_reporter_hears_run_end(silent: JobResult, monkeypatch: pytest.MonkeyPatch, ok: bool) -> None:
    failing = Failing()
    told = late(failing, silent, monkeypatch)
    # Of a run that failed another reason is known, which must not be hidden.
    with pytest.raises(PipelineError, match="disk full") if ok else contextlib.nullcontext():
        told.emit(RunEnded(ok, job="field"))
    assert failing.told == [["s/000"], ok]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("error", [PipelineError, KeyboardInterrupt])
def test_raising_reporter_does_not_block_reporters(silent: JobResult, error: type[BaseException]) -> None:
    class Raising:
        """Raises an error."""

        def jobs_done(self, ended: Sequence[JobDone]) -> None:
            if len(ended) > 1:
                raise error("why")

    hearer = Hearer()
    told = Stream(reporters=[Raising(), hearer])
    end_jobs(told, silent, 3)
    with pytest.raises(error, match="why"):
        told.emit(StepDone("s", jobs=3))
    assert hearer.told == [["s/000"], ["s/001", "s/002"]]
    told.emit(RunEnded(False, job="field"))
    assert hearer.told[-1] is False


@pytest.mark.usefixtures("patient")
def test_signal_is_raised_at_once(silent: JobResult) -> None:
    class Interrupting(Hearer):
        """Is interrupted by a signal."""

        def jobs_done(self, ended: Sequence[JobDone]) -> None:
            if len(ended) > 1:
                raise Interrupted(signal.SIGTERM)

    told = Stream(reporters=[Interrupting()])
    end_jobs(told, silent, 3)
    with pytest.raises(Interrupted):
        told.emit(RunEnded(False, job="field"))


def test_batch_is_counted_before_report(silent: JobResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "PROGRESS_INTERVAL_S", 0.0)
    out = io.StringIO()
    shown = Terminal(NORMAL, out)
    shown.step_started(StepStarted("s", "dppp", 9))
    shown.jobs_done([job_end("s", result) for result in numbered(silent, 4)])
    shown.jobs_done([])
    assert [line.partition(" ")[2] for line in out.getvalue().splitlines()[1:]] == ["s: 4 of 9 jobs done"]


def test_verbose_terminal_shows_each_job(silent: JobResult) -> None:
    out = io.StringIO()
    shown = Terminal(VERBOSE, out)
    shown.step_started(StepStarted("s", "dppp", 2))
    shown.jobs_done([job_end("s", result) for result in numbered(silent, 2)])
    lines = [line.partition(" ")[2] for line in out.getvalue().splitlines()[1:]]
    assert lines == [f"s/00{number} (/d/a.ms) exited with 0 after 1 min 5 s, {number + 1} of 2" for number in (0, 1)]


def test_threads_lose_no_job_end(silent: JobResult, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counter:
        """Counts jobs that ended."""

        count = 0

        def jobs_done(self, ended: Sequence[JobDone]) -> None:
            self.count += len(ended)

    monkeypatch.setattr(module, "WAIT_S", 1e-5)
    monkeypatch.setattr(module.time, "time", lambda: 1e12)
    counters = [Counter(), Counter()]
    told = Stream(reporters=counters)
    told._last_report_s = 1e12
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5000):
            told.emit(job_end("s", silent))
    finally:
        sys.setswitchinterval(interval_s)
    told.emit(RunEnded(True))
    assert [counter.count for counter in counters] == [5000, 5000]


def test_log_records_time_of_each_end(silent: JobResult, tmp_path: Path) -> None:
    log = ClassicLog(tmp_path / "pipeline.log")
    log.run_started(RunStarted("field", step_count=1))
    log.step_started(StepStarted("s", "dppp", 2))
    log.jobs_done(
        [replace(job_end("s", result), time_s=1e9 + 100 * number) for number, result in enumerate(numbered(silent, 2))]
    )
    lines = (tmp_path / "pipeline.log").read_text().splitlines()[-2:]
    assert [line[19:] for line in lines] == [
        f" INFO    node.node1.dppp.a.ms: s/00{number} exited with 0 after 1 min 5 s" for number in (0, 1)
    ]
    seconds = [int(line[14:16]) * 60 + int(line[17:19]) for line in lines]
    assert (seconds[1] - seconds[0]) % 3600 == 100


def test_debounce_runs_for_each_request() -> None:
    is_done = threading.Event()
    debounce = Debounce(is_done.set, 0.01)
    for _ in range(2):
        debounce.request()
        assert is_done.wait(LONG_S)
        is_done.clear()


def test_debounce_coalesces_requests() -> None:
    debounce = Debounce(pytest.fail, LONG_S)
    debounce.request()
    timer = debounce._timer
    debounce.request()
    assert debounce._timer is timer
    debounce.stop()


def test_debounce_runs_now_without_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    done: list[str] = []
    debounce = Debounce(lambda: done.append("done"), LONG_S)
    monkeypatch.setattr(threading.Timer, "start", refuse)
    debounce.request()
    debounce.request()
    assert done == ["done", "done"]


def test_debounce_is_cancelled() -> None:
    debounce = Debounce(pytest.fail, LONG_S)
    debounce.stop()
    debounce.request()
    timer = debounce._timer
    assert timer is not None
    debounce.stop()
    timer.join(LONG_S)
    assert not timer.is_alive()
