"""The events of a run, and the fan-out to everybody who listens."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from lofarpipe.jobs import Job, JobResult, JobStart
from lofarpipe.state.history import History


class Soon:
    """Has something done within a time, in a thread; to ask for it again before then changes nothing."""

    def __init__(self, work: Callable[[], None], wait_s: float) -> None:
        self._work = work
        self._wait_s = wait_s
        self._timer: threading.Timer | None = None

    def ask(self) -> None:
        """Have it done: now, where the system has no thread left."""
        if self._timer is not None:
            return
        timer = threading.Timer(self._wait_s, self._do)
        timer.daemon = True
        self._timer = timer
        try:
            timer.start()
        except RuntimeError:
            self._do()

    def _do(self) -> None:
        self._timer = None  # what is asked for from now on may come too late for this time
        self._work()

    def stop(self) -> None:
        """Forget what was asked for; what has begun goes on."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


WAIT_S = 1.0  # by which ends of jobs may be told late
MOST_WAITING = 1000  # of them


class Ended(NamedTuple):
    """A job that ended well and wrote nothing."""

    step: str
    result: JobResult
    time_s: float  # when it did, s since 1970 UTC


class Reporter:
    """Hears of every event, and does nothing; a reporter overrides what it shows."""

    def run_started(self, job_name: str, job_directory: Path, steps: int) -> None:
        """All checks passed, and the first of ``steps`` steps begins."""

    def step_started(self, step: str, step_type: str, jobs: int) -> None:
        """A step begins, with this number of jobs; a plugin has none, and the type "plugin"."""

    def step_skipped(self, step: str) -> None:
        """A step is not run, because it is done and nothing that it depends on has changed."""

    def jobs_done_before(self, step: str, jobs: int) -> None:
        """So many jobs of the step that began were done by an earlier run; only the others are run."""

    def job_started(self, step: str, job: Job, start: JobStart) -> None:
        """A job began; ``start`` says on which machine."""

    def job_done(self, step: str, result: JobResult, problem: str | None) -> None:
        """A job ended; ``problem`` says why it failed, which its log may tell although its exit code is 0."""

    def jobs_done(self, ended: Sequence[Ended]) -> None:
        """Some jobs ended, one after the other; who does not override this is told of each by ``job_done``."""
        for one in ended:
            self.job_done(one.step, one.result, None)

    def step_done(self, step: str, duration_s: float, jobs: int, failed: int) -> None:
        """A step is complete; ``failed`` of its jobs failed, and that was tolerated."""

    def notice(self, text: str) -> None:
        """Something was decided that a user may want to know."""

    def warning(self, text: str) -> None:
        """Something is not as it should be, and the run goes on."""

    def run_ended(self, ok: bool, job_name: str, problem: str = "") -> None:
        """The run is over; ``problem`` is what ended it if it is not ``ok``."""


class Reporters(Reporter):
    """Passes each event to all reporters, in their order.

    Jobs of milliseconds are very many, and to tell of one between two others costs three times as much as to tell of
    many at once. So where several in a second end well without a word, they are told together: before the next other
    event, and a second later at most, by a thread. What a reporter raises then, the next event raises. Reporters of
    others are as good as these others.
    """

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = told = tuple(chain.from_iterable(map(_all_of, reporters)))
        # Of jobs there may be very many: who does nothing when one begins or ends is not told.
        self._of_starts = [one for one in told if _hears(one, "job_started")]
        self._of_ends = [one for one in told if _hears(one, "job_done") or _hears(one, "jobs_done")]
        self._ended: deque[Ended] = deque()  # that are not told yet; its ends can be used by two threads
        self._told_s = 0.0  # when such were told, s since 1970 UTC
        self._soon = Soon(self._tell_late, WAIT_S)
        self._lock = threading.RLock()  # one event at a time
        self._problem: Exception | None = None  # what a reporter raised in the thread

    def run_started(self, job_name: str, job_directory: Path, steps: int) -> None:
        """Tell all."""
        self._tell(lambda reporter: reporter.run_started(job_name, job_directory, steps))

    def step_started(self, step: str, step_type: str, jobs: int) -> None:
        """Tell all."""
        self._tell(lambda reporter: reporter.step_started(step, step_type, jobs))

    def step_skipped(self, step: str) -> None:
        """Tell all."""
        self._tell(lambda reporter: reporter.step_skipped(step))

    def jobs_done_before(self, step: str, jobs: int) -> None:
        """Tell all."""
        self._tell(lambda reporter: reporter.jobs_done_before(step, jobs))

    def job_started(self, step: str, job: Job, start: JobStart) -> None:
        """Tell all who want to hear it."""
        if self._of_starts:
            self._tell(lambda reporter: reporter.job_started(step, job, start), self._of_starts)

    def job_done(self, step: str, result: JobResult, problem: str | None) -> None:
        """Tell all who want to hear it, now or soon."""
        if problem is not None or not result.is_silent:
            self._tell(lambda reporter: reporter.job_done(step, result, problem), self._of_ends)
            return
        now_s = time.time()
        self._ended.append(Ended(step, result, now_s))
        is_soon_enough = 0.0 <= now_s - self._told_s < WAIT_S and len(self._ended) < MOST_WAITING
        if is_soon_enough and self._problem is None:
            self._soon.ask()
        else:
            self._catch_up()

    def jobs_done(self, ended: Sequence[Ended]) -> None:
        """Tell all who want to hear it."""
        self._tell(lambda reporter: reporter.jobs_done(ended), self._of_ends)

    def step_done(self, step: str, duration_s: float, jobs: int, failed: int) -> None:
        """Tell all."""
        self._tell(lambda reporter: reporter.step_done(step, duration_s, jobs, failed))

    def notice(self, text: str) -> None:
        """Tell all."""
        self._tell(lambda reporter: reporter.notice(text))

    def warning(self, text: str) -> None:
        """Tell all."""
        self._tell(lambda reporter: reporter.warning(text))

    def run_ended(self, ok: bool, job_name: str, problem: str = "") -> None:
        """Tell all."""
        self._soon.stop()
        with self._lock:
            self._tell_late()  # whatever comes of it, all hear of the end
            for reporter in self._reporters:
                reporter.run_ended(ok, job_name, problem)
            if ok:  # else there is another reason, which is to be told
                self._catch_up()

    def _tell(self, event: Callable[[Reporter], None], reporters: Sequence[Reporter] | None = None) -> None:
        """Tell of the jobs that wait to be told, and of an event."""
        with self._lock:
            self._catch_up()
            for reporter in self._reporters if reporters is None else reporters:
                event(reporter)

    def _catch_up(self) -> None:
        with self._lock:
            if self._problem is not None:
                problem, self._problem = self._problem, None
                raise problem
            self._tell_ended()

    def _tell_ended(self) -> None:
        ended = []
        while self._ended:
            ended.append(self._ended.popleft())
        if not ended:
            return
        self._told_s = time.time()
        problem: BaseException | None = None
        for reporter in self._of_ends:  # all of them: nobody tells of these jobs once more
            try:
                reporter.jobs_done(ended)
            except BaseException as err:
                problem = problem or err
        if problem is not None:
            raise problem

    def _tell_late(self) -> None:
        with self._lock:
            try:
                self._tell_ended()
            except Exception as err:  # whatever it is, the run has to hear of it
                self._problem = self._problem or err


def _all_of(reporter: Reporter) -> Sequence[Reporter]:
    """Return whom a reporter passes events on to, or else itself."""
    return reporter._reporters if isinstance(reporter, Reporters) else (reporter,)


def _hears(reporter: Reporter, event: str) -> bool:
    """Whether a reporter does anything with an event."""
    return getattr(type(reporter), event, None) is not getattr(Reporter, event)


class Journalled(Reporter):
    """Records notices and warnings; the runner itself records all else, with more than reporters hear."""

    def __init__(self, journal: History) -> None:
        self._journal = journal

    def notice(self, text: str) -> None:
        """Record a decision."""
        self._journal.record("notice", text=text)

    def warning(self, text: str) -> None:
        """Record a warning."""
        self._journal.record("warning", text=text)
