"""Change the surroundings of the engine when on PYTHONPATH; its jobs, which inherit the path, are unaffected.

CHAOS_CHANGE = "7 before": the engine is killed at its seventh change of a name in the file system, before or after it.
CHAOS_CLOCK_S = "-86400": its clock is a day behind.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

CHANGES = ("link", "mkdir", "remove", "rename", "replace", "rmdir", "unlink")


class KilledAt:
    """Counts changes, and kills this process at one of them."""

    def __init__(self, number: int, is_before: bool) -> None:
        self.left = number
        self.is_before = is_before

    def around(self, change: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that calls ``change`` until the engine is to be killed."""

        def changed(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0 and self.is_before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = change(*arguments, **named)
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return changed


def change_engine() -> None:
    """Apply the changes that the environment requests."""
    if text := os.environ.get("CHAOS_CHANGE"):
        number, moment = text.split()
        killer = KilledAt(int(number), moment == "before")
        for name in CHANGES:
            setattr(os, name, killer.around(getattr(os, name)))
    if text := os.environ.get("CHAOS_CLOCK_S"):
        now, shift_s = time.time, float(text)
        time.time = lambda: now() + shift_s  # type: ignore[assignment]


if "lofarpipe.cli" in sys.orig_argv:
    change_engine()
