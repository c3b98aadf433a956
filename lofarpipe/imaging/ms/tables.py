"""Opening of measurement sets and their subtables; errors name reason and remedy."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import casacore.tables

from lofarpipe.errors import PipelineError, counted
from lofarpipe.imaging.ms.messages import DAMAGED, NO_PERMISSION, add_advice
from lofarpipe.imaging.ms.names import other_case_hint
from lofarpipe.support.utilities import exists

SUBTABLES = ("ANTENNA", "DATA_DESCRIPTION", "FIELD", "OBSERVATION", "POLARIZATION", "SPECTRAL_WINDOW")
# Required subtables. Source: casacore, which refuses sets without them.
COLUMNS = frozenset({"UVW", "FLAG", "WEIGHT", "SIGMA", "TIME", "TIME_CENTROID", "INTERVAL", "EXPOSURE", "FLAG_ROW"})
COLUMNS |= {"ANTENNA1", "ANTENNA2", "FEED1", "FEED2", "FIELD_ID", "DATA_DESC_ID", "ARRAY_ID", "OBSERVATION_ID"}
COLUMNS |= {"PROCESSOR_ID", "SCAN_NUMBER", "STATE_ID"}
NO_LOCK = "autonoread"  # casacore: read without waiting for locks
LOCK = "auto"  # for writing
LOCK_WAIT_S = 5.0
LOCK_POLL_S = 0.1
FLOCK = "hhqqi4x"  # struct flock of Linux on 64 bits: type, whence, start, length, process
ARCHIVES = (".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".zip")


class MeasurementSetError(PipelineError):
    """A measurement set is missing, is not one, or holds something that cannot be imaged."""


_stubborn: set[int] = set()  # processes already waited for: one wait each, not one per set


def _refuse_locked(path: str) -> None:
    """Raise if another process holds a lock on a table (or ``::`` subtable); casacore would wait forever."""
    ends_s = time.monotonic() + LOCK_WAIT_S
    for table in dict.fromkeys((path.partition("::")[0], path.replace("::", "/"))):
        while process := lock_holder(table):
            if process in _stubborn or time.monotonic() > ends_s:
                _stubborn.add(process)
                raise MeasurementSetError(
                    f"{path.partition('::')[0]}: {_process_name(process)} has locked {Path(table, 'table.lock')}, so "
                    "that nothing can read the set; end that program, or wait until it has closed the set"
                )
            time.sleep(LOCK_POLL_S)


def lock_holder(table: str) -> int:
    """Return the id of another process with a write lock on a casacore table; 0 for none.

    Source: casacore, class LockFile: an fcntl lock on the first byte of table.lock.
    """
    try:
        file = os.open(f"{table}/table.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        request = struct.pack(FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 1, 0)
        kind, _, _, _, process = struct.unpack(FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, request))
    except OSError:  # a file system without locks
        return 0
    finally:
        os.close(file)
    return 0 if kind == fcntl.F_UNLCK else int(process)


def _process_name(process: int) -> str:
    try:
        return f"process {process} ({Path(f'/proc/{process}/comm').read_text().strip()})"
    except OSError:
        return f"process {process} of another machine"


@contextmanager
def opened(path: str, readonly: bool = True) -> Iterator[Any]:
    """Open a casacore table, read-only by default, as a context manager.

    Raises
    ------
    MeasurementSetError
        If it cannot be opened, read or changed, or is locked by another process.
    """
    action = "opened as a table"
    _refuse_locked(path)
    try:
        table_path = _subtable_path(path)
        locking = NO_LOCK if readonly else LOCK
        with closing(casacore.tables.table(table_path, lockoptions=locking, ack=False, readonly=readonly)) as table:
            action = "read" if readonly else "changed"
            yield table
    except UnicodeEncodeError as err:
        raise MeasurementSetError(f"{path}: casacore cannot open a name that is not UTF-8; rename it") from err
    except RuntimeError as err:
        raise MeasurementSetError(f"{path}: cannot be {action}: {_reason(str(err).splitlines()[0])}") from err
    except MemoryError as err:  # from a corrupt index
        raise MeasurementSetError(
            f"{path}: cannot be {action}: it asks for more memory than there is; {DAMAGED}"
        ) from err


def _subtable_path(path: str) -> str:
    """Return the path of a subtable ``set::NAME``: that of the first part for a multi-MS without links."""
    main, _, name = path.rpartition("::")
    if not main or (Path(main) / name).is_dir():
        return path
    with closing(casacore.tables.table(main, lockoptions=NO_LOCK, ack=False, readonly=True)) as table:
        return str(table.getkeywords().get(name, path)).removeprefix("Table: ")


def _reason(text: str) -> str:
    """Return casacore's error for an existing set, or a part of one, with the remedy."""
    if text.endswith("does not exist"):
        return f"{text}; {DAMAGED}"
    # casacore tries to extend a truncated file; changing its permissions would not help.
    return add_advice(re.sub(r"FiledesIO::write - (.*) is not writable", r"\1 is shorter than the table says", text))


@contextmanager
def opened_set(path: str) -> Iterator[Any]:
    """Open a main table, after checking that the path is a measurement set.

    Raises
    ------
    MeasurementSetError
        If the path is not a measurement set, has no rows, or cannot be read.
    """
    if reason := _set_problem(Path(path)):
        raise MeasurementSetError(f"{path}: {reason}")
    path_itself = Path(path).resolve()
    with opened(path) as table:
        missing = sorted(COLUMNS - set(table.colnames()))
        missing += [name for name in SUBTABLES if name not in table.getkeywords()]
        if missing:
            raise MeasurementSetError(f"{path}: not a measurement set: it lacks {', '.join(missing)}")
        if elsewhere := [part for part in table.partnames() if not Path(part).resolve().is_relative_to(path_itself)]:
            raise MeasurementSetError(
                f"{path}: its rows are those of {elsewhere[0]}, whose changes would not be noticed; name that set, or "
                f"write the rows out: from casacore.tables import table; table({path!r}).copy('NEW.MS', deep=True)"
            )
        if table.nrows() == 0:
            raise MeasurementSetError(f"{path}: has no rows, so there is nothing to image; leave it out")
        yield table


@contextmanager
def opened_field(path: str, field_id: int, in_order: bool = True) -> Iterator[Any]:
    """Open the rows of one field of a main table; all rows if FIELD has one row.

    Unless ``in_order``, rows are sorted by time and baseline.

    Raises
    ------
    MeasurementSetError
        As `opened_set`; also if the field has no rows.
    """
    with opened_set(path) as table, selected_field(path, table, field_id, _count_rows(f"{path}::FIELD")) as rows:
        if in_order:
            yield rows
            return
        with closing(rows.sort("TIME,ANTENNA1,ANTENNA2")) as ordered:
            yield ordered


def _count_rows(name: str) -> int:
    with opened(name) as table:
        return int(table.nrows())


@contextmanager
def selected_field(path: str, table: Any, field_id: int, nfields: int) -> Iterator[Any]:
    """Select the rows of one field of an open main table; all rows if FIELD has one row."""
    if nfields == 1:
        yield table
        return
    with closing(table.query(f"FIELD_ID=={field_id}")) as selected:
        if selected.nrows() == 0:
            raise MeasurementSetError(f"{path}: field {field_id} has no rows; choose another with the option field")
        yield selected


def dangling_keywords(table: Any) -> list[str]:
    """Return the keywords of an open main table that refer to missing subtables."""
    names = {key: str(value) for key, value in table.getkeywords().items() if str(value).startswith("Table: ")}
    return [key for key, value in names.items() if not (Path(value.removeprefix("Table: ")) / "table.dat").is_file()]


def visibility_columns(table: Any) -> list[str]:
    """Return the sorted complex columns of a main table."""
    return sorted(name for name in table.colnames() if "complex" in table.coldatatype(name))


def _set_problem(path: Path) -> str:
    """Return why a path is not a measurement set; "" if it may be one."""
    try:
        if not exists(path):
            quotes = "; it has typographic quotes in it" if set("“”‘’") & set(str(path)) else ""
            return f"no such measurement set{quotes or other_case_hint(str(path))}"
        return "" if (path / "table.dat").is_file() else f"not a measurement set: {_describe_other_path(path)}"
    except PermissionError as err:
        return f"cannot be looked at: {err.strerror}; {NO_PERMISSION}"


def _describe_other_path(path: Path) -> str:
    """Describe a path that is not a measurement set, with the remedy."""
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
