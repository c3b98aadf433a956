"""The journal of a run that began."""

from __future__ import annotations

from journal_events import emit
from lofarpipe.state.journal import Journal
from lofarpipe.state.lock import Holder


def begin(journal: Journal) -> None:
    """Record a run of this process, in the middle of its second step."""
    who = Holder.current()
    steps = ["average", "image"]
    emit(journal, "run_started", job="field", steps=steps, host=who.host, pid=who.pid, cores=2, memory_gb=8.0)
    emit(journal, "step_started", step="average", type="dp3", jobs=2, names=[])
    for number in range(2):
        emit(journal, "job_done", step="average", job=f"average/{number:03d}", exit_code=0, duration_s=1.0)
    emit(journal, "step_done", step="average", jobs=2, failed=0, outputs={})
    emit(journal, "step_started", step="image", type="wsclean", jobs=1, names=[])
    emit(journal, "job_started", step="image", job="image/000", label="/d/a.ms", cores=2, memory_gb=4.0, log="/no")
