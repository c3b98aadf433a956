"""Compose one parset, every key with its source, from field parset, base, ready steps and command line.

Precedence, lowest to highest: ready step (``<step>.use``), base (``pipeline.base``), field parset, ``--set``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from lofarpipe.config import beside, find_file
from lofarpipe.errors import Finding, PipelineError, Suggestions
from lofarpipe.pipeline.hints import option_hint
from lofarpipe.pipeline.steps import NO_STEPS
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.parset import Entry, Parset, unquote
from lofarpipe.support.patterns import lazy_pattern
from lofarpipe.support.utilities import is_file

#: Keys of the sub parset not copied into the master.
OWN_KEYS = ("pipeline.steps", "pipeline.pluginpath", "pipeline.mapfile")
_STEP_NAME = lazy_pattern(r"[\w+-]+")
_REFERRED = lazy_pattern(r"(?<![\w+-])([\w+-]++)\.output")


@dataclass(frozen=True)
class EmbeddedPipeline:
    """A sub-pipeline merged into the master parset."""

    steps: list[str]  # blocks, by their names in the master
    mapfile: str  # pipeline.mapfile of the sub parset, or ""


def merge_sub_parset(master: Parset, name: str, path: Path, overrides: dict[str, str]) -> EmbeddedPipeline:
    """Merge the sub parset in ``path`` into ``master`` for the step ``name``; return its steps.

    Every key becomes ``<name>-<key>``. Definitions of the sub parset replace those of the master; ``overrides``
    replace both; only variables defined in one of them can be overridden. ``master`` has its own
    ``{{ }}`` replaced already; afterwards those of the sub parset are replaced too.

    Raises
    ------
    PipelineError
        If the sub parset cannot be read, or has no steps.
    """
    sub = Parset.read(path)
    if "pipeline.steps" not in sub:
        raise PipelineError(f"{path}: {NO_STEPS}")
    definitions = sub.definitions()
    _define_last(master, definitions)
    definitions_above = master.definitions()
    overridden = {key: Entry(key, value, str(path), 0) for key, value in overrides.items() if key in definitions_above}
    _define_last(master, overridden)
    own_keys = _substitute_definitions(master, sub)
    steps = [step for step in own_keys.vector("pipeline.steps") if step]
    looped = (item for key in sub if key.endswith(".control.loopsteps") for item in sub.vector(key))
    blocks = {*steps, *(item.removeprefix(f"{name}-") for item in looped)}
    definition_keys = {entry.key for entry in definitions.values()}
    renamer = _Renamer(name, blocks)
    for entry in sub.entries():
        if entry.key not in definition_keys and entry.key not in OWN_KEYS:
            value = renamer.renamed(entry.value)
            master.set(f"{name}-{entry.key}", value, entry.file, entry.line, entry.comment)
    replaced = master.substituted()
    for key in replaced:
        entry = replaced.entry(key)
        master.set(key, entry.value, entry.file, entry.line, entry.comment)
    mapfile = own_keys.string("pipeline.mapfile") if "pipeline.mapfile" in own_keys else ""
    return EmbeddedPipeline([f"{name}-{step}" for step in steps], mapfile)


def _substitute_definitions(master: Parset, sub: Parset) -> Parset:
    """Return the sub parset's own keys with the variables of both replaced."""
    both = Parset()
    for entry in master.definitions().values():
        both.set(entry.key, entry.value, entry.file, entry.line)
    for key in OWN_KEYS:
        if key in sub:
            both.set(key, sub[key])
    return both.substituted()


def _define_last(master: Parset, definitions: Mapping[str, Entry]) -> None:
    """Redefine variables, after all other definitions."""
    existing = master.definitions()
    master.remove(*(existing[variable].key for variable in definitions if variable in existing))
    for variable, entry in definitions.items():
        master.set(f"! {variable}", entry.value, entry.file, entry.line, entry.comment)


class _Renamer:
    """Renames referenced steps to their prefixed names."""

    def __init__(self, name: str, blocks: set[str]) -> None:
        self.name = name
        self.blocks = {block for block in blocks if _STEP_NAME.fullmatch(block)}
        self.odd_blocks = [block for block in blocks if block and not _STEP_NAME.fullmatch(block)]

    def renamed(self, value: str) -> str:
        """Return a value with the referenced steps under their prefixed names.

        Such a step is renamed everywhere in the value, as ``<step>.output.<step>.fits.mapfile`` has it
        twice; never inside the name of another step.
        """
        if ".output" not in value:
            return value
        referenced_steps = self.blocks.intersection(_REFERRED.findall(value))
        referenced_steps.update(
            block for block in self.odd_blocks if f"{block}.output" in value and _refers(value, block)
        )
        if not referenced_steps:
            return value
        longest_first = "|".join(re.escape(block) for block in sorted(referenced_steps, key=len, reverse=True))
        return re.sub(rf"(?<![\w+-])({longest_first})", lambda match: f"{self.name}-{match[1]}", value)


def _refers(value: str, block: str) -> bool:
    return bool(re.search(rf"(?<![\w+-]){re.escape(block)}\.output", value))


COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Composition:
    """A composed pipeline before ``{{ }}`` are replaced."""

    parset: Parset
    files: tuple[Path, ...]  # from the base upwards to the field parset
    documented: dict[str, Entry]  # option -> its lowest definition with a comment
    findings: list[Finding]


def compose(
    path: Path,
    assignments: Sequence[str],
    shipped: Sequence[Path],
    steps_path: Sequence[Path],
    field: Parset | None = None,
) -> Composition:
    """Compose the parset ``path`` with its base and ready steps below, ``assignments`` (``key=value``) on top.

    Parameters
    ----------
    shipped: directory of bases that are not beside the parset.
    field: a front end's translation of the file ``path``, which is no parset itself.

    Raises
    ------
    PipelineError
        If a file cannot be read or parsed, or bases form a circle.
    """
    chain = _chain(path, shipped, field)
    files = tuple(file for file, _ in chain)
    parset = Parset()
    findings: list[Finding] = []
    documented: dict[str, Entry] = {}
    for level, (_, layer) in enumerate(chain):
        _note_comments(layer, documented)
        if level:
            findings += _unknown_options(layer, parset)
        parset.adopt(layer)
    findings += parset.oddities + _assign(parset, assignments)
    _put_ready_steps_below(parset, [*beside(files, "steps"), *steps_path], findings)
    return Composition(parset, files, documented, findings)


def _chain(path: Path, shipped: Sequence[Path], field: Parset | None) -> list[tuple[Path, Parset]]:
    """Return (file, parset) from the lowest base to ``path``."""
    chain: list[tuple[Path, Parset]] = []
    while True:
        if path in [file for file, _ in chain]:
            raise PipelineError(f"{path}: pipeline.base leads back to this file; bases cannot form a circle")
        parset = Parset.read(path) if field is None else field
        field = None
        chain.insert(0, (path, parset))
        if "pipeline.base" not in parset:
            return chain
        entry = parset.entry("pipeline.base")
        try:
            path = find_file(unquote(entry.value), [path.parent, *shipped], "base parset")
        except PipelineError as err:
            raise PipelineError(f"{entry.where}: pipeline.base: {err}") from err


def _note_comments(layer: Parset, documented: dict[str, Entry]) -> None:
    for name, entry in layer.definitions().items():
        if entry.comment:
            documented.setdefault(name, entry)


def _unknown_options(layer: Parset, below: Parset) -> list[Finding]:
    """Return a finding for each definition unknown to the lower files and unused in its own."""
    definitions, suggested = below.definitions(), Suggestions()
    placeholders = {name for key in layer for name in layer.placeholders(key)}
    findings = []
    for name, entry in layer.definitions().items():
        if name not in definitions and name not in placeholders:
            hint = suggested.hint(functools.partial(option_hint, name, below))
            findings.append(Finding(entry.where, f"no option is called '{name}'{hint}"))
    return findings


def _assign(parset: Parset, assignments: Sequence[str]) -> list[Finding]:
    findings = []
    for assignment in assignments:
        name, equals, value = (part.strip() for part in assignment.partition("="))
        definitions = parset.definitions()
        wrong = ""
        if not equals or not name:
            wrong = f"key=value is needed{_as_assignment(assignment, definitions)}"
        elif value.startswith("=") and name in definitions:
            wrong = f"one '=' is needed: {name}={value.lstrip('= ')}"
        elif name in definitions:
            parset.set(definitions[name].key, value, COMMAND_LINE)
        elif "." in name:
            parset.set(name, value, COMMAND_LINE)
        else:
            wrong = f"no option is called '{name}'{option_hint(name, parset)}"
        if wrong:
            findings.append(Finding(COMMAND_LINE, f"--set {assignment}: {wrong}"))
    return findings


def _as_assignment(text: str, definitions: Mapping[str, Entry]) -> str:
    """Return the correct form of an assignment without '=', or with a space before it."""
    name, _, value = text.replace(":", " ", 1).strip("! ").partition(" ")
    if name not in definitions:
        return ""
    return f": {name}={value.strip() or 'VALUE'}; without blanks around =, or in quotes"


def _put_ready_steps_below(parset: Parset, directories: Sequence[Path], findings: list[Finding]) -> None:
    """Add the keys of steps/<name>.parset to each step with ``<step>.use = name``, below the step's own."""
    ready_names: set[str] = set()
    suggested = Suggestions()
    for key in [key for key in parset if key.endswith(".use") and key.count(".") == 1]:
        entry, step = parset.entry(key), key.removesuffix(".use")
        name = unquote(entry.value)
        ready = next((d / f"{name}.parset" for d in directories if is_file(d / f"{name}.parset")), None)
        if ready is None:
            ready_names = ready_names or {path.stem for directory in directories for path in directory.glob("*.parset")}
            hint = suggested.nearest(name, ready_names)
            findings.append(Finding(entry.where, f"{key}: there is no ready step '{name}'{hint}"))
            continue
        layer = Parset.read(ready)
        for ready_key in layer:
            if f"{step}.{ready_key}" not in parset:
                below = layer.entry(ready_key)
                parset.set(f"{step}.{ready_key}", below.value, below.file, below.line, below.comment)
