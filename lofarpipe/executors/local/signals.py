"""Signals that end a run: raised where they arrive, and remembered, for a plugin may catch whatever is raised."""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from lofarpipe.errors import PipelineError
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

    def wait(self, timeout_s: float = POLL_S, others: Iterable[int] = ()) -> None:
        """Return when a child ended, a signal came, ``wake`` was called, or the time is over.

        ``others``: descriptors from which something may come as well; it is not read.
        """
        limit = timeout_s if self._in_main_thread else min(timeout_s, POLL_IN_THREAD_S)
        if self._read_end in select.select([self._read_end, *others], [], [], limit)[0]:
            os.read(self._read_end, 4096)

    def wake(self) -> None:
        """End a ``wait`` in another thread."""
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._write_end, b"\0")

    def _on_ending(self, number: int, _frame: FrameType | None) -> None:
        self.received.append(number)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Do nothing: a handler has to be there for the wake-up to be written."""


_handlers: dict[int, Any] = {}  # those that forked children have again


@contextlib.contextmanager
def terminating() -> Iterator[list[int]]:
    """Raise Interrupted, or KeyboardInterrupt for Ctrl-C, on signals, also between two jobs; give those received.

    What is ignored stays ignored: a run under nohup survives its terminal. Processes that plugins fork have the
    handlers of before: a worker that raises instead of ending could not be terminated.
    """
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        raise Interrupted(number)

    wanted = [number for number in ENDING if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before: dict[int, Any] = {number: signal.signal(number, stop) for number in wanted}
    _handlers.update(before)
    _call_in_children()
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _handlers.clear()


@functools.cache
def _call_in_children() -> None:
    os.register_at_fork(after_in_child=_restore)


def _restore() -> None:
    for number, handler in _handlers.items():
        signal.signal(number, handler)
