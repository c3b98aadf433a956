"""Corrected copies of measurement sets that DP3 cannot read, or would average incorrectly.

DP3 6.6 assumes the baselines and the INTERVAL of the first slot for all slots, requires one row in FIELD and a column
FLAG_CATEGORY, concatenates ascending channels only, and averages negative weights unchanged. The original set is never
modified.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import casacore.tables
import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import counted
from lofarpipe.imaging.ms.measurement_set import (
    SetMetadata,
    lacks_cross_weight,
    read_all_weights,
    read_uvw,
    stokes_i_weight,
    weight_column,
)
from lofarpipe.imaging.ms.names import AUTO
from lofarpipe.imaging.ms.rows import INTERVAL_TOLERANCE_S, read_codes
from lofarpipe.imaging.ms.survey import SetSurvey, survey_set
from lofarpipe.imaging.ms.tables import MeasurementSetError, opened_field
from lofarpipe.imaging.ms.uv_sample import rotate_uvw

Numbers = NDArray[np.int64]

VISIBILITIES_PER_BLOCK = 2_000_000
COMPARED_ROWS = 500  # duplicate rows compared per set
FLAG_CATEGORY = "FLAG_CATEGORY"
WINDOW_COLUMNS = ("CHAN_FREQ", "CHAN_WIDTH", "EFFECTIVE_BW", "RESOLUTION")


def copy_reasons(survey: SetSurvey) -> list[str]:
    """Return the changes that DP3 needs in a copy of a set; empty if DP3 can read the original."""
    metadata, times, layout = survey.metadata, survey.times, survey.layout
    reasons = []
    if metadata.nfields != 1:
        reasons.append(f"its FIELD table has {metadata.nfields} rows: only field {metadata.field_id} is kept")
    if times.backward_row >= 0:
        reasons.append("its rows are not in the order of time: they are sorted")
    if layout.repeated:
        reasons.append(f"{counted(layout.repeated, 'row')} repeat others: they are left out")
    missing = times.slots * layout.pairs - (layout.rows - layout.repeated)
    if missing:
        reasons.append(f"{counted(missing, 'row')} are missing in some of the slots: replaced by flagged ones")
    if not (reasons or layout.same_order):
        reasons.append("the baselines are in another order in some slots: they are sorted")
    if not abs(times.first_interval_s - times.step_s) <= INTERVAL_TOLERANCE_S:  # INTERVAL may be NaN
        reasons.append(
            f"INTERVAL of the first row is {times.first_interval_s:g} s, and slots are {times.step_s:g} s apart: set "
            "to that in all rows"
        )
    return reasons + _value_changes(survey)


def _value_changes(survey: SetSurvey) -> list[str]:
    """Return the changes in the columns of visibilities."""
    reasons, usability = [], survey.usability
    if not survey.rising:
        reasons.append("its frequencies do not rise: the channels are sorted")
    if usability.negative or usability.not_a_number:
        share = (usability.negative + usability.not_a_number) / usability.looked_at
        reasons.append(f"{share:.2%} of its weights are negative, or they or UVW are not finite: these are flagged")
    if usability.odd_autocorrelations:
        reasons.append(
            f"weights of {counted(usability.odd_autocorrelations, 'autocorrelation')} are negative or not finite, and "
            "Dysco has one scale for all of a slot: these are flagged"
        )
    if usability.half_weighted:
        share, hands = usability.half_weighted / usability.looked_at, survey.metadata.correlations[1:-1]
        reasons.append(
            f"{share:.2%} of its visibilities have no weight, or hardly any, in {' or '.join(hands)}, and Dysco "
            "keeps one for all correlations: they get the weight of the others, and the value 0"
        )
    if FLAG_CATEGORY in survey.missing_columns:
        reasons.append("it has no FLAG_CATEGORY: an empty column is added")
    return reasons


def repeats_differ(survey: SetSurvey, data_column: str) -> bool:
    """Whether duplicate rows (same time and baseline) differ in their values, so that none can be dropped."""
    metadata = survey.metadata
    with opened_field(metadata.path, metadata.field_id) as table:
        times_s = table.getcol("TIME")
        order = np.lexsort((np.arange(len(times_s)), read_codes(table, 0, len(times_s)), times_s))
        codes = read_codes(table, 0, len(times_s))[order]
        again = np.flatnonzero((np.diff(codes) == 0) & (np.diff(times_s[order]) == 0))[:COMPARED_ROWS]
        with closing(table.selectrows(order[again])) as first, closing(table.selectrows(order[again + 1])) as second:
            columns = ((first.getcol(name), second.getcol(name)) for name in (data_column, "FLAG"))
            return any(not np.array_equal(one, other, equal_nan=True) for one, other in columns)


def copy_set(source: str, target: str, field: str = AUTO) -> list[str]:
    """Write a corrected copy of a set for DP3; return the changes.

    ``target`` appears only when complete.

    Raises
    ------
    MeasurementSetError
        If the set cannot be read, or the copy cannot be written.
    """
    survey = survey_set(source, field=field, every_row=True)
    unfinished = Path(f"{target}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        places = _copy_rows(survey, str(unfinished))
        with closing(casacore.tables.table(str(unfinished), readonly=False, ack=False)) as table:
            _apply_corrections(survey, table, places)
    except (RuntimeError, OSError) as err:
        raise MeasurementSetError(f"{source}: cannot be copied to {target}: {str(err).splitlines()[0]}") from err
    shutil.rmtree(target, ignore_errors=True)
    os.rename(unfinished, target)  # noqa: PTH104 - of a text
    return copy_reasons(survey)


def copy_first_slots(metadata: SetMetadata, target: str) -> None:
    """Write the first two time slots of a field, as EveryBeam takes them; Dysco aborts on a single slot."""
    with opened_field(metadata.path, metadata.field_id) as table:
        times_s = table.getcol("TIME", 0, min(metadata.layout.rows, 2 * metadata.layout.most_rows))
        with closing(table.selectrows(np.flatnonzero(times_s <= np.unique(times_s)[:2][-1]))) as slot:
            slot.copy(target, deep=True).close()
    with closing(casacore.tables.table(target, readonly=False, ack=False)) as table:
        _keep_field(table, metadata.field_id)
        _add_flag_category(table)


def _copy_rows(survey: SetSurvey, target: str) -> NDArray[np.bool_]:
    """Copy the selected rows in the target's order; return which of them are fillers."""
    metadata, layout = survey.metadata, survey.layout
    with opened_field(metadata.path, metadata.field_id) as table:
        if layout.is_regular and survey.times.backward_row < 0:
            table.copy(target, deep=True).close()
            return np.zeros(layout.rows, bool)
        rows, filling = complete_rows(table.getcol("TIME"), read_codes(table, 0, layout.rows))
        with closing(table.selectrows(rows)) as selected:
            selected.copy(target, deep=True).close()
        return filling


def complete_rows(times_s: NDArray[np.float64], baselines: Numbers) -> tuple[Numbers, NDArray[np.bool_]]:
    """Return one row per baseline and slot, and which of them are fillers from another slot.

    The first of duplicate rows is kept; a missing row is filled from the previous slot, or else the next one.
    """
    slots, slot = np.unique(times_s, return_inverse=True)
    pairs, pair = np.unique(baselines, return_inverse=True)
    rows = np.full((len(slots), len(pairs)), -1)
    places, first_rows = np.unique(slot * len(pairs) + pair, return_index=True)
    rows.flat[places] = first_rows
    filling = rows < 0
    number = np.where(filling, -1, np.arange(len(slots))[:, None])
    number = np.maximum.accumulate(number, axis=0)
    number = np.where(number < 0, np.argmin(filling, axis=0), number)
    return rows[number, np.arange(len(pairs))].ravel(), filling.ravel()


def _apply_corrections(survey: SetSurvey, table: Any, filling: NDArray[np.bool_]) -> None:
    """Apply the corrections for DP3 to a copy."""
    metadata = survey.metadata
    if metadata.nfields != 1:
        _keep_field(table, metadata.field_id)
    _add_flag_category(table)
    table.putcol("INTERVAL", np.full(int(table.nrows()), survey.times.step_s))
    if filling.any():
        _fill_places(survey, table, filling)
    order = np.argsort(metadata.frequencies_hz, kind="stable")
    if not survey.rising:
        _sort_window(table, order)
    usability = survey.usability
    odd = usability.negative or usability.not_a_number or usability.odd_autocorrelations or usability.half_weighted
    if not survey.rising or odd:
        for first, rows in _blocks(table, len(order)):
            _mend_channels(table, first, rows, order)


def _add_flag_category(table: Any) -> None:
    """Add the column FLAG_CATEGORY, empty, if it is missing: DP3 and EveryBeam require it."""
    if FLAG_CATEGORY not in table.colnames():
        column = casacore.tables.makearrcoldesc(FLAG_CATEGORY, False, ndim=3, valuetype="bool")
        table.addcols(casacore.tables.maketabdesc([column]))
        table.putcolkeyword(FLAG_CATEGORY, "CATEGORY", np.array([], dtype=str))


def _keep_field(table: Any, field_id: int) -> None:
    """Reduce FIELD to one row, referenced by all rows of the main table."""
    with closing(casacore.tables.table(table.getkeyword("FIELD"), readonly=False, ack=False)) as fields:
        fields.removerows([number for number in range(int(fields.nrows())) if number != field_id])
    table.putcol("FIELD_ID", np.zeros(int(table.nrows()), np.int32))


def _fill_places(survey: SetSurvey, table: Any, filling: NDArray[np.bool_]) -> None:
    """Flag the filler rows, and set their time and UVW to those of their slot."""
    slots_s = table.getcol("TIME").reshape(survey.times.slots, -1)
    true_rows = np.argmin(filling.reshape(slots_s.shape), axis=1)  # each slot has at least one row of its own
    true_s = np.repeat(slots_s[np.arange(len(slots_s)), true_rows], slots_s.shape[1])
    later_s, declination_rad = true_s - slots_s.ravel(), survey.metadata.phase_centre_rad[1]
    for first, rows in _blocks(table, len(survey.metadata.frequencies_hz)):
        block = slice(first, first + rows)
        if not filling[block].any():
            continue
        for column in ("TIME", "TIME_CENTROID"):
            table.putcol(
                column, np.where(filling[block], true_s[block], table.getcol(column, first, rows)), first, rows
            )
        table.putcol("UVW", rotate_uvw(table.getcol("UVW", first, rows), later_s[block], declination_rad), first, rows)
        table.putcol("FLAG", table.getcol("FLAG", first, rows) | filling[block, None, None], first, rows)
        table.putcol("FLAG_ROW", table.getcol("FLAG_ROW", first, rows) | filling[block], first, rows)


def _sort_window(table: Any, order: Numbers) -> None:
    """Sort the channels of the spectral window in ascending order, with positive widths."""
    with closing(casacore.tables.table(table.getkeyword("SPECTRAL_WINDOW"), readonly=False, ack=False)) as window:
        for name in WINDOW_COLUMNS:
            window.putcell(name, 0, np.abs(np.asarray(window.getcell(name, 0))[order]))
        window.putcell("TOTAL_BANDWIDTH", 0, abs(float(window.getcell("TOTAL_BANDWIDTH", 0))))


def _blocks(table: Any, nchan: int) -> Iterator[tuple[int, int]]:
    nrows, size = int(table.nrows()), max(1, VISIBILITIES_PER_BLOCK // nchan)
    for first in range(0, nrows, size):
        yield first, min(size, nrows - first)


def _mend_channels(table: Any, first: int, rows: int, order: Numbers) -> None:
    """Sort the channels of some rows, flag invalid weights and UVW, and fill missing cross-hand weights."""
    columns = {}
    for name in table.colnames():
        cell: tuple[int, ...] = np.shape(table.getcell(name, first)) if table.iscelldefined(name, first) else ()
        if len(cell) == 2 and cell[0] == len(order):
            columns[name] = table.getcol(name, first, rows)[:, order]
    name = weight_column(table)
    weights = np.array(columns.get(name, read_all_weights(table, first, rows)))
    parallel = stokes_i_weight(weights)
    columns["UVW"], nowhere = read_uvw(table, first, rows)
    bad = ~(parallel >= 0) | nowhere[:, None]
    columns["FLAG"] = columns["FLAG"] | bad[:, :, None]
    unweighted = np.zeros(weights.shape, bool)
    unweighted[..., 1:-1] = lacks_cross_weight(weights) & ~bad[:, :, None]
    weights = np.where(bad[:, :, None], 0, np.where(unweighted, parallel[:, :, None], weights)).astype(weights.dtype)
    columns[name] = weights if name in columns else weights[:, 0]
    for column, values in columns.items():
        if np.iscomplexobj(values):
            values[np.broadcast_to(unweighted, values.shape)] = 0
        table.putcol(column, values, first, rows)
