"""Something that is done a little later, once for all who ask for it meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable


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
