"""The picture of the run of this process: brought up to date by every event, and shown by several."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from lofarpipe.history import Event
from lofarpipe.report.run_state import RunState

Seen = TypeVar("Seen")

MOST_WAITING = 1000  # events


class Picture:
    """What the events of a journal say, made once for all who show or record it.

    Events wait until somebody looks, or they are many: one after the other they cost a third of what each does between
    two jobs. They come from the thread that runs the pipeline; that thread may keep the `state`. Others `see` it.

    Attributes
    ----------
    first_s: the earliest time of an event, of an earlier run too, s since 1970 UTC; None before the first one.
    """

    def __init__(self) -> None:
        self.first_s: float | None = None
        self._state = RunState()
        self._waiting: list[Event] = []
        self._lock = threading.Lock()

    @property
    def state(self) -> RunState:
        """The run as it is now."""
        return self.see(lambda state: state)

    def apply(self, event: Event) -> None:
        """Take in an event as the journal has it."""
        time_s = event.get("time_s")
        if isinstance(time_s, int | float) and (self.first_s is None or time_s < self.first_s):
            self.first_s = float(time_s)
        with self._lock:
            self._waiting.append(event)
            if len(self._waiting) >= MOST_WAITING:
                self._catch_up()

    def see(self, look: Callable[[RunState], Seen]) -> Seen:
        """Return what ``look`` makes of the state, which does not change meanwhile: it has to be quick."""
        with self._lock:
            self._catch_up()
            return look(self._state)

    def _catch_up(self) -> None:
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            self._state.apply(event)
