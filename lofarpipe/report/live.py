"""The terminal of somebody who watches: one line per step, shown in place while the run goes on."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from lofarpipe.report.terminal import NORMAL, VERBOSE, Terminal, timed
from lofarpipe.state.events import RunEnded, RunStarted
from lofarpipe.state.run_state import JobState, RunState
from lofarpipe.support.processes import boot_id, resident_bytes
from lofarpipe.support.utilities import printable, uncollected


def memory_in_use_gb(running: Sequence[JobState], facts: Mapping[str, object]) -> float | None:
    """Return the memory that running jobs have now, 10^9 bytes; None where that cannot be seen from here.

    Parameters
    ----------
    facts: of the run, as its journal tells.
    """
    here = os.uname().nodename
    if not running or facts.get("boot") != boot_id() or any(job.node != here or job.pid <= 0 for job in running):
        return None
    return sum(resident_bytes(job.pid) for job in running) / 1e9


if TYPE_CHECKING:
    from lofarpipe.report.board import Line
    from lofarpipe.report.journal_tail import LogTails
    from lofarpipe.report.screen import Screen

START_S = 5.0  # when a job has run for so long, somebody waits; what is over sooner is told in plain lines
LATEST_S = 20.0  # to begin takes up to 0.1 s of CPU: before that a run of many short jobs goes on without
REFRESH_S = 1.0  # between two pictures, at least
PATIENCE = 300  # the next one waits so many times what the last one took: pictures take 0.3 % of one core at most


class LiveTerminal(Terminal):
    """Shows a run in place, and what goes wrong above; for a standard output that is a terminal.

    A thread makes the pictures from the state of the run and the logs, so that jobs of hours show what they do. Until
    the first one this is a plain terminal; what is said by the way stays above the picture. Warnings go to standard
    error, as ever, if that is not the same terminal.

    Parameters
    ----------
    state: of the run, kept up to date by its stream of events.
    level: NORMAL, or VERBOSE, which also tells of each job.
    record: as `Terminal` has it.
    """

    def __init__(
        self,
        state: RunState,
        level: int = NORMAL,
        record: Callable[[], Mapping[str, object] | None] = lambda: None,
    ) -> None:
        super().__init__(level, record=record)
        self._state = state
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._screen: Screen | None = None  # once there is something on it
        self._logs: LogTails | None = None  # with the first picture

    def run_started(self, event: RunStarted) -> None:
        """Say where logs and maps go, and begin to show the run soon."""
        super().run_started(event)
        self._thread = threading.Thread(target=self._refresh, name="live display", daemon=True)
        self._thread.start()

    def run_ended(self, event: RunEnded) -> None:
        """Show the last picture, and what came out."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._show_last()
        super().run_ended(event)

    def _show_last(self) -> None:
        """Leave a picture of all steps, if there was one before."""
        screen, self._screen = self._screen, None
        if screen is not None:
            screen.show(self._lines(0, screen.has_marks))
            screen.close()

    def _refresh(self) -> None:
        """Show pictures until the run is over; a terminal that went away has none."""
        if self._ends_soon():
            return
        # Imported now: of runs that are over sooner there are many.
        from lofarpipe.report.screen import Screen

        with contextlib.suppress(OSError):
            with uncollected():  # the first one loads what shows it
                screen = Screen(sys.stdout, err_too=sys.stderr.isatty())
                self._show(screen)
            self._screen, took_s = screen, 0.0
            while not self._over.wait(max(REFRESH_S, PATIENCE * took_s)):
                took_s = self._show(screen)

    def _ends_soon(self) -> bool:
        """Wait until there is something to wait for; return whether the run ended before that."""
        until = time.monotonic() + LATEST_S
        is_over = self._over.wait(START_S)
        while not is_over and time.monotonic() < until and not self._has_long_job():
            is_over = self._over.wait(REFRESH_S)
        return is_over

    def _has_long_job(self) -> bool:
        before_s = time.time() - START_S
        return any(job.start_s is not None and job.start_s <= before_s for job in self._state.see(_running))

    def _show(self, screen: Screen) -> float:
        """Show the run as it is now; return the CPU time that it took, s."""
        began_s = time.thread_time()
        screen.show(self._lines(screen.height, screen.has_marks))
        return time.thread_time() - began_s

    def _lines(self, height: int, has_marks: bool) -> list[Line]:
        from lofarpipe.report.board import Moment, board
        from lofarpipe.report.journal_tail import LogTails

        self._logs = self._logs or LogTails()
        running, facts = self._state.see(lambda state: (_running(state), state.facts))
        progress = self._logs.progress(running)  # may wait for a disk: the run does not
        moment = Moment(time.time(), progress, height, has_marks, memory_in_use_gb(running, facts))
        return self._state.see(lambda state: board(state, moment))

    def _tell(self, text: str, level: int = NORMAL) -> None:
        """Steps have their lines in the picture, once there is one."""
        if self._screen is None or self._level >= VERBOSE:
            self._say(text, level)

    def _say(self, text: str, level: int = NORMAL) -> None:
        if self._screen is None or self._level < level:
            super()._say(text, level)
        else:
            self._screen.say(printable(timed(text)))

    def _complain(self, text: str) -> None:
        if self._screen is None or not sys.stderr.isatty():
            super()._complain(text)
        else:
            self._screen.say(printable(timed(text)), "warning")


def _running(state: RunState) -> list[JobState]:
    return [job for step in state.steps.values() for job in step.running]
