"""Waiting for a Slurm that does not answer: its controller is restarted now and then, and runs last for days."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from lofarpipe.executors.slurm.client import SlurmBusy

PAUSE_S, LIMIT_S = 15.0, 3600.0

Answer = TypeVar("Answer")


def patiently(
    ask: Callable[[], Answer],
    wait: Callable[[float], object],
    must_end: Callable[[], bool],
    note: Callable[[str], None],
) -> Answer:
    """Return what ``ask`` does; it is called again, for an hour, as long as Slurm does not answer.

    Parameters
    ----------
    wait: lets some seconds pass.
    must_end: whether there is a reason not to wait any longer.
    note: is told what is waited for.

    Raises
    ------
    SlurmBusy
        If Slurm did not answer all the time.
    """
    began = time.monotonic()
    while True:
        try:
            return ask()
        except SlurmBusy as err:
            if must_end() or time.monotonic() - began > LIMIT_S:
                raise
            note(f"Slurm does not answer, and is asked again: {err}")
        _pause(wait, must_end)


def _pause(wait: Callable[[float], object], must_end: Callable[[], bool]) -> None:
    """Let the pause pass; a single wait may end early, as when a child does."""
    end = time.monotonic() + PAUSE_S
    while (left_s := end - time.monotonic()) > 0 and not must_end():
        wait(left_s)
