"""The journal of a run that began."""

from __future__ import annotations

from journal_events import tell
from lofarpipe.state.journal import Journal
from lofarpipe.state.lock import Holder


def begin(journal: Journal) -> None:
    """Record a run of this process, in the middle of its second step."""
    who = Holder.of_this_process()
    steps = ["average", "image"]
    tell(journal, "run_started", job="field", steps=steps, host=who.host, pid=who.pid, cores=2, memory_gb=8.0)
    tell(journal, "step_started", step="average", type="dp3", jobs=2, names=[])
    for number in range(2):
        tell(journal, "job_done", step="average", job=f"average/{number:03d}", exit_code=0, duration_s=1.0)
    tell(journal, "step_done", step="average", jobs=2, failed=0, outputs={})
    tell(journal, "step_started", step="image", type="wsclean", jobs=1, names=[])
    tell(journal, "job_started", step="image", job="image/000", label="/d/a.ms", cores=2, memory_gb=4.0, log="/no")
