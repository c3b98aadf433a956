"""What all executors have in common: a run that signals, or ``cancel``, end in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.watch import Watch
from lofarpipe.jobs import Interrupted


class Cancellable:
    """An executor whose ``run`` can be ended.

    Attributes
    ----------
    notices: what users should know; whoever shows them takes them out.
    on_notice: called for each, by the thread that called ``run``.
    """

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.on_notice: Callable[[], None] | None = None
        self._noted: set[str] = set()
        self._cancelled = threading.Event()
        self._watch: Watch | None = None

    def cancel(self) -> None:
        """End every job of the current ``run``; it may be called from ``on_done`` or from another thread."""
        self._cancelled.set()
        watch = self._watch
        if watch is not None:
            watch.wake()

    def must_end(self) -> bool:
        """Whether the current ``run`` has to end: it was cancelled, or there was a signal."""
        return self._cancelled.is_set() or (self._watch is not None and bool(self._watch.received))

    def close(self) -> None:
        """Nothing is kept between two runs."""

    def note(self, text: str) -> None:
        """Let users know something, once in a run, and at once if somebody listens."""
        if text in self._noted:
            return
        self._noted.add(text)
        self.notices.append(text)
        if self.on_notice is not None:
            self.on_notice()

    @contextmanager
    def _watched(self) -> Iterator[Watch]:
        """Collect signals while jobs run.

        Raises
        ------
        Interrupted
            In the end, if there was a signal; it says what went wrong besides.
        """
        self._cancelled.clear()
        self._noted.clear()
        try:
            with Watch() as watch:
                self._watch = watch
                yield watch
        except PipelineError as err:
            if watch.received:
                raise Interrupted(watch.received[0], str(err)) from err
            raise
        finally:
            self._watch = None
        if watch.received:
            raise Interrupted(watch.received[0])
