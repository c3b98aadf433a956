"""The picture of the run of this process: brought up to date by every event, and shown by several."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from lofarpipe.history import Event
from lofarpipe.report.run_state import RunState

Seen = TypeVar("Seen")


class Picture:
    """What the events of a journal say, made once for all who show or record it.

    Events come from the thread that runs the pipeline; that thread may look at ``state`` as it likes. Others `see` it.

    Attributes
    ----------
    state: of the run.
    first_s: the earliest time of an event, of an earlier run too, s since 1970 UTC; None before the first one.
    """

    def __init__(self) -> None:
        self.state = RunState()
        self.first_s: float | None = None
        self._lock = threading.Lock()

    def apply(self, event: Event) -> None:
        """Take in an event as the journal has it."""
        with self._lock:
            self.state.apply(event)
        time_s = event.get("time_s")
        if isinstance(time_s, int | float) and (self.first_s is None or time_s < self.first_s):
            self.first_s = float(time_s)

    def see(self, look: Callable[[RunState], Seen]) -> Seen:
        """Return what ``look`` makes of the state, which does not change meanwhile: it has to be quick."""
        with self._lock:
            return look(self.state)
