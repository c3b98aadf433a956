"""Loading of a pipeline from a field parset: steps, options, and findings."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from lofarpipe.config import Settings, beside, find_file, parset_directories
from lofarpipe.errors import Finding, PipelineError, Suggestions
from lofarpipe.jobs import Resources
from lofarpipe.pipeline.checks import check_blocks, check_placeholders, check_steps, check_unlisted
from lofarpipe.pipeline.compose import compose, merge_sub_parset
from lofarpipe.pipeline.control import list_items
from lofarpipe.pipeline.hints import step_hint
from lofarpipe.pipeline.options import Option, check_options, read_options
from lofarpipe.pipeline.plugins import STEP_PREFIX, pipeline_checks
from lofarpipe.pipeline.steps import (
    BROKEN,
    EDGE,
    Results,
    Step,
    build_step,
    flattened,
    mark_references,
    numbered,
    references,
    resolve,
    resolve_known,
    step_list,
    sublist_keys,
)
from lofarpipe.programs.imagers import KEY, fallback_text, is_fallback
from lofarpipe.state.fingerprints import is_same, stamp
from lofarpipe.state.intermediates import ALL, KEEP
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.parset import Parset
from lofarpipe.support.utilities import is_file

#: First parts of keys that are not steps: the pipeline's own, and those of observatories in the same file.
TOLERANCE, UPGRADE = "pipeline.error_tolerance", "pipeline.rerun_on_upgrade"
OPTIONAL = "pipeline.optional_failures"
KEPT = "pipeline.keep"
STEPS = "pipeline.steps"
WARN, FAIL = "warn", "fail"
#: Keys of the pipeline itself -> valid values.
OWN_VALUES = {OPTIONAL: (WARN, FAIL), KEPT: KEEP}
OTHER_KEYS = ("pipeline.base", "pipeline.check", "pipeline.mapfile", "pipeline.pluginpath")
OWN_KEYS = (*OTHER_KEYS, STEPS, TOLERANCE, UPGRADE, *OWN_VALUES)
RESERVED = ("pipeline", "ObsSW", "prefix", "feedback_version")


@dataclass(frozen=True)
class Pipeline:
    """A loaded pipeline."""

    path: Path
    parset: Parset  # every {{ }} replaced
    composed: Parset  # before replacement: base, field, ready steps and command line
    files: tuple[Path, ...]  # its files, from the base upwards to ``path``
    options: tuple[Option, ...]
    steps: tuple[Step, ...]
    plugin_path: tuple[Path, ...]
    checks: tuple[str, ...]
    findings: tuple[Finding, ...]  # on the text: options, names, blocks
    bad_options: frozenset[str]  # options with a value outside their domain
    suspect_keys: frozenset[str]  # keys that use them, whose errors are already reported
    warnings: tuple[Finding, ...] = ()  # possibly intended
    error_tolerance: bool = True  # whether a run with tolerated failures of jobs succeeds
    rerun_on_upgrade: bool = True  # whether work of another version of a program is repeated
    keep: str = ALL  # outputs to keep once no later step needs them
    fails_with_optional: bool = False  # whether failed optional steps give exit status 1 at the end


def find_parset(typed: str) -> Path:
    """Return the path of the parset: as typed, else the shipped one of that name.

    Raises
    ------
    PipelineError
        If there is no such file.
    """
    if is_set(typed):
        remedy = f"give it to a pipeline: image.parset -s 'data_input_filenames=[{typed}]'"
        raise PipelineError(f"{typed}: is a measurement set, and no parset; {remedy}")
    return find_file(typed, parset_directories(), "parset")


def is_set(name: str) -> bool:
    """Whether a name is the name of a measurement set."""
    return is_file(Path(name, "table.dat"))


def load_pipeline(
    path: Path, settings: Settings, assignments: Sequence[str] = (), field: Parset | None = None
) -> Pipeline:
    """Load the pipeline in ``path`` with ``assignments`` (``key=value``) on top.

    ``field`` is a front end's translation of that file.

    Raises
    ------
    PipelineError
        If a file cannot be read or parsed, or there are no steps at all. All other problems are in
        ``findings``.
    """
    composition = compose(path, assignments, parset_directories(), settings.search_path("steps"), field)
    parset = composition.parset.substituted()
    documented = composition.documented
    options = read_options(parset.definitions(), documented) if documented else []
    wrong = {option.name: check_options([option]) for option in options}
    bad_options = frozenset(name for name, option_findings in wrong.items() if option_findings)
    bad_values = [option.value for option in options if option.name in bad_options and option.value]
    builder = StepBuilder(parset, settings, bad_values)
    steps = builder.steps(numbered(step_list(parset, path)))
    findings = composition.findings + [finding for option_findings in wrong.values() for finding in option_findings]
    listed_blocks = builder.blocks | _sublisted(parset)
    findings += check_blocks(parset, listed_blocks, RESERVED)
    misspelt, unlisted = check_unlisted(parset, listed_blocks | _loop_steps(parset), _blocks(parset), RESERVED)
    findings += misspelt
    findings += check_placeholders(parset, builder.blocks, bad_values)
    plugin_path = _plugin_path(parset, settings, composition.files)
    suspect_keys = _users(composition.parset, bad_options) | {key for key in parset if parset.placeholders(key)}
    findings += _exclude_keys([*_check_own_values(parset), *builder.findings], suspect_keys - {STEPS})
    return Pipeline(
        path=path,
        parset=parset,
        composed=composition.parset,
        files=composition.files,
        options=tuple(options),
        steps=tuple(steps),
        plugin_path=plugin_path,
        checks=tuple(parset.vector("pipeline.check")) if "pipeline.check" in parset else (),
        findings=tuple(findings),
        bad_options=bad_options,
        suspect_keys=suspect_keys,
        keep=parset.string(KEPT) if KEPT in parset else ALL,
        fails_with_optional=OPTIONAL in parset and parset.string(OPTIONAL) == FAIL,
        error_tolerance=TOLERANCE not in parset or parset.string(TOLERANCE) != "False",
        rerun_on_upgrade=UPGRADE not in parset or parset.string(UPGRADE) != "False",
        warnings=(
            *composition.parset.repeated,
            *unlisted,
            *_misspelt_own_keys(parset),
            *_replaced_plugins(steps, plugin_path),
            *_imagers(steps),
        ),
    )


def _check_own_values(parset: Parset) -> list[Finding]:
    """Return a finding for each invalid value of the pipeline's own keys."""
    return [
        Finding(parset.entry(key).where, f"{key} is '{parset.string(key)}'; one of {', '.join(values)} is needed")
        for key, values in OWN_VALUES.items()
        if key in parset and parset.string(key) not in values
    ]


def _misspelt_own_keys(parset: Parset) -> Iterator[Finding]:
    """Return a warning for each ``pipeline`` key similar to a known one; observatories add others."""
    suggested, own = Suggestions(), [key.removeprefix("pipeline.") for key in OWN_KEYS]
    for key in parset:
        first, _, rest = key.partition(".")
        name = rest.partition(".")[0]
        if first == "pipeline" and name not in own and (hint := suggested.nearest(name, own)):
            yield Finding(parset.entry(key).where, f"{key}: has no effect{hint}")


def _exclude_keys(findings: Iterable[Finding], keys: Collection[str]) -> Iterator[Finding]:
    """Return the findings except those on these keys, which follow from a wrong option."""
    return (finding for finding in findings if re.split(r"[: ]", finding.what, maxsplit=1)[0] not in keys)


def _users(parset: Parset, names: frozenset[str]) -> frozenset[str]:
    """Return the keys with a value that uses one of the variables."""
    return frozenset(key for key in parset if names.intersection(parset.placeholders(key)))


DEEPEST = 50  # nesting of loops and sub-pipelines
MOST_REPEATED_KEYS = 2**18  # keys of repeated steps: a few nested loops can list billions


class StepBuilder:
    """Builds steps with their inner steps: bodies of loops, and sub-pipelines."""

    def __init__(self, parset: Parset, settings: Settings, bad_values: Sequence[str] = ()) -> None:
        self.findings: list[Finding] = []
        self._bad_values = bad_values  # invalid option values: steps named by one are not reported again
        self.blocks: set[str] = set()
        self._parset = parset
        self._settings = settings
        self._within: list[str] = []
        self._files: list[Path] = []  # of the sub-pipelines being built
        self._keys_built = 0  # a repeated block counts each time
        self._blocks = _blocks(parset)
        self._suggested = Suggestions()

    def steps(self, names: Sequence[tuple[str, str]], where: str = "") -> list[Step]:
        """Build the steps of a list of (name, block); failures become broken steps, with a finding.

        ``where`` is the key with the list; default: ``pipeline.steps``.
        """
        list_place = where or f"{self._parset.entry('pipeline.steps').where}: pipeline.steps"
        return [self._step(name, block, list_place) for name, block in names]

    def _step(self, name: str, block: str, list_place: str) -> Step:
        self.blocks.add(block)
        if block not in self._blocks or not block:
            where, _, key = list_place.partition(": ")
            hint = self._suggested.hint(partial(step_hint, block, self._parset, self._blocks))
            finding = Finding(where, f"{key}: there is no step '{block}'{hint}")
            if any(value in block for value in self._bad_values):
                return Step(name, block, BROKEN, "", {}, {}, problem=str(finding))
            return self._broken(name, block, finding)
        try:
            step = build_step(name, block, self._parset, self._settings.tasks)
            self._keys_built += len(step.entries)
            if self._keys_built > len(self._parset) + MOST_REPEATED_KEYS:
                problem = f"steps that are listed again have more than {MOST_REPEATED_KEYS} keys in all; list fewer"
                raise PipelineError(f"{list_place}: {problem}")
            return self._add_body(step)
        except PipelineError as err:
            where, _, problem = str(err).partition(": ")
            return self._broken(name, block, Finding(where, problem))

    def _broken(self, name: str, block: str, finding: Finding) -> Step:
        if EDGE not in finding.what:  # problems of other steps' values are found when the step begins
            self.findings.append(finding)
        return Step(name, block, BROKEN, "", {}, {}, problem=str(finding))

    def _add_body(self, step: Step) -> Step:
        """Add the inner steps to a loop or a sub-pipeline; return any other step unchanged."""
        if step.kind not in ("loop", "pipeline"):
            return step
        if step.name in self._within:
            raise PipelineError(f"{step.where('control.kind')}: the step contains itself")
        if len(self._within) == DEEPEST:
            raise PipelineError(f"{step.where('control.kind')}: more than {DEEPEST} steps within each other")
        self._within.append(step.name)
        try:
            return self._looped(step) if step.kind == "loop" else self._build_sub_pipeline(step)
        finally:
            self._within.pop()

    def _looped(self, step: Step) -> Step:
        names = [self._in_sub_pipeline(name) for name in list_items(step.control.get("loopsteps", ""))]
        if not names:
            raise PipelineError(f"{step.where('control.loopsteps')}: a loop needs the list of its steps")
        return replace(step, body=tuple(self.steps(numbered(names), step.where("control.loopsteps"))))

    def _in_sub_pipeline(self, name: str) -> str:
        """Return the block named in a loop of a sub-pipeline: the master's, else the sub-pipeline's own."""
        longer = [f"{within}-{name}" for within in reversed(self._within)]
        return next((block for block in (name, *longer) if block in self._blocks), name)

    def _build_sub_pipeline(self, step: Step) -> Step:
        """Build a sub-pipeline; if it needs values of other steps, with a function to rebuild it with them.

        Source: doc/spec/lofarpipe.md, section 4.7.
        """
        known_results = {"input": self._settings.inputs, **self._settings.sections}
        overrides = {key: resolve_known(text, known_results) for key, text in step.arguments.items()}
        if not any(references(text) for text in overrides.values()):
            return self._rebuild_sub_pipeline(step, overrides)
        parset = Parset()
        parset.adopt(self._parset)
        again = partial(self._resolved, parset, tuple(self._within), tuple(self._files))
        edged_overrides = {key: mark_references(text) for key, text in overrides.items()}
        return replace(self._rebuild_sub_pipeline(step, edged_overrides), resolved=again)

    def _resolved(
        self, parset: Parset, within: Sequence[str], files: Sequence[Path], step: Step, results: Results
    ) -> Step:
        """Rebuild a sub-pipeline in the original ``parset``, with step outputs in its overrides."""
        builder = StepBuilder(Parset(), self._settings)
        builder._parset.adopt(parset)
        builder._within, builder._files = [*within], [*files]
        values = {key: resolve(text, results, step.where(f"argument.{key}")) for key, text in step.arguments.items()}
        return builder._rebuild_sub_pipeline(step, values)

    def _rebuild_sub_pipeline(self, step: Step, overrides: dict[str, str]) -> Step:
        where = step.where("control.type")
        if not step.type:
            raise PipelineError(f"{where}: a sub-pipeline needs the path of its parset")
        if EDGE in step.type:
            raise PipelineError(f"{where}: is '{step.type}'; which parset that is, an earlier step says")
        typed = resolve(step.type, {"input": self._settings.inputs, **self._settings.sections}, where)
        folders = [Path(step.entries["control.type"].file).parent, *parset_directories()]
        path = find_file(typed, folders, "sub-pipeline")
        if path.resolve() in self._files:
            raise PipelineError(f"{where}: the sub-pipeline {path} contains itself")
        sub = merge_sub_parset(self._parset, step.name, path, overrides)
        self._blocks = _blocks(self._parset)
        control = {"mapfile_in": sub.mapfile, **step.control} if sub.mapfile else step.control
        self._files.append(path.resolve())
        try:
            body = self.steps(numbered(sub.steps), f"{path}: pipeline.steps")
        finally:
            self._files.pop()
        return replace(step, control=control, body=tuple(body))


def _blocks(parset: Parset) -> set[str]:
    """Return the first parts of all keys except definitions: the blocks of possible steps."""
    return {key.partition(".")[0] for key in parset if not key.startswith("!")}


def _sublisted(parset: Parset) -> set[str]:
    """Return the steps in all sub-lists, even unused ones: their blocks are no mistake."""
    return {name for key in sublist_keys(parset) for name in parset.vector(key)}


def _loop_steps(parset: Parset) -> set[str]:
    """Return the steps of all loops, even of loops that do not run."""
    lists = (parset.string(key) for key in parset if key.endswith(".control.loopsteps"))
    return {name for text in lists for name in list_items(text)}


def _plugin_path(parset: Parset, settings: Settings, files: Sequence[Path]) -> tuple[Path, ...]:
    """Return the plugin directories: the site's, the pipeline's own, then the shipped ones.

    Source: doc/spec/lofarpipe.md, section 7.1.
    """
    *of_site, shipped = settings.search_path("plugins")
    own_paths = [Path(parset.string("pipeline.pluginpath")).absolute()] if "pipeline.pluginpath" in parset else []
    return (*of_site, *own_paths, *beside(files, "plugins"), shipped)


def _replaced_plugins(steps: Sequence[Step], plugin_path: Sequence[Path]) -> list[Finding]:
    """Return a finding for each step whose plugin hides a shipped one of the same name."""
    shipped = plugin_path[-1]
    findings = []
    for step in (step for step in flattened(steps) if step.kind == "plugin"):
        name = f"{STEP_PREFIX}{step.type}.py"
        plugin = next((directory / name for directory in plugin_path if is_file(directory / name)), shipped / name)
        ours = stamp(str(shipped / name)) if plugin.parent != shipped else None
        if ours is not None and not is_same(stamp(str(plugin)), ours):
            findings.append(Finding(step.where("control.type"), f"is {plugin}, not the shipped plugin of that name"))
    return findings


def _imagers(steps: Sequence[Step]) -> list[Finding]:
    """Return a finding about missing WSClean, for the first step that would prefer it."""
    first = next((step for step in flattened(steps) if is_fallback(step.given)), None)
    return [Finding(first.where(f"control.{KEY}"), fallback_text())] if first else []


def known_outputs(pipeline: Pipeline, settings: Settings) -> Results:
    """Return the values of ``<name>.output.<key>`` known before any step has run.

    Every section of the configuration is such a name, and ``input`` has all keys; the names of the job and the parset,
    and ``genericpipeline`` are aliases of ``input``. Source: doc/spec/lofarpipe.md, sections 1.3 and 2.3.
    """
    everything: dict[str, object] = {**settings.inputs, "parset": str(pipeline.path.absolute())}
    if "pipeline.mapfile" in pipeline.parset:
        everything["mapfile"] = pipeline.parset.string("pipeline.mapfile")
    aliases = (pipeline.path.stem, settings.job_name, "genericpipeline", "input")
    sections: Results = {name: dict(section) for name, section in settings.sections.items()}
    return sections | {name: dict(everything) for name in aliases}


def check_pipeline(pipeline: Pipeline, settings: Settings, machine: Resources) -> list[Finding]:
    """Return all findings and warnings that are possible before the first job."""
    findings = list(pipeline.findings)
    known_results = known_outputs(pipeline, settings)
    sound = {option.name: option.value for option in pipeline.options if option.name not in pipeline.bad_options}
    arguments = {f"{step.name}.argument.{key}": text for step in pipeline.steps for key, text in step.arguments.items()}
    on_options = pipeline_checks(
        pipeline.checks, sound | arguments, settings, machine, pipeline.plugin_path, pipeline.files
    )
    faulty_options = frozenset(finding.where for finding in on_options if not finding.is_warning) & sound.keys()
    suspect_keys = pipeline.suspect_keys | _users(pipeline.composed, faulty_options)
    on_steps = check_steps(pipeline.steps, settings, machine, pipeline.plugin_path, known_results, suspect_keys)
    findings += [
        one for one in on_steps if one.where.rpartition(": ")[2] not in suspect_keys
    ]  # the others are consequences
    findings += on_options
    return list(dict.fromkeys(findings))
