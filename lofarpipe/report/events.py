"""The events of a run, and the fan-out to everybody who listens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lofarpipe.errors import Finding
from lofarpipe.executors.jobs import Job, JobResult

LAST_LINES = 10


class Reporter:
    """Hears of every event, and does nothing; a reporter overrides what it shows."""

    def run_started(self, job_name: str, steps: Sequence[str]) -> None:
        """All checks passed, and the first step begins."""

    def check_failed(self, findings: Sequence[Finding]) -> None:
        """The checks found problems; nothing was run."""

    def step_started(self, step: str, kind: str, step_type: str, jobs: int) -> None:
        """A step begins, with this number of jobs (0 for a plugin)."""

    def step_skipped(self, step: str, kind: str, step_type: str, reason: str) -> None:
        """A step is not run, because its outputs are there already."""

    def job_done(self, job: Job, result: JobResult, done: int, total: int) -> None:
        """A job ended, well or not; it is number ``done`` of ``total`` of its step."""

    def step_done(self, step: str, duration_s: float, outputs: Mapping[str, object]) -> None:
        """A step ended well."""

    def notice(self, text: str) -> None:
        """Something was decided that a user may want to know."""

    def warning(self, text: str) -> None:
        """Something is not as it should be, and the run goes on."""

    def run_ended(self, problem: str | None, duration_s: float) -> None:
        """The run is over: ``problem`` is None, or the text of what ended it."""


class Reporters(Reporter):
    """Passes each event to all reporters, in their order."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = tuple(reporters)

    def run_started(self, job_name: str, steps: Sequence[str]) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.run_started(job_name, steps)

    def check_failed(self, findings: Sequence[Finding]) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.check_failed(findings)

    def step_started(self, step: str, kind: str, step_type: str, jobs: int) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.step_started(step, kind, step_type, jobs)

    def step_skipped(self, step: str, kind: str, step_type: str, reason: str) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.step_skipped(step, kind, step_type, reason)

    def job_done(self, job: Job, result: JobResult, done: int, total: int) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.job_done(job, result, done, total)

    def step_done(self, step: str, duration_s: float, outputs: Mapping[str, object]) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.step_done(step, duration_s, outputs)

    def notice(self, text: str) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.notice(text)

    def warning(self, text: str) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.warning(text)

    def run_ended(self, problem: str | None, duration_s: float) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.run_ended(problem, duration_s)


def failure_text(job: Job, result: JobResult, reason: str = "") -> str:
    """Return what a user needs to know of a failed job: reason, last lines, log, and the command to repeat it."""
    product = f" ({job.label})" if job.label else ""
    lines = [f"{job.name}{product} {reason or result.reason()}"]
    tail = result.tail(LAST_LINES)
    if tail:
        lines += [f"  last lines of {result.log}:", *(f"    {line}" for line in tail)]
    else:
        lines.append(f"  it wrote nothing into {result.log}")
    return "\n".join([*lines, f"  to repeat it by hand: {job.command_line()}"])
