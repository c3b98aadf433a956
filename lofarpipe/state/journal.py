"""The journal, an append-only file that survives a crash at any byte, and the stream of events into it."""

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

LASTING = (StepDone, StepForgotten, RunEnded)  # synced to disk: hours of work depend on them
WAIT_S = 1.0  # longest delay of the report of a job's end
MOST_WAITING = 1000  # unreported ends


class Journal:
    """The journal of one job directory; it belongs to one run at a time.

    Parameters
    ----------
    path: the file, usually <job_directory>/journal.jsonl; created if missing.

    Attributes
    ----------
    state: the run state after all events; kept up to date by a `Stream`.
    notices: problems of the file, as messages.

    Raises
    ------
    PipelineError
        If another run holds the journal, with its host and process id; or if the file cannot be written.
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
        """Release the job directory."""
        os.close(self._file)
        self._lock.release()

    def write(self, event: Event, serial: int) -> None:
        """Append an event; the end of a step or of the run is synced to disk.

        Parameters
        ----------
        serial: position among the events.

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
    """Read the state of the journal in ``path``, without writing; another run may hold it.

    Raises
    ------
    PipelineError
        If it exists and cannot be read.
    """
    try:
        return RunState.from_events(read_events(path.read_bytes())[0])
    except FileNotFoundError:
        return RunState()
    except OSError as err:
        raise PipelineError(f"{path}: the journal cannot be read: {err.strerror}") from err


class Debounce:
    """Coalesces repeated requests into one delayed call in a thread (debounce)."""

    def __init__(self, work: Callable[[], None], wait_s: float) -> None:
        self._work = work
        self._wait_s = wait_s
        self._timer: threading.Timer | None = None

    def request(self) -> None:
        """Request the call; made at once if no thread can be started."""
        if self._timer is not None:
            return
        timer = threading.Timer(self._wait_s, self._do_in_thread)
        timer.daemon = True
        self._timer = timer
        try:
            timer.start()
        except RuntimeError:
            self._run()

    def _do_in_thread(self) -> None:
        with BACKGROUND:
            self._run()

    def _run(self) -> None:
        self._timer = None  # requests from now on need a new timer
        self._work()

    def stop(self) -> None:
        """Cancel the request; a running flush continues."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


class Stream:
    """Passes each event to the journal, the state and the reporters, in this order.

    Events that cannot be written are not reported, except the end of a run that failed for another reason.
    A reporter gets the events for which it has a method named after the kind.

    For many jobs of milliseconds, reporting each end separately costs three times as much as reporting many at once.
    So several successes within a second are reported together: before the next other event, and within a second,
    from a thread, by the method ``jobs_done`` of reporters that have one. An exception of a reporter there is raised
    by the next event.

    Parameters
    ----------
    journal: None: nothing is written, as in a dry run.
    state: without a journal, the state read from it.
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
        self._of_ends = [hears for one in hearers if (hears := _ends_handler(one)) is not None]
        self._unreported: deque[JobDone] = deque()  # deque: appended and popped from two threads
        self._last_report_s = 0.0  # s since 1970 UTC
        self._late_report = Debounce(self._report_late, WAIT_S)
        self._lock = threading.RLock()  # one event at a time
        self._problem: Exception | None = None  # exception of a reporter in the thread

    def notice(self, text: str) -> None:
        """Emit a notice for the user."""
        self.emit(Notice(text))

    def warning(self, text: str) -> None:
        """Emit a warning."""
        self.emit(Warned(text))

    def emit(self, event: Event) -> None:
        """Write an event to the journal, apply it to the state, and report it.

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
            self._report_end(event)
        elif isinstance(event, RunEnded):
            self._report_run_end(event)
        else:
            self._report(event)

    def _write(self, journal: Journal, event: Event) -> None:
        try:
            journal.write(event, self.state.work.serial + 1)
        except PipelineError:
            if not (isinstance(event, RunEnded) and not event.ok):
                raise

    def _report(self, event: Event) -> None:
        """Report the delayed ends of jobs, then an event, to the reporters that handle them."""
        if reporters := self._reporters.get(type(event)):
            with self._lock:
                self._catch_up()
                for hears in reporters:
                    hears(event)

    def _report_end(self, event: JobDone) -> None:
        """Report the end of a job, at once or with a delay."""
        if event.is_tried_again:
            return
        if event.problem is not None or event.result is None or not event.result.is_silent:
            self._report(event)
            return
        now_s = time.time()
        self._unreported.append(event)
        is_soon_enough = 0.0 <= now_s - self._last_report_s < WAIT_S and len(self._unreported) < MOST_WAITING
        if is_soon_enough and self._problem is None:
            self._late_report.request()
        else:
            self._catch_up()

    def _report_run_end(self, event: RunEnded) -> None:
        self._late_report.stop()
        with self._lock:
            self._report_late()  # the end is reported even if this fails
            for hears in self._reporters[RunEnded]:
                hears(event)
            if event.ok:  # a failed run reports its own reason instead
                self._catch_up()

    def _catch_up(self) -> None:
        with self._lock:
            if self._problem is not None:
                problem, self._problem = self._problem, None
                raise problem
            self._report_delayed_ends()

    def _report_delayed_ends(self) -> None:
        ends = []
        while self._unreported:
            ends.append(self._unreported.popleft())
        if not ends:
            return
        self._last_report_s = time.time()
        problem: BaseException | None = None
        for hears in self._of_ends:  # all reporters, as these jobs are reported only once
            try:
                hears(ends)
            except BaseException as err:
                problem = problem or err
        if problem is not None:
            raise problem

    def _report_late(self) -> None:
        with self._lock:
            try:
                self._report_delayed_ends()
            except Exception as err:  # raised by the next event
                self._problem = self._problem or err


def _ends_handler(reporter: Any) -> Callable[[Sequence[JobDone]], None] | None:
    """Return a reporter's method for the ends of several jobs, or None."""
    if hasattr(reporter, "jobs_done"):
        return reporter.jobs_done  # type: ignore[no-any-return]
    if not hasattr(reporter, "job_done"):
        return None

    def each(ends: Sequence[JobDone]) -> None:
        for event in ends:
            reporter.job_done(event)

    return each
