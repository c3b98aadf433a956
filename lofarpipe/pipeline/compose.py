"""Field parset, base, ready steps and the command line -> one parset, every key with its source.

Precedence, lowest to highest: ready step (``<step>.use``), base (``pipeline.base``), field parset, ``--set``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lofarpipe.errors import Finding, PipelineError, Suggestions, nearest
from lofarpipe.installation import beside, find_file
from lofarpipe.support.parset import Entry, Parset, unquote
from lofarpipe.support.utilities import is_file

COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Composition:
    """One pipeline as it will run, before ``{{ }}`` are replaced."""

    parset: Parset
    files: tuple[Path, ...]  # from the base upwards to the field parset
    documented: dict[str, Entry]  # option -> the lowest definition that has a comment
    findings: list[Finding]


def compose(path: Path, assignments: Sequence[str], share: Path, steps_path: Sequence[Path]) -> Composition:
    """Return the parset ``path`` on its base, with ``assignments`` (``key=value``) on top and ready steps below.

    Raises
    ------
    PipelineError
        If a file cannot be read or parsed, or bases form a circle.
    """
    chain = _chain(path, share)
    files = tuple(file for file, _ in chain)
    parset = Parset()
    findings: list[Finding] = []
    documented: dict[str, Entry] = {}
    for level, (_, layer) in enumerate(chain):
        _note_comments(layer, documented)
        if level:
            findings += _unknown_options(layer.definitions().values(), layer, parset)
        parset.adopt(layer)
    findings += parset.oddities + _assign(parset, assignments)
    _put_ready_steps_below(parset, [*beside(files, "steps"), *steps_path], findings)
    return Composition(parset, files, documented, findings)


def _chain(path: Path, share: Path) -> list[tuple[Path, Parset]]:
    """Return (file, parset) from the lowest base to ``path``."""
    chain: list[tuple[Path, Parset]] = []
    while True:
        if path in [file for file, _ in chain]:
            raise PipelineError(f"{path}: pipeline.base leads back to this file; bases cannot form a circle")
        parset = Parset.read(path)
        chain.insert(0, (path, parset))
        if "pipeline.base" not in parset:
            return chain
        entry = parset.entry("pipeline.base")
        try:
            path = find_file(unquote(entry.value), [path.parent, share], "base parset")
        except PipelineError as err:
            raise PipelineError(f"{entry.where}: pipeline.base: {err}") from err


def _note_comments(layer: Parset, documented: dict[str, Entry]) -> None:
    for name, entry in layer.definitions().items():
        if entry.comment:
            documented.setdefault(name, entry)


def _unknown_options(entries: Iterable[Entry], layer: Parset, below: Parset) -> list[Finding]:
    """Return a finding for each definition that nothing below knows and nothing in its own file uses."""
    known, suggested = below.definitions(), Suggestions()
    used = {name for key in layer for name in layer.placeholders(key)}
    names = {entry.key: name for name, entry in layer.definitions().items()}
    return [
        Finding(entry.where, f"no option is called '{names[entry.key]}'{suggested.nearest(names[entry.key], known)}")
        for entry in entries
        if names[entry.key] not in known and names[entry.key] not in used
    ]


def _assign(parset: Parset, assignments: Sequence[str]) -> list[Finding]:
    findings = []
    for assignment in assignments:
        name, equals, value = (part.strip() for part in assignment.partition("="))
        definitions = parset.definitions()
        if not equals or not name:
            findings.append(Finding(COMMAND_LINE, f"--set {assignment}: key=value is needed"))
        elif name in definitions:
            parset.set(definitions[name].key, value, COMMAND_LINE)
        elif "." in name:
            parset.set(name, value, COMMAND_LINE)
        else:
            findings.append(
                Finding(COMMAND_LINE, f"--set {assignment}: no option is called '{name}'{nearest(name, definitions)}")
            )
    return findings


def _put_ready_steps_below(parset: Parset, directories: Sequence[Path], findings: list[Finding]) -> None:
    """Give each step that says ``<step>.use = name`` the keys of steps/<name>.parset that it does not set itself."""
    known: set[str] = set()
    suggested = Suggestions()
    for key in [key for key in parset if key.endswith(".use") and key.count(".") == 1]:
        entry, step = parset.entry(key), key.removesuffix(".use")
        name = unquote(entry.value)
        ready = next((d / f"{name}.parset" for d in directories if is_file(d / f"{name}.parset")), None)
        if ready is None:
            known = known or {path.stem for directory in directories for path in directory.glob("*.parset")}
            hint = suggested.nearest(name, known)
            findings.append(Finding(entry.where, f"{key}: there is no ready step '{name}'{hint}"))
            continue
        layer = Parset.read(ready)
        for ready_key in layer:
            if f"{step}.{ready_key}" not in parset:
                below = layer.entry(ready_key)
                parset.set(f"{step}.{ready_key}", below.value, below.file, below.line, below.comment)
