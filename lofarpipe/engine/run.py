"""The loop of a run: each step in order is planned, skipped if up to date, run and finished."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lofarpipe.engine.crew import Crew, WorkingCrew
from lofarpipe.engine.kinds import Kind, Scope, kind_of
from lofarpipe.engine.step_jobs import (
    Outputs,
    Plan,
    RemovedInputs,
    StepJobs,
    failure_lines,
    failure_text,
    job_entry,
    job_keys,
)
from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.steps import Results, Step
from lofarpipe.state.events import step_of
from lofarpipe.state.jobs import JobLedger
from lofarpipe.state.uptodate import NEVER_DONE
from lofarpipe.support.dataclass import dataclass


@dataclass
class Run:
    """One run of a pipeline.

    execute
        crew.prepare            directories are made, and cleared of stale files
        for each step:
            kind.plan           from the step and the outputs of earlier ones: its jobs
            kind.steps          of a loop or a sub-pipeline: for each step inside, the same
            of a step with jobs:
                ledger.stale    is it up to date? then crew.skip_step, and ledger.restore_step gives its outputs
                StepJobs        which of its jobs are up to date?
                crew.run        the executor runs those that are not
            kind.finish         from the results of the jobs: the outputs of the step
            crew.record         of a step with jobs: record it as done
        crew.remove_intermediates   after each step, until one fails: remove outputs no longer needed, if requested
        once more               where a step needs removed files: from the jobs that make them
        crew.finish

    A dry run is the same loop with another disk, other kinds, and a crew that prints.
    """

    scope: Scope
    kind_of: Callable[[Scope, str], Kind[Any]] = kind_of
    crew_of: Callable[[Scope], Crew] = WorkingCrew

    def __post_init__(self) -> None:
        self.crew = self.crew_of(self.scope)
        self.is_tolerant = self.scope.pipeline.error_tolerance
        self.failures: list[str] = []  # of tolerant steps in an intolerant pipeline, one line each
        self.made_again: set[str] = set()  # jobs repeated because later steps removed their outputs

    def execute(self) -> Results:
        """Run every step that is not up to date, and return the outputs of all steps.

        Raises
        ------
        PipelineError
            If a step fails; at the end, if jobs failed and the pipeline does not tolerate it.
        Interrupted
            After a signal; no job is left alive.
        """
        self.crew.prepare()
        while not self._run_steps():
            self.failures.clear()
        self.crew.finish()
        if self.failures:
            raise PipelineError(
                "\n".join([f"jobs failed: {len(self.failures)}; run again to repeat them", *self.failures])
            )
        optional = self.scope.failed_optional
        if optional and self.scope.pipeline.fails_with_optional:
            head = f"optional steps failed: {', '.join(optional)}; all others are done; run again to repeat them"
            raise PipelineError("\n".join([head, *optional.values()]))
        return self.scope.results

    def _run_steps(self) -> bool:
        """Run the steps; return False to start over, after forgetting the jobs whose outputs are gone."""
        try:
            steps = self.scope.pipeline.steps
            for number, step in enumerate(steps, start=1):
                self._step(step)
                if not (self.failures or self.scope.failed_optional):  # the next run repeats these, from their inputs
                    self.crew.remove_intermediates(steps[number:])
        except RemovedInputs as err:
            if not err.jobs.keys() - self.made_again:
                raise
            for job, path in err.jobs.items():
                self.scope.stream.notice(f"{job}: runs again: {path} is gone, and step '{err.step}' needs it")
                JobLedger(self.scope.ledger, step_of(job)).forget_job(job)
            self.made_again |= err.jobs.keys()
            self.scope.reset_loops()
            return False
        return True

    def _step(self, step: Step) -> None:
        step = self.scope.counting(step)
        try:
            self.scope.store_outputs(step, self._outputs(step))
        except RemovedInputs:
            raise
        except Exception as err:
            self.scope.results.pop(step.name, None)
            if not self.crew.accept_failure(step, err):
                raise

    def _outputs(self, step: Step) -> Outputs:
        kind = self.kind_of(self.scope, step.kind)
        plan = kind.plan(step, self.scope.results)
        for inner in kind.steps(plan):
            self._step(inner)
        return self._outputs_of_jobs(kind, step, plan) if kind.has_jobs else kind.finish(plan, None)

    def _outputs_of_jobs(self, kind: Kind[Any], step: Step, plan: Plan) -> Outputs:
        """Run the pending jobs of a step, and return the step's outputs.

        Raises
        ------
        PipelineError
            If a job failed and the step is not tolerant, or all jobs failed.
        """
        entry = self.scope.entry(step)
        reason = self.scope.ledger.stale(entry, plan.identity, plan.skips_failed and self.is_tolerant)
        if not reason:
            self.crew.skip_step(step, plan)
            return self.scope.ledger.restore_step(entry)
        if reason != NEVER_DONE:
            self.scope.stream.notice(f"{step.name}: runs again: {reason}")
        jobs = self._jobs(step, plan, JobLedger(self.scope.ledger, entry))
        self.crew.run(step, jobs)
        if jobs.failed and not plan.error_tolerance:
            raise PipelineError(failure_text(step.name, jobs.plan.jobs, jobs.results, jobs.failed))
        outputs = kind.finish(jobs.plan, jobs)
        if jobs.failed and not self.is_tolerant:
            self.failures += failure_lines(jobs.plan.jobs, jobs.results, jobs.failed)
        elif jobs.failed and len(jobs.failed) == len(plan.jobs):
            raise PipelineError(failure_text(step.name, jobs.plan.jobs, jobs.results, jobs.failed))
        self.crew.record(jobs, outputs)
        return outputs

    def _jobs(self, step: Step, plan: Plan, ledger: JobLedger) -> StepJobs:
        """Return the jobs of a step with their numbers from the journal."""
        numbers = ledger.numbers(job_keys(plan))
        if any(place != number for place, number in numbers.items()):
            plan = plan.numbered(numbers)
        entries = {job_entry(ledger.entry, planned.job): planned for planned in plan.jobs}
        ledger.adopt_jobs(list(entries), lambda job: plan.job_identity(entries[job]))
        return StepJobs(step.name, plan, self.scope.executor, ledger)
