"""Steps that a parset describes and no list names: misspelt, forgotten, or switched off."""

from __future__ import annotations

from collections.abc import Collection, Container

from lofarpipe.errors import Finding, Suggestions, misspelt, named
from lofarpipe.support.parset import Entry, Parset


def check_unlisted(
    parset: Parset, blocks: Collection[str], known: Collection[str], reserved: Container[str]
) -> tuple[list[Finding], list[Finding]]:
    """Return findings, and a warning, on steps that are described and in no list, and so do not run.

    A name that is misspelt for sure is a finding. Others may be switched off on purpose, as parsets in the field have
    them; they are named in one line.

    Parameters
    ----------
    blocks: the steps that are in a list.
    known: those of them that are described as well; of others it was said already that there is no such step.
    """
    unlisted = _unlisted(parset, blocks, reserved)
    meant = misspelt([name for name, _ in unlisted], sorted(blocks))
    findings = [
        Finding(entry.where, f"{name}: no list of steps names it; did you mean '{meant[name]}'?")
        for name, entry in unlisted
        if meant.get(name) in known
    ]
    suggested = Suggestions()
    steps = parset.entry("pipeline.steps")
    off = [
        f"{name} ({_place(entry, steps)}{suggested.nearest(name, blocks)})"
        for name, entry in unlisted
        if name not in meant
    ]
    what = f"these steps are described, and do not run, because no list of steps names them: {named(off)}"
    return findings, [Finding(steps.where, what)] if off else []


def _place(entry: Entry, other: Entry) -> str:
    """Return where an entry is, as short as it can be said beside another one."""
    return f"line {entry.line}" if entry.line and entry.file == other.file else entry.where


def _unlisted(parset: Parset, blocks: Container[str], reserved: Container[str]) -> list[tuple[str, Entry]]:
    """Return the steps that the parset describes and no list names, each with the place that says what it is."""
    described = {key.partition(".")[0]: parset.entry(key) for key in parset if _says_what(key)}
    return [(name, entry) for name, entry in described.items() if name not in blocks and name not in reserved]


def _says_what(key: str) -> bool:
    return not key.startswith("!") and key.partition(".")[2] in ("control.type", "control.kind")
