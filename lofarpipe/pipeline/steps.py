"""Steps of a parset: expansion of the step list, one frozen Step for each block, and references between steps.

A reference, ``<step>.output.<key>`` inside a value, denotes an output of another step.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

from lofarpipe.config import Tasks
from lofarpipe.errors import PipelineError, nearest
from lofarpipe.programs.base import KNOWN_PROGRAMS
from lofarpipe.programs.imagers import KEY, imager_keys
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.parset import Entry, Parset
from lofarpipe.support.patterns import lazy_pattern
from lofarpipe.support.utilities import is_file

# Searched only at the start of a name: within long words the search would take quadratic time.
REFERENCE = lazy_pattern(r"(?<![\w+-])([\w+-]++)\.output\.([\w+.-]++)")
#: Edge mark around a reference that is resolved before its surroundings; not a character of names.
EDGE = "\u2063"
Results = dict[str, dict[str, object]]


def references(text: str) -> list[tuple[str, str]]:
    """Return (step, key) of every reference in ``text``, left to right."""
    return REFERENCE.findall(text)


def mark_references(text: str) -> str:
    """Return ``text`` with edge marks around its references, to separate them from neighbouring text."""
    return REFERENCE.sub(lambda match: f"{EDGE}{match[0]}{EDGE}", text)


def drop_marked_references(text: str) -> str:
    """Return ``text`` without its marked references, which are reported at their origin."""
    return re.sub(f"{EDGE}[^{EDGE}]*{EDGE}", EDGE, text)


def resolve(text: str, results: Mapping[str, Mapping[str, object]], where: str) -> str:
    """Replace every reference in ``text`` by the output of its step.

    Raises
    ------
    PipelineError
        If the step or output does not exist; the message names the existing ones.
    """

    def value(match: re.Match[str]) -> str:
        step, key = match.groups()
        if step not in results:
            raise PipelineError(f"{where}: '{match[0]}': no step '{step}' has run{nearest(step, results)}")
        if key not in results[step]:
            output_names = ", ".join(sorted(results[step])) or "nothing"
            raise PipelineError(
                f"{where}: step '{step}' has no output '{key}'{nearest(key, results[step])}; it gives: {output_names}"
            )
        return str(results[step][key])

    # A function as replacement leaves backslashes in values alone.
    return REFERENCE.sub(value, text)


def resolve_known(text: str, results: Mapping[str, Mapping[str, object]]) -> str:
    """Replace the references in ``text`` found in ``results``; leave the others."""

    def value(match: re.Match[str]) -> str:
        step, key = match.groups()
        return str(results[step][key]) if key in results.get(step, {}) else match[0]

    return REFERENCE.sub(value, text)


KINDS = ("recipe", "plugin", "feedback", "loop", "pipeline")
BROKEN = "broken"  # kind of a step that could not be built; fails when reached
BLOCK_PARTS = ("control", "argument", "use")
#: Begins as in the original runner. Source: doc/spec/lofarpipe.md, section 1.2.
NO_STEPS = (
    "No pipeline steps defined: there is no key pipeline.steps; add pipeline.steps = [first, second], the names of the "
    "steps in their order, or pipeline.base, the parset that has them"
)
MOST_SUBLISTS = 1000  # limit, as each one needs a search through the list


@dataclass(frozen=True)
class Step:
    """One named block of the parset, with ``{{ }}`` replaced and references to other steps not yet resolved."""

    name: str  # the n-th further occurrence of a step in the list is called <block>n
    block: str
    kind: str
    type: str
    control: Mapping[str, str]  # as written in the parset; without kind and type
    arguments: Mapping[str, str]  # in file order, flags included
    task: Mapping[str, str] = field(default_factory=dict)  # control keys from tasks.cfg
    entries: Mapping[str, Entry] = field(default_factory=dict, repr=False)  # "control.x" -> entry with its source
    positionals: tuple[str, ...] = ()  # control.cmdline.*: the positional arguments of a plugin
    body: tuple[Step, ...] = ()  # the steps of a loop or of a sub-pipeline
    problem: str = ""  # error of a broken step
    #: Rebuilds a sub-pipeline whose overrides refer to other steps, from their outputs.
    resolved: Callable[[Step, Results], Step] | None = field(default=None, repr=False, compare=False)

    @property
    def given(self) -> dict[str, str]:
        """Control keys of the step over those of its task."""
        return {**self.task, **self.control}

    @property
    def is_optional(self) -> bool:
        """Whether the run continues without the step if it fails."""
        return self.kind == "recipe" and self.given.get("optional") == "True"

    def checking_program(self, lenient: bool) -> str:
        """Return the known program that checks and completes the arguments; "" for none.

        In a lenient run only from the step itself, not its task: the executable may be a wrapper.
        """
        return self.control.get("program", "") if lenient else self.given.get("program", "")

    def where(self, key: str = "") -> str:
        """Return ``file:line: step.key`` for messages about ``key`` (such as ``control.mapfile_in``)."""
        entry = self.entries.get(key)
        if entry is None:
            return f"step '{self.name}'" + (f", {key}" if key else "")
        place = f"{entry.file}:{entry.line}" if entry.line else entry.file
        return f"{place}: {self.block}.{key}"


def step_list(parset: Parset, path: Path) -> list[str]:
    """Return the names in ``pipeline.steps``, with sub-lists expanded.

    Sub-lists are visited once, in byte order, and replace the first occurrence of their name.

    ``path`` is the parset, for the message.

    Raises
    ------
    PipelineError
        If ``pipeline.steps`` is missing, or there are too many sub-lists.
    """
    if "pipeline.steps" not in parset:
        raise PipelineError(f"{path}: {NO_STEPS}")
    names = parset.vector("pipeline.steps")
    names_in_lists, sublists_left = set(names), MOST_SUBLISTS
    for key in sorted(sublist_keys(parset)):
        name = key.removeprefix("pipeline.steps.")
        if name in names_in_lists and name in names:
            sublists_left -= 1
            if sublists_left < 0:
                raise PipelineError(f"{parset.entry(key).where}: {key}: more than {MOST_SUBLISTS} sub-lists are used")
            place = names.index(name)
            names[place : place + 1] = parset.vector(key)
            names_in_lists.update(parset.vector(key))
    return [name for name in names if name]


def sublist_keys(parset: Parset) -> list[str]:
    """Return the keys that define sub-lists: ``pipeline.steps.<name>``."""
    return [key for key in parset if key.startswith("pipeline.steps.")]


def numbered(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return (name, block) for each entry of a step list: repeated blocks are numbered ``x, x1, x2``."""
    counts: Counter[str] = Counter()
    result = []
    for block in names:
        result.append((f"{block}{counts[block]}" if counts[block] else block, block))
        counts[block] += 1
    return result


def build_step(name: str, block: str, parset: Parset, tasks: Tasks) -> Step:
    """Build the step ``name`` from the block ``block`` of ``parset`` (``{{ }}`` replaced).

    Raises
    ------
    PipelineError
        If the task type is unknown.
    """
    keys = parset.subset(block)
    entries = {key: keys.entry(key) for key in keys}
    control = {key.removeprefix("control."): keys.string(key) for key in keys if key.startswith("control.")}
    arguments = {key.removeprefix("argument."): keys.string(key) for key in keys if key.startswith("argument.")}
    kind = control.pop("kind", "recipe")
    step_type = control.pop("type", "")
    cmdline = [control.pop(key) for key in sorted(control) if key.startswith("cmdline.")]
    legacy = {key.removeprefix("opts."): text for key, text in control.items() if key.startswith("opts.")}
    if kind != "loop" and (legacy or "loopcount" in control):
        control = legacy  # the original ignores other control keys of a block with a loopcount
    task: Mapping[str, str] = {}
    if kind == "recipe":
        try:
            if cmdline and tasks.recipe(step_type) == "get_metadata":
                kind, control = "feedback", {"mapfile_in": cmdline.pop(0), **control}  # former name
            else:
                task = task_keys(step_type, tasks)
        except PipelineError as err:
            place = Step(name, block, kind, step_type, {}, {}, entries=entries)
            raise PipelineError(f"{place.where('control.type')}: {err}") from err
    if kind == "recipe" and control.get(KEY, ""):
        control |= _chosen_imager(Step(name, block, kind, step_type, control, {}, task, entries=entries))
    if arguments:
        complete_arguments(arguments, control, task)
    return Step(name, block, kind, step_type, control, arguments, task, entries, tuple(cmdline))


def _chosen_imager(step: Step) -> dict[str, str]:
    """Return the control keys of the imager chosen in a step."""
    try:
        return imager_keys(step.given)
    except PipelineError as err:
        raise PipelineError(f"{step.where(f'control.{KEY}')}: {err}") from err


def task_keys(step_type: str, tasks: Tasks) -> dict[str, str]:
    """Return the control keys of a type: from the task files, over those of the program of that name.

    A program is a type of its own if the task files have none of that name.

    Raises
    ------
    PipelineError
        If the type is unknown, or a value cannot be interpolated.
    """
    program = KNOWN_PROGRAMS.get(step_type) if step_type not in tasks else None
    keys = {"program": step_type} if program else tasks.control_keys(step_type)
    if keys.get("program") == step_type and step_type in KNOWN_PROGRAMS:
        return {**KNOWN_PROGRAMS[step_type].task, **keys}
    return keys


def complete_arguments(arguments: dict[str, str], control: dict[str, str], task: Mapping[str, str]) -> None:
    """Add arguments from parset files below the step's own; the first file with a key has priority.

    A name of no file stays an argument, or a reference to be resolved later.
    Source: doc/spec/lofarpipe.md, section 4.1.
    """
    for name, keys in (
        (arguments.get("parset", ""), arguments),
        (task.get("parset", ""), {}),
        (control.get("parset", ""), control),
    ):
        try:
            parset = Parset.read(Path(name)) if name and is_file(name) else None
        except PipelineError:
            parset = None
        if parset is None:
            continue
        keys.pop("parset", None)
        for key in parset:
            arguments.setdefault(key, parset.string(key))


def refresh_arguments(step: Step) -> Step:
    """Complete the arguments of a step again, now that earlier steps have written their files."""
    if not step.arguments:
        return step
    arguments, control = dict(step.arguments), dict(step.control)
    complete_arguments(arguments, control, step.task)
    return replace(step, arguments=arguments, control=control)


def replace_counters(step: Step, counters: Results) -> Step:
    """Replace loop counters in a step's arguments by their last values."""
    return replace(step, arguments={key: resolve_known(text, counters) for key, text in step.arguments.items()})


def flattened(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield the steps in order, inner steps after their loop or sub-pipeline."""
    for step in steps:
        yield step
        yield from flattened(step.body)
