"""The picture of the run of this process: brought up to date by every event, and shown by several."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from lofarpipe.report.run_state import RunState
from lofarpipe.state.history import Event

Seen = TypeVar("Seen")

MOST_WAITING = 1000  # events


class Picture:
    """What the events of a journal say, made once for all who show or record it.

    Events wait until somebody looks, or they are many: one after the other they cost half of what each does between
    two jobs. They come from the thread that runs the pipeline; that thread may keep the `state`. Others `see` it.
    """

    def __init__(self) -> None:
        self._state = RunState()
        self._first_s: float | None = None
        self._pauses: list[tuple[float, float]] = []
        self._ended_s: float | None = None  # the last run, if it said so
        self._waiting: deque[Event] = deque()  # its ends can be used by two threads
        self._lock = threading.Lock()

    @property
    def state(self) -> RunState:
        """The run as it is now."""
        return self.see(lambda state: state)

    @property
    def first_s(self) -> float | None:
        """The earliest time of an event, of an earlier run too, s since 1970 UTC; None before the first one."""
        return self.see(lambda _: self._first_s)

    @property
    def pauses(self) -> list[tuple[float, float]]:
        """From the end of one run to the start of the next one, s since 1970 UTC; after one that was killed is none."""
        return self.see(lambda _: list(self._pauses))

    def apply(self, event: Event) -> None:
        """Take in an event as the journal has it."""
        self._waiting.append(event)
        if len(self._waiting) >= MOST_WAITING:
            with self._lock:
                self._catch_up()

    def see(self, look: Callable[[RunState], Seen]) -> Seen:
        """Return what ``look`` makes of the state, which does not change meanwhile: it has to be quick."""
        with self._lock:
            self._catch_up()
            return look(self._state)

    def _catch_up(self) -> None:
        while self._waiting:
            event = self._waiting.popleft()
            self._state.apply(event)
            time_s = event.get("time_s")
            if isinstance(time_s, int | float):
                self._note_time(event.get("event"), float(time_s))

    def _note_time(self, kind: object, time_s: float) -> None:
        if self._first_s is None or time_s < self._first_s:
            self._first_s = time_s
        if kind == "run_started" and self._ended_s is not None:
            self._pauses.append((self._ended_s, time_s))
        if kind in ("run_started", "run_ended"):
            self._ended_s = time_s if kind == "run_ended" else None
