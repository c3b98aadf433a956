"""Sub-pipelines: ``kind = pipeline`` puts the steps of another parset into this one, under longer names.

Source: spec/lofarpipe.md, section 4.7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.steps import NO_STEPS
from lofarpipe.support.parset import Entry, Parset

#: Keys of the sub parset that are not put into the master.
OWN_KEYS = ("pipeline.steps", "pipeline.pluginpath", "pipeline.mapfile")
_STEP_NAME = re.compile(r"[\w+-]+")
_REFERRED = re.compile(r"(?<![\w+-])([\w+-]++)\.output")


@dataclass(frozen=True)
class SubPipeline:
    """What the step that stands for a sub-pipeline needs to know of it."""

    steps: list[str]  # blocks, under their names in the master
    mapfile: str  # pipeline.mapfile of the sub parset, or ""


def put_in(master: Parset, name: str, path: Path, overrides: dict[str, str]) -> SubPipeline:
    """Put the sub parset in ``path`` into ``master`` for the step ``name``; return its steps.

    Every key becomes ``<name>-<key>``. Definitions of the sub parset replace those of the master, and ``overrides``
    replace those of either; only variables that one of them defines can be overridden. ``master`` has its own
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
    known = master.definitions()
    overridden = {key: Entry(key, value, str(path), 0) for key, value in overrides.items() if key in known}
    _define_last(master, overridden)
    own_keys = _with_definitions(master, sub)
    steps = [step for step in own_keys.vector("pipeline.steps") if step]
    looped = (item for key in sub if key.endswith(".control.loopsteps") for item in sub.vector(key))
    blocks = {*steps, *(item.removeprefix(f"{name}-") for item in looped)}
    own = {entry.key for entry in definitions.values()}
    renamer = _Renamer(name, blocks)
    for entry in sub.entries():
        if entry.key not in own and entry.key not in OWN_KEYS:
            value = renamer.renamed(entry.value)
            master.set(f"{name}-{entry.key}", value, entry.file, entry.line, entry.comment)
    replaced = master.substituted()
    for key in replaced:
        entry = replaced.entry(key)
        master.set(key, entry.value, entry.file, entry.line, entry.comment)
    mapfile = own_keys.string("pipeline.mapfile") if "pipeline.mapfile" in own_keys else ""
    return SubPipeline([f"{name}-{step}" for step in steps], mapfile)


def _with_definitions(master: Parset, sub: Parset) -> Parset:
    """Return the sub parset's own keys with the variables of both replaced."""
    both = Parset()
    for entry in master.definitions().values():
        both.set(entry.key, entry.value, entry.file, entry.line)
    for key in OWN_KEYS:
        if key in sub:
            both.set(key, sub[key])
    return both.substituted()


def _define_last(master: Parset, definitions: Mapping[str, Entry]) -> None:
    """Define variables anew, after all others."""
    known = master.definitions()
    master.remove(*(known[variable].key for variable in definitions if variable in known))
    for variable, entry in definitions.items():
        master.set(f"! {variable}", entry.value, entry.file, entry.line, entry.comment)


class _Renamer:
    """Gives the steps that values refer to their longer names."""

    def __init__(self, name: str, blocks: set[str]) -> None:
        self.name = name
        self.blocks = {block for block in blocks if _STEP_NAME.fullmatch(block)}
        self.odd_blocks = [block for block in blocks if block and not _STEP_NAME.fullmatch(block)]

    def renamed(self, value: str) -> str:
        """Return a value with the steps that it refers to under their longer names.

        Such a step is renamed wherever it stands in the value, for in ``<step>.output.<step>.fits.mapfile`` it stands
        twice; never inside the name of another step.
        """
        if ".output" not in value:
            return value
        used = self.blocks.intersection(_REFERRED.findall(value))
        used.update(block for block in self.odd_blocks if f"{block}.output" in value and _refers(value, block))
        if not used:
            return value
        longest_first = "|".join(re.escape(block) for block in sorted(used, key=len, reverse=True))
        return re.sub(rf"(?<![\w+-])({longest_first})", lambda found: f"{self.name}-{found[1]}", value)


def _refers(value: str, block: str) -> bool:
    return bool(re.search(rf"(?<![\w+-]){re.escape(block)}\.output", value))
