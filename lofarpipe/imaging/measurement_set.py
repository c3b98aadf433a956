"""Measurement sets: what they hold, and samples of them. With set_tables.py the only door to casacore.

Nothing here reads a whole main table, except where the name says so: the cost of looking at a set
does not grow with its number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import casacore.measures
import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.set_tables import MeasurementSetError, opened, opened_set

Floats = NDArray[np.float64]

# The codes of POLARIZATION.CORR_TYPE. Source: casacore, class Stokes.
CORRELATION_NAMES = {
    1: "I",
    2: "Q",
    3: "U",
    4: "V",
    5: "RR",
    6: "RL",
    7: "LR",
    8: "LL",
    9: "XX",
    10: "XY",
    11: "YX",
    12: "YY",
}
EQUATORIAL_FRAMES = ("J2000", "ICRS")
ROWS_PER_READ, FIRST_ROWS = 20_000, 200
TIMES_TO_SEE = 100  # rows of a set whose order is looked at
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, eq=False)
class SetMetadata:
    """What a measurement set says of itself.

    Frequencies are channel centres, shape (chan,); positions are ITRF, shape (antenna, 3); times are MJD UTC in
    seconds, ``start_s`` and ``end_s`` at the edges of the first and the last time slot. ``ntimes`` counts the slots
    between those edges, whether rows exist for them or not.
    """

    path: str
    telescope: str
    antenna_set: str  # e.g. HBA_DUAL_INNER; empty where the set does not say
    frequencies_hz: Floats
    channel_width_hz: float
    ref_frequency_hz: float
    phase_centre_rad: tuple[float, float]
    antenna_names: tuple[str, ...]
    antenna_positions_m: Floats
    dish_diameters_m: Floats
    start_s: float
    end_s: float
    timestep_s: float
    ntimes: int
    nrows: int
    correlations: tuple[str, ...]
    has_lofar_beam: bool
    columns: frozenset[str]

    @property
    def name(self) -> str:
        """The last part of the path, as a person names the set."""
        return Path(self.path).name

    @property
    def bandwidth_hz(self) -> float:
        """The width of all channels together, Hz."""
        return self.channel_width_hz * len(self.frequencies_hz)


@dataclass(frozen=True, eq=False)
class Sample:
    """Cross-correlation rows of some whole time slots, evenly spread over a set.

    ``uvw_m`` (row, 3); ``antenna1``, ``antenna2``, ``time_s`` (row,); ``weights`` (row, chan), the natural weight of
    Stokes I, not zeroed where flagged; ``flags`` (row, chan), True where any correlation or the row is flagged.
    ``exposure_s`` is that of one row. ``fraction`` is the part of the set's rows that was looked at, and
    ``slots`` the number of time slots.
    """

    uvw_m: Floats
    antenna1: NDArray[np.int64]
    antenna2: NDArray[np.int64]
    time_s: Floats
    weights: Floats
    flags: NDArray[np.bool_]
    exposure_s: float
    fraction: float
    slots: int


def _cell(path: str, subtable: str, column: str, row: int) -> Any:
    """Return one cell of a subtable, or None where there is no such column or value."""
    with opened(f"{path}::{subtable}") as table:
        if column not in table.colnames() or not table.iscelldefined(column, row):
            return None
        return table.getcell(column, row)


def _read_spectrum(path: str, description_id: int) -> dict[str, Any]:
    """Return the channels and correlations that one DATA_DESCRIPTION row points at."""
    with opened(f"{path}::DATA_DESCRIPTION") as table:
        if table.nrows() != 1:
            raise MeasurementSetError(
                f"{path}: has {table.nrows()} data descriptions; one spectral window per set is needed; split it first"
            )
        window = int(table.getcell("SPECTRAL_WINDOW_ID", description_id))
        polarization = int(table.getcell("POLARIZATION_ID", description_id))
    with opened(f"{path}::SPECTRAL_WINDOW") as table:
        frequencies_hz = np.asarray(table.getcell("CHAN_FREQ", window), float)
        width_hz = abs(float(table.getcell("CHAN_WIDTH", window)[0]))
        reference_hz = float(table.getcell("REF_FREQUENCY", window))
    if not (width_hz > 0 and frequencies_hz.min() > 0):
        raise MeasurementSetError(
            f"{path}: channel width {width_hz} Hz and lowest frequency {frequencies_hz.min()} Hz; both must be positive"
        )
    codes = _cell(path, "POLARIZATION", "CORR_TYPE", polarization)
    names = tuple(CORRELATION_NAMES.get(int(code), str(code)) for code in codes)
    return {
        "frequencies_hz": frequencies_hz,
        "channel_width_hz": width_hz,
        "ref_frequency_hz": reference_hz,
        "correlations": names,
    }


def _read_antennas(path: str) -> dict[str, Any]:
    """Return names, ITRF positions and dish diameters of all antennas."""
    with opened(f"{path}::ANTENNA") as table:
        return {
            "antenna_names": tuple(table.getcol("NAME")),
            "antenna_positions_m": np.asarray(table.getcol("POSITION"), float),
            "dish_diameters_m": np.asarray(table.getcol("DISH_DIAMETER"), float),
        }


def _read_phase_centre(path: str, field_id: int) -> tuple[float, float]:
    """Return right ascension and declination of the phase centre, J2000, radians."""
    with opened(f"{path}::FIELD") as table:
        direction = np.asarray(table.getcell("PHASE_DIR", field_id), float).reshape(-1, 2)[0]
        frame = str(table.getcolkeywords("PHASE_DIR").get("MEASINFO", {}).get("Ref", "J2000"))
    if frame.upper() not in EQUATORIAL_FRAMES:
        raise MeasurementSetError(
            f"{path}: the phase centre is given in frame {frame}; expected one of {', '.join(EQUATORIAL_FRAMES)}"
        )
    return float(direction[0]), float(direction[1])


def _read_times(path: str, table: Any) -> dict[str, Any]:
    """Return the time range of a main table that is in time order, as it should be."""
    times_s = _times_on_the_way(path, table)
    first_s, last_s = times_s[0], times_s[-1]
    timestep_s = float(table.getcell("INTERVAL", 0))
    if timestep_s <= 0:
        raise MeasurementSetError(f"{path}: INTERVAL is {timestep_s} s; a positive one is needed; correct the column")
    return {
        "start_s": first_s - timestep_s / 2,
        "end_s": last_s + timestep_s / 2,
        "timestep_s": timestep_s,
        "ntimes": round((last_s - first_s) / timestep_s) + 1,
    }


def _times_on_the_way(path: str, table: Any) -> list[float]:
    """Return the times of the first row, the last one and some between, which must not go back: DP3 drops such rows.

    The rows are spaced unevenly, so that a table that is sorted by baseline does not look as if it were in time order.
    """
    nrows = int(table.nrows())
    rows = sorted({0, nrows - 1, *(int(nrows * (number * GOLDEN % 1)) for number in range(1, TIMES_TO_SEE))})
    times_s = [float(table.getcell("TIME", row)) for row in rows]
    for row, before_s, time_s in zip(rows[1:], times_s, times_s[1:], strict=False):
        if time_s < before_s:
            raise MeasurementSetError(
                f"{path}: its rows are not in the order of time: row {row} is {before_s - time_s:.0f} s earlier than "
                "one before it; sort it: from casacore.tables import table; "
                f"table('{path}').sort('TIME,ANTENNA1,ANTENNA2').copy('{path}.sorted', deep=True)"
            )
    return times_s


def read_metadata(path: str) -> SetMetadata:
    """Return what a measurement set says of itself, at a cost that does not depend on its size.

    Raises
    ------
    MeasurementSetError
        If the path does not exist, is not a measurement set, has no rows, more than one spectral window, a phase
        centre in a frame other than J2000 or ICRS, or rows that are not in time order.
    """
    with opened_set(path) as table:
        columns = frozenset(table.colnames())
        keywords = table.getkeywords()
        times = _read_times(path, table)
        field_id, description_id = (int(table.getcell(name, 0)) for name in ("FIELD_ID", "DATA_DESC_ID"))
        nrows = int(table.nrows())
    return SetMetadata(
        path=path,
        telescope=str(_cell(path, "OBSERVATION", "TELESCOPE_NAME", 0) or ""),
        antenna_set=str(_cell(path, "OBSERVATION", "LOFAR_ANTENNA_SET", 0) or ""),
        phase_centre_rad=_read_phase_centre(path, field_id),
        nrows=nrows,
        has_lofar_beam="LOFAR_ANTENNA_FIELD" in keywords,
        columns=columns,
        **times,
        **_read_spectrum(path, description_id),
        **_read_antennas(path),
    )


def stokes_i_weight(weights: NDArray[Any]) -> Floats:
    """Return the natural weight of Stokes I, (..., ) from weights (..., corr).

    The smaller of the weights of the parallel hands, the first and the last correlation, as WSClean weights Stokes I
    (4 w_xx w_yy / (w_xx + w_yy) would follow from the errors; they are the same where both hands weigh the same). With
    one correlation its weight is returned.

    Source: compared with the weights in WSClean 3.1's images, equal to 5e-9.
    """
    weight: Floats = np.minimum(np.asarray(weights[..., 0], float), np.asarray(weights[..., -1], float))
    return weight


def _slot_rows(table: Any, row: int, max_slot_rows: int) -> tuple[int, int]:
    """Return first row and number of rows of the time slot that ``row`` is in."""
    first = max(0, row - max_slot_rows)
    times_s = table.getcol("TIME", first, min(2 * max_slot_rows, table.nrows() - first))
    same = np.flatnonzero(times_s == times_s[row - first])
    return first + int(same[0]), int(same[-1] - same[0]) + 1


def _slots_to_read(table: Any, max_rows: int, nantennas: int) -> list[tuple[int, int]]:
    """Return (first row, rows) of whole time slots, evenly spread, together at most about ``max_rows``."""
    nrows = int(table.nrows())
    if nrows <= max_rows:
        return [(0, nrows)]
    max_slot_rows = nantennas * (nantennas + 1) // 2
    slot_rows = _slot_rows(table, nrows // 2, max_slot_rows)[1]
    nslots = max(1, max_rows // slot_rows)
    middles = [int((index + 0.5) * nrows / nslots) for index in range(nslots)]
    return sorted({_slot_rows(table, row, max_slot_rows) for row in middles})


def _read_antenna_pairs(table: Any, first: int, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the antenna numbers of ``rows`` rows."""
    antenna1, antenna2 = (np.asarray(table.getcol(name, first, rows), np.int64) for name in ("ANTENNA1", "ANTENNA2"))
    return antenna1, antenna2


def _read_flags(table: Any, first: int, rows: int) -> NDArray[np.bool_]:
    """Return (row, chan): whether any correlation, or the row, is flagged."""
    row_flags = np.asarray(table.getcol("FLAG_ROW", first, rows), bool)
    flags: NDArray[np.bool_] = np.any(table.getcol("FLAG", first, rows), axis=2)
    flags[row_flags] = True
    return flags


def _read_weights(table: Any, first: int, rows: int, nchan: int) -> Floats:
    """Return (row, chan): the natural weight of Stokes I."""
    if "WEIGHT_SPECTRUM" in table.colnames() and table.iscelldefined("WEIGHT_SPECTRUM", first):
        return stokes_i_weight(table.getcol("WEIGHT_SPECTRUM", first, rows))
    per_row = stokes_i_weight(table.getcol("WEIGHT", first, rows))
    return np.repeat(per_row[:, None], nchan, axis=1)


def _read_rows(table: Any, first: int, rows: int) -> dict[str, NDArray[Any]]:
    """Return the cross-correlations among ``rows`` rows, with Stokes I weight and flag per channel."""
    antenna1, antenna2 = _read_antenna_pairs(table, first, rows)
    cross = antenna1 != antenna2
    flags = _read_flags(table, first, rows)
    weights = _read_weights(table, first, rows, flags.shape[1])
    return {
        "uvw_m": np.asarray(table.getcol("UVW", first, rows), float)[cross],
        "antenna1": antenna1[cross],
        "antenna2": antenna2[cross],
        "time_s": np.asarray(table.getcol("TIME", first, rows), float)[cross],
        "weights": weights[cross],
        "flags": flags[cross],
    }


def sample_visibilities(path: str, max_rows: int = 20_000) -> Sample:
    """Return uvw, weights and flags of some whole time slots; the visibilities themselves are not read.

    The slots are evenly spread over the rows, about ``max_rows`` rows together (at least one slot), and each is one
    contiguous read, so the cost depends on ``max_rows`` and not on the set. A set with fewer rows is read entirely.
    Autocorrelations are left out.

    Raises
    ------
    MeasurementSetError
        As `read_metadata`; also if the set holds no cross-correlation.
    """
    with opened_set(path) as table, opened(f"{path}::ANTENNA") as antennas:
        slots = _slots_to_read(table, max_rows, int(antennas.nrows()))
        pieces = [_read_rows(table, first, rows) for first, rows in slots]
        exposure_s = float(table.getcell("EXPOSURE", 0)) or float(table.getcell("INTERVAL", 0))
        fraction = sum(rows for _, rows in slots) / int(table.nrows())
    joined = {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}
    if len(joined["time_s"]) == 0:
        raise MeasurementSetError(f"{path}: holds no cross-correlations in the rows looked at; nothing can be imaged")
    return Sample(exposure_s=exposure_s, fraction=fraction, slots=len(np.unique(joined["time_s"])), **joined)


def why_unusable(path: str, data_column: str = "") -> str:
    """Return why there is nothing to image: "" as soon as one sample is found that is unflagged, weighted and finite.

    Only cross-correlations count; few rows are read first, then more, and visibilities of ``data_column`` only.
    """
    reached, stages = 0, ("flagged", "flagged, or of weight 0", "flagged, of weight 0, or not a finite number")
    with opened_set(path) as table:
        first, rows, nrows = 0, FIRST_ROWS, int(table.nrows())
        while first < nrows:
            reached = max(reached, _stage(table, first, min(rows, nrows - first), data_column))
            if reached == len(stages):
                return ""
            first, rows = first + rows, min(2 * rows, ROWS_PER_READ)
    return f"every visibility is {stages[reached]}"


def _stage(table: Any, first: int, rows: int, data_column: str) -> int:
    """Return how far the best cross-correlation sample of some rows comes: unflagged, with weight, finite."""
    antenna1, antenna2 = _read_antenna_pairs(table, first, rows)
    unflagged = ~_read_flags(table, first, rows) & (antenna1 != antenna2)[:, None]
    if not unflagged.any():
        return 0
    weighted = unflagged & (_read_weights(table, first, rows, unflagged.shape[1]) > 0)
    if not weighted.any() or not data_column:
        return 3 if weighted.any() else 1
    return 3 if (weighted & np.isfinite(table.getcol(data_column, first, rows)).all(axis=2)).any() else 2


def visibility_columns(path: str) -> list[str]:
    """Return the columns of a set that hold complex numbers, sorted."""
    with opened_set(path) as table:
        return sorted(name for name in table.colnames() if "complex" in table.coldatatype(name))


def unflagged_exposure_s(path: str, max_rows: int = 200_000) -> float:
    """Return the unflagged integration time, seconds: exposure of the slots that exist, times what is not flagged.

    Gaps in time do not count: the number of slots is rows / rows per slot.
    """
    sample = sample_visibilities(path, max_rows)
    return sample.slots / sample.fraction * sample.exposure_s * float(1 - sample.flags.mean())


def dangling_subtables(path: str) -> list[str]:
    """Return the keywords of a set that name a subtable which does not exist; DP3 cannot copy such a set."""
    with opened_set(path) as table:
        names = {key: str(value) for key, value in table.getkeywords().items() if str(value).startswith("Table: ")}
    return [key for key, value in names.items() if not (Path(value.removeprefix("Table: ")) / "table.dat").is_file()]


def elevation_rad(metadata: SetMetadata, times_s: Sequence[float] | Floats) -> Floats:
    """Return the elevation of the phase centre at MJD UTC times, radians, seen from the middle of the array.

    Source: casacore measures, J2000 -> AZEL.
    """
    measures = casacore.measures.measures()
    middle_m = metadata.antenna_positions_m.mean(axis=0)
    measures.do_frame(measures.position("ITRF", *[f"{coordinate}m" for coordinate in middle_m]))
    direction = measures.direction("J2000", *[f"{angle}rad" for angle in metadata.phase_centre_rad])
    elevations = []
    for time_s in times_s:
        measures.do_frame(measures.epoch("UTC", f"{float(time_s) / 86400:.12f}d"))
        elevations.append(float(measures.measure(direction, "AZEL")["m1"]["value"]))
    return np.asarray(elevations)
