"""Opens measurement sets and their subtables; what cannot be opened or read is told with the reason and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import casacore.tables

from lofarpipe.errors import PipelineError, counted

SUBTABLES = ("ANTENNA", "DATA_DESCRIPTION", "FIELD", "OBSERVATION", "POLARIZATION", "SPECTRAL_WINDOW")
ARCHIVES = (".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".zip")
DAMAGED = "it is damaged: copy it again, or leave it out"
NO_PERMISSION = "ask its owner for permission to read it, or leave it out"


class MeasurementSetError(PipelineError):
    """A measurement set is missing, is not one, or holds something that cannot be imaged."""


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """Open a casacore table read-only, and close it again.

    Raises
    ------
    MeasurementSetError
        If it cannot be opened, or what is done with it cannot read it.
    """
    what = "opened as a table"
    try:
        with closing(casacore.tables.table(path, ack=False, readonly=True)) as table:
            what = "read"
            yield table
    except UnicodeEncodeError as err:
        raise MeasurementSetError(f"{path}: casacore cannot open a name that is not UTF-8; rename it") from err
    except RuntimeError as err:
        raise MeasurementSetError(f"{path}: cannot be {what}: {_reason(str(err).splitlines()[0])}") from err


def _reason(text: str) -> str:
    """Return what casacore says, and what to do."""
    if "Permission denied" in text:
        return f"{text}; {NO_PERMISSION}"
    # It wants to make a file longer that is too short; nobody is to change its mode, which would not help.
    text = re.sub(r"FiledesIO::write - (.*) is not writable", r"\1 is shorter than the table says", text)
    return f"{text}; {DAMAGED}"


@contextmanager
def opened_set(path: str) -> Iterator[Any]:
    """Open a main table, after a look at whether the path is a measurement set at all.

    Raises
    ------
    MeasurementSetError
        If it is none, has no rows, or cannot be read.
    """
    if reason := _why_no_set(Path(path)):
        raise MeasurementSetError(f"{path}: {reason}")
    with opened(path) as table:
        missing = sorted({"UVW", "TIME", "ANTENNA1", "FLAG"} - set(table.colnames()))
        missing += [name for name in SUBTABLES if name not in table.getkeywords()]
        if missing:
            raise MeasurementSetError(f"{path}: not a measurement set: it lacks {', '.join(missing)}")
        if table.nrows() == 0:
            raise MeasurementSetError(f"{path}: has no rows, so there is nothing to image; leave it out")
        yield table


def _why_no_set(path: Path) -> str:
    """Return what a path is, if it cannot be a measurement set; "" if it can."""
    try:
        if not path.exists():
            quotes = "; it has typographic quotes in it" if set("“”‘’") & set(str(path)) else ""
            return f"no such measurement set{quotes}"
        return "" if (path / "table.dat").is_file() else f"not a measurement set: {_what_else(path)}"
    except PermissionError as err:
        return f"cannot be looked at: {err.strerror}; {NO_PERMISSION}"


def _what_else(path: Path) -> str:
    """Return what a path is instead, and what to do."""
    if path.is_file():
        remedy = "unpack it first" if path.suffix in ARCHIVES else "a directory written by casacore is needed"
        return f"it is a file; {remedy}"
    sets = [table.parent.parent for table in path.glob("*/ANTENNA/table.dat")]
    if sets:
        suffixes = {one.suffix for one in sets}
        pattern = path / f"*{suffixes.pop() if len(suffixes) == 1 else ''}"
        return f"it is a directory with {counted(len(sets), 'measurement set')} in it; write {pattern}"
    remedy = DAMAGED if (path / "ANTENNA").is_dir() else "a directory written by casacore is needed"
    return f"it has no table.dat; {remedy}"
