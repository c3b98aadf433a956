"""Sub-pipelines: ``kind = pipeline`` puts the steps of another parset into this one, under longer names.

Source: spec/lofarpipe.md, section 4.7.
"""

from __future__ import annotations

import re
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.support.parset import Entry, Parset

#: Keys of the sub parset that are not put into the master.
OWN_KEYS = ("pipeline.steps", "pipeline.pluginpath", "pipeline.mapfile")


def put_in(master: Parset, name: str, path: Path, overrides: dict[str, str]) -> list[str]:
    """Put the sub parset in ``path`` into ``master`` for the step ``name``; return the names of its steps.

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
        raise PipelineError(f"{path}: No pipeline steps defined: the parset has no key pipeline.steps")
    definitions = sub.definitions()
    for variable, entry in definitions.items():
        _define_last(master, variable, entry)
    for variable, value in overrides.items():
        known = master.definitions()
        if variable in known:
            _define_last(master, variable, Entry(known[variable].key, value, str(path), 0))
    steps = _with_definitions(master, sub).vector("pipeline.steps")
    blocks = {step for step in steps if step}
    own = {entry.key for entry in definitions.values()}
    for entry in sub.entries():
        if entry.key not in own and entry.key not in OWN_KEYS:
            master.set(
                f"{name}-{entry.key}", _renamed(entry.value, name, blocks), entry.file, entry.line, entry.comment
            )
    replaced = master.substituted()
    for key in replaced:
        entry = replaced.entry(key)
        master.set(key, entry.value, entry.file, entry.line, entry.comment)
    return [f"{name}-{step}" for step in steps if step]


def _with_definitions(master: Parset, sub: Parset) -> Parset:
    """Return the sub parset's step list with the variables of both replaced."""
    both = Parset()
    for entry in master.definitions().values():
        both.set(entry.key, entry.value, entry.file, entry.line)
    both.set("pipeline.steps", sub["pipeline.steps"])
    return both.substituted()


def _define_last(master: Parset, variable: str, entry: Entry) -> None:
    known = master.definitions()
    if variable in known:
        master.remove(known[variable].key)
    master.set(f"! {variable}", entry.value, entry.file, entry.line, entry.comment)


def _renamed(value: str, name: str, blocks: set[str]) -> str:
    """Return a value with the steps in its references under their longer names."""
    for block in blocks:
        value = re.sub(rf"(?<![\w+-]){re.escape(block)}(?=\.output)", f"{name}-{block}", value)
    return value
