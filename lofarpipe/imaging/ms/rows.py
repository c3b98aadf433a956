"""Row layout of a measurement set: time slots and their baselines, read without the visibilities.

If all slots have as many rows as the first, one row per slot is read, and the antennas of all rows; otherwise all rows
are read, in blocks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import list_names
from lofarpipe.imaging.ms.names import AUTO
from lofarpipe.imaging.ms.tables import MeasurementSetError
from lofarpipe.support.dataclass import dataclass

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

ROWS_PER_BLOCK = 500_000
ROWS_PER_READ = 32_768  # per column: blocks that fit into the CPU cache are fastest
TIME_TOLERANCE_S = 0.01  # msin.timetolerance of DP3 6.6
INTERVAL_TOLERANCE_S = 1e-4  # DP3 inserts an empty slot at most once in a hundred if INTERVAL is off by so much
FAR_APART = 2.5  # INTERVALs that separate slots with a gap; at a smaller distance, INTERVAL is assumed to be wrong
GAP_STEPS = 1.5  # slots farther apart than this have a gap between them
MOST_CELLS = 5  # (slots x baselines) per row; above, the set has no regular time slots


@dataclass(frozen=True)
class TimeAxis:
    """The time slots of a set, MJD UTC seconds; ``first_s`` and ``last_s`` are their centres.

    ``step_s`` is the typical spacing of slots, ``first_interval_s`` the INTERVAL of the first row, which DP3 uses as
    step. ``exposure_s`` is the total of all slots. ``offset_s`` is the largest deviation of a slot from a multiple of
    the step. ``backward_row`` is the first row earlier than its predecessor; -1 for none.
    """

    first_s: float
    last_s: float
    slots: int
    step_s: float
    first_interval_s: float
    exposure_s: float
    gaps: int
    longest_gap_s: float
    offset_s: float
    backward_row: int = -1

    @property
    def grid_slots(self) -> int:
        """The number of slots from the first to the last, including missing ones."""
        return round((self.last_s - self.first_s) / self.step_s) + 1

    @property
    def is_contiguous(self) -> bool:
        """Whether all slots are one step apart, as DP3 needs to concatenate sets."""
        return self.gaps == 0 and self.slots == self.grid_slots and self.offset_s < TIME_TOLERANCE_S


@dataclass(frozen=True)
class RowLayout:
    """The order of rows within the time slots of a set.

    ``repeated`` counts rows with the time and baseline of another row. ``same_order``: every slot has the baselines of
    the first one, in the same order. ``digest`` identifies the sequence of baselines, ``sorted_digest`` that of the
    sorted slots.
    """

    rows: int
    fewest_rows: int
    most_rows: int
    pairs: int
    repeated: int
    same_order: bool
    digest: str
    sorted_digest: str
    antennas: tuple[int, ...]  # in cross-correlations

    @property
    def is_regular(self) -> bool:
        """Whether every slot has every baseline once, in the same order."""
        return self.same_order and self.repeated == 0 and self.fewest_rows == self.most_rows


def read_field_rows(table: Any, nfields: int) -> dict[int, int]:
    """Return the number of rows per FIELD_ID; a set with one field is sampled."""
    nrows, counts = int(table.nrows()), dict[int, int]()
    step = 1 if nfields != 1 else max(1, nrows // 1000)
    for first in range(0, nrows, ROWS_PER_BLOCK * step):
        ids = np.asarray(table.getcol("FIELD_ID", first, min(ROWS_PER_BLOCK, -(-(nrows - first) // step)), step))
        for number, rows in zip(*np.unique(ids, return_counts=True), strict=True):
            counts[int(number)] = counts.get(int(number), 0) + int(rows)
    return counts


def choose_field(path: str, names: Sequence[str], rows: Mapping[int, int], choice: str = AUTO) -> int:
    """Return the number of the field to image: ``choice`` (name or number), or the only one with rows.

    Raises
    ------
    MeasurementSetError
        If FIELD_ID is not in the FIELD table, if several fields have rows and none is selected, or if the selected one
        has no rows.
    """
    stray = [number for number in rows if not 0 <= number < len(names)]
    if stray:
        raise MeasurementSetError(
            f"{path}: FIELD_ID of some rows is {stray[0]}, and its FIELD table has {len(names)} of them, counted from "
            "0; correct the column"
        )
    counts = {number: f" ({rows[number]} rows)" if len(rows) > 1 else "" for number in sorted(rows)}
    field_list = list_names(f"{number} '{names[number]}'{count}" for number, count in counts.items())
    if choice == AUTO:
        if len(rows) == 1:
            return next(iter(rows))
        raise MeasurementSetError(
            f"{path}: holds {len(rows)} fields: {field_list}; choose one by number or name with the option field"
        )
    matches = [number for number in rows if choice in (str(number), names[number])]
    if len(matches) != 1:
        raise MeasurementSetError(f"{path}: has no rows of a field '{choice}'; it has {field_list}; correct field")
    return matches[0]


def read_rows(table: Any, nantennas: int) -> tuple[TimeAxis, RowLayout]:
    """Return time slots and row layout of a main table, or of a selection of its rows."""
    slot_rows = _regular_slot_rows(table, nantennas)
    return _read_regular(table, slot_rows) if slot_rows else _read_all(table)


def _first_run(table: Any, nantennas: int) -> int:
    """Return the length of the first time slot, rows."""
    nrows = int(table.nrows())
    length = min(nrows, nantennas * (nantennas + 1) // 2 + 1)
    while True:
        times_s = table.getcol("TIME", 0, length)
        other = np.flatnonzero(times_s != times_s[0])
        if len(other) or length == nrows:
            return int(other[0]) if len(other) else nrows
        length = min(nrows, 4 * length)


def _regular_slot_rows(table: Any, nantennas: int) -> int:
    """Return the rows per time slot if all slots have the same number and baselines, otherwise 0."""
    nrows, rows = int(table.nrows()), _first_run(table, nantennas)
    if not rows or nrows % rows:  # 0 if the first TIME is NaN
        return 0
    starts_s, ends_s = (table.getcol("TIME", first, -1, rows) for first in (0, rows - 1))
    if not ((starts_s == ends_s).all() and (np.diff(starts_s) > 0).all()):
        return 0
    if len(np.unique(read_codes(table, 0, rows))) != rows:
        return 0
    return rows if all(_has_pattern(table, name, rows) for name in ("ANTENNA1", "ANTENNA2")) else 0


def _has_pattern(table: Any, column: str, length: int) -> bool:
    """Whether a column repeats its first integers throughout; reuses one buffer, at half the cost."""
    nrows, size = int(table.nrows()), length * max(1, ROWS_PER_READ // length)
    expected, block = np.resize(table.getcol(column, 0, length), size), np.empty(size, np.int32)
    for first in range(0, nrows, size):
        rows = min(size, nrows - first)
        table.getcolnp(column, block[:rows], first, rows)
        if not np.array_equal(block[:rows], expected[:rows]):
            return False
    return True


def read_codes(table: Any, first: int, rows: int) -> Numbers:
    """Return an integer key of the baseline of each row."""
    return _codes(*(np.asarray(table.getcol(name, first, rows)) for name in ("ANTENNA1", "ANTENNA2")))


def _codes(antenna1: NDArray[Any], antenna2: NDArray[Any]) -> Numbers:
    return np.asarray(antenna1.astype(np.int64) << 32 | antenna2)


def _read_regular(table: Any, rows: int) -> tuple[TimeAxis, RowLayout]:
    times_s, intervals_s, exposures_s = (
        np.asarray(table.getcol(name, 0, -1, rows), float) for name in ("TIME", "INTERVAL", "EXPOSURE")
    )
    pairs = read_codes(table, 0, rows)
    digests = (_digest(pairs), _digest(np.sort(pairs)))
    layout = RowLayout(int(table.nrows()), rows, rows, rows, 0, True, *digests, _crossed(pairs))
    return _time_axis(times_s, intervals_s, exposures_s, intervals_s[0]), layout


def _digest(pairs: Numbers) -> str:
    return hashlib.sha256(pairs.tobytes()).hexdigest()[:16]


def _crossed(pairs: Numbers) -> tuple[int, ...]:
    """Return the antennas in cross-correlations."""
    antenna1, antenna2 = pairs >> 32, pairs & 0xFFFFFFFF
    cross = antenna1 != antenna2
    return tuple(int(number) for number in np.union1d(antenna1[cross], antenna2[cross]))


def _time_axis(
    times_s: Floats, intervals_s: Floats, exposures_s: Floats, first_interval_s: float, backward_row: int = -1
) -> TimeAxis:
    """Return the time axis of sorted slots, given INTERVAL and EXPOSURE of each.

    The step is the median distance of slots, gaps excluded; for a single slot or snapshots, the median INTERVAL.
    """
    steps_s = np.diff(times_s)
    close_s = steps_s[steps_s < GAP_STEPS * np.percentile(steps_s, 25)] if len(steps_s) else intervals_s
    step_s, interval_s = float(np.median(close_s)), round(float(np.median(intervals_s)), 12)
    if abs(step_s - interval_s) < INTERVAL_TOLERANCE_S or 0 < interval_s < step_s / FAR_APART:
        step_s = interval_s  # more precise than the difference of two times
    exposures_s = np.where((exposures_s > 0) & np.isfinite(exposures_s), exposures_s, step_s)
    steps = (times_s - times_s[0]) / step_s if step_s > 0 else np.zeros(1)
    return TimeAxis(
        first_s=float(times_s[0]),
        last_s=float(times_s[-1]),
        slots=len(times_s),
        step_s=step_s,
        first_interval_s=float(first_interval_s),
        exposure_s=float(exposures_s.sum()),
        gaps=int((steps_s > GAP_STEPS * step_s).sum()),
        longest_gap_s=float(steps_s.max(initial=0.0)),
        offset_s=float(np.abs(steps - np.round(steps)).max() * step_s),
        backward_row=backward_row,
    )


def _blocks(table: Any, *columns: str) -> Iterator[list[NDArray[Any]]]:
    """Yield columns of all rows, block by block."""
    nrows = int(table.nrows())
    for first in range(0, nrows, ROWS_PER_BLOCK):
        yield [np.asarray(table.getcol(name, first, min(ROWS_PER_BLOCK, nrows - first))) for name in columns]


def _read_times(table: Any) -> tuple[Floats, int]:
    """Return the sorted times of all slots, and the first row earlier than its predecessor, or -1."""
    slot_times, before_s, first, backward_row = [], -np.inf, 0, -1
    for (times_s,) in _blocks(table, "TIME"):
        back = np.flatnonzero(np.diff(times_s, prepend=before_s) < 0)
        if len(back) and backward_row < 0:
            backward_row = first + int(back[0])
        before_s, first = times_s[-1], first + len(times_s)
        slot_times.append(np.unique(times_s))
    return np.unique(np.concatenate(slot_times)), backward_row


def _read_all(table: Any) -> tuple[TimeAxis, RowLayout]:
    """Return time slots and layout from all rows."""
    times_s, backward_row = _read_times(table)
    counts, pairs, intervals_s, exposures_s = _count(table, times_s)
    repeated = _count_repeated(table, times_s, pairs)
    fewest, most, first_interval_s = int(counts.min()), int(counts.max()), float(table.getcell("INTERVAL", 0))
    regular = fewest == most == len(pairs) and repeated == 0 and backward_row < 0
    first_pairs = read_codes(table, 0, min(most, int(table.nrows())))
    layout = RowLayout(
        rows=int(table.nrows()),
        fewest_rows=fewest,
        most_rows=most,
        pairs=len(pairs),
        repeated=repeated,
        same_order=regular and _same_order(table, first_pairs),
        digest=_digest(first_pairs),
        sorted_digest=_digest(pairs),
        antennas=_crossed(pairs),
    )
    return _time_axis(times_s, intervals_s, exposures_s, first_interval_s, backward_row), layout


def _count(table: Any, times_s: Floats) -> tuple[Numbers, Numbers, Floats, Floats]:
    """Return rows per slot, all baselines, and mean INTERVAL and EXPOSURE per slot."""
    slots, pairs = len(times_s), np.zeros(0, np.int64)
    counts, intervals_s, exposures_s = np.zeros(slots, np.int64), np.zeros(slots), np.zeros(slots)
    for when_s, antenna1, antenna2, interval_s, exposure_s in _blocks(
        table, "TIME", "ANTENNA1", "ANTENNA2", "INTERVAL", "EXPOSURE"
    ):
        slot = np.searchsorted(times_s, when_s)
        counts += np.bincount(slot, minlength=slots)
        intervals_s += np.bincount(slot, interval_s, slots)
        exposures_s += np.bincount(slot, exposure_s, slots)
        pairs = np.union1d(pairs, _codes(antenna1, antenna2))
    return counts, pairs, intervals_s / counts, exposures_s / counts


def _count_repeated(table: Any, times_s: Floats, pairs: Numbers) -> int:
    """Return the number of duplicate rows; 0 if few slots are complete."""
    nrows, cells = int(table.nrows()), len(times_s) * len(pairs)
    if cells > MOST_CELLS * nrows:
        return 0
    has_row = np.zeros(cells, bool)
    for when_s, antenna1, antenna2 in _blocks(table, "TIME", "ANTENNA1", "ANTENNA2"):
        pair = np.searchsorted(pairs, _codes(antenna1, antenna2))
        has_row[np.searchsorted(times_s, when_s) * len(pairs) + pair] = True
    return int(nrows - has_row.sum())


def _same_order(table: Any, expected: Numbers) -> bool:
    """Whether all slots, of equal length, have the baselines of the first one in the same order."""
    place = 0
    for antenna1, antenna2 in _blocks(table, "ANTENNA1", "ANTENNA2"):
        codes = _codes(antenna1, antenna2)
        if not np.array_equal(codes, expected[(place + np.arange(len(codes))) % len(expected)]):
            return False
        place += len(codes)
    return True
