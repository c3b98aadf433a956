"""Waiting for children and for signals in one place, without losing either."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

# The last three are warnings of schedulers that the time of a job is almost over.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
# In a thread no signal can be caught; there the children are looked at this often.
POLL_IN_THREAD_S = 0.02
POLL_S = 1.0


class Watch:
    """Collects the signals of ``ENDING``, and SIGCHLD, while the ``with`` block runs.

    A signal that the caller ignores (``nohup``, a job in the background of a script) stays ignored.

    Attributes
    ----------
    received: the signals that asked for an end, in their order.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self._before: dict[int, Any] = {}
        self._in_main_thread = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Watch:
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._in_main_thread:
            self._wakeup_before = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
            for number in ENDING:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._on_ending)
            # Also where it was ignored: the kernel then throws exit codes away.
            self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _nothing)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._in_main_thread:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._read_end)
        os.close(self._write_end)

    def wait(self, timeout_s: float = POLL_S) -> None:
        """Return when a child ended, a signal came, ``wake`` was called, or the time is over."""
        limit = timeout_s if self._in_main_thread else min(timeout_s, POLL_IN_THREAD_S)
        if select.select([self._read_end], [], [], limit)[0]:
            os.read(self._read_end, 4096)

    def wake(self) -> None:
        """End a ``wait`` in another thread."""
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._write_end, b"\0")

    def _on_ending(self, number: int, _frame: FrameType | None) -> None:
        self.received.append(number)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Do nothing: a handler has to be there for the wake-up to be written."""
