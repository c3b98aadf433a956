"""The commands of a run, as far as predictable; no job runs, and no file of the run is written.

The loop is that of a run, with other collaborators: an overlay that takes all writes in place of the disk,
kinds that assume jobs succeed, and a crew that prints jobs instead of running them.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any, TypeVar

from lofarpipe.config import Settings
from lofarpipe.engine.crew import notices_of
from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.engine.kinds import Broken, Feedback, Kind, Loop, Recipe, Scope, SubPipeline, plain
from lofarpipe.engine.prediction import (
    PLACEHOLDER,
    Overlay,
    PendingOutputs,
    Predictor,
    call_of,
    feedback_outputs,
    named_by_job,
)
from lofarpipe.engine.recipe import RecipePlan
from lofarpipe.engine.run import Run
from lofarpipe.engine.step_jobs import Outputs, Plan, RemovedInputs, StepJobs, job_commands, job_entry
from lofarpipe.errors import PipelineError, counted
from lofarpipe.jobs import Executor
from lofarpipe.pipeline.control import list_items, loop_count, plugin_call
from lofarpipe.pipeline.load import Pipeline
from lofarpipe.pipeline.plugins import STEP_PREFIX, declared, find_plugin, load, run_plugin
from lofarpipe.pipeline.steps import BROKEN, Results, Step, flattened, references, resolve_known
from lofarpipe.state.events import Notice
from lofarpipe.state.identity import Identity
from lofarpipe.state.journal import Stream
from lofarpipe.state.run_state import RunState
from lofarpipe.state.uptodate import MAP_ENDINGS
from lofarpipe.support.data_map import DataMap
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.python2 import loader as python2
from lofarpipe.support.utilities import files_of

COMMENTS = "comments"  # key of a plugin's dry-run result: comment lines
LAST_TIME = "its maps are taken to be those of the last run"
MEANING = "#   <step:key:number> is the future result of that job of the step"
P = TypeVar("P")


class NotKnown(PipelineError):  # noqa: N818 - names a condition
    """The outputs of a step that was printed cannot be predicted."""


@dataclass
class Printout:
    """The printed lines, with the file names of a real run."""

    overlay: Overlay
    lines: list[str] = field(default_factory=list)
    jobs: list[Mapping[str, object]] = field(default_factory=list)  # as JSON, for tools

    def add_jobs(self, step: Step, jobs: Sequence[PlannedJob], is_done: Callable[[PlannedJob], bool]) -> None:
        """Add the jobs of a step."""
        for planned in jobs:
            job = planned.job
            facts = {"name": job.name, "step": step.name, "is_done": is_done(planned), "argv": list(job.argv)}
            facts |= {"workdir": str(job.workdir), "cores": job.cores, "memory_gb": job.memory_gb}
            call = call_of(planned)
            facts |= {"call": {key: call[key] for key in ("script", "args", "kwargs")}} if "script" in call else {}
            self.jobs.append(self.overlay.to_run_names(facts))

    def add_lines(self, *lines: str) -> None:
        """Add lines."""
        for line in self.overlay.to_run_names(lines):
            self.lines.append(line)
            if PLACEHOLDER.search(line) and MEANING not in self.lines:
                self.lines.append(MEANING)


@dataclass(frozen=True)
class OverlaidPlan:
    """A plan with the file names of a real run, as finished jobs recorded them."""

    plan: Any  # with overlay paths
    overlay: Overlay
    identity: Identity

    @classmethod
    def of(cls, plan: Plan, overlay: Overlay) -> OverlaidPlan:
        """Wrap a plan that has overlay paths."""
        return cls(plan, overlay, overlay.to_run_names(plan.identity))

    def __getattr__(self, name: str) -> Any:
        """Return attributes of the plan that do not depend on file names."""
        return getattr(self.plan, name)

    def numbered(self, numbers: Mapping[int, int]) -> OverlaidPlan:
        """Return a copy with renumbered jobs; ``numbers`` is keyed by map index."""
        return replace(self, plan=self.plan.numbered(numbers))

    def job_identity(self, planned: PlannedJob) -> Identity:
        """Return the identity of a job; a finished job with an equal identity is not run again."""
        return self.overlay.to_run_names(self.plan.job_identity(planned))

    def outputs_of(self, planned: PlannedJob) -> Sequence[str]:
        """Return the output paths of a job."""
        return self.overlay.to_run_names(list(self.plan.outputs_of(planned)))

    def changed_inputs(self, planned: PlannedJob) -> Sequence[str]:
        """Return the inputs that a job modifies."""
        return self.overlay.to_run_names(list(self.plan.changed_inputs(planned)))

    def label_of(self, planned: PlannedJob) -> str:
        """Return the subject of a job for messages."""
        return self.overlay.to_run_names(str(self.plan.label_of(planned)))


@dataclass
class Predictions:
    """Predicted files and outputs, shared by the kinds of a dry run."""

    printout: Printout
    predictor: Predictor
    pending_outputs: PendingOutputs
    incomplete: set[str] = field(default_factory=set)  # steps with unpredicted outputs

    @property
    def overlay(self) -> Overlay:
        """The overlay of files written by this dry run."""
        return self.printout.overlay

    def refuse_missing(self, step: Step, scope: Scope) -> None:
        """Raise if a step refers to steps with unknown outputs."""
        requests = [pair for text in _texts(step) for pair in references(text)]
        later = {other.name for other in flattened(scope.pipeline.steps)} - scope.results.keys()
        unknown = [n for n, key in requests if n in later or (n in self.incomplete and key not in scope.results[n])]
        if unknown:
            missing = ", ".join(dict.fromkeys(unknown))
            raise PipelineError(f"not predictable without the outputs of steps that did not run: {missing}")

    def overlaid_step(self, step: Step, results: Results) -> tuple[Step, Results]:
        """Return a step and the results of earlier steps with overlay paths."""
        overlaid_results: dict[str, dict[str, object]] = {
            name: {key: self._overlay_path(value) for key, value in results[name].items()}
            for name in {name for text in _texts(step) for name, _ in references(text)} & results.keys()
        }

        def overlaid_text(text: str) -> str:
            resolved = resolve_known(text, results)
            into = self.overlay.to_overlay_names(resolved)
            return text if into == resolved else into  # not a file of the overlay

        arguments = {
            key: text if _implies_map(key, text) else overlaid_text(text) for key, text in step.arguments.items()
        }
        control = {key: overlaid_text(text) for key, text in step.control.items()}
        positionals = tuple(map(overlaid_text, step.positionals))
        return replace(step, control=control, arguments=arguments, positionals=positionals), {
            **results,
            **overlaid_results,
        }

    def _overlay_path(self, value: object) -> object:
        return self.overlay.to_overlay_names(value) if isinstance(value, str) else value

    def write_predicted_maps(self, plan: RecipePlan, jobs: StepJobs, in_loop: bool) -> Outputs:
        """Write the maps of a recipe step as if its jobs had succeeded, and return its outputs."""
        step = plan.step.name
        prediction = self.predictor.predict(plan, jobs.entry, jobs.finished_jobs, jobs.pending)
        self.printout.add_lines(*(f"# {step}: {comment}" for comment in prediction.comments))
        if not prediction.is_complete:
            self.incomplete.add(step)
        if in_loop and prediction.may_break:
            self.printout.add_lines(f"# {step}: it may end the loop here")
        returned = [text for p in jobs.pending for text in prediction.values[p.job.name].values()]
        self.pending_outputs.add(step, (text for text in returned if Path(text).is_absolute()))
        return self.predictor.maps(plan, prediction)

    def record_predictions(self, jobs: StepJobs, outputs: Outputs, scope: Scope) -> None:
        """Record the predicted outputs of a step's jobs."""
        output_paths = [path for planned in jobs.pending for path in jobs.plan.outputs_of(planned)]
        maps = [str(value) for key, value in outputs.items() if key.endswith("mapfile")]
        new = {job_entry(jobs.entry, planned.job): _new_outputs(jobs, planned, scope) for planned in jobs.pending}
        scope.ledger.record_pending(jobs.entry, new, [*output_paths, *maps])
        if self.predictor.plans(jobs.pending):
            return
        self.pending_outputs.add(jobs.step, output_paths)
        for planned in jobs.pending:
            words = self.overlay.to_run_names([planned.job.argv[1:], call_of(planned)])
            self.pending_outputs.add(jobs.step, named_by_job(words, scope.settings.job_workdir))

    def named_in(self, texts: Sequence[str]) -> set[str]:
        """Return the files named in texts and in the maps among them."""
        maps = [self.overlay.read_path(text) for text in texts if text.endswith(MAP_ENDINGS)]
        products = [product.file for path in maps if Path(path).is_file() for product in DataMap.load(path).data]
        return {name for text in [*texts, *products] for name in files_of(text)}

    def refuse_uncertain(self, texts: Iterable[str]) -> None:
        """Raise if a plugin would read the pending result of a script."""
        for name in (name for text in texts for name in self.overlay.uncertain_paths(text)):
            raise PipelineError(f"what is in {name} is known only when jobs have run")

    def refuse_unsettled(self, folders: Iterable[str]) -> None:
        """Raise if pending jobs may write into a directory that a plugin lists."""
        for folder in folders:
            if self.overlay.has_folder(folder):
                raise PipelineError(f"what is in {folder} is known only when the steps before have run")
            if step := self.pending_outputs.writer(str(Path(folder).absolute())):
                raise PipelineError(f"what is in {folder} is known only when {step} has run")


def _new_outputs(jobs: StepJobs, planned: PlannedJob, scope: Scope) -> Sequence[str]:
    """Return the outputs of a job without a record in earlier runs."""
    last = scope.ledger.work.last_job(job_entry(jobs.entry, planned.job))
    return () if last and last.label == jobs.plan.label_of(planned) else jobs.plan.outputs_of(planned)


def _texts(step: Step) -> list[str]:
    return [*step.control.values(), *step.arguments.values(), *step.positionals]


def _implies_map(key: str, text: str) -> bool:
    """Whether the reference in an argument names an input map of the step."""
    return "mapfile" not in key and any("mapfile" in output for _, output in references(text))


@dataclass(frozen=True)
class Shown(Kind[P]):
    """A kind planned once its references are known, and printed instead of run."""

    foresight: Predictions

    def plan(self, step: Step, results: Results) -> P:
        """Return the plan of the step.

        Raises
        ------
        PipelineError
            If the plan cannot be predicted.
        """
        self.foresight.refuse_missing(step, self.scope)
        return self.predict_plan(step, results)

    def predict_plan(self, step: Step, results: Results) -> P:
        """Return the plan of the step."""
        raise NotImplementedError


class ShownJobs(Shown[OverlaidPlan]):
    """A kind whose jobs are planned as in a run, with overlay paths."""

    has_jobs = True
    planner: type[Kind[Any]]  # the kind used by a run

    def predict_plan(self, step: Step, results: Results) -> OverlaidPlan:
        """Build its jobs."""
        plan = self.planner(self.scope).plan(*self.foresight.overlaid_step(step, results))
        return OverlaidPlan.of(plan, self.foresight.overlay)


class ShownRecipe(ShownJobs):
    """A recipe step: its maps go into the overlay, with the predicted results of its jobs."""

    planner = Recipe

    def finish(self, plan: OverlaidPlan, jobs: StepJobs | None) -> Outputs:
        """Write its maps."""
        if jobs is None:
            return {}
        outputs = self.foresight.write_predicted_maps(plan.plan, jobs, in_loop=bool(self.scope.loops))
        self.foresight.record_predictions(jobs, outputs, self.scope)
        return outputs


class ShownFeedback(ShownJobs):
    """A feedback step: nothing is written, as no later step reads the metadata file."""

    planner = Feedback

    def finish(self, plan: OverlaidPlan, jobs: StepJobs | None) -> Outputs:
        """Return the predicted output paths."""
        if jobs is not None:
            self.foresight.record_predictions(jobs, {}, self.scope)
        return self.foresight.overlay.to_run_names(feedback_outputs(plan.plan))


class ShownPlugin(Shown[Step]):
    """A plugin; called with overlay paths if it declares every path that it writes."""

    def predict_plan(self, step: Step, results: Results) -> Step:
        """Return the step."""
        return step

    def finish(self, plan: Step, jobs: StepJobs | None) -> Outputs:
        """Call the plugin, or return its last result."""
        path = find_plugin(STEP_PREFIX, plan.type, self.scope.pipeline.plugin_path)
        writes, add_lines = declared(path, "DRY_RUN_WRITES"), self.foresight.printout.add_lines
        comment = f"# {plan.name}: plugin {plan.type}"
        if writes is None and declared(path, "OUTPUTS") == ():
            add_lines(comment)
            return {}
        try:
            if writes is None:
                raise PipelineError("a dry run does not call it")
            outputs = self._call(plan, path, writes)
        except PipelineError as err:
            return self._previous_outputs(plan, f"{comment}; {err}")
        add_lines(comment)
        return outputs

    def _previous_outputs(self, step: Step, comment: str) -> Outputs:
        outputs = self.scope.ledger.work.plugins.get(self.scope.entry(step))
        if outputs is None:
            self.foresight.printout.add_lines(comment)
            raise NotKnown(step.name)
        self.foresight.printout.add_lines(f"{comment}; {LAST_TIME}")
        return dict(outputs)

    def _call(self, step: Step, path: Path, writes: Sequence[str]) -> Outputs:
        """Call a plugin with its output arguments in the overlay."""
        foresight, overlay = self.foresight, self.foresight.overlay
        step, results = foresight.overlaid_step(step, self.scope.results)
        positionals, keywords = plugin_call(step, results, self.scope.settings.lenient)
        if step.arguments:
            keywords["parset"] = self.scope.write_parset(step, {})
        module = load(path, "plugin_main")
        function = "plugin_dry_run" if hasattr(module, "plugin_dry_run") else "plugin_main"
        if hasattr(module, "plugin_looks_at"):
            foresight.refuse_unsettled(module.plugin_looks_at(**keywords))
        if function == "plugin_main":
            foresight.refuse_uncertain([*positionals, *map(str, keywords.values())])
        places = overlay.places(writes, keywords)
        returned = run_plugin(path, positionals, {**keywords, **places}, function)
        overlay.collect_files()
        foresight.printout.add_lines(*(f"# {notice}" for notice in python2.take_notices()))
        outputs = overlay.to_run_names(plain(returned)) if isinstance(returned, dict) else {}
        if function == "plugin_dry_run":
            foresight.printout.add_lines(
                *(f"# {step.name}: {line}" for line in str(outputs.pop(COMMENTS, "")).splitlines())
            )
            self._expect(step, [str(value) for value in keywords.values()], outputs)
        return outputs

    def _expect(self, step: Step, arguments: Sequence[str], outputs: Outputs) -> None:
        """Record the announced outputs of a plugin whose inputs are predicted outputs of jobs."""
        foresight = self.foresight
        if foresight.pending_outputs.may_include(foresight.named_in(arguments)) or any(
            map(foresight.overlay.uncertain_paths, arguments)
        ):
            output_paths = foresight.named_in([str(value) for value in outputs.values()])
            self.scope.ledger.record_pending(self.scope.entry(step), {}, output_paths)
            foresight.pending_outputs.add(step.name, output_paths)


class ShownLoop(Shown[Step], Loop):
    """A loop: its iterations, or one if a step decides when it ends."""

    def predict_plan(self, step: Step, results: Results) -> Step:
        """Return the step with its number of iterations."""
        if loop_count(step) >= 0:
            return step
        self.foresight.printout.add_lines(
            f"# {step.name}: a loop that ends when a step in it says so; one iteration is shown"
        )
        return replace(step, control={**step.control, "loopcount": "1"})


class ShownSubPipeline(Shown[Step], SubPipeline):
    """The steps of another parset."""

    def predict_plan(self, step: Step, results: Results) -> Step:
        """Return the step with the references of its overrides resolved."""
        return SubPipeline.plan(self, step, results)


class ShownUnknown(Shown[Step]):
    """An unknown kind, in a lenient run."""

    def plan(self, step: Step, results: Results) -> Step:
        """Print the reason."""
        self.foresight.printout.add_lines(f"# {step.name}: kind '{step.kind}' is not known; nothing is done")
        return step


KINDS: Mapping[str, type[Shown[Any]]] = {
    "recipe": ShownRecipe,
    "plugin": ShownPlugin,
    "feedback": ShownFeedback,
    "loop": ShownLoop,
    "pipeline": ShownSubPipeline,
}


def shown_kind(foresight: Predictions, scope: Scope, name: str) -> Kind[Any]:
    """Return the kind with a given name."""
    return Broken(scope) if name == BROKEN else KINDS.get(name, ShownUnknown)(scope, foresight)


def preview(
    pipeline: Pipeline,
    settings: Settings,
    executor: Executor,
    state: RunState,
    directory: Path,
    signals: Sequence[int] = (),
    as_typed: bool = False,
) -> Printout:
    """Walk the steps as a run does, and return its actions: lines to print, jobs for tools.

    Parameters
    ----------
    directory: empty; root of all files written.
    as_typed: print each command on its own line in shell syntax, those of finished jobs as comments.

    Raises
    ------
    Interrupted
        After a signal.
    """
    printout = Printout(Overlay(directory / "files"))
    foresight = Predictions(
        printout, Predictor(printout.overlay, state.work, directory / "jobs"), PendingOutputs(settings.job_workdir)
    )
    (directory / "files").mkdir()
    stream = Stream(state=state, reporters=[Comments(printout)])
    Run(
        Scope(pipeline, settings, executor, stream, signals, printout.overlay),
        lambda scope, name: shown_kind(foresight, scope, name),
        lambda scope: PrintingCrew(printout, scope, as_typed),
    ).execute()
    return printout


class Comments:
    """Prints the decisions of a run."""

    def __init__(self, printout: Printout) -> None:
        self._printout = printout

    def notice(self, event: Notice) -> None:
        """Print a decision."""
        self._printout.add_lines(f"# {event.text}")


class PrintingCrew:
    """Prints the commands of jobs; none is run, and nothing is recorded."""

    def __init__(self, printout: Printout, scope: Scope, as_typed: bool) -> None:
        self._printout = printout
        self._tell = printout.add_lines
        self._printout = printout
        self._expected: set[str] = set()  # jobs that run again because their outputs are gone
        self._scope = scope
        self._as_typed = as_typed

    def prepare(self) -> None:
        """Do nothing: no directory is made or cleared."""

    def skip_step(self, step: Step, plan: Plan) -> None:
        """Print that a step is up to date."""
        self._tell(f"# {step.name}: done before, with the same inputs; not run again")
        self._printout.add_jobs(step, plan.jobs, lambda _: True)
        if self._as_typed:
            self._tell(*(f"# done: {shlex.join(planned.job.argv)}" for planned in plan.jobs))

    def run(self, step: Step, jobs: StepJobs) -> None:
        """Print the commands of the pending jobs."""
        if jobs.finished_jobs:
            self._tell(f"# {step.name}: {len(jobs.finished_jobs)} of {len(jobs.plan.jobs)} jobs were done before")
        removed = {path: job for path, job in jobs.removed_inputs().items() if job not in self._expected}
        if removed:
            self._expected.update(removed.values())
            self._printout.lines.clear()  # the walk starts again from the first step
            raise RemovedInputs(step.name, removed)
        jobs.refuse_unsafe_inputs()
        self._printout.add_jobs(step, jobs.plan.jobs, lambda planned: planned not in jobs.pending)
        self._tell(*(f"# {step.name}: {notice}" for notice in notices_of(jobs.pending)))
        for planned in jobs.plan.jobs if self._as_typed else ():
            self._tell(*_typed(planned, planned in jobs.pending))
        for planned in jobs.pending if not self._as_typed else ():
            self._tell(*job_commands([planned]), *_called(planned))
        self._scope.ledger.work.record_removed_jobs(jobs.entry, jobs.removed_jobs)  # in this dry run only

    def record(self, jobs: StepJobs, outputs: Outputs) -> None:
        """Record nothing."""

    def accept_failure(self, step: Step, error: Exception) -> bool:
        """Print why a step cannot be predicted, and continue."""
        if not isinstance(error, PipelineError):
            return False
        if not isinstance(error, NotKnown):
            self._tell(f"# {step.name}: {error}")
            if step.kind == "recipe":
                self._tell(f"#   for each product: {_argv_with_placeholders(step, self._scope.results)}")
        return True

    def remove_intermediates(self, steps: Sequence[Step]) -> None:
        """Remove nothing."""

    def finish(self) -> None:
        """Leave nothing."""


def _typed(planned: PlannedJob, is_pending: bool) -> list[str]:
    """Return the shell command of a job after a comment with its resources; a finished job is all comments."""
    job = planned.job
    command = shlex.join(job.argv)
    if not is_pending:
        return [f"# done: {command}"]
    host = f", on {job.host}" if job.at_host and job.host != "localhost" else ""
    memory = f", {job.memory_gb:.1f} GB" if job.memory_gb else ""
    return [f"# {job.name}: {counted(job.cores, 'core')}{memory}{host}", command]


def _called(planned: PlannedJob) -> list[str]:
    """Return the script of a job and its arguments, which its command line does not show."""
    call = call_of(planned)
    if "script" not in call:
        return []
    keywords = [f"{key}={text}" for key, text in call["kwargs"].items()]
    return [f"#   {shlex.join([Path(call['script']).name, *call['args'], *keywords])}"]


def _argv_with_placeholders(step: Step, results: Results) -> str:
    """Return the program and its arguments as in the parset, with placeholders for files.

    References in ``results`` are resolved.
    """
    texts = step.given
    flags = list_items(step.control.get("arguments", step.arguments.get("flags", texts.get("arguments", ""))))
    keywords = [f"{key}={text}" for key, text in step.arguments.items() if key != "flags"]
    return shlex.join(resolve_known(word, results) for word in [texts.get("executable", ""), *flags, *keywords])
