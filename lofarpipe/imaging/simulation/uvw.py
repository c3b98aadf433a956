"""Baseline coordinates from station positions, by casacore's measures."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SECONDS_PER_DAY = 86400.0
PROBE_M = 1e6  # a baseline of any length turns the same way; a long one loses no digits


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
