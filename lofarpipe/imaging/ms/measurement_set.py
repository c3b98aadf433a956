"""Metadata and samples of measurement sets. Only this module and tables.py use casacore.

No function reads all visibilities of a main table, unless its name says so. If all time slots have the same layout, one
row per slot is read; otherwise all rows, without visibilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import casacore.measures
import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.ms.names import AUTO
from lofarpipe.imaging.ms.rows import RowLayout, TimeAxis, choose_field, read_field_rows, read_rows
from lofarpipe.imaging.ms.tables import (
    MeasurementSetError,
    dangling_keywords,
    opened,
    opened_field,
    opened_set,
    selected_field,
)
from lofarpipe.support.dataclass import dataclass

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
# Range of typical weights for which sums and products do not overflow float32. Source: WSClean 3.1 with
# 10^-38 to 10^37: it images nothing from 1e-25 on, and wrong fluxes at 1e35; with IDG tried from 1e-15 to 1e20.
SMALLEST_WEIGHT, LARGEST_WEIGHT = 1e-15, 1e20

LEAST_SHARE = np.float32(1e-3)  # of the parallel-hand weight: a cross-hand weight below counts as 0


@dataclass(frozen=True, eq=False)
class SetMetadata:
    """Metadata of a measurement set.

    Frequencies are channel centres, shape (chan,); positions are ITRF, shape (antenna, 3); times are MJD UTC in
    seconds, ``start_s`` and ``end_s`` at the edges of the first and the last time slot. ``ntimes`` counts all slots
    between those edges, including missing ones. Times and rows are those of the imaged field.
    """

    path: str
    telescope: str
    antenna_set: str  # e.g. HBA_DUAL_INNER; empty if unknown
    frequencies_hz: Floats
    channel_width_hz: float
    ref_frequency_hz: float  # REF_FREQUENCY, or the band centre if that is out of the band
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
    times: TimeAxis
    layout: RowLayout
    field_id: int = 0
    nfields: int = 1  # rows of the FIELD table
    windows: int = 1  # rows of the SPECTRAL_WINDOW table

    @property
    def name(self) -> str:
        """The last part of the path."""
        return Path(self.path).name

    @property
    def diameter_m(self) -> float:
        """The typical DISH_DIAMETER of the antennas with rows, m; 0 if unknown."""
        known_m = [size_m for one in self.layout.antennas if (size_m := float(self.dish_diameters_m[one])) > 0]
        return float(np.median(known_m)) if known_m else 0.0

    @property
    def bandwidth_hz(self) -> float:
        """The width of all channels together, Hz."""
        return self.channel_width_hz * len(self.frequencies_hz)


@dataclass(frozen=True, eq=False)
class Sample:
    """Cross-correlations of complete time slots, evenly spread over a set.

    ``uvw_m`` (row, 3); ``antenna1``, ``antenna2``, ``time_s`` (row,); ``weights`` (row, chan), the natural weight of
    Stokes I, 0 for unusable visibilities; ``flags`` (row, chan), True for unusable ones: any correlation or the row is
    flagged, the weight is not a positive number, or, if values were read, they are not finite. ``exposure_s`` is the
    mean of the rows. ``fraction`` is the sampled part of the set's rows, ``slots`` the number of sampled time slots.
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


def _cell(table: Any, column: str, row: int) -> Any:
    """Return one cell of a subtable; None without the column or a value."""
    if column not in table.colnames() or not table.iscelldefined(column, row):
        return None
    return table.getcell(column, row)


def _read_observation(path: str) -> dict[str, Any]:
    """Return telescope and antenna set; empty if not recorded."""
    with opened(f"{path}::OBSERVATION") as table:
        if table.nrows() == 0:
            return {"telescope": "", "antenna_set": ""}
        return {
            "telescope": str(_cell(table, "TELESCOPE_NAME", 0) or ""),
            "antenna_set": str(_cell(table, "LOFAR_ANTENNA_SET", 0) or ""),
        }


def _read_spectrum(path: str, description_id: int) -> dict[str, Any]:
    """Return the channels and correlations of the DATA_DESCRIPTION row."""
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
        reference_hz, windows = float(table.getcell("REF_FREQUENCY", window)), int(table.nrows())
    if not (width_hz > 0 and frequencies_hz.min() > 0):
        raise MeasurementSetError(
            f"{path}: channel width {width_hz} Hz and lowest frequency {frequencies_hz.min()} Hz; both must be positive"
        )
    if not frequencies_hz.min() - width_hz <= reference_hz <= frequencies_hz.max() + width_hz:
        reference_hz = float(frequencies_hz.min() + frequencies_hz.max()) / 2  # it is 0 or out of band in some sets
    with opened(f"{path}::POLARIZATION") as table:
        codes = table.getcell("CORR_TYPE", polarization)
    names = tuple(CORRELATION_NAMES.get(int(code), str(code)) for code in codes)
    return {
        "frequencies_hz": frequencies_hz,
        "channel_width_hz": width_hz,
        "ref_frequency_hz": reference_hz,
        "correlations": names,
        "windows": windows,
    }


def _read_antennas(path: str) -> dict[str, Any]:
    """Return names, ITRF positions and dish diameters of all antennas."""
    with opened(f"{path}::ANTENNA") as table:
        return {
            "antenna_names": tuple(table.getcol("NAME")),
            "antenna_positions_m": np.asarray(table.getcol("POSITION"), float),
            "dish_diameters_m": np.asarray(table.getcol("DISH_DIAMETER"), float),
        }


def _phase_centre(path: str, fields: Any, field_id: int) -> tuple[float, float]:
    """Return right ascension and declination of the phase centre, J2000, radians."""
    direction = np.asarray(fields.getcell("PHASE_DIR", field_id), float).reshape(-1, 2)[0]
    frame = str(fields.getcolkeywords("PHASE_DIR").get("MEASINFO", {}).get("Ref", "J2000"))
    if frame.upper() not in EQUATORIAL_FRAMES:
        raise MeasurementSetError(
            f"{path}: the phase centre is given in frame {frame}; expected one of {', '.join(EQUATORIAL_FRAMES)}"
        )
    if not np.isfinite(direction).all():
        raise MeasurementSetError(f"{path}: PHASE_DIR of field {field_id} is no number; correct the FIELD table")
    return float(direction[0]), float(direction[1])


def _read_field(path: str, table: Any, choice: str) -> dict[str, Any]:
    """Return number and phase centre of the field to image."""
    with opened(f"{path}::FIELD") as fields:
        names = [str(name) for name in fields.getcol("NAME")] if fields.nrows() else []
        field_id = choose_field(path, names, read_field_rows(table, len(names)), choice)
        centre_rad = _phase_centre(path, fields, field_id)
    return {"field_id": field_id, "nfields": len(names), "phase_centre_rad": centre_rad}


def _read_times(path: str, table: Any, nantennas: int) -> dict[str, Any]:
    """Return times and layout of the rows of a main table."""
    times, layout = read_rows(table, nantennas)
    if not np.isfinite([times.first_s, times.last_s]).all():
        raise MeasurementSetError(f"{path}: TIME of some rows is no number; correct the column, or remove these rows")
    if not times.step_s > 0:
        raise MeasurementSetError(f"{path}: INTERVAL is {times.step_s} s; a positive one is needed; correct the column")
    return {
        "start_s": times.first_s - times.step_s / 2,
        "end_s": times.last_s + times.step_s / 2,
        "timestep_s": times.step_s,
        "ntimes": times.grid_slots,
        "nrows": layout.rows,
        "times": times,
        "layout": layout,
    }


def read_metadata(path: str, field: str = AUTO) -> SetMetadata:
    """Return the metadata of a measurement set and of one of its fields.

    ``field`` is the number or name of the field, for sets with several.

    Raises
    ------
    MeasurementSetError
        If the path does not exist, is not a measurement set, has no rows, more than one spectral window, a phase centre
        in a frame other than J2000 or ICRS, or several fields and none was selected.
    """
    with opened_set(path) as table:
        return metadata_of(path, table, field)


def _check_antennas(path: str, layout: RowLayout, positions_m: Floats) -> None:
    """Raise without baselines, or for antennas that ANTENNA lacks or has no position for."""
    if not layout.antennas:
        raise MeasurementSetError(f"{path}: has no cross-correlations, so there is nothing to image; leave it out")
    if stray := [one for one in layout.antennas if not 0 <= one < len(positions_m)]:
        raise MeasurementSetError(
            f"{path}: ANTENNA1 or ANTENNA2 of some rows is {np.int64(stray[0]).astype(np.int32)}, and its ANTENNA "
            f"table has {len(positions_m)} of them, counted from 0; correct the columns"
        )
    if lost := [one for one in layout.antennas if not np.isfinite(positions_m[one]).all()]:
        raise MeasurementSetError(f"{path}: POSITION of antenna {lost[0]} is no number; correct the ANTENNA table")


def metadata_of(path: str, table: Any, field: str = AUTO) -> SetMetadata:
    """Return the metadata of an open main table."""
    if any(name.startswith("BDA_") for name in table.keywordnames()):
        raise MeasurementSetError(
            f"{path}: its time slots depend on the baseline (baseline-dependent averaging), and DP3 cannot average it "
            "again with others; give the set as it was before that averaging"
        )
    antennas, of_field = _read_antennas(path), _read_field(path, table, field)
    with selected_field(path, table, of_field["field_id"], of_field["nfields"]) as rows:
        times = _read_times(path, rows, len(antennas["antenna_names"]))
    _check_antennas(path, times["layout"], antennas["antenna_positions_m"])
    return SetMetadata(
        path=path,
        has_lofar_beam="LOFAR_ANTENNA_FIELD" in table.keywordnames(),
        columns=frozenset(table.colnames()),
        **of_field,
        **times,
        **_read_observation(path),
        **_read_spectrum(path, int(table.getcell("DATA_DESC_ID", 0))),
        **antennas,
    )


def is_good_weight(weights: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether weights are positive and small enough not to overflow."""
    return np.asarray((weights > 0) & (weights <= LARGEST_WEIGHT))


def lacks_cross_weight(weights: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether cross-hand weights are negligible beside the parallel hands, (..., cross hand).

    Dysco stores the lowest weight for all correlations, and would drop the visibility.
    """
    parallel, cross = np.minimum(weights[..., 0], weights[..., -1])[..., None], weights[..., 1:-1]
    return np.asarray((parallel > 0) & ~(is_good_weight(cross) & (cross >= LEAST_SHARE * parallel)))


def stokes_i_weight(weights: NDArray[Any]) -> Floats:
    """Return the natural weight of Stokes I, (...), from weights (..., corr); NaN if either hand's is NaN.

    The smaller of the weights of the parallel hands, the first and the last correlation, as WSClean weights Stokes I
    (error propagation gives 4 w_xx w_yy / (w_xx + w_yy), the same for equal weights). With one correlation its weight
    is returned. A weight above LARGEST_WEIGHT counts as invalid.

    Source: compared with the weights in WSClean 3.1's images, equal to 5e-9.
    """
    lowest = np.minimum(weights[..., 0], weights[..., -1]).astype(float)
    lowest[~(np.maximum(weights[..., 0], weights[..., -1]) <= LARGEST_WEIGHT)] = np.nan
    return np.asarray(lowest)


def _slot_rows(table: Any, row: int, max_slot_rows: int) -> tuple[int, int]:
    """Return first row and number of rows of the time slot of ``row``."""
    first = max(0, row - max_slot_rows)
    times_s = table.getcol("TIME", first, min(2 * max_slot_rows, table.nrows() - first))
    same = np.flatnonzero(times_s == times_s[row - first])
    return first + int(same[0]), int(same[-1] - same[0]) + 1


def _slots_to_read(table: Any, max_rows: int, nantennas: int) -> list[tuple[int, int]]:
    """Return (first row, rows) of complete, evenly spread time slots, about ``max_rows`` in total."""
    nrows = int(table.nrows())
    if nrows <= max_rows:
        return [(0, nrows)]
    max_slot_rows = nantennas * (nantennas + 1) // 2
    slot_rows = _slot_rows(table, nrows // 2, max_slot_rows)[1]
    nslots = max(1, max_rows // slot_rows)
    middles = [int((index + 0.5) * nrows / nslots) for index in range(nslots)]
    return sorted({_slot_rows(table, row, max_slot_rows) for row in middles})


def read_antenna_pairs(table: Any, first: int, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the antenna numbers of ``rows`` rows."""
    antenna1, antenna2 = (np.asarray(table.getcol(name, first, rows), np.int64) for name in ("ANTENNA1", "ANTENNA2"))
    return antenna1, antenna2


def read_flags(table: Any, first: int, rows: int) -> NDArray[np.bool_]:
    """Return (row, chan): whether any correlation, or the row, is flagged."""
    row_flags = np.asarray(table.getcol("FLAG_ROW", first, rows), bool)
    flags = reduce(
        np.logical_or, np.moveaxis(table.getcol("FLAG", first, rows), 2, 0)
    )  # any() takes five times as long
    return np.asarray(flags | row_flags[:, None])


def weight_column(table: Any) -> str:
    """Return the weight column."""
    has_spectrum = "WEIGHT_SPECTRUM" in table.colnames() and table.iscelldefined("WEIGHT_SPECTRUM", 0)
    return "WEIGHT_SPECTRUM" if has_spectrum else "WEIGHT"


def read_all_weights(table: Any, first: int, rows: int) -> NDArray[Any]:
    """Return weights (row, chan, corr); without WEIGHT_SPECTRUM with a single channel."""
    weights = np.asarray(table.getcol(weight_column(table), first, rows))
    return weights if weights.ndim == 3 else weights[:, None, :]


def read_weights(table: Any, first: int, rows: int, nchan: int) -> Floats:
    """Return the natural weight of Stokes I (row, chan), NaN if invalid."""
    return np.broadcast_to(stokes_i_weight(read_all_weights(table, first, rows)), (rows, nchan))


def read_uvw(table: Any, first: int, rows: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return UVW (row, 3), m, of ``rows`` rows, and a mask (row,) of invalid ones, which are set to 0."""
    uvw_m = np.asarray(table.getcol("UVW", first, rows), float)
    missing = ~np.isfinite(uvw_m).all(axis=1)
    return np.where(missing[:, None], 0.0, uvw_m), missing


def read_unusable(
    table: Any, first: int, rows: int, flags: NDArray[np.bool_], data_column: str = ""
) -> tuple[NDArray[np.bool_], Floats]:
    """Return the mask of unusable visibilities and the natural Stokes I weight (0 if unusable), both (row, chan).

    The single definition of usable for plan, quality, plots and beam: no flag of row or correlations, finite UVW, a
    positive finite weight, and, with ``data_column``, finite values. ``flags`` (row, chan) include rows without UVW.
    """
    weights = read_weights(table, first, rows, flags.shape[1])
    unusable = flags | ~(weights > 0)
    if data_column:
        unusable |= ~np.isfinite(table.getcol(data_column, first, rows)).all(axis=2)
    return unusable, np.where(unusable, 0.0, weights)


def _read_rows(table: Any, first: int, rows: int, data_column: str) -> dict[str, NDArray[Any]]:
    """Return the cross-correlations among ``rows`` rows, with Stokes I weight and flag per channel."""
    antenna1, antenna2 = read_antenna_pairs(table, first, rows)
    cross = antenna1 != antenna2
    uvw_m, nowhere = read_uvw(table, first, rows)
    flags = read_flags(table, first, rows) | nowhere[:, None]
    flags, weights = read_unusable(table, first, rows, flags, data_column)
    exposure_s, interval_s = (np.asarray(table.getcol(name, first, rows), float) for name in ("EXPOSURE", "INTERVAL"))
    return {
        "uvw_m": uvw_m[cross],
        "antenna1": antenna1[cross],
        "antenna2": antenna2[cross],
        "time_s": np.asarray(table.getcol("TIME", first, rows), float)[cross],
        "weights": weights[cross],
        "flags": flags[cross],
        "exposure_s": np.where(exposure_s > 0, exposure_s, interval_s)[cross],
    }


def sample_set(metadata: SetMetadata, max_rows: int, data_column: str = "") -> Sample:
    """Return uvw, weights and flags of sampled time slots of a field; rows may be in any order."""
    in_order = metadata.times.backward_row < 0
    return sample_visibilities(metadata.path, max_rows, metadata.field_id, data_column, in_order)


def sample_visibilities(
    path: str, max_rows: int = 20_000, field_id: int = 0, data_column: str = "", in_order: bool = True
) -> Sample:
    """Return uvw, weights and flags of complete, sampled time slots of one field.

    With ``data_column`` the visibilities are read, and non-finite ones count as flagged. The slots are evenly spread
    over the rows, about ``max_rows`` rows in total (at least one slot), each one contiguous read, so the cost depends
    on ``max_rows`` and not on the set. A set with fewer rows is read entirely. Autocorrelations are excluded.

    Raises
    ------
    MeasurementSetError
        As `opened_field`; also if the set holds no cross-correlation.
    """
    with opened_field(path, field_id, in_order) as table, opened(f"{path}::ANTENNA") as antennas:
        slots = _slots_to_read(table, max_rows, int(antennas.nrows()))
        pieces = [_read_rows(table, first, rows, data_column) for first, rows in slots]
        fraction = sum(rows for _, rows in slots) / int(table.nrows())
    joined = {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}
    if len(joined["time_s"]) == 0:
        raise MeasurementSetError(f"{path}: holds no cross-correlations in the sampled rows; nothing can be imaged")
    exposure_s = float(joined.pop("exposure_s").mean())
    return Sample(exposure_s=exposure_s, fraction=fraction, slots=len(np.unique(joined["time_s"])), **joined)


def usable_exposure_s(metadata: SetMetadata, sample: Sample) -> float:
    """Return the integration time, seconds: EXPOSURE of all existing slots times the usable fraction.

    Missing rows count as unusable.
    """
    times, layout = metadata.times, metadata.layout
    present = (layout.rows - layout.repeated) / (times.slots * layout.pairs)
    return times.exposure_s * present * float(1 - sample.flags.mean())


def dangling_subtables(path: str) -> list[str]:
    """Return the keywords of a set that refer to missing subtables; DP3 cannot copy such a set."""
    with opened_set(path) as table:
        return dangling_keywords(table)


def elevation_rad(metadata: SetMetadata, times_s: Sequence[float] | Floats) -> Floats:
    """Return the elevation of the phase centre at MJD UTC times, radians, seen from the middle of the array.

    Source: casacore measures, J2000 -> AZEL.
    """
    measures = casacore.measures.measures()
    middle_m = metadata.antenna_positions_m[list(metadata.layout.antennas)].mean(axis=0)  # others may be anywhere
    measures.do_frame(measures.position("ITRF", *[f"{coordinate}m" for coordinate in middle_m]))
    direction = measures.direction("J2000", *[f"{angle}rad" for angle in metadata.phase_centre_rad])
    elevations = []
    for time_s in times_s:
        measures.do_frame(measures.epoch("UTC", f"{float(time_s) / 86400:.12f}d"))
        elevations.append(float(measures.measure(direction, "AZEL")["m1"]["value"]))
    return np.asarray(elevations)
