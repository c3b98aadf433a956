"""The density of an observation in the uv plane, from a sample of its time slots.

Tracks of neighbouring stations run close together, so a density smoothed over wide cells is far too low on the
tracks, where all visibilities are. Each sampled slot is therefore turned with the sky through the time that it stands
for, and all of it is gridded on cells of the real size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.weighting.weights import GriddedDensity, ImageWeighting, briggs_from_density, uv_cells

Floats = NDArray[np.float64]

EARTH_ROTATION_RAD_S = 7.2921159e-5  # 2 pi in a mean sidereal day, 86164.0905 s
MOST_GRIDDED = 30_000_000  # visibilities; about 4 s of CPU
SAMPLES_PER_CHUNK = 500_000


@dataclass(frozen=True, eq=False)
class SampledTracks:
    """Sampled time slots of one set: ``uvw_m`` (row, 3), ``natural`` weights (row, chan), 0 where flagged.

    ``per_m`` (chan,) is 1 / wavelength; each slot stands for ``slots_each`` slots of ``timestep_s``, itself in the
    middle.
    """

    uvw_m: Floats
    natural: Floats
    per_m: Floats
    slots_each: float
    timestep_s: float

    def turned(self, uvw_m: Floats, seconds: float, dec_rad: float) -> tuple[Floats, Floats]:
        """Return u and v, m, of some rows as they are that many seconds later.

        Source: rotation of the baseline about the pole.
        """
        angle = seconds * EARTH_ROTATION_RAD_S
        u, v, w = uvw_m.T
        equatorial = w * math.cos(dec_rad) - v * math.sin(dec_rad)
        polar = w * math.sin(dec_rad) + v * math.cos(dec_rad)
        later = equatorial * math.cos(angle) - u * math.sin(angle)
        return u * math.cos(angle) + equatorial * math.sin(angle), polar * math.cos(dec_rad) - later * math.sin(dec_rad)


class UvGrid:
    """Summed natural weight per uv cell of a padded image, filled piece by piece."""

    def __init__(self, image: ImageWeighting) -> None:
        self.cells = uv_cells(image)
        self.weight = np.zeros(self.cells.nu * (self.cells.nv // 2 + 1))

    def add(self, u_lambda: Floats, v_lambda: Floats, natural: Floats) -> None:
        """Add visibilities to the grid."""
        cell, _ = self.cells.find(u_lambda, v_lambda)
        inside = (cell >= 0) & (natural > 0)
        if inside.any():
            summed = np.bincount(cell[inside], natural[inside])
            self.weight[: len(summed)] += summed


def _chunks(tracks: SampledTracks) -> list[slice]:
    """Return slices of rows that hold a bounded number of samples each."""
    rows = max(1, SAMPLES_PER_CHUNK // max(1, tracks.natural.shape[1]))
    return [slice(first, first + rows) for first in range(0, len(tracks.natural), rows)]


def _copies(tracks: Sequence[SampledTracks]) -> list[int]:
    """Return into how many slots each sampled slot is turned: odd, no more than it stands for, bounded in total."""
    sampled = sum(of_set.natural.size for of_set in tracks)
    most = max(1, MOST_GRIDDED // max(1, sampled))
    return [2 * ((min(most, max(1, round(of_set.slots_each))) - 1) // 2) + 1 for of_set in tracks]


def fill_grid(grid: UvGrid, tracks: SampledTracks, copies: int, dec_rad: float) -> None:
    """Add the time that sampled slots stand for to the grid, each turned into ``copies`` slots."""
    span_s = tracks.slots_each * tracks.timestep_s
    for seconds in (span_s * ((copy + 0.5) / copies - 0.5) for copy in range(copies)):
        for rows in _chunks(tracks):
            u_m, v_m = tracks.turned(tracks.uvw_m[rows], seconds, dec_rad)
            weights = tracks.natural[rows] * (tracks.slots_each / copies)
            grid.add(np.outer(u_m, tracks.per_m).ravel(), np.outer(v_m, tracks.per_m).ravel(), weights.ravel())


def _weights_of(grid: UvGrid, tracks: SampledTracks, copies: int, image: ImageWeighting) -> Floats:
    """Return the imaging weights of the sampled visibilities of one set."""
    mean_density = float((grid.weight**2).sum() / grid.weight.sum())
    surplus = tracks.slots_each / copies - 1  # a sampled visibility counts once in its own cell, not for its copies
    weights = np.empty_like(tracks.natural)
    for rows in _chunks(tracks):
        u, v = (np.outer(tracks.uvw_m[rows, axis], tracks.per_m) for axis in (0, 1))
        cell, distance = grid.cells.find(u, v)
        natural = tracks.natural[rows]
        usable = (cell >= 0) & (natural > 0) & (distance >= image.min_lambda) & (distance <= image.max_lambda)
        density = grid.weight[np.where(usable, cell, 0)] - surplus * natural
        weights[rows] = briggs_from_density(natural, GriddedDensity(density, usable, mean_density, 0), image.robust)
    return weights


def sampled_briggs_weights(tracks: Sequence[SampledTracks], dec_rad: float, image: ImageWeighting) -> list[Floats]:
    """Return the Briggs weights that sampled visibilities have in an image of all of them, one array per set.

    Where the sample is all of the data, the weights are those of lofarpipe.imaging.weighting.weights.briggs_weights.

    Raises
    ------
    ValueError
        If no visibility with weight is on the grid.
    """
    grid, copies = UvGrid(image), _copies(tracks)
    for of_set, count in zip(tracks, copies, strict=True):
        fill_grid(grid, of_set, count, dec_rad)
    if not grid.weight.any():
        raise ValueError("no unflagged visibility lies on the uv grid of the image")
    return [_weights_of(grid, of_set, count, image) for of_set, count in zip(tracks, copies, strict=True)]
