"""The loop: steps in their order, each resolved, skipped if done, run, recorded."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lofarpipe.config import Settings
from lofarpipe.engine.cleanup import Leftovers, mark_processes
from lofarpipe.engine.disk_check import refuse_without_room
from lofarpipe.engine.feedback_step import PreparedFeedback, finish_feedback, prepare_feedback
from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.engine.journal_events import executor_name
from lofarpipe.engine.recipe import (
    Prepared,
    changed_inputs,
    failure,
    finish,
    job_identity,
    outputs_of,
    prepare,
    products_of,
)
from lofarpipe.engine.step_jobs import (
    CommandFile,
    Context,
    Outputs,
    StepJobs,
    Work,
    failure_text,
    job_keys,
    write_job_files,
)
from lofarpipe.errors import PipelineError
from lofarpipe.jobs import Executor, Interrupted
from lofarpipe.pipeline.control import is_true, loop_count, plugin_call
from lofarpipe.pipeline.load import Pipeline, known_outputs
from lofarpipe.pipeline.plugins import STEP_PREFIX, find_plugin, run_plugin
from lofarpipe.pipeline.references import Results, resolve
from lofarpipe.pipeline.steps import BROKEN, Step, refreshed, with_counters
from lofarpipe.report import Journalled, Reporters
from lofarpipe.state.history import History
from lofarpipe.state.jobs import LOCAL, JobLedger
from lofarpipe.state.uptodate import NEVER_DONE, Ledger
from lofarpipe.support.files import remove_unfinished
from lofarpipe.support.python2 import loader as python2
from lofarpipe.support.utilities import write_atomically

NAMED = 5  # jobs in a warning

StepPlan = Prepared | PreparedFeedback


@dataclass
class Loop:
    """A loop that is being run."""

    counter: int = 0
    ends: bool = False  # what the last step of the iteration that gave ``break`` said


@dataclass
class Run:
    """One run of a pipeline; ``results`` holds what each step gave so far."""

    pipeline: Pipeline
    settings: Settings
    executor: Executor
    journal: History
    reporters: Reporters
    signals: Sequence[int] = ()  # those that were received: whatever a plugin caught, they end the run
    results: Results = field(default_factory=dict)
    loops: list[Loop] = field(default_factory=list)  # those that are active, the innermost last
    counted: dict[str, Results] = field(default_factory=dict)  # step of a loop that is over -> its last counter
    commands: CommandFile = field(init=False)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.journal, self.settings)
        self.commands = CommandFile(self.settings.job_directory / "commands.txt")
        self.reporters = Reporters([Journalled(self.journal), self.reporters])

    def execute(self) -> Results:
        """Run every step that is not done yet, and return what each gave.

        Raises
        ------
        PipelineError
            If a step fails.
        Interrupted
            After a signal; no job is left alive.
        """
        self.results |= known_outputs(self.pipeline, self.settings)
        self.prepare_directories()
        for step in self.pipeline.steps:
            self._step(step)
        self.commands.finish()
        return self.results

    def _directories(self) -> tuple[Path, ...]:
        return self.settings.mapfile_dir, self.settings.parset_dir, self.settings.job_workdir

    def prepare_directories(self) -> None:
        """Make the directories for maps, parsets and what the jobs write; remove what a killed run left in them."""
        for directory in self._directories():
            directory.mkdir(parents=True, exist_ok=True)
        Leftovers(self.ledger, self.reporters.notice).clear()
        if executor_name(self.executor) == LOCAL:
            mark_processes(self.settings.job_directory)
        job_directory = self.settings.job_directory
        remove_unfinished([*self._directories(), job_directory, *job_directory.glob("jobs/*")])

    def _step(self, step: Step) -> None:
        kinds: dict[str, Callable[[Step], Outputs]] = {
            "recipe": self._recipe,
            "plugin": self._plugin,
            "feedback": self._feedback,
            "loop": self._loop,
            "pipeline": self._pipeline,
            BROKEN: self._broken,
        }
        if step.name in self.counted:
            step = with_counters(step, self.counted[step.name])
        with self._failure_recorded(step):
            outputs = kinds.get(step.kind, self._nothing)(step)
            self._end_if_signalled()
        self.results[step.name] = outputs
        if self.loops and "break" in outputs:
            self.loops[-1].ends = is_true(outputs["break"])

    def _end_if_signalled(self) -> None:
        if self.signals:
            raise Interrupted(self.signals[0])

    @contextlib.contextmanager
    def _failure_recorded(self, step: Step) -> Iterator[None]:
        """Record a step that fails; the one inside a loop or a sub-pipeline says it for them."""
        try:
            yield
        except Exception as err:
            if step.kind not in ("loop", "pipeline"):
                with contextlib.suppress(PipelineError):  # a full disk: what is told is why the step failed
                    self.journal.record("step_failed", step=self._journal_name(step), problem=str(err))
            raise

    def _broken(self, step: Step) -> Outputs:
        raise PipelineError(step.problem)

    def _nothing(self, step: Step) -> Outputs:
        self.reporters.warning(f"step '{step.name}': kind '{step.kind}' is not known; nothing was done")
        return {}

    def _loop(self, step: Step) -> Outputs:
        """Run the body until the counter reaches ``loopcount``, or a step of an iteration says break; the last counts.

        Once it is over, the counter is -1; the arguments of a step of the body that also follows the loop keep the
        last value. Source: doc/spec/lofarpipe.md, section 4.6.
        """
        last = loop_count(step)
        loop = Loop()
        self.loops.append(loop)
        while loop.counter != last and not loop.ends:
            self.results[step.name] = {"counter": loop.counter, "break": False}
            self._steps(step.body)
            loop.counter += 1
        self.loops.pop()
        self.counted |= {inner.name: {step.name: {"counter": loop.counter - 1}} for inner in step.body}
        return {"counter": -1, "break": False}

    def _pipeline(self, step: Step) -> Outputs:
        """Run the steps of another parset. Source: doc/spec/lofarpipe.md, section 4.7."""
        if step.resolved is not None:
            step = step.resolved(step, self.results)
        mapfile = resolve(step.control.get("mapfile_in", ""), self.results, step.where("control.mapfile_in"))
        self.results[Path(step.type).stem] = {"parset": step.type, "mapfile": mapfile}
        self._steps(step.body)
        return {}

    def _steps(self, steps: Sequence[Step]) -> None:
        """Run the steps inside another one: what files say about their arguments is read again."""
        for step in steps:
            self.counted.pop(step.name, None)
        for step in map(refreshed, steps):
            self._step(step)

    def _plugin(self, step: Step) -> Outputs:
        """Plugins only write maps: they are cheap, and run again whenever the pipeline is resumed."""
        started = time.monotonic()
        self.reporters.step_started(step.name, "plugin", 0)
        positionals, keywords = plugin_call(step, self.results, self.settings.lenient)
        if step.arguments:
            keywords["parset"] = self._write_parset(step, {})
        path = find_plugin(STEP_PREFIX, step.type, self.pipeline.plugin_path)
        try:
            returned = run_plugin(path, positionals, keywords)
        except PipelineError as err:
            raise PipelineError(f"step '{step.name}': {err}") from err
        self._end_if_signalled()
        for notice in python2.take_notices():
            self.reporters.notice(notice)
        if self.loops and not isinstance(returned, dict):
            raise PipelineError(
                f"step '{step.name}': {path} returned {returned!r}; inside a loop a dictionary is needed"
            )
        duration_s = time.monotonic() - started
        self.reporters.step_done(step.name, duration_s, 0, 0)
        outputs = returned if isinstance(returned, dict) else {}
        facts = {"outputs": plain(outputs), "duration_s": round(duration_s, 3)}
        self.journal.record("plugin_done", step=self._journal_name(step), **facts)
        return outputs

    def _recipe(self, step: Step) -> Outputs:
        prepared = prepare(step, self.results, self.settings, self.executor.capacity(), self._journal_name(step))
        self._write_parset(step, prepared.keywords)
        return self._work(step, prepared)

    def _feedback(self, step: Step) -> Outputs:
        prepared = prepare_feedback(step, self.results, self.settings, self.executor.capacity())
        return self._work(step, prepared)

    def _work_of(self, prepared: StepPlan) -> Work:
        return recipe_work(prepared) if isinstance(prepared, Prepared) else feedback_work(prepared)

    def _numbered(self, jobs: JobLedger, prepared: StepPlan) -> StepPlan:
        """Return a step with the numbers that its jobs have in the journal."""
        numbers = jobs.numbers(job_keys(self._work_of(prepared)))
        is_as_built = all(place == number for place, number in numbers.items())
        return prepared if is_as_built else prepared.numbered(numbers)

    def _work(self, step: Step, prepared: StepPlan) -> Outputs:
        """Run the jobs of a step that an earlier run has not done, if any, and return the step's outputs."""
        entry = self._journal_name(step)
        work = self._work_of(prepared)
        reason = self.ledger.stale(entry, work.identity, work.error_tolerance)
        if not reason:
            self.reporters.step_skipped(step.name)
            self.commands.pass_over(work.jobs)
            self._warn_of_failures(step.name, entry)
            self.journal.record("step_skipped", step=entry, jobs=len(work.jobs))
            return self.ledger.take(entry)
        if reason != NEVER_DONE:
            self.reporters.notice(f"{step.name}: runs again: {reason}")
        started = time.monotonic()
        ledger = JobLedger(self.ledger, entry)
        work = self._work_of(self._numbered(ledger, prepared))
        jobs = self._step_jobs(step, work, ledger)
        jobs.refuse_unsafe()
        self.reporters.step_started(step.name, step.type or step.kind, len(work.jobs))
        if jobs.kept:
            self.reporters.jobs_done_before(step.name, len(jobs.kept))
        began = self.ledger.look(entry, work.identity, jobs.kept.values())
        facts = {"type": step.type or step.kind, "jobs": len(work.jobs), "done_before": len(jobs.kept)}
        if jobs.left:
            facts["left"] = jobs.left
        self.ledger.begin(began, **facts, unsafe=jobs.unsafe(began))
        outputs = self._run_jobs(step, jobs)
        duration_s = time.monotonic() - started
        counts = {"jobs": len(work.jobs), "failed": len(jobs.failed), "duration_s": round(duration_s, 3)}
        self.ledger.finish(began, outputs, **counts)
        self.reporters.step_done(step.name, duration_s, len(work.jobs), len(jobs.failed))
        return outputs

    def _warn_of_failures(self, name: str, entry: str) -> None:
        """Say of a step that is not run again which jobs of it failed: nobody may remember."""
        failed = [end["job"] for end in self.journal.jobs_ended(entry) if end.get("problem") is not None]
        if failed and (self.journal.last_done(entry) or {}).get("failed"):
            what = "one job failed, and its product is" if len(failed) == 1 else "jobs failed, and their products are"
            self.reporters.warning(
                f"{name}: {what} still skipped: {', '.join(failed[:NAMED])}{' ...' if len(failed) > NAMED else ''}; "
                f"--forget {failed[0]} lets it run again"
            )

    def _step_jobs(self, step: Step, work: Work, ledger: JobLedger) -> StepJobs:
        context = Context(self.settings, self.executor, self.journal, self.reporters)
        return StepJobs(step.name, work, context, ledger)

    def _journal_name(self, step: Step) -> str:
        """Return the name under which a step is journalled: inside loops with the counters."""
        return step.name + "".join(f"@{loop.counter}" for loop in self.loops)

    def _run_jobs(self, step: Step, jobs: StepJobs) -> Outputs:
        """Run the jobs that are not done, and return the outputs of the step.

        Raises
        ------
        PipelineError
            If one failed and that is not tolerated, or all of the step did.
        """
        work = jobs.work
        for notice in notices_of(jobs.pending):
            self.reporters.notice(f"step '{step.name}': {notice}")
        here = executor_name(self.executor) == "local"
        refuse_without_room(step.name, jobs.pending, self.executor.capacity(), here)
        write_job_files(jobs.pending)
        self.commands.note(work.jobs, jobs.pending)
        results = jobs.run()
        if jobs.failed and not work.error_tolerance:
            raise PipelineError(failure_text(step.name, work.jobs, results, jobs.failed))
        outputs = work.finish(results, jobs.failed)
        if jobs.failed and len(jobs.failed) == len(work.jobs):
            raise PipelineError(failure_text(step.name, work.jobs, results, jobs.failed))
        return outputs

    def _write_parset(self, step: Step, keywords: Mapping[str, str]) -> str:
        """Write the argument block of a step, references resolved, for people and for plugins that ask for it."""
        if not step.arguments:
            return ""
        if not keywords:
            keywords = {
                key: resolve(text, self.results, step.where(f"argument.{key}")) for key, text in step.arguments.items()
            }
        path = self._parset_file(step)
        write_atomically(path, "".join(f"{key}={keywords[key]}\n" for key in sorted(keywords) if key != "flags"))
        return str(path)

    def _parset_file(self, step: Step) -> Path:
        return self.settings.parset_dir / f"{step.name}.parset"


def recipe_work(prepared: Prepared) -> Work:
    """Return what a recipe step has to do."""
    return Work(
        jobs=prepared.jobs,
        identity=prepared.fingerprint_of,
        failure_of=partial(failure, prepared),
        finish=partial(finish, prepared),
        error_tolerance=prepared.control.flag("error_tolerance"),
        job_identity=partial(job_identity, prepared),
        outputs_of=partial(outputs_of, prepared),
        changed_inputs=partial(changed_inputs, prepared),
        products_of=(lambda _: ()) if prepared.lenient else partial(products_of, prepared),
        repeatable=prepared.control.flag("repeatable"),
        retries=prepared.control.number("retries"),
    )


def feedback_work(prepared: PreparedFeedback) -> Work:
    """Return what a feedback step has to do."""
    return Work(
        jobs=prepared.jobs,
        identity=prepared.identity,
        failure_of=lambda result: None if result.ok else result.reason(),
        finish=lambda _, failed: finish_feedback(prepared, failed),
        error_tolerance=bool(prepared.values["error_tolerance"]),
        job_identity=prepared.job_identity,
    )


def notices_of(jobs: Sequence[PlannedJob]) -> list[str]:
    """Return what is to be told of jobs before they run, each thing once."""
    return list(dict.fromkeys(notice for planned in jobs for notice in planned.notices))


def plain(outputs: Mapping[object, object]) -> Outputs:
    """Return what a plugin gave as it can be written down; anything but numbers and booleans counts as its text."""
    return {str(key): value if isinstance(value, bool | int) else str(value) for key, value in outputs.items()}
