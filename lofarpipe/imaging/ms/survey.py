"""Survey of measurement sets before imaging: the input of checks, plan and DP3's arguments.

Times and antennas are read from all rows, as in rows.py. Flags and values of large sets come from evenly spread time
slots; weights and UVW are read from all rows, in a check only if that is fast. Surveys are cached in the user's cache
directory: one small JSON file each, named by a digest of the arguments and the fingerprint of the set's files. A
modified set has another digest; its stale entry expires.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.beam.applied import AppliedBeam, applied_beam_in
from lofarpipe.imaging.ms.measurement_set import (
    LARGEST_WEIGHT,
    LEAST_SHARE,
    SetMetadata,
    lacks_cross_weight,
    metadata_of,
    read_all_weights,
    read_antenna_pairs,
    read_flags,
    read_unusable,
    read_uvw,
    stokes_i_weight,
    weight_column,
)
from lofarpipe.imaging.ms.names import AUTO
from lofarpipe.imaging.ms.rows import RowLayout, TimeAxis
from lofarpipe.imaging.ms.tables import dangling_keywords, opened_field, opened_set, selected_field, visibility_columns
from lofarpipe.imaging.ms.uvw import UvwComparison
from lofarpipe.support.data_directories import user_cache
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.patterns import lazy_pattern

SCHEMA = 3  # increment when the content or meaning of entries changes
RECENT_S = 2.0  # more recent files may change again within the resolution of timestamps
MOST_ENTRIES, OLDEST_S = 10_000, 30 * 86400.0


def fingerprint(path: str) -> str:
    """Return a fingerprint of the files of a set; "" if they cannot be inspected.

    It covers the files of the main table and its subtables: name, size, mtime, ctime and inode.
    """
    return _files_of(path)[0]


def _files_of(path: str) -> tuple[str, float]:
    """Return the fingerprint of a set, and the time of its last modification."""
    files, folders = list[tuple[str, int, int, int, int]](), [path]
    try:
        for folder in folders:  # the list grows: each part of a multi-MS has subtables
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(("table.dat", "table.f")):
                        one = entry.stat()
                        files.append((entry.path, one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino))
                    elif entry.is_dir():
                        folders.append(entry.path)
    except OSError:
        return "", 0.0
    newest_ns = max((max(file[2], file[3]) for file in files), default=0)
    return (hashlib.sha256(repr(sorted(files)).encode()).hexdigest() if files else ""), newest_ns / 1e9


def read_entry(question: Iterable[object], files: str) -> dict[str, Any] | None:
    """Return the cache entry of a question about a set with the fingerprint ``files``; None if missing."""
    with suppress(OSError, ValueError):
        entry = json.loads(_entry_path(question, files).read_bytes())
        if isinstance(entry, dict):
            return entry
    return None


def write_entry(question: Iterable[object], path: str, files: str, entry: Mapping[str, Any]) -> None:
    """Store the survey of the set at ``path``; ``files`` is its earlier fingerprint.

    Nothing is stored if the set was modified meanwhile or just before, or if the cache is not writable.
    """
    now, written_s = _files_of(path)
    if now != files or time.time() - written_s < RECENT_S:
        return
    with suppress(OSError):
        target = _entry_path(question, files)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = target.with_name(f"{target.name}.{os.getpid()}")
        try:
            unfinished.write_text(json.dumps(entry, default=_plain), encoding="utf-8")
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
        _prune(target.parent)


def _plain(value: Any) -> list[Any]:
    """Convert an array or a set for JSON."""
    return value.tolist() if hasattr(value, "tolist") else sorted(value)


def _entry_path(question: Iterable[object], files: str) -> Path:
    cache = user_cache()
    if cache is None:
        raise FileNotFoundError("there is no directory for the user's cache")
    digest = hashlib.sha256(repr((SCHEMA, *question, files)).encode(errors="surrogateescape")).hexdigest()
    return cache / "surveys" / f"{digest[:32]}.json"


@functools.cache
def _prune(directory: Path) -> None:
    """Remove expired and excess entries, once per process."""
    with os.scandir(directory) as entries:
        ages = sorted((entry.stat().st_mtime, entry.path) for entry in entries)
    surplus = len(ages) - MOST_ENTRIES
    for number, (written_s, path) in enumerate(ages):
        if number < surplus or time.time() - written_s > OLDEST_S:
            with suppress(FileNotFoundError):  # another process was faster
                os.unlink(path)  # noqa: PTH108 - of a text


SAMPLED_VISIBILITIES = 100_000  # rows x channels; smaller sets are read entirely
SAMPLED_SLOTS = 6  # maximum for larger sets
SAMPLED_VALUES = 50_000  # sampled visibilities whose values are read
SCANNED_WEIGHTS = 50_000_000  # up to this size a check reads all weights: 0.1 s of CPU
WEIGHTS_PER_READ = 1_000_000
COUNTED_WEIGHTS = 10_000  # of the sample, for quantiles
LOW_PERCENT = 1.0  # of the weights are ignored in the lowest weight
ROWS_PER_READ, FIRST_ROWS = 20_000, 200  # blocks of the search for usable visibilities
# Subtables that DP3 6.6 needs to copy a set (tested by removal), beyond those of opened_set().
NEEDED_SUBTABLES, NEEDED_COLUMNS = ("HISTORY",), ("FLAG_CATEGORY", "DATA")
# LOFAR stations known to EveryBeam are named after their antennas, as in CS002HBA0; DP3's stationadder calls its
# own ones ST001.
STATION_NAME = lazy_pattern(r"(LBA|HBA)[01]?", re.IGNORECASE)


@dataclass(frozen=True)
class Usability:
    """Counts of sampled cross-correlations (row, channel): all, ``looked_at``, and unusable ones by reason.

    ``negative`` and ``not_a_number`` count weights of unflagged visibilities, ``half_weighted`` usable ones with
    negligible cross-hand weights, ``odd_autocorrelations`` unflagged ones whose weight is negative or not finite.
    ``antennas`` have usable visibilities; ``shortest_m`` and ``longest_m`` are the extreme projected baselines with
    usable data, 0 without. ``low_weight`` is the 1st percentile of the positive weights, ``usual_weight`` the median;
    ``highest_weight`` is the maximum of usable visibilities and autocorrelations.
    """

    looked_at: int
    flagged: int
    negative: int
    not_a_number: int
    without_weight: int
    not_finite: int
    half_weighted: int
    odd_autocorrelations: int
    antennas: tuple[int, ...]
    shortest_m: float
    longest_m: float
    low_weight: float
    usual_weight: float
    highest_weight: float

    @property
    def usable(self) -> int:
        """The number of usable visibilities."""
        unusable = self.flagged + self.negative + self.not_a_number + self.without_weight + self.not_finite
        return self.looked_at - unusable


@dataclass(frozen=True)
class SetSurvey:
    """Survey of the imaged field of one measurement set."""

    metadata: SetMetadata
    usability: Usability
    every_row: bool  # whether the weights of all rows were read
    is_whole: bool  # whether all subtables are inside the set's directory
    rising: bool  # frequencies
    visibility_columns: tuple[str, ...]
    weight_column: str
    missing_columns: tuple[str, ...]
    missing_subtables: tuple[str, ...]
    dangling_subtables: tuple[str, ...]  # keywords that refer to missing tables
    applied_beam: AppliedBeam  # beam already corrected in the visibilities
    phased_up: tuple[str, ...]  # stations without a beam model of their own: superstations
    uvw_problem: str  # of UVW that does not follow from positions, times and phase centre

    @property
    def path(self) -> str:
        """The path of the set."""
        return self.metadata.path

    @property
    def times(self) -> TimeAxis:
        """The time slots of the imaged field."""
        return self.metadata.times

    @property
    def layout(self) -> RowLayout:
        """The order of its rows."""
        return self.metadata.layout

    @property
    def antennas(self) -> tuple[int, ...]:
        """The antennas with usable data, or with rows if there are none."""
        return self.usability.antennas or self.layout.antennas


_surveys: dict[tuple[str, str, str], tuple[str, SetSurvey]] = {}


def survey_set(path: str, data_column: str = "", field: str = AUTO, every_row: bool = False) -> SetSurvey:
    """Return the survey of a set, from the cache if the set is unchanged.

    Parameters
    ----------
    data_column
        Column of the imaged visibilities; empty for none.
    field
        Number or name of the field, for sets with several.
    every_row
        Whether the weights of all rows are read, regardless of their number.

    Raises
    ------
    MeasurementSetError
        As `read_metadata`.
    """
    question, files = (path, data_column, field), fingerprint(path)
    known_files, survey = _surveys.get(question, ("", None))
    if survey is None or not files or known_files != files:
        survey = _restored(read_entry(question, files) or {})
    if survey is None or every_row > survey.every_row:
        survey = _survey(path, data_column, field, every_row)
        if survey.is_whole:
            write_entry(question, path, files, dataclasses.asdict(survey))
    if survey.is_whole:
        _surveys[question] = files, survey
    return survey


def _restored(entry: Mapping[str, Any]) -> SetSurvey | None:
    """Rebuild a survey from a cache entry; None if the entry is invalid."""
    try:
        metadata, applied_beam = _lists_to_tuples(entry["metadata"]), _lists_to_tuples(entry["applied_beam"])
        for name in ("frequencies_hz", "antenna_positions_m", "dish_diameters_m"):
            metadata[name] = np.array(metadata[name], float)
        metadata["columns"] = frozenset(metadata["columns"])
        metadata["times"] = TimeAxis(**metadata["times"])
        metadata["layout"] = RowLayout(**_lists_to_tuples(metadata["layout"]))
        return SetSurvey(
            **{
                **_lists_to_tuples(entry),
                "metadata": SetMetadata(**metadata),
                "usability": Usability(**_lists_to_tuples(entry["usability"])),
                "applied_beam": AppliedBeam(**applied_beam),
            }
        )
    except (KeyError, TypeError, ValueError):
        return None


def _lists_to_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _survey(path: str, data_column: str, field: str, every_row: bool) -> SetSurvey:
    with opened_set(path) as table:
        metadata = metadata_of(path, table, field)
        keywords, complex_columns = table.keywordnames(), visibility_columns(table)
        column = data_column if data_column in complex_columns else ""
        with selected_field(path, table, metadata.field_id, metadata.nfields) as rows:
            usability, every_row, uvw_problem = _read_usability(metadata, rows, column, every_row)
        return SetSurvey(
            metadata=metadata,
            usability=usability,
            every_row=every_row,
            is_whole=_is_whole(path, table),
            rising=bool(np.all(np.diff(metadata.frequencies_hz) > 0)),
            visibility_columns=tuple(complex_columns),
            weight_column=weight_column(table),
            missing_columns=tuple(name for name in NEEDED_COLUMNS if name not in metadata.columns),
            missing_subtables=tuple(name for name in NEEDED_SUBTABLES if name not in keywords),
            dangling_subtables=tuple(dangling_keywords(table)),
            applied_beam=applied_beam_in(path, table, column),
            phased_up=_phased_up(metadata),
            uvw_problem=uvw_problem,
        )


def _is_whole(path: str, table: Any) -> bool:
    """Whether all subtables of a set are inside its directory, and so covered by its fingerprint."""
    names = [
        text.removeprefix("Table: ") for value in table.getkeywords().values() if (text := str(value))[:7] == "Table: "
    ]
    below = [Path(path).absolute(), Path(path).resolve()]
    return all(any(Path(name).is_relative_to(folder) for folder in below) for name in names)


def _phased_up(metadata: SetMetadata) -> tuple[str, ...]:
    """Return the LOFAR antennas without a station in EveryBeam."""
    if metadata.telescope.upper() != "LOFAR" or not metadata.has_lofar_beam:
        return ()
    return tuple(name for name in metadata.antenna_names if not STATION_NAME.search(name))


def _places(table: Any, layout: RowLayout, nchan: int) -> list[tuple[int, int]]:
    """Return (first row, rows) of the sample: complete, evenly spread slots, or all of a small set."""
    nrows, rows = int(table.nrows()), layout.most_rows
    if nrows * nchan <= SAMPLED_VISIBILITIES or nrows < 2 * rows:
        return [(0, nrows)]
    count = max(1, min(SAMPLED_SLOTS, SAMPLED_VISIBILITIES // (rows * nchan)))
    slots = np.unique(np.linspace(0, nrows / rows - 1, count).astype(int))
    return [(int(slot) * rows, rows) for slot in slots]


def _read_usability(
    metadata: SetMetadata, table: Any, data_column: str, every_row: bool
) -> tuple[Usability, bool, str]:
    """Return counts of unusable visibilities by reason, whether the weights of all rows were read, and wrong UVW."""
    nrows, nchan = int(table.nrows()), len(metadata.frequencies_hz)
    places, highest = _places(table, metadata.layout, nchan), 0.0
    is_small = places == [(0, nrows)]
    every_row = every_row or is_small or nrows * nchan * len(metadata.correlations) <= SCANNED_WEIGHTS
    if every_row and not is_small:
        odd_places, highest = _scan_weights(table)
        places += odd_places
    counts, values_left = Counter[str](), SAMPLED_VALUES
    antennas, lengths_m, weights = np.zeros(len(metadata.antenna_names), bool), [np.zeros(0)], [np.zeros(0)]
    comparison = UvwComparison(
        metadata.antenna_names, metadata.antenna_positions_m, metadata.phase_centre_rad, metadata.timestep_s
    )
    for first, rows in places:
        part = _read_part(table, first, rows, data_column if values_left > 0 else "")
        values_left -= rows * nchan
        counts.update({name: int(getattr(part, name).sum()) for name in COUNTED}, looked_at=part.flagged.size)
        usable = part.usable.any(axis=1)
        antennas[part.antenna1[usable]] = antennas[part.antenna2[usable]] = True
        lengths_m.append(np.hypot(*part.uvw_m[usable, :2].T))
        comparison.add_rows(part.antenna1[usable], part.antenna2[usable], part.time_s[usable], part.uvw_m[usable])
        weights.append(part.positive_weights)
        highest = max(highest, part.highest_weight)
    all_m, positive = np.concatenate(lengths_m), np.concatenate(weights)
    low, usual = np.percentile(positive, [LOW_PERCENT, 50.0]) if len(positive) else (0.0, 0.0)
    return (
        Usability(
            **{name: counts[name] for name in ("looked_at", *COUNTED)},
            antennas=tuple(int(one) for one in np.flatnonzero(antennas)),
            shortest_m=float(all_m.min()) if len(all_m) else 0.0,
            longest_m=float(all_m.max(initial=0.0)),
            low_weight=float(low),
            usual_weight=float(usual),
            highest_weight=highest,
        ),
        every_row,
        comparison.problem(),
    )


def _scan_weights(table: Any) -> tuple[list[tuple[int, int]], float]:
    """Return (first row, rows) of blocks with odd weights or UVW, and the highest valid weight.

    Odd weights are negative, not finite, or 0 in the cross hands only. As unsigned integers, positive floats sort in
    order, followed by infinity, NaN and negative floats.
    """
    column, nrows, odd, highest = weight_column(table), int(table.nrows()), [], np.float32(0.0)
    cell = np.shape(table.getcell(column, 0))
    size = max(1, WEIGHTS_PER_READ // int(np.prod(cell)))
    weights, uvw_m = np.empty((size, *cell), np.float32), np.empty((size, 3))
    limit = np.float32(LARGEST_WEIGHT).view(np.uint32)
    for first in range(0, nrows, size):
        rows = min(size, nrows - first)
        table.getcolnp(column, weights[:rows], first, rows)
        table.getcolnp("UVW", uvw_m[:rows], first, rows)
        bits = weights[:rows].view(np.uint32)
        top = bits.max()
        if top > limit or not np.isfinite(uvw_m[:rows].sum()) or _lack_weight(weights[:rows], bits.min(), top):
            odd.append((first, rows))
        else:
            highest = max(highest, top.view(np.float32))
    return odd, float(highest)


def _lack_weight(weights: NDArray[np.float32], lowest: np.uint32, highest: np.uint32) -> bool:
    """Whether the cross-hand weights are negligible although the parallel hands have weight."""
    if lowest.view(np.float32) >= LEAST_SHARE * highest.view(np.float32):
        return False
    return bool(lacks_cross_weight(weights).any())


# Counted masks of a block: disjoint reasons for unusable visibilities, and a subset of the usable ones.
COUNTED = (
    "flagged",
    "negative",
    "not_a_number",
    "without_weight",
    "not_finite",
    "half_weighted",
    "odd_autocorrelations",
)


@dataclass(frozen=True, eq=False)
class _Part:
    """Cross-correlations of some rows: antennas and time (row,); UVW (row, 3); masks (row, chan)."""

    antenna1: NDArray[np.int64]
    antenna2: NDArray[np.int64]
    time_s: NDArray[np.float64]
    uvw_m: NDArray[np.float64]
    flagged: NDArray[np.bool_]
    negative: NDArray[np.bool_]
    not_a_number: NDArray[np.bool_]  # weight or UVW
    without_weight: NDArray[np.bool_]
    not_finite: NDArray[np.bool_]  # values
    usable: NDArray[np.bool_]
    half_weighted: NDArray[np.bool_]
    odd_autocorrelations: NDArray[np.bool_]  # of other rows
    highest_weight: float
    positive_weights: NDArray[np.float64]  # (n,), some of them, however large


def _read_part(table: Any, first: int, rows: int, data_column: str) -> _Part:
    antenna1, antenna2 = read_antenna_pairs(table, first, rows)
    cross = antenna1 != antenna2
    flags, all_weights = read_flags(table, first, rows), read_all_weights(table, first, rows)
    flagged, auto_flagged = flags[cross], flags[~cross]
    auto_weights = np.broadcast_to(stokes_i_weight(all_weights[~cross]), auto_flagged.shape)
    odd_autos, all_weights = ~(auto_weights >= 0) & ~auto_flagged, all_weights[cross]
    weights = np.broadcast_to(stokes_i_weight(all_weights), flagged.shape)
    uvw_m, nowhere = (part[cross] for part in read_uvw(table, first, rows))
    odd = (np.isnan(weights) | nowhere[:, None]) & ~flagged
    negative, without = (weights < 0) & ~odd & ~flagged, (weights == 0) & ~odd & ~flagged
    usable = ~(flagged | odd | negative | without)
    not_finite = np.zeros_like(flagged)
    if data_column:
        not_finite = usable & ~np.isfinite(table.getcol(data_column, first, rows)[cross]).all(axis=2)
        usable &= ~not_finite
    lacking = lacks_cross_weight(all_weights).any(axis=2)
    parallel = np.minimum(all_weights[..., 0], all_weights[..., -1])
    lowest = np.broadcast_to(np.where(lacking, parallel, all_weights.min(axis=2)), flagged.shape)[~flagged]
    lowest = lowest[:: max(1, lowest.size // COUNTED_WEIGHTS)]
    highest = max(
        float(weights.max(where=usable, initial=0.0)),
        float(auto_weights.max(where=~(odd_autos | auto_flagged), initial=0.0)),
    )
    time_s, positive = table.getcol("TIME", first, rows)[cross], lowest[(lowest > 0) & np.isfinite(lowest)]
    return _Part(
        antenna1[cross], antenna2[cross], time_s, uvw_m, flagged, negative, odd, without, not_finite, usable,
        usable & lacking, odd_autos, highest, positive.astype(float),
    )  # fmt: skip


def unusable_reason(path: str, data_column: str = "", field_id: int = 0) -> str:
    """Return why there is nothing to image; "" as soon as a usable visibility is found.

    Only cross-correlations and ``data_column`` are read, first few rows, then more.
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
    """Return the furthest stage of any cross-correlation: unflagged, with weight, finite."""
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
