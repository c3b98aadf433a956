"""The width of a station beam by formula, for sets that carry no beam model, and as a check on those that do."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SPEED_OF_LIGHT_M_S = 299_792_458.0
# Width of a dish or an unknown station, in wavelength / diameter. Source: doc/spec/imaging.md, section 2.1.
DEFAULT_ALPHA = 1.1
# Telescopes whose stations lie flat on the ground, so that their beams grow towards the horizon.
FLAT_STATIONS = ("LOFAR", "AARTFAAC", "NENUFAR", "OVRO_LWA", "OVRO_MMA")
LOWEST_HBA_HZ = 100e6


@dataclass(frozen=True)
class StationKind:
    """A kind of LOFAR station: its diameter, m, and its half-power width in wavelength / diameter."""

    name: str
    band: str
    diameter_m: float
    alpha: float


# Source: array factors of the real element positions at zenith, doc/spec/imaging.md, section 4.3.
STATION_KINDS = (
    StationKind("HBA core or inner remote", "HBA", 30.75, 1.09),
    StationKind("HBA remote", "HBA", 41.05, 1.03),
    StationKind("HBA international", "HBA", 56.5, 1.01),
    StationKind("LBA_OUTER", "LBA", 81.34, 0.98),
    StationKind("LBA_INNER", "LBA", 32.25, 1.08),
    StationKind("LBA_SPARSE", "LBA", 65.0, 1.04),
    StationKind("LBA international", "LBA", 65.0, 1.15),
)


def station_fwhm_deg(frequency_hz: float, diameter_m: float, alpha: float) -> float:
    """Return the half-power width of a station beam at the zenith, degrees: alpha wavelength / diameter.

    Raises
    ------
    ValueError
        If the frequency or the diameter is not positive.

    Source: doc/spec/imaging.md, section 2.1.
    """
    if not frequency_hz > 0:
        raise ValueError(f"frequency is {frequency_hz} Hz; a positive one is needed")
    if not diameter_m > 0:
        raise ValueError(
            f"station diameter is {diameter_m} m, so the beam width is undefined; ANTENNA.DISH_DIAMETER must be "
            "positive, or the diameter given as an option"
        )
    wavelength_m = SPEED_OF_LIGHT_M_S / frequency_hz
    return math.degrees(alpha * wavelength_m / diameter_m)


def station_kind(telescope: str, antenna_set: str, frequency_hz: float, diameter_m: float) -> StationKind:
    """Return the kind of station that a diameter stands for; for other telescopes, a dish of that diameter.

    For LBA the antenna set decides where it is known: DISH_DIAMETER spans all elements there, used or not.
    """
    if telescope.upper() != "LOFAR":
        return StationKind(f"{telescope or 'unknown'} station", "", diameter_m, DEFAULT_ALPHA)
    for kind in STATION_KINDS:
        if kind.band == "LBA" and antenna_set.upper().startswith(kind.name):
            return kind
    band = "HBA" if frequency_hz >= LOWEST_HBA_HZ else "LBA"
    if not diameter_m > 0:  # refused, with the advice, where the width is computed
        return StationKind(f"LOFAR {band} station", band, diameter_m, DEFAULT_ALPHA)
    return min(
        (kind for kind in STATION_KINDS if kind.band == band), key=lambda kind: abs(kind.diameter_m - diameter_m)
    )


def parallactic_angles_rad(elevations_rad: Floats, dec_rad: float, latitude_rad: float) -> Floats:
    """Return the position angle of the zenith (north through east) at consecutive times, radians.

    Its sign follows from the elevation: negative where that rises, east of the meridian. One time alone counts as west.

    Source: spherical triangle of pole, zenith and field.
    """
    elevations = np.atleast_1d(np.asarray(elevations_rad, float))
    across = np.maximum(np.cos(elevations) * math.cos(dec_rad), 1e-12)
    cosines = (math.sin(latitude_rad) - np.sin(elevations) * math.sin(dec_rad)) / across
    rising = np.gradient(elevations) > 0 if len(elevations) > 1 else np.zeros(1, bool)
    return np.asarray(np.arccos(np.clip(cosines, -1, 1)) * np.where(rising, -1.0, 1.0))


@dataclass(frozen=True, eq=False)
class FormulaBeam:
    """A Gaussian power beam of ``width_rad`` at the zenith, seen at some elevations and parallactic angles (radians).

    At each time it is stretched by 1 / sin(elevation) along the vertical; elevations of pi / 2 leave it round.
    """

    width_rad: float
    elevations_rad: Floats
    parallactic_rad: Floats
    detail: str

    def power(self, columns_l: Floats, rows_m: Floats) -> Floats:
        """Return the mean over the times, 1 at the centre, at direction cosines l and m; shape (m, l)."""
        east, north = np.meshgrid(columns_l, rows_m)
        total = np.zeros(east.shape)
        for elevation, angle in zip(self.elevations_rad, self.parallactic_rad, strict=True):
            along = (east * math.sin(angle) + north * math.cos(angle)) * math.sin(elevation)
            across = east * math.cos(angle) - north * math.sin(angle)
            total += np.exp(-4 * math.log(2) * (along**2 + across**2) / self.width_rad**2)
        return total / len(self.elevations_rad)
