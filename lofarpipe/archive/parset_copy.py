"""A parset that needs no others: base, field, ready steps and command line in one text."""

from __future__ import annotations

from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.installation import find_file, share_directory
from lofarpipe.support.parset import Entry, Parset, unquote
from lofarpipe.support.variables import expand_environment

HEADER = "# Everything that this run was told: base, field, ready steps and command line in one file.\n"


def self_contained(composed: Parset) -> tuple[str, list[str]]:
    """Return a composed parset as text that gives the same keys again, and those keys for which that is impossible.

    ``{{ }}`` stay, so that options stay options. What definitions take from the environment is put in. Sub-pipelines
    are named by their whole paths. A value that has both kinds of quotes, ``=`` and ``#`` cannot be written; such keys
    are named with their file and line.
    """
    definitions = {entry.key for entry in composed.definitions().values()}
    kept = [entry for entry in composed.entries() if not _is_resolved(entry.key)]
    lines = {entry: _line(entry, _value(entry, composed, entry.key in definitions)) for entry in kept}
    lost = [f"{entry.where}: {entry.key}" for entry, line in lines.items() if not line]
    return HEADER + "".join(lines.values()), lost


def _is_resolved(key: str) -> bool:
    return key == "pipeline.base" or (key.endswith(".use") and key.count(".") == 1)


def _value(entry: Entry, composed: Parset, is_definition: bool) -> str:
    if is_definition:
        return expand_environment(entry.value)
    step, _, rest = entry.key.partition(".")
    if rest == "control.type" and composed.get(f"{step}.control.kind") == "pipeline":
        return _sub_pipeline(entry)
    return entry.value


def _sub_pipeline(entry: Entry) -> str:
    try:
        return str(find_file(unquote(entry.value), [Path(entry.file).parent, share_directory()], "sub-pipeline"))
    except PipelineError:  # a reference, which only the run can resolve
        return entry.value


def _line(entry: Entry, value: str) -> str:
    """Return ``key = value`` as it is read again; a value with ``=`` or ``#`` gets quotes. Empty: there is no way."""
    comment = f"  ## {entry.comment}" if entry.comment else ""
    for written in (value, f'"{value}"', f"'{value}'"):
        line = f"{entry.key} = {written}{comment}\n"
        if _reads_as(line, entry.key, {value, written}):
            return line
    return ""


def _reads_as(line: str, key: str, values: set[str]) -> bool:
    try:
        again = list(Parset.parse(line).entries())
    except PipelineError:
        return False
    return [entry.key for entry in again] == [key] and again[0].value in values
