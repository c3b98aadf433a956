"""What the running jobs have of the memory of this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from lofarpipe.report.run_state import JobState
from lofarpipe.support.processes import boot_id, resident_bytes


def memory_in_use_gb(running: Sequence[JobState], facts: Mapping[str, object]) -> float | None:
    """Return the memory that running jobs have now, 10^9 bytes; None where that cannot be seen from here.

    Parameters
    ----------
    facts: of the run, as its journal tells.
    """
    here = os.uname().nodename
    if not running or facts.get("boot") != boot_id() or any(job.node != here or job.pid <= 0 for job in running):
        return None
    return sum(resident_bytes(job.pid) for job in running) / 1e9
