"""The primary beam of an image: the array's power beam per output channel, with the image's weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.beam.applied import MODE_KEYWORD
from lofarpipe.imaging.beam.spectral import BandPart, mean_frequency_hz
from lofarpipe.imaging.beam.station import BeamError, BeamGrid, StationBeams, make_grid
from lofarpipe.imaging.beam.width import formula_beam
from lofarpipe.imaging.ms.measurement_set import SetMetadata
from lofarpipe.imaging.weighting.pairs import ChannelRange, Stretch, weigh_pairs
from lofarpipe.imaging.weighting.weights import ImageWeighting
from lofarpipe.support.dataclass import dataclass

Floats = NDArray[np.float64]

ROWS_PER_BLOCK = 256


@dataclass(frozen=True, eq=False)
class BeamCube:
    """Power beams on a coarse grid: for each output channel its parts, and their beams (part, node m, node l).

    A channel without data has no parts. ``source`` is "everybeam" or "formula", ``detail`` a description, ``warnings``
    its limits.
    """

    grid: BeamGrid
    parts: list[list[BandPart]]
    powers: list[list[Floats]]
    source: str
    detail: str
    warnings: tuple[str, ...] = field(default_factory=tuple)

    def centre(self, channel: int) -> float:
        """Return the beam of an output channel at the image centre: 1 if the data were corrected for it."""
        weights = [part.weight for part in self.parts[channel]]
        middle = self.grid.nodes // 2
        return float(np.average([power[middle, middle] for power in self.powers[channel]], weights=weights))


def beam_cube(
    sets: Sequence[SetMetadata],
    channels: Sequence[ChannelRange],
    image: ImageWeighting,
    centre_rad: tuple[float, float],
    reach: tuple[float, float],
    dish_diameter_m: float | None = None,
    normalisation: str = "",
) -> BeamCube:
    """Return the power beam of every output channel of an image.

    Parameters
    ----------
    sets
        All measurement sets of the image; several time blocks of one field are several sets.
    image
        Pixels and weighting of the image.
    centre_rad, reach
        The image's centre, and its half-extent in l and m, direction cosines.
    dish_diameter_m
        Overrides the sets' diameters for a beam by formula.
    normalisation
        As of `StationBeams`.

    If a set has no beam model, a Gaussian by formula is used, with a warning.

    Raises
    ------
    BeamError
        If a beam model cannot be loaded, or nothing unflagged is in the uv range.
    ValueError
        If the beam is by formula, and no diameter is known or the field is below the horizon.

    Source: doc/spec/imaging.md, section 4, and the weighting of lofarpipe.imaging.weighting.pairs.
    """
    grid = make_grid(centre_rad, *reach, max(channel.high_hz for channel in channels))
    without = [metadata.name for metadata in sets if not metadata.has_lofar_beam]
    if without:
        return _cube_by_formula(sets, channels, grid, image, without, dish_diameter_m)
    return _cube_by_everybeam(sets, channels, grid, image, normalisation)


def _parts_of(stretches: Sequence[Stretch], channels: int) -> list[list[tuple[BandPart, list[Stretch]]]]:
    """Return the parts of each output channel's band, with their stretches of time."""
    parts: list[list[tuple[BandPart, list[Stretch]]]] = [[] for _ in range(channels)]
    ordered = sorted(stretches, key=lambda one: (one.output_channel, one.piece))
    for (channel, _), group in groupby(ordered, key=lambda one: (one.output_channel, one.piece)):
        members = list(group)
        weighed = [BandPart(float(one.weights.sum()), one.frequency_hz) for one in members]
        part = BandPart(sum(one.weight for one in weighed), mean_frequency_hz(weighed))
        parts[channel].append((part, members))
    return parts


def band_parts(
    sets: Sequence[SetMetadata], channels: Sequence[ChannelRange], image: ImageWeighting
) -> list[list[BandPart]]:
    """Return the parts of every output channel's band; only the centre if a channel's content is unknown."""
    try:
        weighed = _parts_of(weigh_pairs(sets, channels, image), len(channels))
    except BeamError:  # the image is blank, or was not made from these sets
        weighed = [[] for _ in channels]
    middles = [[BandPart(1.0, (channel.low_hz + channel.high_hz) / 2)] for channel in channels]
    return [[part for part, _ in of_channel] or middle for of_channel, middle in zip(weighed, middles, strict=True)]


def _cube_by_everybeam(
    sets: Sequence[SetMetadata],
    channels: Sequence[ChannelRange],
    grid: BeamGrid,
    image: ImageWeighting,
    normalisation: str,
) -> BeamCube:
    """Return the mean of EveryBeam's power beams over stretches, with the image's weights."""
    stretches = weigh_pairs(sets, channels, image)
    beams = {path: StationBeams(path, normalisation) for path in dict.fromkeys(one.ms_path for one in stretches)}
    weighed = _parts_of(stretches, len(channels))
    powers = [[_mean_power(beams, grid, members) for _, members in of_channel] for of_channel in weighed]
    empty = [
        f"output channel {number} has no unflagged data; its beam is NaN"
        for number, of_channel in enumerate(weighed)
        if not of_channel
    ]
    uncorrected = [
        beam.applied for beam in beams.values() if not beam.applied.is_complete_at((grid.ra_rad, grid.dec_rad))
    ]
    references = sorted({beam.applied.reference for beam in beams.values()})
    detail = f"EveryBeam, {len(stretches)} times and frequencies, relative to {' and '.join(references)}"
    parts = [[part for part, _ in of_channel] for of_channel in weighed]
    cube = BeamCube(grid, parts, powers, "everybeam", detail, tuple(empty))
    if not uncorrected:
        return cube
    first = next(number for number, of_channel in enumerate(parts) if of_channel)
    warning = (
        f"the sets are not corrected for the whole beam at the centre ({MODE_KEYWORD} is {uncorrected[0]}): the image "
        f"is divided by {cube.centre(first):.3f} there"
    )
    return replace(cube, warnings=(*cube.warnings, warning))


def _mean_power(beams: dict[str, StationBeams], grid: BeamGrid, stretches: Sequence[Stretch]) -> Floats:
    """Return the weighted mean beam of stretches."""
    weights = [float(one.weights.sum()) for one in stretches]
    powers = (beams[one.ms_path].power(grid, one.time_s, one.frequency_hz, one.weights) for one in stretches)
    total = sum(weight * power for weight, power in zip(weights, powers, strict=True))
    return np.asarray(total / sum(weights), np.float64)


def _cube_by_formula(
    sets: Sequence[SetMetadata],
    channels: Sequence[ChannelRange],
    grid: BeamGrid,
    image: ImageWeighting,
    without: Sequence[str],
    dish_diameter_m: float | None,
) -> BeamCube:
    """Return Gaussian beams by formula for the parts of each output channel, with a warning."""
    parts = band_parts(sets, channels, image)
    gaussians = [
        [formula_beam(sets, part.frequency_hz, dish_diameter_m) for part in of_channel] for of_channel in parts
    ]
    powers = [[gaussian.power(grid.columns_l, grid.rows_m) for gaussian in of_channel] for of_channel in gaussians]
    names = ", ".join(without[:3]) + (" and others" if len(without) > 3 else "")
    first = gaussians[0][0].detail
    warning = (
        f"{names}: no station beam model (LOFAR_ANTENNA_FIELD); the primary beam is a Gaussian by formula, "
        f"{first}; fluxes away from the centre are only as good as that"
    )
    return BeamCube(grid, parts, powers, "formula", f"Gaussian, {first}", (warning,))


def resample(grid: BeamGrid, power: Floats, pixels_l: Floats, pixels_m: Floats) -> Iterator[tuple[slice, Floats]]:
    """Interpolate a coarse beam to an image; yield blocks (rows, beam of these rows).

    ``power`` is (node m, node l); ``pixels_l`` of the image's columns and ``pixels_m`` of its rows are direction
    cosines, in either order. Quintic splines.
    """
    from scipy.interpolate import RectBivariateSpline

    spline = RectBivariateSpline(grid.rows_m, grid.columns_l[::-1], power[:, ::-1], kx=5, ky=5, s=0)
    columns = np.argsort(pixels_l)
    for first in range(0, len(pixels_m), ROWS_PER_BLOCK):
        rows = slice(first, min(first + ROWS_PER_BLOCK, len(pixels_m)))
        order = np.argsort(pixels_m[rows])
        block = np.empty((len(order), len(columns)))
        block[np.ix_(order, columns)] = spline(pixels_m[rows][order], pixels_l[columns])
        yield rows, block
