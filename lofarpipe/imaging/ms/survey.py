"""A survey of measurement sets before they are imaged: all that check, plan and DP3's arguments depend on.

Times and rows are read as in rows.py; flags, weights and values from time slots that are evenly spread over the
set, all of a small one, and flags and weights of a few baselines from every slot. The survey of a set is made once in a
process, unless the set was written meanwhile.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.beam.applied import AppliedBeam, applied_beam_in
from lofarpipe.imaging.ms.measurement_set import (
    SetMetadata,
    metadata_of,
    read_antenna_pairs,
    read_flags,
    read_unusable,
    read_uvw,
    read_weights,
)
from lofarpipe.imaging.ms.names import AUTO
from lofarpipe.imaging.ms.rows import RowLayout, TimeAxis
from lofarpipe.imaging.ms.tables import opened_field, opened_set, selected_field, visibility_columns, without_table

SAMPLED_VISIBILITIES = 100_000  # rows x channels; a set with no more is read entirely
SLOT_BASELINES = 2  # baselines of which every time slot is looked at
MOST_SLOTS = 256  # of such a baseline, in a set of which that needs large parts of the disk
LARGE_VISIBILITIES = 16_000_000  # of such a set: 256 MB of weights
SAMPLED_VALUES = 50_000  # of these the values are read
ROWS_PER_READ, FIRST_ROWS = 20_000, 200  # where something usable is looked for in all of a set
# What DP3 6.6 needs to copy a set (each removed in turn), beside what opened_set() asks for.
NEEDED_SUBTABLES, NEEDED_COLUMNS = ("HISTORY",), ("FLAG_CATEGORY", "DATA")
# A station of LOFAR that EveryBeam knows is called after its antennas, as in CS002HBA0; DP3's stationadder calls its
# own ones ST001.
STATION_NAME = re.compile(r"(LBA|HBA)[01]?", re.IGNORECASE)


@dataclass(frozen=True)
class Usability:
    """Sampled cross-correlations, counted: visibilities (row, channel) ``looked_at``, and why some cannot be used.

    ``negative`` and ``not_a_number`` are weights of unflagged visibilities. ``antennas`` have a usable visibility;
    ``shortest_m`` and ``longest_m`` are the projected baselines with one, 0 where there is none.
    """

    looked_at: int
    flagged: int
    negative: int
    not_a_number: int
    without_weight: int
    not_finite: int
    antennas: tuple[int, ...]
    shortest_m: float
    longest_m: float

    @property
    def usable(self) -> int:
        """The number of visibilities that can be used."""
        unusable = self.flagged + self.negative + self.not_a_number + self.without_weight + self.not_finite
        return self.looked_at - unusable


@dataclass(frozen=True)
class SetSurvey:
    """What one measurement set holds, of the field that is imaged."""

    metadata: SetMetadata
    times: TimeAxis
    layout: RowLayout
    usability: Usability
    rising: bool  # frequencies
    visibility_columns: tuple[str, ...]
    missing_columns: tuple[str, ...]
    missing_subtables: tuple[str, ...]
    dangling_subtables: tuple[str, ...]  # keywords that name a table that does not exist
    applied_beam: AppliedBeam  # that the visibilities were corrected for
    phased_up: tuple[str, ...]  # stations without a beam model of their own: superstations

    @property
    def path(self) -> str:
        """The path of the set."""
        return self.metadata.path

    @property
    def antennas(self) -> tuple[int, ...]:
        """The antennas that have data; where none has, those that have rows."""
        return self.usability.antennas or self.layout.antennas


_surveys: dict[tuple[str, str, str], tuple[str, SetSurvey]] = {}


def survey_set(path: str, data_column: str = "", field: str = AUTO) -> SetSurvey:
    """Return the survey of a set; the one made before, if the set is as it was.

    Parameters
    ----------
    data_column
        Column of the visibilities that are imaged; empty for none.
    field
        Number or name of the field, where the set has rows of several.

    Raises
    ------
    MeasurementSetError
        As `read_metadata`.
    """
    key, written = (path, data_column, field), last_written(path)
    known = _surveys.get(key)
    if known is None or known[0] != written or not written:
        _surveys[key] = known = (written, _survey(path, data_column, field))
    return known[1]


def last_written(path: str) -> str:
    """Return a text that differs once a set has been written; "" if it cannot be looked at."""
    try:
        with os.scandir(path) as entries:
            folders = [path, *(entry.path for entry in entries if entry.is_dir())]
        files = [status for folder in folders for status in _table_files(folder)]
    except OSError:
        return ""
    return f"{sum(one.st_size for one in files)}@{max((one.st_mtime_ns for one in files), default=0)}"


def _table_files(folder: str) -> list[os.stat_result]:
    with os.scandir(folder) as entries:
        return [entry.stat() for entry in entries if entry.name.startswith(("table.dat", "table.f"))]


def _survey(path: str, data_column: str, field: str) -> SetSurvey:
    with opened_set(path) as table:
        metadata = metadata_of(path, table, field)
        keywords, complex_columns = table.keywordnames(), visibility_columns(table)
        column = data_column if data_column in complex_columns else ""
        with selected_field(path, table, metadata.field_id, metadata.nfields) as rows:
            usability = _read_usability(metadata, rows, column)
        return SetSurvey(
            metadata=metadata,
            times=metadata.times,
            layout=metadata.layout,
            usability=usability,
            rising=bool(np.all(np.diff(metadata.frequencies_hz) > 0)),
            visibility_columns=tuple(complex_columns),
            missing_columns=tuple(name for name in NEEDED_COLUMNS if name not in metadata.columns),
            missing_subtables=tuple(name for name in NEEDED_SUBTABLES if name not in keywords),
            dangling_subtables=tuple(without_table(table)),
            applied_beam=applied_beam_in(path, table, column),
            phased_up=_phased_up(metadata),
        )


def _phased_up(metadata: SetMetadata) -> tuple[str, ...]:
    """Return the antennas of LOFAR for which EveryBeam has no station."""
    if metadata.telescope.upper() != "LOFAR" or not metadata.has_lofar_beam:
        return ()
    return tuple(name for name in metadata.antenna_names if not STATION_NAME.search(name))


def _places(table: Any, layout: RowLayout, nchan: int) -> list[tuple[int, int]]:
    """Return (first row, rows) of what is looked at: whole slots, evenly spread, or all of a small set."""
    nrows, rows = int(table.nrows()), layout.most_rows
    count = max(1, SAMPLED_VISIBILITIES // (rows * nchan))
    if nrows <= count * rows:
        return [(0, nrows)]
    slots = np.unique(np.linspace(0, nrows / rows - 1, count).astype(int))
    return [(int(slot) * rows, rows) for slot in slots]


def _parts(table: Any, layout: RowLayout, nchan: int) -> Iterator[tuple[Any, int, int]]:
    """Yield table, first row and rows of all that is looked at: whole slots, and then a few baselines of every slot."""
    places = _places(table, layout, nchan)
    yield from ((table, first, rows) for first, rows in places)
    nrows = int(table.nrows())
    if places == [(0, nrows)]:
        return
    step = layout.most_rows
    if nrows * nchan > LARGE_VISIBILITIES:
        step *= max(1, nrows // step // MOST_SLOTS)
    antenna1, antenna2 = read_antenna_pairs(table, 0, layout.most_rows)
    cross = np.flatnonzero(antenna1 != antenna2)
    for place in cross[np.unique(np.linspace(0, len(cross) - 1, min(SLOT_BASELINES, len(cross))).astype(int))]:
        with closing(table.selectrows(np.arange(place, nrows, step))) as slots:
            yield slots, 0, int(slots.nrows())


def _read_usability(metadata: SetMetadata, table: Any, data_column: str) -> Usability:
    """Return why visibilities of a sample cannot be used, each counted once."""
    counts, values_left, lengths_m = np.zeros(6, int), SAMPLED_VALUES, [np.zeros(0)]
    antennas, nchan = np.zeros(len(metadata.antenna_names), bool), len(metadata.frequencies_hz)
    for part, first, rows in _parts(table, metadata.layout, nchan):
        antenna1, antenna2, length_m, *masks = _read_masks(
            part, first, rows, nchan, data_column if values_left > 0 else ""
        )
        values_left -= rows * nchan
        counts += [masks[0].size, *(int(mask.sum()) for mask in masks)]
        usable = ~np.any(masks, axis=0).all(axis=1)
        antennas[antenna1[usable]] = antennas[antenna2[usable]] = True
        lengths_m.append(length_m[usable])
    looked_at, flagged, negative, not_a_number, without_weight, not_finite = (int(count) for count in counts)
    seen = tuple(int(one) for one in np.flatnonzero(antennas))
    all_m = np.concatenate(lengths_m)
    shortest_m, longest_m = (float(all_m.min()), float(all_m.max())) if len(all_m) else (0.0, 0.0)
    return Usability(
        looked_at, flagged, negative, not_a_number, without_weight, not_finite, seen, shortest_m, longest_m
    )


def _read_masks(table: Any, first: int, rows: int, nchan: int, data_column: str) -> list[NDArray[Any]]:
    """Return antennas and projected lengths of cross-correlations, and masks (row, chan) of why they cannot be used.

    No two masks overlap. In order: flagged, negative weight, weight or UVW that is no number, no weight, values that
    are not finite.
    """
    antenna1, antenna2 = read_antenna_pairs(table, first, rows)
    cross = np.flatnonzero(antenna1 != antenna2)
    flagged = read_flags(table, first, rows)[cross]
    lowest = read_weights(table, first, rows, nchan)[cross]
    uvw_m, nowhere = (part[cross] for part in read_uvw(table, first, rows))
    length_m = np.hypot(uvw_m[:, 0], uvw_m[:, 1])
    infinite = (~np.isfinite(lowest) | nowhere[:, None]) & ~flagged
    negative, without = (lowest < 0) & ~infinite & ~flagged, (lowest == 0) & ~infinite & ~flagged
    not_finite = np.zeros_like(flagged)
    if data_column:
        finite = np.isfinite(table.getcol(data_column, first, rows)[cross]).all(axis=2)
        not_finite = ~finite & (lowest > 0) & ~flagged & ~infinite
    return [antenna1[cross], antenna2[cross], length_m, flagged, negative, infinite, without, not_finite]


def why_unusable(path: str, data_column: str = "", field_id: int = 0) -> str:
    """Return why there is nothing to image: "" as soon as one sample is found that is unflagged, weighted and finite.

    Only cross-correlations count; few rows are read first, then more, and visibilities of ``data_column`` only.
    """
    reached, stages = 0, ("flagged", "flagged, or of weight 0", "flagged, of weight 0, or not a finite number")
    with opened_field(path, field_id) as table:
        first, rows, nrows = 0, FIRST_ROWS, int(table.nrows())
        while first < nrows:
            reached = max(reached, _stage(table, first, min(rows, nrows - first), data_column))
            if reached == len(stages):
                return ""
            first, rows = first + rows, min(2 * rows, ROWS_PER_READ)
    return f"every visibility is {stages[reached]}"


def _stage(table: Any, first: int, rows: int, data_column: str) -> int:
    """Return how far the best cross-correlation sample of some rows comes: unflagged, with weight, finite."""
    antenna1, antenna2 = read_antenna_pairs(table, first, rows)
    cross = antenna1 != antenna2
    flags = read_flags(table, first, rows)
    if flags[cross].all():
        return 0
    flags |= read_uvw(table, first, rows)[1][:, None]
    unusable, _ = read_unusable(table, first, rows, flags)
    if unusable[cross].all():
        return 1
    if data_column:
        unusable |= ~np.isfinite(table.getcol(data_column, first, rows)).all(axis=2)
    return 2 if unusable[cross].all() else 3
