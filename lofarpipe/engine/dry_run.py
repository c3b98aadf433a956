"""Every command that a run would give, as far as it can be known; no job is run, and nothing of the run is written.

Steps are gone through as in a run. Plugins that only write maps are called, and the maps of the other steps are
written as if their jobs had done well: all of it in a temporary directory, so that the steps after them find it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lofarpipe.engine.feedback_step import prepare_feedback
from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.engine.journal_events import job_entry
from lofarpipe.engine.overlay import PLACEHOLDER, Awaited, Shadow, named_by_job
from lofarpipe.engine.prediction import Supposer, call_of, feedback_outputs
from lofarpipe.engine.recipe import Prepared, prepare
from lofarpipe.engine.run import Run, StepPlan, notices_of, plain
from lofarpipe.engine.step_jobs import Outputs, StepJobs, Work, command_lines
from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.control import list_items, loop_count, plugin_call
from lofarpipe.pipeline.plugins import STEP_PREFIX, declared, find_plugin, load, run_plugin
from lofarpipe.pipeline.references import Results, references, resolve_known
from lofarpipe.pipeline.steps import KINDS, Step, flattened
from lofarpipe.state.jobs import JobLedger
from lofarpipe.state.uptodate import MAP_ENDINGS, NEVER_DONE, Ledger
from lofarpipe.support.data_map import DataMap
from lofarpipe.support.python2 import loader as python2
from lofarpipe.support.utilities import files_of

LAST_TIME = "its maps are taken to be those of the last run"
MEANING = "#   what stands in <step:key:number> is what that job of the step will have returned"


class NotKnown(PipelineError):  # noqa: N818 - it names what is the case
    """A step was told of, and what it will give cannot be known."""


@dataclass
class DryRun(Run):
    """Goes through the steps as a run does, and puts into ``lines`` what that would do.

    Parameters
    ----------
    directory: an empty one; all that is written is below it.
    """

    directory: Path = field(kw_only=True)
    lines: list[str] = field(default_factory=list)
    shadow: Shadow = field(init=False)
    incomplete: set[str] = field(default_factory=set)  # steps that may give more than is known
    awaited: Awaited = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        (self.directory / "files").mkdir()
        self.shadow = Shadow(self.directory / "files")
        self.ledger = Ledger(self.journal, self.settings, self.shadow)
        self.awaited = Awaited(self.settings.job_workdir)
        self._supposer = Supposer(self.shadow, self.journal, self.directory / "jobs")

    def prepare_directories(self) -> None:
        """Make none, and remove nothing."""

    def _tell(self, *lines: str) -> None:
        """Add lines, with the names that files have in a run."""
        for line in self.shadow.back(lines):
            self.lines.append(line)
            if PLACEHOLDER.search(line) and MEANING not in self.lines:
                self.lines.append(MEANING)

    # ---- steps

    def _step(self, step: Step) -> None:
        missing = self._missing(step) if step.kind in KINDS else []
        try:
            if missing:
                raise PipelineError(f"to be known it needs what these give, which did not run: {', '.join(missing)}")
            super()._step(step)
        except NotKnown:
            self.results.pop(step.name, None)
        except PipelineError as err:
            self.results.pop(step.name, None)
            self._tell(f"# {step.name}: {err}")
            if step.kind == "recipe":
                self._tell(f"#   for each product: {_as_written(step, self.results)}")

    def _missing(self, step: Step) -> list[str]:
        """Return the steps to which this one refers, and whose outputs are not known."""
        wanted = [pair for text in _texts(step) for pair in references(text)]
        later = {other.name for other in flattened(self.pipeline.steps)} - self.results.keys()
        unknown = [n for n, key in wanted if n in later or (n in self.incomplete and key not in self.results[n])]
        return list(dict.fromkeys(unknown))

    def _in_shadow(self, step: Step) -> tuple[Step, Results]:
        """Return a step, and what the steps before it gave, with names that say where files are."""
        named = {name for text in _texts(step) for name, _ in references(text)} & self.results.keys()
        results = {name: {key: self._there(value) for key, value in self.results[name].items()} for name in named}
        arguments = {key: text if _implies_map(key, text) else self._seen(text) for key, text in step.arguments.items()}
        control = {key: self._seen(text) for key, text in step.control.items()}
        positionals = tuple(map(self._seen, step.positionals))
        return replace(step, control=control, arguments=arguments, positionals=positionals), {**self.results, **results}

    def _there(self, value: object) -> object:
        return self.shadow.into(value) if isinstance(value, str) else value

    def _seen(self, text: str) -> str:
        """Return a text with the names of files that are elsewhere; any other text stays as it is."""
        resolved = resolve_known(text, self.results)
        there = self.shadow.into(resolved)
        return text if there == resolved else there

    def _parset_file(self, step: Step) -> Path:
        return Path(self.shadow.made(str(super()._parset_file(step))))

    # ---- plugins

    def _plugin(self, step: Step) -> Outputs:
        path = find_plugin(STEP_PREFIX, step.type, self.pipeline.plugin_path)
        writes = declared(path, "DRY_RUN_WRITES")
        told = f"# {step.name}: plugin {step.type}"
        if writes is None and declared(path, "OUTPUTS") == ():
            self._tell(told)
            return {}
        try:
            if writes is None:
                raise PipelineError("a dry run does not call it")
            outputs = self._call(step, path, writes)
        except PipelineError as err:
            return self._as_last_time(step, f"{told}; {err}")
        self._tell(told)
        return outputs

    def _as_last_time(self, step: Step, told: str) -> Outputs:
        """Return what a plugin gave the last time."""
        outputs = self.journal.plugins.get(self._journal_name(step))
        if outputs is None:
            self._tell(told)
            raise NotKnown(step.name)
        self._tell(f"{told}; {LAST_TIME}")
        return dict(outputs)

    def _call(self, step: Step, path: Path, writes: Sequence[str]) -> Outputs:
        """Call a plugin with other places to write to."""
        step, results = self._in_shadow(step)
        positionals, keywords = plugin_call(step, results, self.settings.lenient)
        if step.arguments:
            keywords["parset"] = self._write_parset(step, {})
        module = load(path, "plugin_main")
        function = "plugin_dry_run" if hasattr(module, "plugin_dry_run") else "plugin_main"
        if hasattr(module, "plugin_looks_at"):
            self._refuse_unsettled(module.plugin_looks_at(**keywords))
        if function == "plugin_main":
            self._refuse_uncertain([*positionals, *map(str, keywords.values())])
        places = self.shadow.places(writes, keywords)
        returned = run_plugin(path, positionals, {**keywords, **places}, function)
        self.shadow.settle()
        self._tell(*(f"# {notice}" for notice in python2.take_notices()))
        outputs = self.shadow.back(plain(returned)) if isinstance(returned, dict) else {}
        if function == "plugin_dry_run":
            self._await_delivered(step, [str(value) for value in keywords.values()], outputs)
        return outputs

    def _await_delivered(self, step: Step, given: Sequence[str], outputs: Outputs) -> None:
        """Keep what a plugin would write that only told it, if it is given what jobs are going to write."""
        is_new = self.awaited.has_any(self._named_in(given)) or any(map(self.shadow.uncertain, given))
        if is_new:
            made = self._named_in([str(value) for value in outputs.values()])
            self.ledger.suppose(self._journal_name(step), {}, made)
            self.awaited.add(step.name, made)

    def _named_in(self, texts: Sequence[str]) -> set[str]:
        """Return the files in texts, and in the maps that they name."""
        maps = [self.shadow.found(text) for text in texts if text.endswith(MAP_ENDINGS)]
        products = [product.file for path in maps if Path(path).is_file() for product in DataMap.load(path).data]
        return {name for text in [*texts, *products] for name in files_of(text)}

    def _refuse_uncertain(self, texts: Iterable[str]) -> None:
        """Raise if a plugin would read what a script has not returned yet."""
        for name in (name for text in texts for name in self.shadow.uncertain(text)):
            raise PipelineError(f"what is in {name} is known only when jobs have run")

    def _refuse_unsettled(self, folders: Iterable[str]) -> None:
        """Raise if jobs that did not run may yet write into a directory that a plugin looks through."""
        for folder in folders:
            if self.shadow.has_folder(folder):
                raise PipelineError(f"what is in {folder} is known only when the steps before have run")
            if step := self.awaited.writer(str(Path(folder).absolute())):
                raise PipelineError(f"what is in {folder} is known only when {step} has run")

    # ---- steps with jobs

    def _recipe(self, step: Step) -> Outputs:
        seen, results = self._in_shadow(step)
        prepared = prepare(seen, results, self.settings, self.executor.capacity(), self._journal_name(step))
        self._write_parset(seen, prepared.keywords)
        return self._shown(step, prepared)

    def _feedback(self, step: Step) -> Outputs:
        prepared = prepare_feedback(*self._in_shadow(step), self.settings, self.executor.capacity())
        self._shown(step, prepared)
        return self.shadow.back(feedback_outputs(prepared))

    def _shown(self, step: Step, prepared: StepPlan) -> Outputs:
        """Tell the commands of a step, and return what it gives; of a feedback step, nothing."""
        entry = self._journal_name(step)
        work = self._work_of(prepared)
        reason = self.ledger.stale(entry, work.identity, work.error_tolerance)
        if not reason:
            self._tell(f"# {step.name}: done before, with the same inputs; not run again")
            return self.ledger.take(entry)
        if reason != NEVER_DONE:
            self._tell(f"# {step.name}: runs again: {reason}")
        ledger = JobLedger(self.ledger, entry)
        prepared = self._numbered(ledger, prepared)
        jobs = self._step_jobs(step, self._work_of(prepared), ledger)
        if jobs.kept:
            self._tell(f"# {step.name}: {len(jobs.kept)} of {len(work.jobs)} jobs were done before")
        jobs.refuse_unsafe()
        self._tell(*(f"# {step.name}: {notice}" for notice in notices_of(jobs.pending)))
        for planned in jobs.pending:
            self._tell(*command_lines([planned]), *_called(planned))
        self.journal.leave(entry, jobs.left)  # for as long as this dry run lives
        outputs = self._supposed(step, entry, prepared, jobs) if isinstance(prepared, Prepared) else {}
        self._await(step, entry, jobs, outputs)
        return outputs

    def _work_of(self, prepared: StepPlan) -> Work:
        """Return the work of a step under the names that files have in a run: what was done before had these."""
        work, back = super()._work_of(prepared), self.shadow.back
        return replace(
            work,
            identity=back(work.identity),
            label_of=lambda planned: back(work.label_of(planned)),
            job_identity=lambda planned: back(work.job_identity(planned)),
            outputs_of=lambda planned: back(list(work.outputs_of(planned))),
            changed_inputs=lambda planned: back(list(work.changed_inputs(planned))),
        )

    def _supposed(self, step: Step, entry: str, prepared: Prepared, jobs: StepJobs) -> Outputs:
        supposed = self._supposer.suppose(prepared, entry, jobs.kept, jobs.pending)
        self._tell(*(f"# {step.name}: {comment}" for comment in supposed.comments))
        if not supposed.is_complete:
            self.incomplete.add(step.name)
        if self.loops and supposed.may_break:
            self._tell(f"# {step.name}: it may end the loop here")
        returned = [text for p in jobs.pending for text in supposed.values[p.job.name].values()]
        self.awaited.add(step.name, (text for text in returned if Path(text).is_absolute()))
        return self._supposer.maps(prepared, supposed)

    def _await(self, step: Step, entry: str, jobs: StepJobs, outputs: Outputs) -> None:
        """Keep what the jobs of a step are going to write."""
        made = [path for planned in jobs.pending for path in jobs.work.outputs_of(planned)]
        maps = [str(value) for key, value in outputs.items() if key.endswith("mapfile")]
        new = {job_entry(entry, planned.job): self._new_outputs(entry, planned, jobs.work) for planned in jobs.pending}
        self.ledger.suppose(entry, new, [*made, *maps])
        if self._supposer.plans(jobs.pending):
            return
        self.awaited.add(step.name, made)
        for planned in jobs.pending:
            said = self.shadow.back([planned.job.argv[1:], call_of(planned)])
            self.awaited.add(step.name, named_by_job(said, self.settings.job_workdir))

    def _new_outputs(self, entry: str, planned: PlannedJob, work: Work) -> Sequence[str]:
        """Return the outputs of a job of which no earlier run tells what it writes."""
        last = self.journal.last_job(job_entry(entry, planned.job))
        return () if last and last.get("label") == work.label_of(planned) else work.outputs_of(planned)

    def _loop(self, step: Step) -> Outputs:
        if loop_count(step) < 0:
            self._tell(f"# {step.name}: a loop that ends when a step in it says so; one iteration is shown")
            step = replace(step, control={**step.control, "loopcount": "1"})
        return super()._loop(step)

    def _nothing(self, step: Step) -> Outputs:
        self._tell(f"# {step.name}: kind '{step.kind}' is not known; nothing is done")
        return {}


def _texts(step: Step) -> list[str]:
    return [*step.control.values(), *step.arguments.values(), *step.positionals]


def _implies_map(key: str, text: str) -> bool:
    """Whether an argument makes a map an input of its step, by what it refers to."""
    return "mapfile" not in key and any("mapfile" in output for _, output in references(text))


def _called(planned: PlannedJob) -> list[str]:
    """Return the script that a job calls and its arguments, which do not stand in its command."""
    call = call_of(planned)
    if "script" not in call:
        return []
    keywords = [f"{key}={text}" for key, text in call["kwargs"].items()]
    return [f"#   {shlex.join([Path(call['script']).name, *call['args'], *keywords])}"]


def _as_written(step: Step, known: Results) -> str:
    """Return the program and its arguments as the parset has them, with the words that stand for files.

    What it refers to and is ``known`` is filled in.
    """
    texts = step.given
    flags = list_items(step.control.get("arguments", step.arguments.get("flags", texts.get("arguments", ""))))
    keywords = [f"{key}={text}" for key, text in step.arguments.items() if key != "flags"]
    return shlex.join(resolve_known(word, known) for word in [texts.get("executable", ""), *flags, *keywords])
