"""Plain lines on the terminal, each with the time of day."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from lofarpipe.jobs import JobResult, duration_text
from lofarpipe.report.events import Ended, Reporter
from lofarpipe.report.run_state import skipped_text
from lofarpipe.report.summary import summary
from lofarpipe.support.utilities import few_files

QUIET, NORMAL, VERBOSE, DEBUG = range(4)
PROGRESS_INTERVAL_S = 10.0


class Terminal(Reporter):
    """Shows a run: progress on one stream, warnings and failed jobs on the other.

    Parameters
    ----------
    level: QUIET (only what goes wrong), NORMAL (steps), VERBOSE (also each job), DEBUG (also what programs wrote).
    out, err: where progress, and where warnings and failures go; by default standard output and standard error.
    record: returns what run.json says; by default it is read.
    """

    def __init__(
        self,
        level: int = NORMAL,
        out: TextIO | None = None,
        err: TextIO | None = None,
        record: Callable[[], Mapping[str, object] | None] = lambda: None,
    ) -> None:
        self._level = level
        self._record = record
        self._out = out
        self._err = err
        self._began = time.monotonic()
        self._next_progress = 0.0
        self._done = 0
        self._jobs = 0
        self._job_directory: Path | None = None
        self._took: list[tuple[str, float]] = []  # steps with jobs, s

    def run_started(self, job_name: str, job_directory: Path, steps: int) -> None:
        """Show how many steps there are, and where logs and maps go."""
        self._began = time.monotonic()
        self._job_directory = job_directory
        self._say(f"{job_name}: {_count(steps, 'step')}; logs and maps in {job_directory}")

    def step_started(self, step: str, step_type: str, jobs: int) -> None:
        """Show a step with jobs; a plugin is over before it could be read."""
        self._jobs, self._done = jobs, 0
        self._next_progress = time.monotonic() + PROGRESS_INTERVAL_S
        what = _count(jobs, "job") if jobs else step_type
        self._tell(f"{step}: {what}", NORMAL if jobs else VERBOSE)

    def step_skipped(self, step: str) -> None:
        """Show that a step is not run again."""
        self._tell(f"{step}: done before, with the same inputs; not run again")

    def jobs_done_before(self, step: str, jobs: int) -> None:
        """Show how many jobs are not run again."""
        self._done = jobs
        if jobs:
            self._tell(f"{step}: {jobs} of them done before, with the same inputs; not run again")

    def job_done(self, step: str, result: JobResult, problem: str | None) -> None:
        """Show a failed job always, any job from VERBOSE on, and else every ten seconds how many are done."""
        self._done += 1
        product = f" ({few_files(result.label)})" if result.label else ""
        if problem is not None:
            self._complain(f"{result.name}{product} {problem}; log: {result.log}")
        if self._level >= VERBOSE:
            self._say(f"{result.name}{product} {result.reason()}, {self._done} of {self._jobs}", VERBOSE)
        if self._level >= DEBUG:
            (self._out or sys.stdout).writelines(result.output())
        if self._level == NORMAL:
            self._tell_progress(step)

    def jobs_done(self, ended: Sequence[Ended]) -> None:
        """Show each, or how many are done."""
        if self._level == NORMAL and ended:
            self._done += len(ended)
            self._tell_progress(ended[-1].step)
        else:
            super().jobs_done(ended)

    def _tell_progress(self, step: str) -> None:
        if self._done < self._jobs and time.monotonic() >= self._next_progress:
            self._next_progress = time.monotonic() + PROGRESS_INTERVAL_S
            self._tell(f"{step}: {self._done} of {self._jobs} jobs done")

    def step_done(self, step: str, duration_s: float, jobs: int, failed: int) -> None:
        """Show how long a step took; a plugin is shown from VERBOSE on."""
        self._tell(f"{step}: done in {duration_text(duration_s)}", NORMAL if jobs else VERBOSE)
        if jobs:
            self._took.append((step, duration_s))
        if failed:
            self.warning(skipped_text(step, failed, jobs))

    def notice(self, text: str) -> None:
        """Show a decision."""
        self._say(text)

    def warning(self, text: str) -> None:
        """Show a warning."""
        self._complain(f"warning: {text}")

    def run_ended(self, ok: bool, job_name: str, problem: str = "") -> None:
        """Show what came out, and after what time the run ended; the caller shows the problem, as the last word."""
        if self._job_directory is not None and self._level >= NORMAL:
            for line in summary(self._job_directory, self._took, ok, self._record()):
                self._say(line)
        how = "finished" if ok else "interrupted" if problem.startswith("interrupted") else "failed"
        self._say(f"{job_name}: {how} after {duration_text(time.monotonic() - self._began)}")

    def _tell(self, text: str, level: int = NORMAL) -> None:
        """Say how far the run is; a terminal that shows that in another way does not."""
        self._say(text, level)

    def _say(self, text: str, level: int = NORMAL) -> None:
        if self._level >= level:
            print(timed(text), file=self._out or sys.stdout, flush=True)

    def _complain(self, text: str) -> None:
        print(timed(text), file=self._err or sys.stderr, flush=True)


def timed(text: str) -> str:
    """Return a line that begins with the time of day."""
    return f"{time.strftime('%H:%M:%S')} {text}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
