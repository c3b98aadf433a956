"""Ending the jobs of which there is no hope, while the others go on."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Sequence

from lofarpipe.executors.local.process import RunningJob, note, send_signal, session_members

LOOK_S = 3.0  # between two looks at the logs


class GivingUp:
    """Looks into the logs of running jobs now and then; a hopeless job gets SIGTERM, and later SIGKILL.

    Parameters
    ----------
    grace_s: seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._next_look = time.monotonic() + LOOK_S
        self._kill_at: dict[int, float] = {}  # session -> monotonic clock, s

    def check(self, running: Sequence[RunningJob]) -> None:
        """Look, if it is time to, and end what is hopeless; it returns at once."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_S
            for job in running:
                if job.lookout is not None and not job.stopped and (seen := job.lookout.look()):
                    self._stop(job, seen)
        late = [job.group for job in running if job.stopped and now >= self._kill_at.get(job.group, now)]
        if late:
            send_signal(session_members(late), signal.SIGKILL)

    def _stop(self, job: RunningJob, seen: str) -> None:
        job.stopped = seen
        self._kill_at[job.group] = time.monotonic() + self._grace_s
        with contextlib.suppress(OSError):  # a full disk
            note(job.log, f"stopped: {seen}")
        send_signal(session_members([job.group]), signal.SIGTERM)
