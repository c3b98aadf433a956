"""Live display of a run on a terminal: one line per step, updated in place.

It is redrawn with rich, below other output. ``status`` follows the journal of another process.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lofarpipe.programs.base import Progress
from lofarpipe.programs.logs import ProgressReader
from lofarpipe.report.terminal import NORMAL, VERBOSE, Terminal, add_time
from lofarpipe.state.events import RunEnded, RunStarted, read_events
from lofarpipe.state.run_state import JobState, RunState
from lofarpipe.support.processes import BACKGROUND, boot_id, resident_bytes
from lofarpipe.support.utilities import printable, uncollected

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from lofarpipe.report.board import Line

TAIL_BYTES = 65536  # of a log are read when it is looked at first


class JournalTail:
    """The picture of a run, brought up to date by ``look``.

    Attributes
    ----------
    state: that of the journal so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = RunState()
        self._offset = 0
        self._file = 0

    def read_state(self) -> RunState:
        """Read the appended lines, and return the picture; an incomplete line waits for the next time.

        Raises
        ------
        OSError
            If the journal cannot be read.
        """
        with self.path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if status.st_ino != self._file or status.st_size < self._offset:  # it was mended after a crash
                self._file, self._offset, self.state = status.st_ino, 0, RunState()
            stream.seek(self._offset)
            content = stream.read()
        complete = content[: content.rfind(b"\n") + 1]
        events, _ = read_events(complete)
        self._offset += len(complete)
        for event in events:
            self.state.apply(event)
        return self.state


class LogTails:
    """Progress of running jobs, from the ends of their logs."""

    def __init__(self) -> None:
        self._tails: dict[str, _LogTail] = {}

    def progress(self, jobs: list[JobState]) -> dict[str, Progress]:
        """Return the progress of each of these jobs by name; the others are forgotten."""
        self._tails = {job.name: self._tails.get(job.name) or _LogTail(Path(job.log)) for job in jobs if job.log}
        return {name: tail.read_progress() for name, tail in self._tails.items()}


class _LogTail:
    """Reads the end of one log."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._reader = ProgressReader()
        self._offset: int | None = None

    def read_progress(self) -> Progress:
        try:
            with self._log.open("rb") as stream:
                status = os.fstat(stream.fileno())
                size = status.st_size
                start = size - TAIL_BYTES if self._offset is None else self._offset
                stream.seek(max(0, start if start <= size else 0, size - TAIL_BYTES))
                content = stream.read(2 * TAIL_BYTES)
                self._offset = stream.tell()
        except OSError:  # on another machine, or removed
            return self._reader.progress
        return replace(self._reader.feed(content.decode(errors="replace")), written_s=status.st_mtime)


STYLES = {
    "done": "green",
    "skipped": "dim green",
    "running": "bold cyan",
    "failed": "bold red",
    "interrupted": "bold yellow",
    "waiting": "dim",
    "title": "bold",
    "warning": "yellow",
}
SMALLEST_HEIGHT = 4


class Screen:
    """The last lines of a terminal.

    Parameters
    ----------
    stream: the terminal.
    console: of rich, for tests.
    err_too: other output on standard error goes above, too; for a standard error that is this terminal.
    """

    def __init__(self, stream: TextIO, console: Console | None = None, err_too: bool = False) -> None:
        from rich.console import Console
        from rich.live import Live

        # rich respects NO_COLOR.
        self._console = console or Console(file=stream, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            redirect_stderr=err_too,
            vertical_overflow="crop",
            transient=False,
        )
        self._is_open = False

    @property
    def height(self) -> int:
        """Visible lines; one is left for the cursor."""
        return max(SMALLEST_HEIGHT, self._console.height - 1)

    @property
    def has_marks(self) -> bool:
        """Whether the terminal shows more than ASCII."""
        return self._console.encoding.lower().startswith("utf")

    def show(self, lines: Sequence[Line]) -> None:
        """Replace the last lines by these; long lines are cut off."""
        from rich.console import Group

        if not self._is_open:
            self._live.start()
            self._is_open = True
        self._live.update(Group(*map(_text, lines)), refresh=True)

    def print_line(self, text: str, style: str = "") -> None:
        """Write a line above, as long as it is."""
        from rich.text import Text

        self._console.print(Text(text, STYLES.get(style, "")), soft_wrap=True)

    def close(self) -> None:
        """Leave the last lines where they are, and give the terminal back."""
        if self._is_open:
            self._live.stop()
            self._is_open = False


def _text(line: Line) -> Text:
    from rich.text import Text

    return Text(line.text, style=STYLES.get(line.style, ""), no_wrap=True, overflow="ellipsis")


def memory_in_use_gb(running: Sequence[JobState], facts: Mapping[str, object]) -> float | None:
    """Return the memory in use by running jobs, 10^9 bytes; None if they are on other machines.

    Parameters
    ----------
    facts: of the run, from its journal.
    """
    this_host = os.uname().nodename
    if not running or facts.get("boot") != boot_id() or any(job.node != this_host or job.pid <= 0 for job in running):
        return None
    return sum(resident_bytes(job.pid) for job in running) / 1e9


START_S = 5.0  # the display starts once a job has run for so long; shorter runs get plain lines
LATEST_S = 20.0  # or after so long with short jobs only: starting it takes up to 0.1 s of CPU
REFRESH_S = 1.0  # between two pictures, at least
PATIENCE = 300  # interval between updates, times the duration of the last: 0.3 % of one core at most


class LiveTerminal(Terminal):
    """Shows a run in place, with failures above, if standard output is a terminal.

    A thread makes the pictures from the state of the run and the logs, so that jobs of hours show their progress. Until
    the first one this is a plain terminal; messages stay above the picture. Warnings go to standard
    error, as ever, if that is not the same terminal.

    Parameters
    ----------
    state: of the run, kept up to date by its stream of events.
    level: NORMAL, or VERBOSE, which also reports each job.
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
        """Show the directories of logs and maps, and begin to show the run soon."""
        super().run_started(event)
        self._thread = threading.Thread(target=self._refresh, name="live display", daemon=True)
        self._thread.start()

    def run_ended(self, event: RunEnded) -> None:
        """Show the last picture, and the outcome."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._show_last()
        super().run_ended(event)

    def _show_last(self) -> None:
        """Leave a final table of all steps, if the display had started."""
        screen, self._screen = self._screen, None
        if screen is not None:
            screen.show(self._lines(0, screen.has_marks))
            screen.close()

    def _refresh(self) -> None:
        """Update the display until the run ends or the terminal is closed."""
        if self._wait_until_due():
            return
        # Imported now, to spare short runs.

        with contextlib.suppress(OSError):
            with uncollected():  # the first update imports rich
                screen = Screen(sys.stdout, err_too=sys.stderr.isatty())
                self._show(screen)
            self._screen, took_s = screen, 0.0
            while not self._over.wait(max(REFRESH_S, PATIENCE * took_s)):
                took_s = self._show(screen)

    def _wait_until_due(self) -> bool:
        """Wait until the display is due; return whether the run ended before."""
        until = time.monotonic() + LATEST_S
        is_over = self._over.wait(START_S)
        while not is_over and time.monotonic() < until and not self._has_long_job():
            is_over = self._over.wait(REFRESH_S)
        return is_over

    def _has_long_job(self) -> bool:
        before_s = time.time() - START_S
        return any(job.start_s is not None and job.start_s <= before_s for job in self._state.read_locked(_running))

    def _show(self, screen: Screen) -> float:
        """Show the current state; return the CPU time of the update, s."""
        began_s = time.thread_time()
        with BACKGROUND:
            screen.show(self._lines(screen.height, screen.has_marks))
        return time.thread_time() - began_s

    def _lines(self, height: int, has_marks: bool) -> list[Line]:
        from lofarpipe.report.board import Moment, board

        self._logs = self._logs or LogTails()
        running, facts = self._state.read_locked(lambda state: (_running(state), state.facts))
        progress = self._logs.progress(running)  # may wait for a disk: the run does not
        moment = Moment(time.time(), progress, height, has_marks, memory_in_use_gb(running, facts))
        return self._state.read_locked(lambda state: board(state, moment))

    def _print_progress(self, text: str, level: int = NORMAL) -> None:
        """Steps have their lines in the picture, once there is one."""
        if self._screen is None or self._level >= VERBOSE:
            self._print(text, level)

    def _print(self, text: str, level: int = NORMAL) -> None:
        if self._screen is None or self._level < level:
            super()._print(text, level)
        else:
            self._screen.print_line(printable(add_time(text)))

    def _print_error(self, text: str) -> None:
        if self._screen is None or not sys.stderr.isatty():
            super()._print_error(text)
        else:
            self._screen.print_line(printable(add_time(text)), "warning")


def _running(state: RunState) -> list[JobState]:
    return [job for step in state.steps.values() for job in step.running]
