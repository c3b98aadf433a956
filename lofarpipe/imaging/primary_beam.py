"""The primary beam of an image: the array's power beam per output channel, weighted as the image is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.beam import formula_beam
from lofarpipe.imaging.measurement_set import SetMetadata
from lofarpipe.imaging.pair_weights import ChannelRange, weigh_pairs
from lofarpipe.imaging.station_beam import BeamGrid, StationBeams, make_grid
from lofarpipe.imaging.weights import ImageWeighting

Floats = NDArray[np.float64]

ROWS_PER_BLOCK = 256


@dataclass(frozen=True, eq=False)
class BeamCube:
    """Power beams on a coarse grid, shape (output channel, node m, node l); NaN for a channel without data.

    ``source`` is "everybeam" or "formula", ``detail`` says for people how the beam was made, ``warnings`` what they
    must know before they use it.
    """

    grid: BeamGrid
    power: Floats
    source: str
    detail: str
    warnings: tuple[str, ...] = field(default_factory=tuple)


def beam_cube(
    sets: Sequence[SetMetadata],
    channels: Sequence[ChannelRange],
    image: ImageWeighting,
    centre_rad: tuple[float, float],
    reach: tuple[float, float],
    dish_diameter_m: float | None = None,
) -> BeamCube:
    """Return the power beam of every output channel of an image.

    Parameters
    ----------
    sets
        All measurement sets of the image; several time blocks of one field are several sets.
    image
        Pixels and weighting of the image.
    centre_rad, reach
        The image's centre, and how far it reaches from it in l and m, direction cosines.
    dish_diameter_m
        Overrules the sets where the beam is made by formula.

    Where a set has no beam model, a Gaussian by formula is made instead, and a warning says so.

    Raises
    ------
    BeamError
        If a beam model cannot be loaded, or nothing unflagged is in the uv range.
    ValueError
        If the beam must be made by formula, and no diameter is known or the field is not up.

    Source: notes in spec/imaging.md, section 4, and the weighting of lofarpipe.imaging.pair_weights.
    """
    grid = make_grid(centre_rad, *reach, max(channel.high_hz for channel in channels))
    without = [metadata.name for metadata in sets if not metadata.has_lofar_beam]
    if without:
        return _cube_by_formula(sets, channels, grid, without, dish_diameter_m)
    return _cube_by_everybeam(sets, channels, grid, image)


def _cube_by_everybeam(
    sets: Sequence[SetMetadata], channels: Sequence[ChannelRange], grid: BeamGrid, image: ImageWeighting
) -> BeamCube:
    """Return the mean of EveryBeam's power beams, each stretch of time and frequency weighted as in the image."""
    stretches = weigh_pairs(sets, channels, image)
    power, total = np.zeros((len(channels), grid.nodes, grid.nodes)), np.zeros(len(channels))
    beams: dict[str, StationBeams] = {}
    for stretch in stretches:
        if stretch.ms_path not in beams:
            beams[stretch.ms_path] = StationBeams(
                stretch.ms_path, (grid.ra_rad, grid.dec_rad), stretch.time_s, stretch.frequency_hz
            )
        weight = float(stretch.weights.sum())
        snapshot = beams[stretch.ms_path].power(grid, stretch.time_s, stretch.frequency_hz, stretch.weights)
        power[stretch.output_channel] += weight * snapshot
        total[stretch.output_channel] += weight
    with np.errstate(invalid="ignore"):
        power /= total[:, None, None]
    empty = [f"output channel {number} has no unflagged data; its beam is NaN" for number in np.flatnonzero(total == 0)]
    corrected = sorted({beam.corrected_for for beam in beams.values()})
    detail = f"EveryBeam, {len(stretches)} times and frequencies, relative to {' and '.join(corrected)}"
    return BeamCube(grid, power, "everybeam", detail, tuple(empty))


def _cube_by_formula(
    sets: Sequence[SetMetadata],
    channels: Sequence[ChannelRange],
    grid: BeamGrid,
    without: Sequence[str],
    dish_diameter_m: float | None,
) -> BeamCube:
    """Return Gaussians of the width given by formula at the middle of each output channel, with a warning."""
    gaussians = [formula_beam(sets, (channel.low_hz + channel.high_hz) / 2, dish_diameter_m) for channel in channels]
    power = np.array([gaussian.power(grid.columns_l, grid.rows_m) for gaussian in gaussians])
    named = ", ".join(without[:3]) + (" and others" if len(without) > 3 else "")
    warning = (
        f"{named}: no station beam model (LOFAR_ANTENNA_FIELD); the primary beam is a Gaussian by formula, "
        f"{gaussians[0].detail}; fluxes away from the centre are only as good as that"
    )
    return BeamCube(grid, power, "formula", f"Gaussian, {gaussians[0].detail}", (warning,))


def resample(grid: BeamGrid, power: Floats, pixels_l: Floats, pixels_m: Floats) -> Iterator[tuple[slice, Floats]]:
    """Yield a coarse beam at the pixels of an image, (rows, beam of these rows), block by block of rows.

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
