"""The events of a run, and the fan-out to everybody who listens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lofarpipe.executors.jobs import Job, JobResult, JobStart


class Reporter:
    """Hears of every event, and does nothing; a reporter overrides what it shows."""

    def run_started(self, job_name: str, job_directory: Path, steps: int) -> None:
        """All checks passed, and the first of ``steps`` steps begins."""

    def step_started(self, step: str, step_type: str, jobs: int) -> None:
        """A step begins, with this number of jobs; a plugin has none, and the type "plugin"."""

    def step_skipped(self, step: str) -> None:
        """A step is not run, because it is done and nothing that it depends on has changed."""

    def jobs_done_before(self, step: str, jobs: int) -> None:
        """So many jobs of the step that began were done by an earlier run; only the others are run."""

    def job_started(self, step: str, job: Job, start: JobStart) -> None:
        """A job began; ``start`` says on which machine."""

    def job_done(self, step: str, result: JobResult, problem: str | None) -> None:
        """A job ended; ``problem`` says why it failed, which its log may tell although its exit code is 0."""

    def step_done(self, step: str, duration_s: float, jobs: int, failed: int) -> None:
        """A step is complete; ``failed`` of its jobs failed, and that was tolerated."""

    def notice(self, text: str) -> None:
        """Something was decided that a user may want to know."""

    def warning(self, text: str) -> None:
        """Something is not as it should be, and the run goes on."""

    def run_ended(self, ok: bool, job_name: str, problem: str = "") -> None:
        """The run is over; ``problem`` is what ended it if it is not ``ok``."""


class Reporters(Reporter):
    """Passes each event to all reporters, in their order."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = tuple(reporters)
        # Of jobs there may be very many: who does nothing when one begins or ends is not told.
        self._of_starts = [one for one in reporters if _hears(one, "job_started")]
        self._of_ends = [one for one in reporters if _hears(one, "job_done")]

    def run_started(self, job_name: str, job_directory: Path, steps: int) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.run_started(job_name, job_directory, steps)

    def step_started(self, step: str, step_type: str, jobs: int) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.step_started(step, step_type, jobs)

    def step_skipped(self, step: str) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.step_skipped(step)

    def jobs_done_before(self, step: str, jobs: int) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.jobs_done_before(step, jobs)

    def job_started(self, step: str, job: Job, start: JobStart) -> None:
        """Tell all."""
        for reporter in self._of_starts:
            reporter.job_started(step, job, start)

    def job_done(self, step: str, result: JobResult, problem: str | None) -> None:
        """Tell all."""
        for reporter in self._of_ends:
            reporter.job_done(step, result, problem)

    def step_done(self, step: str, duration_s: float, jobs: int, failed: int) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.step_done(step, duration_s, jobs, failed)

    def notice(self, text: str) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.notice(text)

    def warning(self, text: str) -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.warning(text)

    def run_ended(self, ok: bool, job_name: str, problem: str = "") -> None:
        """Tell all."""
        for reporter in self._reporters:
            reporter.run_ended(ok, job_name, problem)


def _hears(reporter: Reporter, event: str) -> bool:
    """Whether a reporter does anything with an event."""
    return getattr(type(reporter), event, None) is not getattr(Reporter, event)
