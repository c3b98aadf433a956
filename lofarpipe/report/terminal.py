"""Plain lines on the terminal, each with the time of day."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from lofarpipe.jobs import duration_text
from lofarpipe.report.summary import summary
from lofarpipe.state.events import (
    JobDone,
    Notice,
    PluginDone,
    PluginStarted,
    RunEnded,
    RunStarted,
    StepDone,
    StepSkipped,
    StepStarted,
    Warned,
)
from lofarpipe.state.run_state import skipped_text
from lofarpipe.support.utilities import few_files

QUIET, NORMAL, VERBOSE, DEBUG = range(4)
PROGRESS_INTERVAL_S = 10.0


class Terminal:
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

    def run_started(self, event: RunStarted) -> None:
        """Show how many steps there are, and where logs and maps go."""
        self._began = time.monotonic()
        self._job_directory = event.job_directory
        self._say(f"{event.job}: {_count(event.step_count, 'step')}; logs and maps in {event.job_directory}")

    def step_started(self, event: StepStarted) -> None:
        """Show a step, and how many of its jobs are not run again."""
        self._jobs, self._done = event.jobs, event.done_before
        self._next_progress = time.monotonic() + PROGRESS_INTERVAL_S
        what = _count(event.jobs, "job") if event.jobs else event.type
        self._tell(f"{event.name}: {what}", NORMAL if event.jobs else VERBOSE)
        if event.done_before:
            self._tell(f"{event.name}: {event.done_before} of them done before, with the same inputs; not run again")

    def step_skipped(self, event: StepSkipped) -> None:
        """Show that a step is not run again."""
        self._tell(f"{event.name}: done before, with the same inputs; not run again")

    def plugin_started(self, event: PluginStarted) -> None:
        """Show a plugin from VERBOSE on: it is over before it could be read."""
        self._tell(f"{event.name}: plugin", VERBOSE)

    def job_done(self, event: JobDone) -> None:
        """Show a failed job always, any job from VERBOSE on, and else every ten seconds how many are done."""
        self._done += 1
        if (result := event.result) is not None:
            product = f" ({few_files(result.label)})" if result.label else ""
            if event.problem is not None:
                self._complain(f"{result.name}{product} {event.problem}; log: {result.log}")
            if self._level >= VERBOSE:
                self._say(f"{result.name}{product} {result.reason()}, {self._done} of {self._jobs}", VERBOSE)
            if self._level >= DEBUG:
                (self._out or sys.stdout).writelines(result.output())
        if self._level == NORMAL:
            self._tell_progress(event.name)

    def jobs_done(self, ended: Sequence[JobDone]) -> None:
        """Show each, or how many are done."""
        if self._level == NORMAL and ended:
            self._done += len(ended)
            self._tell_progress(ended[-1].name)
        else:
            for event in ended:
                self.job_done(event)

    def _tell_progress(self, step: str) -> None:
        if self._done < self._jobs and time.monotonic() >= self._next_progress:
            self._next_progress = time.monotonic() + PROGRESS_INTERVAL_S
            self._tell(f"{step}: {self._done} of {self._jobs} jobs done")

    def step_done(self, event: StepDone) -> None:
        """Show how long a step took."""
        duration_s = event.duration_s or 0.0
        self._tell(f"{event.name}: done in {duration_text(duration_s)}", NORMAL if event.jobs else VERBOSE)
        if event.jobs:
            self._took.append((event.name, duration_s))
        if event.failed:
            self.warn(skipped_text(event.name, event.failed, event.jobs))

    def plugin_done(self, event: PluginDone) -> None:
        """Show how long a plugin took from VERBOSE on."""
        self._tell(f"{event.name}: done in {duration_text(event.duration_s or 0.0)}", VERBOSE)

    def notice(self, event: Notice) -> None:
        """Show a decision."""
        self._say(event.text)

    def warning(self, event: Warned) -> None:
        """Show a warning."""
        self.warn(event.text)

    def warn(self, text: str) -> None:
        """Show a warning that no event tells of."""
        self._complain(f"warning: {text}")

    def run_ended(self, event: RunEnded) -> None:
        """Show what came out, and after what time the run ended; the caller shows the problem, as the last word."""
        if self._job_directory is not None and self._level >= NORMAL:
            for line in summary(self._job_directory, self._took, event.ok, self._record()):
                self._say(line)
        how = "finished" if event.ok else "interrupted" if event.reason.startswith("interrupted") else "failed"
        self._say(f"{event.job}: {how} after {duration_text(time.monotonic() - self._began)}")

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
