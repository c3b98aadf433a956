"""The main table of a simulated set: its columns, storage managers, and rows."""

from __future__ import annotations

from typing import Any

import casacore.tables
import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.simulation import columns

NCORRELATIONS = 4
TILE_CELLS = 131072  # visibilities in a tile: about 1 MB of DATA, read by one disk access
INCREMENTAL_COLUMNS = (
    *("FLAG_ROW", "WEIGHT", "SIGMA", "ARRAY_ID", "DATA_DESC_ID", "EXPOSURE", "FEED1", "FEED2", "FIELD_ID"),
    *("INTERVAL", "OBSERVATION_ID", "PROCESSOR_ID", "SCAN_NUMBER", "STATE_ID", "TIME", "TIME_CENTROID"),
)
CONSTANT_IDS = {
    **dict.fromkeys(("DATA_DESC_ID", "FEED1", "FEED2", "FIELD_ID", "ARRAY_ID", "OBSERVATION_ID", "SCAN_NUMBER"), 0),
    **dict.fromkeys(("PROCESSOR_ID", "STATE_ID"), -1),  # -1: those subtables are empty
}


def create_main_table(path: str, nchannels: int) -> Any:
    """Create a MeasurementSet with empty subtables at ``path``, and return it open for writing."""
    described = casacore.tables.required_ms_desc()
    described.update(casacore.tables.maketabdesc([_visibility_column("DATA", "complex", nchannels)]))
    described.update(casacore.tables.maketabdesc([_visibility_column("WEIGHT_SPECTRUM", "float", nchannels)]))
    fixed = {"UVW": [3], "FLAG": [nchannels, NCORRELATIONS], "WEIGHT": [NCORRELATIONS], "SIGMA": [NCORRELATIONS]}
    for column, shape in fixed.items():
        described[column].update(shape=shape, ndim=len(shape), option=5)  # 5: direct, of fixed shape
    managers = {f"*{number}": manager for number, manager in enumerate(_storage_managers(nchannels), 1)}
    table = casacore.tables.default_ms(path, described, managers)
    # casacore makes the column in ITRF; u, v, w are in the frame of the phase centre.
    table.putcolkeyword("UVW", "MEASINFO", {"type": "uvw", "Ref": "J2000"})
    return table


def _visibility_column(name: str, value_type: str, nchannels: int) -> Any:
    """Return a column of (nchannels, 4) single-precision values."""
    column = columns.array(name, 0j if value_type == "complex" else 0.0, [nchannels, NCORRELATIONS])
    column["desc"].update(valueType=value_type, option=5)
    return column


def _tiled(column: str, tile_shape: list[int]) -> dict[str, Any]:
    """Return a storage manager that keeps one column in tiles."""
    specification = {"DEFAULTTILESHAPE": np.array(tile_shape, np.int32)}
    return {
        "TYPE": "TiledColumnStMan",
        "NAME": f"Tiled{column}",
        "SEQNR": 0,
        "COLUMNS": [column],
        "SPEC": specification,
    }


def _storage_managers(nchannels: int) -> list[dict[str, Any]]:
    """Return how the columns are stored: big ones tiled, constant ones incremental, as LOFAR's own sets."""
    rows = max(1, TILE_CELLS // (nchannels * NCORRELATIONS))
    visibility = [NCORRELATIONS, nchannels]
    return [
        _tiled("DATA", [*visibility, rows]),
        _tiled("FLAG", [*visibility, rows * 8]),
        _tiled("WEIGHT_SPECTRUM", [*visibility, rows * 2]),
        _tiled("UVW", [3, 16384]),
        {"TYPE": "IncrementalStMan", "NAME": "ISM", "SEQNR": 0, "SPEC": {}, "COLUMNS": list(INCREMENTAL_COLUMNS)},
        {
            "TYPE": "StandardStMan",
            "NAME": "SSM",
            "SEQNR": 0,
            "SPEC": {"BUCKETSIZE": 131072},
            "COLUMNS": ["ANTENNA1", "ANTENNA2"],
        },
    ]


def baselines(nstations: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return antenna1 and antenna2 of all baselines, autocorrelations included, antenna1 <= antenna2."""
    first, second = np.triu_indices(nstations)
    return first.astype(np.int32), second.astype(np.int32)


def write_rows(table: Any, times_s: NDArray[np.float64], timestep_s: float, nstations: int) -> None:
    """Add the rows of all times and baselines, and fill what does not depend on sky or noise."""
    first, second = baselines(nstations)
    table.addrows(len(first) * len(times_s))
    # The incremental storage manager repeats a value until the next one: one cell is enough for a run of rows.
    for column, value in CONSTANT_IDS.items():
        table.putcell(column, 0, value)
    unit = np.ones(NCORRELATIONS, np.float32)
    columns.put_row(table, 0, EXPOSURE=timestep_s, INTERVAL=timestep_s, FLAG_ROW=False, WEIGHT=unit, SIGMA=unit)
    for column in ("TIME", "TIME_CENTROID"):
        for slot, time_s in enumerate(times_s):
            table.putcell(column, slot * len(first), time_s)
    table.putcol("ANTENNA1", np.tile(first, len(times_s)))
    table.putcol("ANTENNA2", np.tile(second, len(times_s)))


def write_uvw(table: Any, station_uvw_m: NDArray[np.float64]) -> None:
    """Write UVW in metres from u, v, w per station, shape (time, station, 3): antenna2 minus antenna1."""
    first, second = baselines(station_uvw_m.shape[1])
    table.putcol("UVW", (station_uvw_m[:, second] - station_uvw_m[:, first]).reshape(-1, 3))


def write_visibilities(
    table: Any, nslots: int, nchannels: int, weights: NDArray[np.float64], flagged: NDArray[np.bool_]
) -> None:
    """Write DATA 0, WEIGHT_SPECTRUM and FLAG, a slot at a time.

    ``weights`` (baseline,) in 1/Jy^2 per channel and correlation; ``flagged`` (slot, baseline).
    """
    nbaselines = len(weights)
    shape = (nbaselines, nchannels, NCORRELATIONS)
    spectrum = np.broadcast_to(weights.astype(np.float32)[:, None, None], shape).copy()
    empty = np.zeros(shape, np.complex64)
    for slot in range(nslots):
        rows = (slot * nbaselines, nbaselines)
        table.putcol("DATA", empty, *rows)
        table.putcol("WEIGHT_SPECTRUM", spectrum, *rows)
        table.putcol("FLAG", np.broadcast_to(flagged[slot][:, None, None], shape).copy(), *rows)
