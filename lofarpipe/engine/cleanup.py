"""What a run that was killed left behind: processes that still end, directories, outputs that are not complete."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.guardian import guardians
from lofarpipe.executors.local.process import send_signal, session_members
from lofarpipe.executors.local.staging import MARKER, remove_directory
from lofarpipe.state.history import Event, History, step_of
from lofarpipe.state.jobs import LOCAL, JobLedger, is_local, is_over
from lofarpipe.state.uptodate import Ledger
from lofarpipe.support.processes import boot_id, carrying, start_ticks

PATIENCE_S = 15.0  # its guardian ends the jobs of a killed run in less
FORCE_S = 5.0
POLL_S = 0.05
OWNER = "LOFARPIPE_JOB_DIRECTORY"  # in the environment of jobs

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Leftovers:
    """Clears away what jobs left that began and did not end.

    Jobs of a run on other machines, or below a queue, are not touched: what runs them knows whether they live.
    """

    ledger: Ledger
    tell: Tell  # hears what is done

    @property
    def _journal(self) -> History:
        return self.ledger.history

    def clear(self) -> None:
        """Wait until no process of an earlier run lives, then remove what its jobs made and did not complete.

        Raises
        ------
        PipelineError
            If something cannot be removed or moved aside.
        """
        jobs = {job: event for job, event in self._journal.open_jobs().items() if not event.get("is_cleared")}
        self._wait({job: event for job, event in jobs.items() if is_local(event)})
        for event in filter(is_over, jobs.values()):
            _remove_directories(event)
        for step in dict.fromkeys(map(step_of, [*jobs, *self._journal.left_aside()])):
            JobLedger(self.ledger, step).repair(self.tell)

    def _wait(self, jobs: Mapping[str, Event]) -> None:
        """Wait for the jobs of a killed run, and for what ends them; end both if it takes too long."""
        living = self._living(jobs)
        if not living():
            return
        self.tell(f"the run before this one was killed; waiting until its processes have ended: {_listed(living())}")
        if _gone(living, PATIENCE_S):
            return
        self.tell(f"these processes of the run before did not end, and are ended now: {_listed(living())}")
        for number in (signal.SIGTERM, signal.SIGKILL):
            send_signal(living(), number)
            if _gone(living, FORCE_S):
                return
        raise PipelineError(f"processes of the run before this one cannot be ended: {_listed(living())}; end them")

    def _living(self, jobs: Mapping[str, Event]) -> Callable[[], list[int]]:
        """Return what finds the processes of killed runs and their jobs on this machine.

        Also those of a run before the last one: that one may have been killed while it waited.
        """
        boot = boot_id()
        here = [event for event in jobs.values() if event.get("boot") == boot and event.get("pid")]
        runs = [run for run in self._journal.killed_runs() if run.get("boot") == boot and run.get("pid")]
        engines = {int(run["pid"]) for run in runs} - {os.getpid()}
        was_local = any(run.get("executor") == LOCAL and run["pid"] in engines for run in runs)

        def living() -> list[int]:
            sessions = [int(event["pid"]) for event in here if not _is_another(event)]
            members = session_members(sessions) if sessions else []
            unknown = started_by(self.ledger.settings.job_directory) if was_local else []
            return sorted({*members, *unknown, *(guardians(engines) if engines else [])})

        return living


def mark_processes(job_directory: Path) -> None:
    """Let every process that this one starts carry the name of the job directory.

    A run that is killed just while it starts a job has no time to say which process that is.
    """
    os.environ[OWNER] = str(job_directory)


def started_by(job_directory: Path, proc: Path = Path("/proc")) -> list[int]:
    """Return the living processes that a run in a job directory started, but for this one."""
    found = carrying(f"{OWNER}={job_directory}", proc)
    return [process for process in found if process not in (os.getpid(), os.getppid())]


def _is_another(event: Event) -> bool:
    """Whether the process of a job has ended, and another has its id now."""
    began = start_ticks(int(event["pid"]))
    return began is not None and event.get("ticks") not in (None, began)


def _gone(living: Callable[[], list[int]], limit_s: float) -> bool:
    end = time.monotonic() + limit_s
    while living():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True


def _listed(processes: list[int]) -> str:
    return ", ".join(map(str, processes)) or "none any more"


def _remove_directories(event: Event) -> None:
    """Remove the directories that were made for a job."""
    for key in ("tempdir", "stage"):
        if event.get(key):
            _remove_own(Path(event[key]))


def _remove_own(directory: Path) -> None:
    """Remove a directory that was made for a job; one of somebody else stays."""
    if (directory / MARKER).exists():
        remove_directory(directory)
    else:
        with contextlib.suppress(OSError):  # it was just made, and is empty; or it is not ours
            directory.rmdir()
