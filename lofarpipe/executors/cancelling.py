"""What all executors have in common: a run that signals, or ``cancel``, end in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lofarpipe.executors.jobs import Interrupted
from lofarpipe.executors.watch import Watch


class Cancellable:
    """An executor whose ``run`` can be ended.

    Attributes
    ----------
    notices: what users should know; whoever shows them takes them out.
    """

    def __init__(self) -> None:
        self.notices: list[str] = []
        self._cancelled = threading.Event()
        self._watch: Watch | None = None

    def cancel(self) -> None:
        """End every job of the current ``run``; it may be called from ``on_done`` or from another thread."""
        self._cancelled.set()
        watch = self._watch
        if watch is not None:
            watch.wake()

    def close(self) -> None:
        """Nothing is kept between two runs."""

    @contextmanager
    def _watched(self) -> Iterator[Watch]:
        """Collect signals while jobs run.

        Raises
        ------
        Interrupted
            In the end, if there was a signal.
        """
        self._cancelled.clear()
        try:
            with Watch() as watch:
                self._watch = watch
                yield watch
        finally:
            self._watch = None
        if watch.received:
            raise Interrupted(watch.received[0])
