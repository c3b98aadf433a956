"""Baseline coordinates (UVW) of stations, and the comparison of recorded ones with them.

They follow from the positions of the antennas, the time and the phase centre.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.plan.smearing import EARTH_ROTATION_RAD_S

Floats = NDArray[np.float64]

SECONDS_PER_DAY = 86400.0
PROBE_M = 1e6  # length of the test baselines: long, for precision
# Part of a baseline by which its UVW may differ: 50" a year of precession, in sets with the coordinates of their date,
# are 0.012 in 50 years.
TOLERANCE = 0.02
FLOOR_M = 0.5  # positions of antennas are corrected by some cm
FEW_ROWS = 0.01  # of the compared rows
COMPARED_SLOTS = 4  # of each part of a set


@cache
def _measures() -> Any:
    """Return casacore's measures, created once, as creation reads tables."""
    from casacore.measures import measures

    return measures()


def _unit_vectors(longitude_rad: float, latitude_rad: float) -> Floats:
    """Return the unit vector of a direction."""
    cos = np.cos(latitude_rad)
    return np.array([cos * np.cos(longitude_rad), cos * np.sin(longitude_rad), np.sin(latitude_rad)])


def itrf_to_j2000(time_s: float, reference_m: Floats, centre_rad: tuple[float, float]) -> Floats:
    """Return the (3, 3) rotation of ITRF baselines to J2000.

    Parameters
    ----------
    time_s
        UTC, MJD seconds.
    reference_m
        Position of the frame, ITRF metres, for aberration.
    centre_rad
        Right ascension and declination (J2000) of the phase centre, radians.

    Notes
    -----
    Three unit baselines are converted, one per column: as exact as converting every baseline, and far cheaper.
    """
    return _rotation(float(time_s), tuple(map(float, reference_m)), centre_rad)


@lru_cache(maxsize=4096)  # the subbands of an observation share their times
def _rotation(time_s: float, reference_m: tuple[float, ...], centre_rad: tuple[float, float]) -> Floats:
    measures = _measures()
    measures.do_frame(measures.position("ITRF", *[f"{value}m" for value in reference_m]))
    measures.do_frame(measures.epoch("UTC", f"{time_s / SECONDS_PER_DAY:.12f}d"))
    measures.do_frame(measures.direction("J2000", *[f"{value}rad" for value in centre_rad]))
    columns = []
    for probe_m in np.eye(3) * PROBE_M:
        turned = measures.measure(measures.baseline("ITRF", *[f"{value}m" for value in probe_m]), "J2000")
        columns.append(_unit_vectors(turned["m0"]["value"], turned["m1"]["value"]))
    return np.column_stack(columns)


def uvw_axes(centre_rad: tuple[float, float]) -> Floats:
    """Return the u, v, w axes as rows (3, 3) in J2000: east, north, and towards the phase centre."""
    ra, dec = centre_rad
    east = np.array([-np.sin(ra), np.cos(ra), 0.0])
    towards = _unit_vectors(ra, dec)
    return np.array([east, np.cross(towards, east), towards])


def station_uvw_m(times_s: Floats, positions_m: Floats, reference_m: Floats, centre_rad: tuple[float, float]) -> Floats:
    """Return u, v, w of every station in metres, shape (time, station, 3), relative to ``reference_m``.

    A baseline is the second station minus the first: ``uvw[:, antenna2] - uvw[:, antenna1]``.
    """
    axes = uvw_axes(centre_rad)
    offsets_m = (positions_m - reference_m).T
    return np.array([(axes @ itrf_to_j2000(time_s, reference_m, centre_rad) @ offsets_m).T for time_s in times_s])


class UvwComparison:
    """Compares recorded UVW of usable rows with those of the antennas' positions.

    The opposite sign of all rows is valid, as sets with either exist. So are rows without coordinates, 0 m, as
    converters leave them for absent antennas, unless these are the majority.

    Parameters
    ----------
    names, positions_m: of the antennas; ITRF, m (antenna, 3).
    centre_rad: J2000, of the phase centre.
    timestep_s: the width of a time slot, within which the coordinates may be those of another moment.
    """

    def __init__(
        self, names: tuple[str, ...], positions_m: Floats, centre_rad: tuple[float, float], timestep_s: float
    ) -> None:
        self._names, self._positions_m, self._centre_rad = names, positions_m, centre_rad
        self._tolerance = TOLERANCE + EARTH_ROTATION_RAD_S * timestep_s / 2
        self._parts: list[tuple[NDArray[np.int64], Floats, Floats, Floats]] = []

    def add_rows(self, antenna1: NDArray[np.int64], antenna2: NDArray[np.int64], time_s: Floats, uvw_m: Floats) -> None:
        """Add the rows of a few of the times; all arrays (row,), ``uvw_m`` (row, 3)."""
        known = np.unique(time_s)
        for one_s in known[np.unique(np.linspace(0, len(known) - 1, COMPARED_SLOTS).astype(int))] if len(known) else ():
            rows = np.flatnonzero(time_s == one_s)
            antennas = np.stack([antenna1[rows], antenna2[rows]], axis=1)
            reference_m = self._positions_m[antennas[0, 0]]
            stations = np.unique(antennas)
            computed_m = np.zeros_like(self._positions_m)
            computed_m[stations] = station_uvw_m(
                np.array([one_s]), self._positions_m[stations], reference_m, self._centre_rad
            )[0]
            baselines_m = computed_m[antennas[:, 1]] - computed_m[antennas[:, 0]]
            self._parts.append((antennas, np.full(len(rows), one_s), uvw_m[rows], baselines_m))

    def problem(self) -> str:
        """Return which recorded UVW are wrong, with an example; "" if they are right."""
        if not self._parts:
            return ""
        antennas, time_s, uvw_m, computed_m = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        length_m = np.linalg.norm(computed_m, axis=1)
        limit_m = self._tolerance * length_m + FLOOR_M
        zero = (uvw_m == 0).all(axis=1) & (length_m > limit_m)
        differing = [np.linalg.norm(uvw_m - sign * computed_m, axis=1) > limit_m for sign in (1, -1)]
        sign = 1 if differing[0].sum() <= differing[1].sum() else -1
        wrong = differing[0 if sign == 1 else 1]
        if 2 * zero.sum() <= len(zero):
            wrong &= ~zero
        if wrong.mean() <= FEW_ROWS:
            return ""
        worst = np.flatnonzero(wrong)[np.argmax(length_m[wrong])]
        first, second = (self._names[number] or f"antenna {number}" for number in antennas[worst])
        return (
            f"UVW of {int(wrong.sum())} of {len(wrong)} rows compared do not follow from ANTENNA.POSITION, TIME and "
            f"FIELD.PHASE_DIR: that of {first} - {second} at MJD {time_s[worst] / SECONDS_PER_DAY:.5f} is "
            f"{_metres(uvw_m[worst])}, and {_metres(sign * computed_m[worst])} is computed"
        )


def _metres(uvw_m: Floats) -> str:
    return f"({', '.join(f'{value:.1f}' for value in uvw_m + 0.0)}) m"
