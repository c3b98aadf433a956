"""Plain lines on the terminal, each with the time of day."""

# ruff: noqa: ARG002 - a reporter shows what it wants of an event

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

from lofarpipe.errors import Finding
from lofarpipe.executors.jobs import NOTE, Job, JobResult, duration_text
from lofarpipe.report.events import Reporter

QUIET, NORMAL, VERBOSE, DEBUG = range(4)
PROGRESS_INTERVAL_S = 10.0


class Terminal(Reporter):
    """Shows a run: progress on one stream, warnings and errors on the other.

    Parameters
    ----------
    level: QUIET (warnings and errors), NORMAL (steps), VERBOSE (also each job), DEBUG (also what programs wrote).
    out, err: where progress, and where warnings and errors go; by default standard output and standard error.
    """

    def __init__(self, level: int = NORMAL, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._level = level
        self._out = out
        self._err = err
        self._next_progress = 0.0
        self._jobs = 0

    def run_started(self, job_name: str, steps: Sequence[str]) -> None:
        """Show how many steps there are."""
        self._say(f"{job_name}: {_count(len(steps), 'step')}")

    def check_failed(self, findings: Sequence[Finding]) -> None:
        """Show all problems, one a line, without times: they are about files and not about the run."""
        for finding in findings:
            self._complain(str(finding), timed=False)
        self._complain(f"{_count(len(findings), 'problem')} found; nothing was run", timed=False)

    def step_started(self, step: str, kind: str, step_type: str, jobs: int) -> None:
        """Show a step with jobs; a plugin is over before it could be read."""
        self._jobs = jobs
        self._next_progress = time.monotonic() + PROGRESS_INTERVAL_S
        if jobs:
            self._say(f"{step}: {_count(jobs, 'job')}")
        else:
            self._say(f"{step}: {kind} {step_type}", VERBOSE)

    def step_skipped(self, step: str, kind: str, step_type: str, reason: str) -> None:
        """Show why a step is not run."""
        self._say(f"{step}: {reason}")

    def job_done(self, job: Job, result: JobResult, done: int, total: int) -> None:
        """Show a failed job always, any job from VERBOSE on, and else every ten seconds how many are done."""
        product = f" ({job.label})" if job.label else ""
        if not result.ok:
            self._complain(f"{job.name}{product} {result.reason()}; log: {job.log}")
        self._say(f"{job.name}{product}: {result.reason()}, {done} of {total}", VERBOSE)
        if self._level >= DEBUG:
            self._show_output(result)
        if self._level == NORMAL and done < total and time.monotonic() >= self._next_progress:
            self._next_progress = time.monotonic() + PROGRESS_INTERVAL_S
            self._say(f"{job.name.partition('/')[0]}: {done} of {total} jobs done")

    def step_done(self, step: str, duration_s: float, outputs: Mapping[str, object]) -> None:
        """Show how long a step took; a plugin is shown from VERBOSE on."""
        self._say(f"{step}: done in {duration_text(duration_s)}", NORMAL if self._jobs else VERBOSE)
        for key, value in outputs.items():
            self._say(f"{step}.output.{key} = {value}", DEBUG)

    def notice(self, text: str) -> None:
        """Show a decision."""
        self._say(text)

    def warning(self, text: str) -> None:
        """Show a warning."""
        self._complain(f"warning: {text}")

    def run_ended(self, problem: str | None, duration_s: float) -> None:
        """Show how the run ended, and after what time."""
        if problem is None:
            self._say(f"finished in {duration_text(duration_s)}")
        else:
            self._complain(f"failed after {duration_text(duration_s)}: {problem}")

    def _show_output(self, result: JobResult) -> None:
        if result.log.is_file():
            with result.log.open(encoding="utf-8", errors="replace") as log:
                (self._out or sys.stdout).writelines(line for line in log if not line.startswith(NOTE))

    def _say(self, text: str, level: int = NORMAL) -> None:
        if self._level >= level:
            print(_timed(text), file=self._out or sys.stdout, flush=True)

    def _complain(self, text: str, timed: bool = True) -> None:
        print(_timed(text) if timed else text, file=self._err or sys.stderr, flush=True)


def _timed(text: str) -> str:
    return f"{time.strftime('%H:%M:%S')} {text}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
