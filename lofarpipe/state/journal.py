"""The journal, an append-only file that survives a crash at any byte, and the stream of events, which begins there."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from lofarpipe.errors import PipelineError
from lofarpipe.state.events import (
    KINDS,
    Event,
    JobDone,
    Notice,
    RunEnded,
    StepDone,
    StepForgotten,
    StepStarted,
    Warned,
    encoded,
    read_events,
)
from lofarpipe.state.lock import RunLock
from lofarpipe.state.run_state import RunState
from lofarpipe.support.processes import BACKGROUND
from lofarpipe.support.utilities import write_atomically

LASTING = (StepDone, StepForgotten, RunEnded)  # the disk is waited for: work of hours hangs on them
WAIT_S = 1.0  # by which ends of jobs may be told late
MOST_WAITING = 1000  # of them


class Journal:
    """The journal of one job directory; it belongs to one run at a time.

    Parameters
    ----------
    path: the file, usually <job_directory>/journal.jsonl; made if it is not there.

    Attributes
    ----------
    state: the fold of its events; a `Stream` keeps it up to date.
    notices: problems of the file, for people.

    Raises
    ------
    PipelineError
        If another run has it, with the host and the process id of that run; or if it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = RunLock(path.with_suffix(".lock"))
        self.notices: list[str] = [self._lock.notice] if self._lock.notice else []
        try:
            content = path.read_bytes() if path.exists() else b""
            events, damaged = read_events(content)
            self._set_aside(content, damaged)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as err:
            self._lock.release()
            raise PipelineError(f"{path}: the journal cannot be written: {err.strerror}; check the directory") from err
        self.state = RunState.from_events(events)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let other runs have the job directory."""
        os.close(self._file)
        self._lock.release()

    def write(self, event: Event, serial: int) -> None:
        """Append an event; the end of a step or of the run is on the disk when this returns.

        Parameters
        ----------
        serial: its place among the events.

        Raises
        ------
        PipelineError
            If it cannot be written, or another run has taken over.
        """
        if self._lock.is_lost:
            raise PipelineError(f"{self.path.parent}: another run has taken over; this one ends")
        self._append(encoded(event, serial).encode() + b"\n")
        if isinstance(event, LASTING) or (isinstance(event, StepStarted) and event.unsafe):
            os.fsync(self._file)

    def _append(self, line: bytes) -> None:
        end = os.lseek(self._file, 0, os.SEEK_END)
        try:
            count = os.write(self._file, line)
        except OSError as err:
            raise PipelineError(f"{self.path}: the journal cannot be written: {err.strerror}; free some space") from err
        if count < len(line):
            os.ftruncate(self._file, end)
            raise PipelineError(f"{self.path}: the journal cannot be written: the disk is full; free some space")

    def _set_aside(self, content: bytes, damaged: Sequence[bytes]) -> None:
        """Move unreadable lines to a file beside the journal."""
        if not damaged:
            return
        beside = self.path.with_suffix(".damaged")
        with beside.open("ab") as file:
            file.writelines(damaged)
        torn = b"" if damaged[-1].endswith(b"\n") else damaged[-1]
        if torn:
            os.truncate(self.path, len(content) - len(torn))
        if [torn] != damaged:
            bad = set(damaged)
            readable = [line for line in content.split(b"\n")[:-1] if line + b"\n" not in bad]
            write_atomically(self.path, b"\n".join([*readable, b""]).decode(errors="surrogateescape"))
        where = "the last " if [torn] == damaged else ""
        self.notices.append(
            f"{self.path}: {where}{sum(map(len, damaged))} bytes are not readable, as after a crash; they are now in "
            f"{beside}, and what they recorded runs again"
        )


def read_state(path: Path) -> RunState:
    """Return the state of the journal in ``path``; nothing is written, and another run may have it.

    Raises
    ------
    PipelineError
        If it is there and cannot be read.
    """
    try:
        return RunState.from_events(read_events(path.read_bytes())[0])
    except FileNotFoundError:
        return RunState()
    except OSError as err:
        raise PipelineError(f"{path}: the journal cannot be read: {err.strerror}") from err


class Debounce:
    """One call, a while later and in a thread, for all who ask for it meanwhile."""

    def __init__(self, work: Callable[[], None], wait_s: float) -> None:
        self._work = work
        self._wait_s = wait_s
        self._timer: threading.Timer | None = None

    def ask(self) -> None:
        """Have it done: now, where the system has no thread left."""
        if self._timer is not None:
            return
        timer = threading.Timer(self._wait_s, self._do_in_thread)
        timer.daemon = True
        self._timer = timer
        try:
            timer.start()
        except RuntimeError:
            self._do()

    def _do_in_thread(self) -> None:
        with BACKGROUND:
            self._do()

    def _do(self) -> None:
        self._timer = None  # what is asked for from now on may come too late for this time
        self._work()

    def stop(self) -> None:
        """Forget the request; a flush that has begun goes on."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


class Stream:
    """Takes each event to the journal, to the state, and to the reporters, in this order.

    Events that cannot be written are not reported, but for the end of a run that failed for another reason.
    A reporter hears of the events of which it has a method with the name of their kind.

    Jobs of milliseconds are very many, and to report one between two others costs three times as much as to report
    many at once. So where several in a second end well without a word, they are reported together: before the next
    other event, and a second later at most, by a thread; by the method ``jobs_done`` of reporters that have one. What
    a reporter raises then, the next event raises.

    Parameters
    ----------
    journal: None: nothing is written, as in a dry run.
    state: where there is no journal, the one that was read from it.
    """

    def __init__(
        self, journal: Journal | None = None, reporters: Iterable[object] = (), state: RunState | None = None
    ) -> None:
        self.state = journal.state if journal is not None else state if state is not None else RunState()
        self._journal = journal
        self._reporters: dict[type[Event], list[Callable[[Any], None]]] = {}
        hearers = tuple(reporters)
        for kind, event in KINDS.items():
            self._reporters[event] = [getattr(one, kind) for one in hearers if hasattr(one, kind)]
        self._of_ends = [hears for one in hearers if (hears := _hears_of_ends(one)) is not None]
        self._unreported: deque[JobDone] = deque()  # that are not told yet; its ends can be used by two threads
        self._last_report_s = 0.0  # s since 1970 UTC
        self._late_report = Debounce(self._tell_late, WAIT_S)
        self._lock = threading.RLock()  # one event at a time
        self._problem: Exception | None = None  # what a reporter raised in the thread

    def notice(self, text: str) -> None:
        """Emit a decision that a user may want to know."""
        self.emit(Notice(text))

    def warning(self, text: str) -> None:
        """Emit that something is not as it should be."""
        self.emit(Warned(text))

    def emit(self, event: Event) -> None:
        """Have an event written, folded and shown.

        Raises
        ------
        PipelineError
            If it cannot be written, or another run has taken over; and exceptions of reporters.
        """
        with self.state.lock:
            if self._journal is not None:
                self._write(self._journal, event)
            self.state.apply(event)
        if isinstance(event, JobDone):
            self._tell_end(event)
        elif isinstance(event, RunEnded):
            self._tell_end_of_run(event)
        else:
            self._tell(event)

    def _write(self, journal: Journal, event: Event) -> None:
        try:
            journal.write(event, self.state.work.serial + 1)
        except PipelineError:
            if not (isinstance(event, RunEnded) and not event.ok):
                raise

    def _tell(self, event: Event) -> None:
        """Report the waiting ends of jobs, and an event, to the reporters that handle it."""
        if reporters := self._reporters.get(type(event)):
            with self._lock:
                self._catch_up()
                for hears in reporters:
                    hears(event)

    def _tell_end(self, event: JobDone) -> None:
        """Report the end of a job, now or soon."""
        if event.is_tried_again:
            return
        if event.problem is not None or event.result is None or not event.result.is_silent:
            self._tell(event)
            return
        now_s = time.time()
        self._unreported.append(event)
        is_soon_enough = 0.0 <= now_s - self._last_report_s < WAIT_S and len(self._unreported) < MOST_WAITING
        if is_soon_enough and self._problem is None:
            self._late_report.ask()
        else:
            self._catch_up()

    def _tell_end_of_run(self, event: RunEnded) -> None:
        self._late_report.stop()
        with self._lock:
            self._tell_late()  # whatever comes of it, all hear of the end
            for hears in self._reporters[RunEnded]:
                hears(event)
            if event.ok:  # else there is another reason, which is to be told
                self._catch_up()

    def _catch_up(self) -> None:
        with self._lock:
            if self._problem is not None:
                problem, self._problem = self._problem, None
                raise problem
            self._tell_ended()

    def _tell_ended(self) -> None:
        ends = []
        while self._unreported:
            ends.append(self._unreported.popleft())
        if not ends:
            return
        self._last_report_s = time.time()
        problem: BaseException | None = None
        for hears in self._of_ends:  # all of them: nobody tells of these jobs once more
            try:
                hears(ends)
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


def _hears_of_ends(reporter: Any) -> Callable[[Sequence[JobDone]], None] | None:
    """Return the method by which a reporter hears of the ends of several jobs; None of one that has none."""
    if hasattr(reporter, "jobs_done"):
        return reporter.jobs_done  # type: ignore[no-any-return]
    if not hasattr(reporter, "job_done"):
        return None

    def each(ends: Sequence[JobDone]) -> None:
        for event in ends:
            reporter.job_done(event)

    return each
