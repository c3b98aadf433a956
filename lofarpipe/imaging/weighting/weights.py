"""Imaging weights: natural weights after WSClean's Briggs and uniform weighting."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lofarpipe.support.dataclass import dataclass

Floats = NDArray[np.float64]
EARTH_ROTATION_RAD_S = 7.2921159e-5  # 2 pi in a mean sidereal day, 86164.0905 s
MOST_GRIDDED = 30_000_000  # visibilities; about 4 s of CPU
SAMPLES_PER_CHUNK = 500_000


@dataclass(frozen=True)
class ImageWeighting:
    """WSClean's arguments that determine imaging weights."""

    npix: tuple[int, int]  # width, height
    cellsize_rad: float
    robust: float
    padding: float
    min_lambda: float = 0.0
    max_lambda: float = math.inf


@dataclass(frozen=True, eq=False)
class GriddedDensity:
    """Summed natural weight in the uv cell of each visibility, and the sums for Briggs weighting.

    ``density`` has the shape of the visibilities, 0 outside the grid or the uv range; ``usable`` marks those inside.
    ``mean_density`` is sum(density^2) / sum(density) over cells, ``cells`` the number of cells in use.
    """

    density: Floats
    usable: NDArray[np.bool_]
    mean_density: float
    cells: int


def padded_size(npix: int, padding: float) -> int:
    """Return the size of WSClean's weight grid: the padded image, rounded up to a multiple of 4.

    Source: found by matching WSClean 3.1's visibility counts and PSF.
    """
    return math.ceil(round(npix * padding, 6) / 4) * 4


@dataclass(frozen=True)
class UvCells:
    """The cells of WSClean's uv grid, upper half-plane: ``nu`` columns and ``nv`` / 2 rows, wavelengths wide and high.

    Source: found by matching WSClean 3.1's visibility counts and PSF.
    """

    nu: int
    nv: int
    width: float
    height: float

    def find(self, u_lambda: Floats, v_lambda: Floats) -> tuple[NDArray[np.int64], Floats]:
        """Return the cell index of each visibility (-1 outside the grid), and its corner's uv distance, wavelengths.

        Cells are assigned by floor(); a visibility and its conjugate share a cell.
        """
        sign = np.where(v_lambda < 0, -1.0, 1.0)
        column = np.floor(u_lambda * sign / self.width + self.nu / 2).astype(np.int64)
        row = np.floor(v_lambda * sign / self.height).astype(np.int64)
        inside = (column >= 0) & (column < self.nu) & (row < self.nv / 2)
        distance_lambda = np.hypot((column - self.nu // 2) * self.width, row * self.height)
        return np.where(inside, row * self.nu + column, -1), distance_lambda


def uv_cells(image: ImageWeighting, coarsening: int = 1) -> UvCells:
    """Return the uv cells of an image, 1 / (padded size * cell) wide, times the coarsening factor."""
    nu, nv = (math.ceil(padded_size(size, image.padding) / coarsening) for size in image.npix)
    return UvCells(nu, nv, 1 / (nu * image.cellsize_rad), 1 / (nv * image.cellsize_rad))


def grid_density(
    u_lambda: Floats, v_lambda: Floats, natural: Floats, image: ImageWeighting, coarsening: int = 1
) -> GriddedDensity:
    """Return the density of visibilities on the uv grid of an image.

    ``u_lambda``, ``v_lambda``, ``natural`` share one shape; natural is 0 where flagged. All visibilities on the grid
    count in the density; the uv range is applied to the lower corner of the cell, as WSClean does. ``coarsening``
    widens the cells by a factor, and applies the uv range to each visibility: cells must hold several visibilities of a
    sample, otherwise all densities look alike.

    Raises
    ------
    ValueError
        If no visibility with weight is within the grid and the uv range.
    """
    cell, distance_lambda = uv_cells(image, coarsening).find(u_lambda, v_lambda)
    if coarsening > 1:
        distance_lambda = np.hypot(u_lambda, v_lambda)
    on_grid = (cell >= 0) & (natural > 0)
    grid = np.bincount(cell[on_grid], np.asarray(natural, float)[on_grid])
    low, high = image.min_lambda, image.max_lambda
    usable = on_grid & (distance_lambda >= low) & (distance_lambda <= high)
    if not usable.any():
        raise ValueError(f"no unflagged visibility lies between {low:g} and {high:g} wavelengths; change the uv range")
    density = np.where(usable, grid[np.where(usable, cell, cell[usable].flat[0])], 0.0)
    return GriddedDensity(density, usable, float((grid**2).sum() / grid.sum()), int((grid > 0).sum()))


def briggs_from_density(natural: Floats, gridded: GriddedDensity, robust: float) -> Floats:
    """Return the Briggs weight of each visibility from its natural weight and the density of its cell."""
    factor = (5 * 10**-robust) ** 2 / gridded.mean_density
    weights: Floats = np.where(gridded.usable, natural / (1 + gridded.density * factor), 0.0)
    return weights


def uniform_from_density(natural: Floats, gridded: GriddedDensity) -> Floats:
    """Return the uniform weight of each visibility: the sum in every used cell is 1."""
    weights: Floats = np.divide(natural, gridded.density, out=np.zeros_like(gridded.density), where=gridded.usable)
    return weights


def briggs_weights(
    u_lambda: Floats, v_lambda: Floats, natural: Floats, image: ImageWeighting, coarsening: int = 1
) -> Floats:
    """Return Briggs imaging weights, same shape as the visibilities; 0 outside the uv range or where natural is 0.

    w / (1 + W (5 * 10^-robust)^2 / (sum W^2 / sum W)), W the summed natural weight of a uv cell. The result scales with
    the natural weights. `grid_density` explains the other arguments.

    Raises
    ------
    ValueError
        If no visibility with weight is within the grid and the uv range.

    Source: Briggs 1995, PhD thesis, ch. 3, in the normalisation of WSClean.
    """
    gridded = grid_density(u_lambda, v_lambda, natural, image, coarsening)
    return briggs_from_density(np.asarray(natural, float), gridded, image.robust)


def rms_baseline_lambda(u_lambda: Floats, v_lambda: Floats, weights: Floats) -> float:
    """Return the root of the weighted mean square of the baseline length projected on the sky, wavelengths."""
    return math.sqrt(float((weights * (u_lambda**2 + v_lambda**2)).sum() / weights.sum()))


@dataclass(frozen=True, eq=False)
class SampledTracks:
    """Sampled time slots of one set: ``uvw_m`` (row, 3), ``natural`` weights (row, chan), 0 where flagged.

    ``per_m`` (chan,) is 1 / wavelength; each slot represents ``slots_each`` slots of ``timestep_s``, centred on it.
    """

    uvw_m: Floats
    natural: Floats
    per_m: Floats
    slots_each: float
    timestep_s: float

    def rotate(self, uvw_m: Floats, seconds: float, dec_rad: float) -> tuple[Floats, Floats]:
        """Return u and v, m, of rows, rotated to some seconds later.

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
    """Return the number of rotated copies per sampled slot: odd, at most the slots represented, bounded in total."""
    sampled = sum(of_set.natural.size for of_set in tracks)
    most = max(1, MOST_GRIDDED // max(1, sampled))
    return [2 * ((min(most, max(1, round(of_set.slots_each))) - 1) // 2) + 1 for of_set in tracks]


def fill_grid(grid: UvGrid, tracks: SampledTracks, copies: int, dec_rad: float) -> None:
    """Add sampled slots to the grid, each rotated into ``copies`` slots over the time represented."""
    span_s = tracks.slots_each * tracks.timestep_s
    for seconds in (span_s * ((copy + 0.5) / copies - 0.5) for copy in range(copies)):
        for rows in _chunks(tracks):
            u_m, v_m = tracks.rotate(tracks.uvw_m[rows], seconds, dec_rad)
            weights = tracks.natural[rows] * (tracks.slots_each / copies)
            u, v = (np.asarray(np.outer(axis_m, tracks.per_m), float) for axis_m in (u_m, v_m))
            grid.add(u.ravel(), v.ravel(), weights.ravel())


def _weights_of(grid: UvGrid, tracks: SampledTracks, copies: int, image: ImageWeighting) -> Floats:
    """Return the imaging weights of the sampled visibilities of one set."""
    mean_density = float((grid.weight**2).sum() / grid.weight.sum())
    surplus = tracks.slots_each / copies - 1  # in its own cell a sampled visibility counts once, without its copies
    weights = np.empty_like(tracks.natural)
    for rows in _chunks(tracks):
        u, v = (np.asarray(np.outer(tracks.uvw_m[rows, axis], tracks.per_m), float) for axis in (0, 1))
        cell, distance = grid.cells.find(u, v)
        natural = tracks.natural[rows]
        usable = (cell >= 0) & (natural > 0) & (distance >= image.min_lambda) & (distance <= image.max_lambda)
        density = grid.weight[np.where(usable, cell, 0)] - surplus * natural
        weights[rows] = briggs_from_density(natural, GriddedDensity(density, usable, mean_density, 0), image.robust)
    return weights


def sampled_briggs_weights(tracks: Sequence[SampledTracks], dec_rad: float, image: ImageWeighting) -> list[Floats]:
    """Return Briggs weights of sampled visibilities in the image of all data, one array per set.

    If the sample is complete, the weights equal those of lofarpipe.imaging.weighting.weights.briggs_weights.

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
