"""The kinds of steps: how each is planned as jobs or inner steps, and how results become outputs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lofarpipe.config import Settings
from lofarpipe.engine.recipe import RecipePlan, prepare
from lofarpipe.engine.step_jobs import Outputs, StepJobs
from lofarpipe.errors import PipelineError
from lofarpipe.jobs import Executor, Interrupted
from lofarpipe.pipeline.control import is_true, loop_count, plugin_call
from lofarpipe.pipeline.load import Pipeline, known_outputs
from lofarpipe.pipeline.plugins import STEP_PREFIX, find_plugin, run_plugin
from lofarpipe.pipeline.steps import BROKEN, Results, Step, refresh_arguments, replace_counters, resolve
from lofarpipe.state.events import PluginDone, PluginStarted
from lofarpipe.state.identity import Upgrades
from lofarpipe.state.journal import Stream
from lofarpipe.state.uptodate import FilesOnDisk, Ledger
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.python2 import loader as python2
from lofarpipe.support.utilities import write_atomically

if TYPE_CHECKING:
    from lofarpipe.engine.feedback_step import FeedbackPlan


@dataclass
class ActiveLoop:
    """A loop that is being run."""

    counter: int = 0
    ends: bool = False  # ``break`` of the last step in the iteration that returned one


@dataclass
class Scope:
    """State that the steps of a run share; ``results`` holds the outputs of each so far."""

    pipeline: Pipeline
    settings: Settings
    executor: Executor
    stream: Stream
    signals: Sequence[int] = ()  # received signals; they end the run even if a plugin caught them
    disk: FilesOnDisk = field(default_factory=FilesOnDisk)
    loops: list[ActiveLoop] = field(default_factory=list)  # innermost last
    counted: dict[str, Results] = field(default_factory=dict)  # step of a finished loop -> last counter

    failed_optional: dict[str, str] = field(default_factory=dict)  # optional step -> reason of the failure, one line

    def __post_init__(self) -> None:
        self.upgrades = Upgrades(self.pipeline.rerun_on_upgrade, self.stream.notice)
        self.reset_loops()
        self.results = known_outputs(self.pipeline, self.settings)

    def reset_loops(self) -> None:
        """Reset the loops, for a walk from the first step."""
        self.ledger = Ledger(self.stream, self.settings, self.disk, self.upgrades)

    def entry(self, step: Step) -> str:
        """Return the name of a step in the journal, with the counters of its loops."""
        return step.name + "".join(f"@{loop.counter}" for loop in self.loops)

    def counting(self, step: Step) -> Step:
        """Return a step with the last counter of its finished loop."""
        return replace_counters(step, self.counted[step.name]) if step.name in self.counted else step

    def inner_steps(self, steps: Sequence[Step]) -> Iterator[Step]:
        """Yield the inner steps of a step, with their argument files read again."""
        for step in steps:
            self.counted.pop(step.name, None)
        yield from map(refresh_arguments, steps)

    def store_outputs(self, step: Step, outputs: Outputs) -> None:
        """Store the outputs of a step; inside a loop they may end it."""
        self.end_if_signalled()
        self.results[step.name] = outputs
        self.failed_optional.pop(step.name, None)
        if self.loops and "break" in outputs:
            self.loops[-1].ends = is_true(outputs["break"])

    def end_if_signalled(self) -> None:
        """End the run after a signal.

        Raises
        ------
        Interrupted
            If a signal was received.
        """
        if self.signals:
            raise Interrupted(self.signals[0])

    def write_parset(self, step: Step, keywords: Mapping[str, str]) -> str:
        """Write the resolved argument block of a step, for users and for plugins that request it."""
        if not step.arguments:
            return ""
        if not keywords:
            keywords = {
                key: resolve(text, self.results, step.where(f"argument.{key}")) for key, text in step.arguments.items()
            }
        path = self.ledger.disk.write_path(str(self.settings.parset_dir / f"{step.name}.parset"))
        write_atomically(Path(path), "".join(f"{key}={keywords[key]}\n" for key in sorted(keywords) if key != "flags"))
        return path


P = TypeVar("P")


@dataclass(frozen=True)
class Kind(Generic[P]):
    """How steps of a kind are planned and finished; ``P`` is the type of a plan."""

    scope: Scope
    has_jobs = False  # True: the plan consists of jobs

    def plan(self, step: Step, results: Results) -> P:
        """Plan a step from the outputs of earlier steps; nothing is run.

        Raises
        ------
        PipelineError
            If an input is missing or inconsistent.
        """
        raise NotImplementedError

    def steps(self, plan: P) -> Iterator[Step]:
        """Yield the inner steps, each after the previous one is done."""
        yield from ()

    def finish(self, plan: P, jobs: StepJobs | None) -> Outputs:
        """Return the outputs of a step after its jobs or inner steps have ended.

        Raises
        ------
        PipelineError
            If the outputs cannot be written.
        """
        return {}


class Recipe(Kind[RecipePlan]):
    """A program or a script, one job for each product; its outputs are maps."""

    has_jobs = True

    def plan(self, step: Step, results: Results) -> RecipePlan:
        """Build the jobs, and write the resolved arguments of the step."""
        capacity, entry = self.scope.executor.capacity(), self.scope.entry(step)
        plan = prepare(step, results, self.scope.settings, capacity, entry)
        self.scope.write_parset(step, plan.keywords)
        return plan

    def finish(self, plan: RecipePlan, jobs: StepJobs | None) -> Outputs:
        """Write its maps."""
        goes_on = not self.scope.pipeline.error_tolerance
        return plan.finish(jobs.results, jobs.failed, goes_on) if jobs else {}


class Feedback(Kind["FeedbackPlan"]):
    """A feedback step: one job describes each product; the output is the metadata file for the archive."""

    has_jobs = True

    def plan(self, step: Step, results: Results) -> FeedbackPlan:
        """Build its jobs."""
        from lofarpipe.engine.feedback_step import (
            prepare_feedback,  # imported on demand: most runs have no such step
        )

        return prepare_feedback(step, results, self.scope.settings, self.scope.executor.capacity())

    def finish(self, plan: FeedbackPlan, jobs: StepJobs | None) -> Outputs:
        """Write the metadata file."""
        return plan.finish(jobs.results, jobs.failed) if jobs else {}


@dataclass(frozen=True)
class Call:
    """A planned plugin call."""

    step: Step
    path: Path
    positionals: Sequence[str]
    keywords: Mapping[str, object]
    began_s: float  # monotonic clock


class Plugin(Kind[Call]):
    """A plugin: cheap, as it only writes maps, so it runs again whenever the pipeline is resumed."""

    def plan(self, step: Step, results: Results) -> Call:
        """Find the plugin and resolve its arguments."""
        began_s = time.monotonic()
        self.scope.stream.emit(PluginStarted(self.scope.entry(step)))
        positionals, keywords = plugin_call(step, results, self.scope.settings.lenient)
        if step.arguments:
            keywords["parset"] = self.scope.write_parset(step, {})
        path = find_plugin(STEP_PREFIX, step.type, self.scope.pipeline.plugin_path)
        return Call(step, path, positionals, keywords, began_s)

    def finish(self, plan: Call, jobs: StepJobs | None) -> Outputs:
        """Call it."""
        step, scope = plan.step, self.scope
        try:
            returned = run_plugin(plan.path, plan.positionals, plan.keywords)
        except PipelineError as err:
            raise PipelineError(f"step '{step.name}': {err}") from err
        scope.end_if_signalled()
        for notice in python2.take_notices():
            scope.stream.notice(notice)
        if scope.loops and not isinstance(returned, dict):
            raise PipelineError(
                f"step '{step.name}': {plan.path} returned {returned!r}; inside a loop a dictionary is needed"
            )
        outputs = returned if isinstance(returned, dict) else {}
        duration_s = round(time.monotonic() - plan.began_s, 3)
        scope.stream.emit(PluginDone(scope.entry(step), plain(outputs), duration_s))
        return outputs


class Loop(Kind[Step]):
    """A loop: repeats its body until the counter reaches ``loopcount``, or a step returns ``break``.

    After the loop the counter is -1; a body step that also follows the loop keeps the last value in its arguments.
    Source: doc/spec/lofarpipe.md, section 4.6.
    """

    def plan(self, step: Step, results: Results) -> Step:
        """Return the step unchanged."""
        return step

    def steps(self, plan: Step) -> Iterator[Step]:
        """Yield the body steps of each iteration."""
        scope, last, loop = self.scope, loop_count(plan), ActiveLoop()
        scope.loops.append(loop)
        while loop.counter != last and not loop.ends:
            scope.results[plan.name] = {"counter": loop.counter, "break": False}
            yield from scope.inner_steps(plan.body)
            loop.counter += 1
        scope.loops.pop()
        scope.counted |= {inner.name: {plan.name: {"counter": loop.counter - 1}} for inner in plan.body}

    def finish(self, plan: Step, jobs: StepJobs | None) -> Outputs:
        """Return the last counter."""
        return {"counter": -1, "break": False}


class SubPipeline(Kind[Step]):
    """The steps of another parset. Source: doc/spec/lofarpipe.md, section 4.7."""

    def plan(self, step: Step, results: Results) -> Step:
        """Return the step with resolved overrides, and pass the inner steps their input."""
        if step.resolved is not None:
            step = step.resolved(step, results)
        mapfile = resolve(step.control.get("mapfile_in", ""), results, step.where("control.mapfile_in"))
        self.scope.results[Path(step.type).stem] = {"parset": step.type, "mapfile": mapfile}
        return step

    def steps(self, plan: Step) -> Iterator[Step]:
        """Yield its steps."""
        return self.scope.inner_steps(plan.body)


class Broken(Kind[Step]):
    """A step that could not be built; fails when reached."""

    def plan(self, step: Step, results: Results) -> Step:
        """Raise the error of its construction."""
        raise PipelineError(step.problem)


class UnknownKind(Kind[Step]):
    """An unknown kind; a lenient run ignores it."""

    def plan(self, step: Step, results: Results) -> Step:
        """Warn of it."""
        self.scope.stream.warning(f"step '{step.name}': kind '{step.kind}' is not known; nothing was done")
        return step


KINDS: Mapping[str, type[Kind[Any]]] = {
    "recipe": Recipe,
    "plugin": Plugin,
    "feedback": Feedback,
    "loop": Loop,
    "pipeline": SubPipeline,
    BROKEN: Broken,
}


def kind_of(scope: Scope, name: str) -> Kind[Any]:
    """Return the kind with a given name."""
    return KINDS.get(name, UnknownKind)(scope)


def plain(outputs: Mapping[object, object]) -> Outputs:
    """Convert the result of a plugin to JSON types; anything but numbers and booleans becomes text."""
    return {str(key): value if isinstance(value, bool | int) else str(value) for key, value in outputs.items()}
