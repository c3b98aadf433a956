"""Combination of scans and tunings into one set: a spectral window per tuning, a field per source, scan numbers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import casacore.tables
import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError

Numbers = NDArray[np.int64]

GAP_INTEGRATIONS = 3  # a longer pause begins a new scan. Source: doc/spec/calibration.md, section 4
ROW_COLUMNS = ("TIME", "TIME_CENTROID", "INTERVAL", "EXPOSURE", "UVW", "FLAG_ROW", "WEIGHT", "SIGMA")
CHANNEL_COLUMNS = ("DATA", "FLAG", "WEIGHT_SPECTRUM")
COPIED_TABLES = ("FEED", "POLARIZATION", "OBSERVATION", "PROCESSOR", "STATE", "HISTORY")
TILE_ROWS = 256


class CombineError(PipelineError):
    """Measurement sets cannot be combined."""


def number_scans(fields: Numbers, times_s: NDArray[np.float64], interval_s: float) -> Numbers:
    """Return scan numbers from 0; a new scan starts at a change of field, or a gap of more than three integrations.

    Rows may be in any order; rows of equal time have equal numbers.
    """
    order = np.argsort(times_s, kind="stable")
    sorted_times_s, sorted_fields = times_s[order], fields[order]
    later = np.diff(sorted_times_s) > 0
    begins = later & ((np.diff(sorted_fields) != 0) | (np.diff(sorted_times_s) > GAP_INTEGRATIONS * interval_s))
    numbers = np.empty(len(times_s), np.int64)
    numbers[order] = np.concatenate([[0], np.cumsum(begins)]) if len(times_s) else []
    return numbers


def fix_scans(ms: str) -> int:
    """Write the scan numbers of a set; return the number of changed rows."""
    with closing(casacore.tables.table(ms, readonly=False, ack=False)) as table:
        fields, times_s = np.asarray(table.getcol("FIELD_ID"), np.int64), table.getcol("TIME")
        numbers = number_scans(fields, times_s, float(np.median(table.getcol("INTERVAL"))))
        changed = int((numbers != table.getcol("SCAN_NUMBER")).sum())
        if changed:
            table.putcol("SCAN_NUMBER", numbers.astype(np.int32))
    return changed


def copy_scan_numbers(source: str, target: str) -> None:
    """Copy scan numbers from a source set to a target set by row time.

    Raises
    ------
    CombineError
        If the source lacks a time of the target.
    """
    with closing(casacore.tables.table(source, ack=False)) as table:
        times_s, first = np.unique(table.getcol("TIME"), return_index=True)
        numbers = table.getcol("SCAN_NUMBER")[first]
    with closing(casacore.tables.table(target, readonly=False, ack=False)) as table:
        wanted_s = table.getcol("TIME")
        place = np.clip(np.searchsorted(times_s, wanted_s - 1e-3), 0, len(times_s) - 1)
        if not np.allclose(times_s[place], wanted_s, rtol=0, atol=1e-2):
            raise CombineError(f"{target}: has times that {source} does not have; combine the scans again")
        table.putcol("SCAN_NUMBER", numbers[place])


def combine_sets(scans: Sequence[Sequence[str]], target: Path) -> None:
    """Combine sets, one per tuning for each scan, into one; rows are in order of time, then tuning.

    Sets of equal frequencies share a window, sets of equal field name a field. The target gets its name only when
    complete; the input sets are not changed.

    Raises
    ------
    CombineError
        If a set cannot be read, or the list is empty.
    """
    if not any(scans):
        raise CombineError(f"{target}: no input sets to combine")
    unfinished = target.with_name(f".{target.name}.incomplete")
    shutil.rmtree(unfinished, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        _write(scans, str(unfinished))
    except RuntimeError as err:
        raise CombineError(f"{target}: {str(err).splitlines()[0]}") from err
    shutil.rmtree(target, ignore_errors=True)
    os.rename(unfinished, target)  # noqa: PTH104 - a directory


def _write(scans: Sequence[Sequence[str]], target: str) -> None:
    first = next(ms for sets in scans for ms in sets)
    with closing(_new_table(target)) as table:
        places = _Places(target)
        for sets in scans:
            _append_scan(table, places, sets)
    for name in COPIED_TABLES:
        _copy_table(first, target, name)
    with closing(casacore.tables.table(f"{target}::FEED", readonly=False, ack=False)) as feeds:
        feeds.putcol("SPECTRAL_WINDOW_ID", np.full(feeds.nrows(), -1, np.int32))
    _set_time_range(target)


def _new_table(target: str) -> Any:
    """Return a new measurement set with the columns of visibilities and their weights."""
    columns = [
        casacore.tables.makearrcoldesc("DATA", 0j, ndim=2, valuetype="complex"),
        casacore.tables.makearrcoldesc("WEIGHT_SPECTRUM", 0.0, ndim=2, valuetype="float"),
    ]
    managers = {
        f"*{place}": {
            "NAME": f"Tiled{name}",
            "TYPE": "TiledShapeStMan",
            "COLUMNS": [name],
            "SPEC": {"DEFAULTTILESHAPE": np.array([4, 64, TILE_ROWS], np.int32)},
        }
        for place, name in enumerate(("DATA", "WEIGHT_SPECTRUM"))
    }
    return casacore.tables.default_ms(target, casacore.tables.maketabdesc(columns), managers)


class _Places:
    """Rows of the subtables of a new set, by their content."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._rows: dict[str, list[Any]] = {"FIELD": [], "SPECTRAL_WINDOW": [], "ANTENNA": []}

    def of(self, ms: str, name: str) -> Numbers:
        """Return the row numbers of a set's subtable in the new set; add missing rows."""
        with closing(casacore.tables.table(f"{ms}::{name}", ack=False)) as table:
            keys = [_key(table, name, row) for row in range(table.nrows())]
            rows = self._rows[name]
            new = [row for row, key in enumerate(keys) if key not in rows]
            with closing(casacore.tables.table(f"{self._target}::{name}", readonly=False, ack=False)) as target_table:
                for row in new:
                    rows.append(keys[row])
                    with closing(table.selectrows([row])) as chosen:
                        chosen.copyrows(target_table, startrowout=-1)
                    _complete(target_table, name, len(rows) - 1)
        if new and name == "SPECTRAL_WINDOW":
            self._describe(len(new))
        return np.array([rows.index(key) for key in keys])

    def _describe(self, number: int) -> None:
        """Add DATA_DESCRIPTION rows for new windows, with equal numbers."""
        with closing(
            casacore.tables.table(f"{self._target}::DATA_DESCRIPTION", readonly=False, ack=False)
        ) as descriptions:
            for row in range(descriptions.nrows(), descriptions.nrows() + number):
                descriptions.addrows(1)
                descriptions.putcell("SPECTRAL_WINDOW_ID", row, row)
                descriptions.putcell("POLARIZATION_ID", row, 0)
                descriptions.putcell("FLAG_ROW", row, False)


def _key(table: Any, name: str, row: int) -> Any:
    if name == "SPECTRAL_WINDOW":
        return tuple(np.round(table.getcell("CHAN_FREQ", row)).tolist())
    return table.getcell("NAME", row)


def _complete(table: Any, name: str, row: int) -> None:
    """Correct a row's references to other subtables."""
    if name == "FIELD":
        table.putcell("SOURCE_ID", row, row)


def _append_scan(table: Any, places: _Places, sets: Sequence[str]) -> None:
    """Append the rows of a scan in order of time, then window."""
    opened = [casacore.tables.table(ms, ack=False) for ms in sets]
    times_s = np.concatenate([one.getcol("TIME") for one in opened])
    owner = np.repeat(np.arange(len(sets)), [one.nrows() for one in opened])
    order = np.lexsort((np.arange(len(owner)), owner, times_s))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    start = table.nrows()
    table.addrows(len(order))
    for place, (ms, one) in enumerate(zip(sets, opened, strict=True)):
        field, window, antennas = (places.of(ms, name) for name in ("FIELD", "SPECTRAL_WINDOW", "ANTENNA"))
        with closing(one), closing(table.selectrows((start + rank[owner == place]).tolist())) as rows:
            for column in (*ROW_COLUMNS, *CHANNEL_COLUMNS):
                rows.putcol(column, one.getcol(column))
            for column in ("ANTENNA1", "ANTENNA2"):
                rows.putcol(column, antennas[one.getcol(column)].astype(np.int32))
            rows.putcol("FIELD_ID", field[one.getcol("FIELD_ID")].astype(np.int32))
            rows.putcol("DATA_DESC_ID", np.full(one.nrows(), window[0], np.int32))
            for column in ("SCAN_NUMBER", "ARRAY_ID", "OBSERVATION_ID", "FEED1", "FEED2"):
                rows.putcol(column, np.zeros(one.nrows(), np.int32))
            for column in ("PROCESSOR_ID", "STATE_ID"):
                rows.putcol(column, np.full(one.nrows(), -1, np.int32))


def _copy_table(source: str, target: str, name: str) -> None:
    target_table = casacore.tables.table(f"{target}::{name}", readonly=False, ack=False)
    with closing(target_table), closing(casacore.tables.table(f"{source}::{name}", ack=False)) as table:
        if table.nrows():
            table.copyrows(target_table, startrowout=-1)


def _set_time_range(target: str) -> None:
    with closing(casacore.tables.table(target, ack=False)) as table:
        times_s, interval_s = table.getcol("TIME"), float(table.getcell("INTERVAL", 0))
    with closing(casacore.tables.table(f"{target}::OBSERVATION", readonly=False, ack=False)) as observation:
        span_s = np.array([times_s.min() - interval_s / 2, times_s.max() + interval_s / 2])
        for row in range(observation.nrows()):
            observation.putcell("TIME_RANGE", row, span_s)


def only_cross(ms: str) -> None:
    """Refuse a set that holds autocorrelations.

    Raises
    ------
    CombineError
        If the set has autocorrelations.
    """
    with closing(casacore.tables.table(ms, ack=False)) as table:
        autos = int((table.getcol("ANTENNA1") == table.getcol("ANTENNA2")).sum())
    if autos:
        raise CombineError(f"{ms}: still holds {autos} autocorrelations; apply the calibration again")
