"""The stations of LOFAR in the Netherlands, from the antenna positions that lofarantpos holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.simulation.settings import MOST_STATIONS

SECONDS_PER_DAY = 86400.0
PROBE_M = 1e6  # a baseline of any length turns the same way; a long one loses no digits
CORE = (
    *("CS001", "CS002", "CS003", "CS004", "CS005", "CS006", "CS007", "CS011", "CS013", "CS017", "CS021", "CS024"),
    *("CS026", "CS028", "CS030", "CS031", "CS032", "CS101", "CS103", "CS201", "CS301", "CS302", "CS401", "CS501"),
)
REMOTE = (
    *("RS106", "RS205", "RS208", "RS210", "RS305", "RS306", "RS307"),
    *("RS310", "RS406", "RS407", "RS409", "RS503", "RS508", "RS509"),
)
TILES = 48
TILES_PER_FIELD = 24
TILE_SPACING_M = 1.25
"""Distance between the 4 x 4 dipoles of an HBA tile. Source: van Haarlem et al. 2013, section 4.2."""
TILE_WIDTH_M = 5.0
"""What DISH_DIAMETER of an HBA set adds to twice the largest tile radius. Source: doc/spec/imaging.md, section 2.1."""


@cache
def _measures() -> Any:
    """Return casacore's measures, made once: it reads tables when it is made."""
    from casacore.measures import measures

    return measures()


def _unit_vectors(longitude_rad: float, latitude_rad: float) -> NDArray[np.float64]:
    """Return the unit vector of a direction."""
    cos = np.cos(latitude_rad)
    return np.array([cos * np.cos(longitude_rad), cos * np.sin(longitude_rad), np.sin(latitude_rad)])


def itrf_to_j2000(
    time_s: float, reference_m: NDArray[np.float64], centre_rad: tuple[float, float]
) -> NDArray[np.float64]:
    """Return the (3, 3) matrix that turns ITRF baselines into J2000 ones.

    Parameters
    ----------
    time_s
        UTC, MJD seconds.
    reference_m
        Where the frame is, ITRF metres; its aberration and the direction's make the matrix.
    centre_rad
        Right ascension and declination (J2000) of the phase centre, radians.

    Notes
    -----
    Three unit baselines are converted, one a column: as exact as converting every baseline, and far cheaper.
    """
    measures = _measures()
    measures.do_frame(measures.position("ITRF", *[f"{value}m" for value in reference_m]))
    measures.do_frame(measures.epoch("UTC", f"{time_s / SECONDS_PER_DAY:.12f}d"))
    measures.do_frame(measures.direction("J2000", *[f"{value}rad" for value in centre_rad]))
    columns = []
    for probe_m in np.eye(3) * PROBE_M:
        turned = measures.measure(measures.baseline("ITRF", *[f"{value}m" for value in probe_m]), "J2000")
        columns.append(_unit_vectors(turned["m0"]["value"], turned["m1"]["value"]))
    return np.column_stack(columns)


def uvw_axes(centre_rad: tuple[float, float]) -> NDArray[np.float64]:
    """Return the u, v, w axes as rows (3, 3) in J2000: east, north, and towards the phase centre."""
    ra, dec = centre_rad
    east = np.array([-np.sin(ra), np.cos(ra), 0.0])
    towards = _unit_vectors(ra, dec)
    return np.array([east, np.cross(towards, east), towards])


def station_uvw_m(
    times_s: NDArray[np.float64],
    positions_m: NDArray[np.float64],
    reference_m: NDArray[np.float64],
    centre_rad: tuple[float, float],
) -> NDArray[np.float64]:
    """Return u, v, w of every station in metres, shape (time, station, 3), relative to ``reference_m``.

    A baseline is the second station minus the first: ``uvw[:, antenna2] - uvw[:, antenna1]``.
    """
    axes = uvw_axes(centre_rad)
    offsets_m = (positions_m - reference_m).T
    return np.array([(axes @ itrf_to_j2000(time_s, reference_m, centre_rad) @ offsets_m).T for time_s in times_s])


@dataclass(frozen=True, eq=False)
class Station:
    """One HBA station field. Positions are ITRF metres; offsets are relative to ``position_m``.

    ``axes`` (3, 3) has the field's p, q, r axes as rows; ``tiles_m`` (48, 3), ``tile_unused`` (48,), ``dipoles_m``
    (16, 3, relative to a tile's centre).
    """

    name: str
    position_m: NDArray[np.float64]
    axes: NDArray[np.float64]
    tiles_m: NDArray[np.float64]
    tile_unused: NDArray[np.bool_]
    dipoles_m: NDArray[np.float64]

    @property
    def family(self) -> str:
        """The station without its field, e.g. CS001."""
        return self.name[:5]

    @property
    def field(self) -> str:
        """The field, e.g. HBA0."""
        return self.name[5:]

    @property
    def diameter_m(self) -> float:
        """Diameter over the tiles in use, metres, as LOFAR's own sets have it in DISH_DIAMETER."""
        return float(2 * np.linalg.norm(self.tiles_m[~self.tile_unused], axis=1).max() + TILE_WIDTH_M)


def station_names(count: int) -> list[str]:
    """Return the names of ``count`` station fields, evenly picked from core to remote.

    Up to 38, a core station takes part with one of its two fields: as many different baselines as there can be.

    Raises
    ------
    ValueError
        If ``count`` is below 2 or above 62.
    """
    if not 2 <= count <= MOST_STATIONS:
        raise ValueError(f"number of stations is {count}; it must be between 2 and {MOST_STATIONS}")
    fields = (0,) if count <= len(CORE) + len(REMOTE) else (0, 1)
    names = [f"{station}HBA{field}" for station in CORE for field in fields] + [f"{station}HBA" for station in REMOTE]
    return [names[index] for index in np.linspace(0, len(names) - 1, count).round().astype(int)]


def load_stations(count: int, antenna_set: str) -> list[Station]:
    """Return ``count`` stations with the tiles that ``antenna_set`` (HBA_DUAL, HBA_DUAL_INNER) uses.

    Raises
    ------
    PipelineError
        If the package lofarantpos is not installed.
    """
    try:
        from lofarantpos.db import LofarAntennaDatabase
    except ImportError as err:
        raise PipelineError(f"simulation: {err}; station positions are needed; pip install 'lofarantpos>=0.8'") from err
    positions = LofarAntennaDatabase()
    return [_station(name, positions, antenna_set) for name in station_names(count)]


def _station(name: str, positions: Any, antenna_set: str) -> Station:
    """Return one station out of the position tables."""
    centre_m = positions.phase_centres[name]
    axes = positions.pqr_to_etrs[name].T
    tiles_m = positions.antenna_etrs(f"{name[:5]}HBA") - centre_m
    return Station(
        name=name,
        position_m=centre_m,
        axes=axes,
        tiles_m=tiles_m,
        tile_unused=_unused_tiles(name, tiles_m, antenna_set),
        dipoles_m=_dipole_offsets(positions.hba_rotations[name]) @ axes,
    )


def _unused_tiles(name: str, tiles_m: NDArray[np.float64], antenna_set: str) -> NDArray[np.bool_]:
    """Return which of the 48 tiles do not take part: the other ear, or the outer half of a remote station."""
    unused = np.zeros(TILES, dtype=bool)
    if name.endswith("HBA0"):
        unused[TILES_PER_FIELD:] = True
    elif name.endswith("HBA1"):
        unused[:TILES_PER_FIELD] = True
    elif antenna_set.endswith("INNER"):
        unused[np.argsort(np.linalg.norm(tiles_m, axis=1))[TILES_PER_FIELD:]] = True
    return unused


def _dipole_offsets(rotation_rad: float) -> NDArray[np.float64]:
    """Return the 16 dipoles of a tile in the station's p, q, r system, metres (16, 3), row by row."""
    steps = TILE_SPACING_M * np.array([-1.5, -0.5, 0.5, 1.5])
    columns, rows = np.meshgrid(steps, steps[::-1])
    p, q = columns.ravel(), rows.ravel()
    cos, sin = np.cos(rotation_rad), np.sin(rotation_rad)
    return np.column_stack([cos * p + sin * q, cos * q - sin * p, np.zeros(16)])
