"""The width of the array's beam on the sky: from EveryBeam, or by formula without a beam model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.beam.station import (
    LOWEST_HBA_HZ,
    SPEED_OF_LIGHT_M_S,
    WIDEST_HALF_WIDTH,
    BeamError,
    StationBeams,
    equal_pair_weights,
    make_grid,
)
from lofarpipe.support.dataclass import dataclass

if TYPE_CHECKING:
    from lofarpipe.imaging.ms.measurement_set import SetMetadata

Floats = NDArray[np.float64]

BEAM_TIMES = 7  # per field; 7 and 15 times differ by less than 0.5 % in width on 8 h (tests/imaging/beam/test_width.py)
FIRST_HALF_WIDTH_M = 24.0  # the first grid reaches wavelength / 24 m: 1.2 times the width of a 30 m station
MOST_DOUBLINGS = 4
FINE_STEPS_PER_NODE = 16
# Width of a dish or an unknown station, in wavelength / diameter. Source: doc/spec/imaging.md, section 2.1.
DEFAULT_ALPHA = 1.1
# Telescopes whose stations lie flat on the ground, so that their beams grow towards the horizon.
FLAT_STATIONS = ("LOFAR", "AARTFAAC", "NENUFAR", "OVRO_LWA", "OVRO_MMA")


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
    """Return the LOFAR station kind for a diameter; for other telescopes, a dish of that diameter.

    For LBA the antenna set decides, if known: there DISH_DIAMETER spans all elements, used or not.
    """
    if telescope.upper() != "LOFAR":
        return StationKind(f"{telescope or 'unknown'} station", "", diameter_m, DEFAULT_ALPHA)
    for kind in STATION_KINDS:
        if kind.band == "LBA" and antenna_set.upper().startswith(kind.name):
            return kind
    band = "HBA" if frequency_hz >= LOWEST_HBA_HZ else "LBA"
    if not diameter_m > 0:  # refused where the width is computed
        return StationKind(f"LOFAR {band} station", band, diameter_m, DEFAULT_ALPHA)
    return min(
        (kind for kind in STATION_KINDS if kind.band == band), key=lambda kind: abs(kind.diameter_m - diameter_m)
    )


def parallactic_angles_rad(elevations_rad: Floats, dec_rad: float, latitude_rad: float) -> Floats:
    """Return the position angle of the zenith (north through east) at consecutive times, radians.

    Its sign follows from the elevation: negative while rising, east of the meridian. A single time counts as west.

    Source: spherical triangle of pole, zenith and field.
    """
    elevations = np.atleast_1d(np.asarray(elevations_rad, float))
    across = np.maximum(np.cos(elevations) * math.cos(dec_rad), 1e-12)
    cosines = (math.sin(latitude_rad) - np.sin(elevations) * math.sin(dec_rad)) / across
    rising = np.gradient(elevations) > 0 if len(elevations) > 1 else np.zeros(1, bool)
    return np.asarray(np.arccos(np.clip(cosines, -1, 1)) * np.where(rising, -1.0, 1.0))


@dataclass(frozen=True, eq=False)
class FormulaBeam:
    """A Gaussian power beam of zenith width ``width_rad`` at given elevations and parallactic angles (radians).

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


@dataclass(frozen=True)
class FieldBeam:
    """Half-power width of the time-averaged power beam of the array along right ascension and declination, degrees.

    ``source`` is "everybeam" or "formula"; ``detail`` describes the derivation.
    """

    fwhm_x_deg: float
    fwhm_y_deg: float
    source: str
    detail: str


def block_times_s(blocks: Sequence[SetMetadata], count: int) -> Floats:
    """Return ``count`` MJD UTC times, seconds, evenly spread over the blocks, without gaps."""
    starts = np.array([block.start_s for block in blocks])
    lengths = np.array([block.end_s - block.start_s for block in blocks])
    if count < 1 or len(blocks) == 0 or not (lengths > 0).all():
        raise ValueError(f"{count} times from {len(blocks)} blocks of {lengths.tolist()} s; all must be positive")
    ends = np.cumsum(lengths)
    observed = (np.arange(count) + 0.5) * ends[-1] / count
    block = np.searchsorted(ends, observed)
    return np.asarray(starts[block] + observed - (ends - lengths)[block])


def _width(profile: Floats, step: float) -> float | None:
    """Return the full width at half maximum of a profile, or None if it exceeds the profile."""
    peak = int(np.argmax(profile))
    half = profile[peak] / 2
    below = np.flatnonzero(profile < half)
    below_left, below_right = below[below < peak], below[below > peak]
    if len(below_left) == 0 or len(below_right) == 0:
        return None
    low, high = int(below_left[-1]), int(below_right[0])
    low_at = low + (half - profile[low]) / (profile[low + 1] - profile[low])
    high_at = high - (half - profile[high]) / (profile[high - 1] - profile[high])
    return float(high_at - low_at) * step


def half_power_extent(power: Floats, node_x: float, node_y: float) -> tuple[float, float] | None:
    """Return the x and y extents of a beam's region above half its peak, in node distances.

    ``power`` is (y, x). For a tilted ellipse these are the sides of its bounding box. None if the region reaches the
    edge of the grid.
    """
    from scipy.interpolate import RectBivariateSpline

    rows, columns = (np.arange(size) for size in power.shape)
    spline = RectBivariateSpline(rows, columns, power, kx=min(5, len(rows) - 1), ky=min(5, len(columns) - 1), s=0)
    fine = spline(*(np.linspace(0, size - 1, (size - 1) * FINE_STEPS_PER_NODE + 1) for size in power.shape))
    width_x = _width(fine.max(axis=0), node_x / FINE_STEPS_PER_NODE)
    width_y = _width(fine.max(axis=1), node_y / FINE_STEPS_PER_NODE)
    return None if width_x is None or width_y is None else (width_x, width_y)


def _as_field_beam(extent_rad: tuple[float, float], source: str, detail: str) -> FieldBeam:
    """Return the widths in degrees, with their origin."""
    return FieldBeam(math.degrees(extent_rad[0]), math.degrees(extent_rad[1]), source, detail)


def measure_field_beam(ms_path: str, blocks: Sequence[SetMetadata], frequency_hz: float) -> FieldBeam:
    """Return the array's half-power beam widths from EveryBeam, averaged over the observed time.

    All baselines weigh the same.

    Parameters
    ----------
    ms_path
        The set whose stations are used for all blocks.
    blocks
        One set per time block, for their time ranges and the phase centre of the first.

    Raises
    ------
    BeamError
        If the set has no usable beam model, or the beam does not fall to half within 40 degrees.

    Source: doc/spec/imaging.md, section 4.2.
    """
    centre_rad, times_s = blocks[0].phase_centre_rad, block_times_s(blocks, BEAM_TIMES)
    beams = StationBeams(ms_path)
    weights = equal_pair_weights(beams.stations)
    first_half_width = SPEED_OF_LIGHT_M_S / frequency_hz / FIRST_HALF_WIDTH_M
    for doublings in range(MOST_DOUBLINGS):
        half_width = min(first_half_width * 2**doublings, WIDEST_HALF_WIDTH - 0.05)
        grid = make_grid(centre_rad, half_width, half_width, frequency_hz)
        power = np.mean([beams.power(grid, float(time_s), frequency_hz, weights) for time_s in times_s], axis=0)
        extent = half_power_extent(power, grid.node_l, grid.node_m)
        if extent is not None:
            detail = f"EveryBeam, {beams.stations} stations of {ms_path}, mean over {BEAM_TIMES} times at "
            return _as_field_beam(extent, "everybeam", f"{detail}{frequency_hz / 1e6:.3f} MHz")
    raise BeamError(f"{ms_path}: the beam at {frequency_hz / 1e6:.1f} MHz does not fall to half within 40 deg")


def formula_beam(
    blocks: Sequence[SetMetadata], frequency_hz: float, dish_diameter_m: float | None = None
) -> FormulaBeam:
    """Return the beam by formula of a field at the observed times.

    The default diameter is the median of the first block's antennas. Beams of dishes are not stretched.

    Raises
    ------
    ValueError
        If no antenna has a diameter and none is given, or the field is not up.

    Source: doc/spec/imaging.md, sections 4.2 and 4.3.
    """
    first = blocks[0]
    diameter_m = dish_diameter_m or first.diameter_m
    kind = station_kind(first.telescope, first.antenna_set, frequency_hz, diameter_m)
    width_deg = station_fwhm_deg(frequency_hz, kind.diameter_m, kind.alpha)
    elevations, parallactic = np.full(1, math.pi / 2), np.zeros(1)
    if first.telescope.upper() in FLAT_STATIONS:
        elevations, parallactic = _field_angles_rad(blocks)
    detail = f"{kind.alpha} wavelength / {kind.diameter_m:g} m ({kind.name}) at {frequency_hz / 1e6:.3f} MHz"
    return FormulaBeam(math.radians(width_deg), elevations, parallactic, detail)


def _field_angles_rad(blocks: Sequence[SetMetadata]) -> tuple[Floats, Floats]:
    """Return elevations and parallactic angles of the field at the observed times."""
    from lofarpipe.imaging.ms.measurement_set import elevation_rad

    first = blocks[0]
    elevations = elevation_rad(first, block_times_s(blocks, BEAM_TIMES))
    if elevations.min() <= 0:
        lowest_deg = math.degrees(elevations.min())
        raise ValueError(
            f"{first.path}: the field is at an elevation of {lowest_deg:.1f} deg; it is not up all the time"
        )
    x, y, z = first.antenna_positions_m.mean(axis=0)
    latitude_rad = math.atan2(z, math.hypot(x, y))
    return elevations, parallactic_angles_rad(elevations, first.phase_centre_rad[1], latitude_rad)


def formula_field_beam(
    blocks: Sequence[SetMetadata], frequency_hz: float, dish_diameter_m: float | None = None
) -> FieldBeam:
    """Return the half-power beam widths by formula, averaged over the observed time.

    Raises
    ------
    ValueError
        As `formula_beam`.
    BeamError
        If the beam is wider than the sky.
    """
    beam = formula_beam(blocks, frequency_hz, dish_diameter_m)
    reach = 1.2 * beam.width_rad / float(np.sin(beam.elevations_rad).min())
    grid = make_grid(blocks[0].phase_centre_rad, reach, reach, frequency_hz)
    extent = half_power_extent(beam.power(grid.columns_l, grid.rows_m), grid.node_l, grid.node_m)
    if extent is None:
        raise BeamError(f"{blocks[0].path}: the beam by formula does not fall to half; {beam.detail}")
    return _as_field_beam(extent, "formula", beam.detail)


def field_beam(blocks: Sequence[SetMetadata], frequency_hz: float, dish_diameter_m: float | None = None) -> FieldBeam:
    """Return the beam widths of a field: from the first set's beam model, or by formula.

    An explicit diameter overrides the beam model. ``source`` and ``detail`` of the result name the origin.

    Raises
    ------
    BeamError, ValueError
        As `measure_field_beam` and `formula_field_beam`.
    """
    if blocks[0].has_lofar_beam and dish_diameter_m is None:
        return measure_field_beam(blocks[0].path, blocks, frequency_hz)
    return formula_field_beam(blocks, frequency_hz, dish_diameter_m)
