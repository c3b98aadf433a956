"""Signals that end a run: raised where they arrive, and remembered, for a plugin may catch whatever is raised."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

from lofarpipe.executors.local.watch import ENDING
from lofarpipe.jobs import Interrupted

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
