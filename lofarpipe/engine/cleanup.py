"""What a run that was killed left behind: processes that still end, directories, outputs that are not complete."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.guardian import guardians
from lofarpipe.executors.local.process import send_signal, session_members
from lofarpipe.executors.local.staging import MARKER, remove_directory
from lofarpipe.state.events import JobStarted, step_of
from lofarpipe.state.jobs import LOCAL, JobLedger, is_local, is_over
from lofarpipe.state.uptodate import Ledger
from lofarpipe.state.work import OpenJob, Work
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
    def _work(self) -> Work:
        return self.ledger.work

    def clear(self) -> None:
        """Wait until no process of an earlier run lives, then remove what its jobs made and did not complete.

        Raises
        ------
        PipelineError
            If something cannot be removed or moved aside.
        """
        jobs = {job: opened for job, opened in self._work.open_jobs.items() if not opened.is_cleared}
        self._wait([opened for opened in jobs.values() if is_local(opened)])
        for opened in filter(is_over, jobs.values()):
            _remove_directories(opened.start)
        for step in dict.fromkeys(map(step_of, [*jobs, *self._work.left_aside()])):
            JobLedger(self.ledger, step).repair(self.tell)

    def _wait(self, jobs: Sequence[OpenJob]) -> None:
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

    def _living(self, jobs: Sequence[OpenJob]) -> Callable[[], list[int]]:
        """Return what finds the processes of killed runs and their jobs on this machine.

        Also those of a run before the last one: that one may have been killed while it waited.
        """
        boot = boot_id()
        here = [opened.start for opened in jobs if opened.boot == boot]
        runs = [run for run in self._work.killed_runs if run.boot == boot]
        engines = {run.pid for run in runs if run.pid} - {os.getpid()}
        was_local = any(run.executor == LOCAL and run.pid in engines for run in runs)

        def living() -> list[int]:
            sessions = [start.pid for start in here if start.pid and not _is_another(start.pid, start.ticks)]
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


def _is_another(pid: int, ticks: int | None) -> bool:
    """Whether the process of a job has ended, and another has its id now."""
    began = start_ticks(pid)
    return began is not None and ticks not in (None, began)


def _gone(living: Callable[[], list[int]], limit_s: float) -> bool:
    end = time.monotonic() + limit_s
    while living():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True


def _listed(processes: list[int]) -> str:
    return ", ".join(map(str, processes)) or "none any more"


def _remove_directories(start: JobStarted) -> None:
    """Remove the directories that were made for a job."""
    for directory in (start.tempdir, start.stage):
        if directory:
            _remove_own(Path(directory))


def _remove_own(directory: Path) -> None:
    """Remove a directory that was made for a job; one of somebody else stays."""
    if (directory / MARKER).exists():
        remove_directory(directory)
    else:
        with contextlib.suppress(OSError):  # it was just made, and is empty; or it is not ours
            directory.rmdir()
