"""Who gets the jobs of a step done, and writes down that they are: the other half of a run's loop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lofarpipe.engine.cleanup import Leftovers, mark_processes
from lofarpipe.engine.disk_check import refuse_without_room
from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.engine.journal_events import executor_name
from lofarpipe.engine.kinds import Scope
from lofarpipe.engine.step_jobs import CommandFile, Outputs, Plan, StepJobs, write_job_files
from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.steps import Step
from lofarpipe.state.jobs import LOCAL
from lofarpipe.state.uptodate import Began
from lofarpipe.support.utilities import remove_unfinished

NAMED = 5  # jobs in a warning


class Crew(Protocol):
    """What a run needs done beside the planning."""

    def arrive(self) -> None:
        """Make ready for the first step."""

    def pass_over(self, step: Step, plan: Plan) -> None:
        """A step is done, and its jobs are not run again."""

    def run(self, step: Step, jobs: StepJobs) -> None:
        """Run the jobs that are pending."""

    def record(self, step: Step, jobs: StepJobs, outputs: Outputs) -> None:
        """The step of these jobs, the last that were run, is done."""

    def accepts(self, step: Step, error: Exception) -> bool:
        """Whether the run goes on with a step that failed."""

    def leave(self) -> None:
        """All steps are done."""


class WorkingCrew:
    """Has the jobs run by the executor of a run, records them, and reports."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._commands = CommandFile(scope.settings.job_directory / "commands.txt")
        self._began: Began | None = None
        self._is_local = executor_name(scope.executor) == LOCAL

    def arrive(self) -> None:
        """Make the directories for maps, parsets and what the jobs write; remove what a killed run left in them."""
        settings = self._scope.settings
        directories: tuple[Path, ...] = (settings.mapfile_dir, settings.parset_dir, settings.job_workdir)
        for directory in directories:
            directory.mkdir(parents=True, exist_ok=True)
        Leftovers(self._scope.ledger, self._scope.reporters.notice).clear()
        if self._is_local:
            mark_processes(settings.job_directory)
        remove_unfinished([*directories, settings.job_directory, *settings.job_directory.glob("jobs/*")])

    def pass_over(self, step: Step, plan: Plan) -> None:
        """Say that a step is done before, and which jobs of it failed."""
        self._scope.reporters.step_skipped(step.name)
        self._commands.pass_over(plan.jobs)
        self._warn_of_failures(step)
        self._scope.journal.record("step_skipped", step=self._scope.entry(step), jobs=len(plan.jobs))

    def _warn_of_failures(self, step: Step) -> None:
        """Say of a step that is not run again which jobs of it failed: nobody may remember."""
        journal, entry = self._scope.journal, self._scope.entry(step)
        failed = [end["job"] for end in journal.jobs_ended(entry) if end.get("problem") is not None]
        if failed and (journal.last_done(entry) or {}).get("failed"):
            what = "one job failed, and its product is" if len(failed) == 1 else "jobs failed, and their products are"
            self._scope.reporters.warning(
                f"{step.name}: {what} still skipped: {', '.join(failed[:NAMED])}"
                f"{' ...' if len(failed) > NAMED else ''}; --forget {failed[0]} lets it run again"
            )

    def run(self, step: Step, jobs: StepJobs) -> None:
        """Record that a step begins, and run the jobs that are not done.

        Raises
        ------
        PipelineError
            If they cannot be run.
        """
        jobs.refuse_unsafe()
        self._begin(step, jobs)
        for notice in notices_of(jobs.pending):
            self._scope.reporters.notice(f"step '{step.name}': {notice}")
        refuse_without_room(step.name, jobs.pending, self._scope.executor.capacity(), self._is_local)
        write_job_files(jobs.pending)
        self._commands.note(jobs.work.jobs, jobs.pending)
        jobs.run()

    def _begin(self, step: Step, jobs: StepJobs) -> None:
        kind, count, ledger = step.type or step.kind, len(jobs.work.jobs), self._scope.ledger
        self._scope.reporters.step_started(step.name, kind, count)
        if jobs.kept:
            self._scope.reporters.jobs_done_before(step.name, len(jobs.kept))
        self._began = ledger.look(jobs.entry, jobs.work.identity, jobs.kept.values())
        facts = {"type": kind, "jobs": count, "done_before": len(jobs.kept)}
        if jobs.left:
            facts["left"] = jobs.left
        ledger.begin(self._began, **facts, unsafe=jobs.unsafe(self._began))

    def record(self, step: Step, jobs: StepJobs, outputs: Outputs) -> None:
        """Record that a step is done."""
        count, failed, duration_s = len(jobs.work.jobs), len(jobs.failed), time.monotonic() - jobs.began_s
        if self._began is not None:
            counts = {"jobs": count, "failed": failed, "duration_s": round(duration_s, 3)}
            self._scope.ledger.finish(self._began, outputs, **counts)
        self._scope.reporters.step_done(step.name, duration_s, count, failed)

    def accepts(self, step: Step, error: Exception) -> bool:
        """Record a step that fails, and end the run; the one inside a loop or a sub-pipeline says it for them."""
        if step.kind not in ("loop", "pipeline"):
            with contextlib.suppress(PipelineError):  # a full disk: what is told is why the step failed
                self._scope.journal.record("step_failed", step=self._scope.entry(step), problem=str(error))
        return False

    def leave(self) -> None:
        """Take out of the file of commands what the run did not come to."""
        self._commands.finish()


def notices_of(jobs: Sequence[PlannedJob]) -> list[str]:
    """Return what is to be told of jobs before they run, each thing once."""
    return list(dict.fromkeys(notice for planned in jobs for notice in planned.notices))
