"""The loop: steps in their order, each resolved, skipped if done, run, recorded."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lofarpipe.config import Settings
from lofarpipe.errors import PipelineError
from lofarpipe.executors.jobs import Executor, JobResult
from lofarpipe.feedback_step import finish_feedback, prepare_feedback
from lofarpipe.job_builder import PlannedJob
from lofarpipe.journal import Journal, fingerprint
from lofarpipe.pipeline import Pipeline
from lofarpipe.plugins import STEP_PREFIX, find_plugin, run_plugin
from lofarpipe.recipe import failure, finish, prepare
from lofarpipe.references import Results, resolve
from lofarpipe.report import Reporters
from lofarpipe.steps import BROKEN, Step
from lofarpipe.support import python2
from lofarpipe.support.utilities import write_atomically

Outputs = dict[str, object]


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
    journal: Journal
    reporters: Reporters
    results: Results = field(default_factory=dict)
    loops: list[Loop] = field(default_factory=list)  # those that are active, the innermost last
    changed: bool = False  # a step has run: what follows may depend on it, and is not taken as done any more

    def execute(self) -> Results:
        """Run every step that is not done yet, and return what each gave.

        Raises
        ------
        PipelineError
            If a step fails.
        Interrupted
            After a signal; no job is left alive.
        """
        self.results |= {name: dict(section) for name, section in self.settings.sections.items()}
        self.results["input"] = {**self.settings.inputs, "parset": str(self.pipeline.path)}
        for directory in (self.settings.mapfile_dir, self.settings.parset_dir, self.settings.job_workdir):
            directory.mkdir(parents=True, exist_ok=True)
        for step in self.pipeline.steps:
            self._step(step)
        return self.results

    def _step(self, step: Step) -> None:
        kinds: dict[str, Callable[[Step], Outputs]] = {
            "recipe": self._recipe,
            "plugin": self._plugin,
            "feedback": self._feedback,
            "loop": self._loop,
            "pipeline": self._pipeline,
            BROKEN: self._broken,
        }
        outputs = kinds.get(step.kind, self._nothing)(step)
        self.results[step.name] = outputs
        if self.loops and "break" in outputs:
            self.loops[-1].ends = str(outputs["break"]) == "True"

    def _broken(self, step: Step) -> Outputs:
        raise PipelineError(step.problem)

    def _nothing(self, step: Step) -> Outputs:
        self.reporters.warning(f"step '{step.name}': kind '{step.kind}' is not known; nothing was done")
        return {}

    def _loop(self, step: Step) -> Outputs:
        """Run the body until the counter reaches ``loopcount``, or a step of an iteration says break; the last counts.

        Source: spec/lofarpipe.md, section 4.6.
        """
        last = int(step.control.get("loopcount") or -1)
        loop = Loop()
        self.loops.append(loop)
        while loop.counter != last and not loop.ends:
            self.results[step.name] = {"counter": loop.counter, "break": False}
            for inner in step.body:
                self._step(inner)
            loop.counter += 1
        self.loops.pop()
        return {"counter": loop.counter}

    def _pipeline(self, step: Step) -> Outputs:
        """Run the steps of another parset. Source: spec/lofarpipe.md, section 4.7."""
        mapfile = resolve(step.control.get("mapfile_in", ""), self.results, step.where("control.mapfile_in"))
        self.results[Path(step.type).stem] = {"parset": step.type, "mapfile": mapfile}
        for inner in step.body:
            self._step(inner)
        return {}

    def _plugin(self, step: Step) -> Outputs:
        """Plugins only write maps: they are cheap, and run again whenever the pipeline is resumed."""
        started = time.monotonic()
        self.reporters.step_started(step.name, "plugin", 0)
        keywords = {k: resolve(text, self.results, step.where(f"control.{k}")) for k, text in step.control.items()}
        if step.arguments:
            keywords["parset"] = self._write_parset(step, {})
        path = find_plugin(STEP_PREFIX, step.type, self.pipeline.plugin_path)
        try:
            returned = run_plugin(path, step.positionals, keywords)
        except PipelineError as err:
            raise PipelineError(f"step '{step.name}': {err}") from err
        for notice in python2.take_notices():
            self.reporters.notice(notice)
        if self.loops and not isinstance(returned, dict):
            raise PipelineError(
                f"step '{step.name}': {path} returned {returned!r}; inside a loop a dictionary is needed"
            )
        self.reporters.step_done(step.name, time.monotonic() - started, 0, 0)
        return returned if isinstance(returned, dict) else {}

    def _recipe(self, step: Step) -> Outputs:
        prepared = prepare(step, self.results, self.settings, self.executor.capacity())
        self._write_parset(step, prepared.keywords)
        return self._jobs(
            step,
            prepared.jobs,
            prepared.fingerprint_of,
            partial(failure, prepared),
            partial(finish, prepared),
            prepared.control.flag("error_tolerance"),
        )

    def _feedback(self, step: Step) -> Outputs:
        prepared = prepare_feedback(step, self.results, self.settings, self.executor.capacity())
        return self._jobs(
            step,
            prepared.jobs,
            {"feedback": [planned.arguments for planned in prepared.jobs], "values": prepared.values},
            lambda result: None if result.ok else result.reason(),
            lambda _, failed: finish_feedback(prepared, failed),
            bool(prepared.values["error_tolerance"]),
        )

    def _jobs(
        self,
        step: Step,
        jobs: Sequence[PlannedJob],
        identity: Mapping[str, object],
        failure_of: Callable[[JobResult], str | None],
        finished: Callable[[Sequence[JobResult], Mapping[str, str]], Outputs],
        error_tolerance: bool,
    ) -> Outputs:
        """Run the jobs of a step unless the journal knows them to be done, and return the step's outputs."""
        mark = fingerprint(identity)
        entry = self._journal_name(step)
        done = None if self.changed else self.journal.done(entry, mark)
        if done is not None:
            self.reporters.step_skipped(step.name)
            return dict(done)
        self.changed = True
        started = time.monotonic()
        self.reporters.step_started(step.name, step.type or step.kind, len(jobs))
        self.journal.record("step_started", step=step.name, jobs=len(jobs))
        self._write_job_files(step, jobs)
        results, failed = self._run_jobs(step, jobs, failure_of)
        if failed and (not error_tolerance or len(failed) == len(jobs)):
            raise PipelineError(failure_text(step, jobs, results, failed))
        outputs = finished(results, failed)
        self.journal.record("step_done", step=entry, fingerprint=mark, outputs=outputs)
        self.reporters.step_done(step.name, time.monotonic() - started, len(jobs), len(failed))
        return outputs

    def _journal_name(self, step: Step) -> str:
        """Return the name under which a step is journalled: inside loops with the counters."""
        return step.name + "".join(f"@{loop.counter}" for loop in self.loops)

    def _run_jobs(
        self, step: Step, jobs: Sequence[PlannedJob], failure_of: Callable[[JobResult], str | None]
    ) -> tuple[list[JobResult], dict[str, str]]:
        failed: dict[str, str] = {}

        def note(result: JobResult) -> None:
            reason = failure_of(result)
            if reason is not None:
                failed[result.name] = reason
            self.reporters.job_done(step.name, result, reason)

        for notice in dict.fromkeys(notice for planned in jobs for notice in planned.notices):
            self.reporters.notice(f"step '{step.name}': {notice}")
        return self.executor.run([planned.job for planned in jobs], note), failed

    def _write_job_files(self, step: Step, jobs: Sequence[PlannedJob]) -> None:
        """Write what the jobs read, remove results of an earlier try, and note the commands."""
        for planned in jobs:
            for path, text in planned.files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, text)
            if planned.result is not None:
                planned.result.unlink(missing_ok=True)
        commands = self.settings.job_directory / "commands.txt"
        lines = commands.read_text(encoding="utf-8").splitlines() if commands.is_file() else []
        kept = [line for line in lines if not line.startswith(f"{step.name}/")]
        kept += [f"{planned.job.name}: {shlex.join(planned.job.argv)}" for planned in jobs]
        write_atomically(commands, "\n".join(kept) + "\n")

    def _write_parset(self, step: Step, keywords: Mapping[str, str]) -> str:
        """Write the argument block of a step, references resolved, for people and for plugins that ask for it."""
        if not step.arguments:
            return ""
        if not keywords:
            keywords = {
                key: resolve(text, self.results, step.where(f"argument.{key}")) for key, text in step.arguments.items()
            }
        path = self.settings.parset_dir / f"{step.name}.parset"
        write_atomically(path, "".join(f"{key}={keywords[key]}\n" for key in sorted(keywords)))
        return str(path)


def failure_text(
    step: Step, jobs: Sequence[PlannedJob], results: Sequence[JobResult], failed: Mapping[str, str]
) -> str:
    """Return what failed, the last lines of the first log, its path, and the command that repeats the job."""
    planned, result = next(pair for pair in zip(jobs, results, strict=True) if pair[1].name in failed)
    lines = [
        f"step '{step.name}': {len(failed)} of {len(jobs)} jobs failed: {result.name} ({planned.job.label})"
        f" {failed[result.name]}",
        f"Last lines of {result.log}:",
        *(f"    {line}" for line in result.tail(10)),
        f"To repeat this job by hand: {planned.job.command_line()}",
        "Run the same command again to resume at this step.",
    ]
    return "\n".join(lines)
