"""Imaging weights: what WSClean's Briggs and uniform weighting make of natural weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ImageWeighting:
    """The arguments of WSClean that decide what each visibility weighs in an image."""

    npix: tuple[int, int]  # width, height
    cellsize_rad: float
    robust: float
    padding: float
    min_lambda: float = 0.0
    max_lambda: float = math.inf


@dataclass(frozen=True, eq=False)
class GriddedDensity:
    """Summed natural weight in the uv cell of each visibility, and the sums that Briggs weighting needs.

    ``density`` has the shape of the visibilities, 0 outside the grid or the uv range; ``usable`` says which are
    inside. ``mean_density`` is sum(density^2) / sum(density) over cells, ``cells`` the number of cells in use.
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
        """Return the cell of each visibility, -1 outside the grid, and its corner's distance from zero, wavelengths.

        Cells are found by floor(); a visibility and its conjugate are in the same one.
        """
        sign = np.where(v_lambda < 0, -1.0, 1.0)
        column = np.floor(u_lambda * sign / self.width + self.nu / 2).astype(np.int64)
        row = np.floor(v_lambda * sign / self.height).astype(np.int64)
        inside = (column >= 0) & (column < self.nu) & (row < self.nv / 2)
        distance_lambda = np.hypot((column - self.nu // 2) * self.width, row * self.height)
        return np.where(inside, row * self.nu + column, -1), distance_lambda


def uv_cells(image: ImageWeighting, coarsening: int = 1) -> UvCells:
    """Return the cells of an image, each 1 / (padded size * cell), or that many times wider."""
    nu, nv = (math.ceil(padded_size(size, image.padding) / coarsening) for size in image.npix)
    return UvCells(nu, nv, 1 / (nu * image.cellsize_rad), 1 / (nv * image.cellsize_rad))


def grid_density(
    u_lambda: Floats, v_lambda: Floats, natural: Floats, image: ImageWeighting, coarsening: int = 1
) -> GriddedDensity:
    """Return the density of visibilities on the uv grid of an image.

    ``u_lambda``, ``v_lambda``, ``natural`` share one shape; natural is 0 where flagged. All visibilities on the grid
    count in the density; the uv range is applied to the lower corner of the cell, as WSClean does.
    ``coarsening`` makes cells that many times wider, and applies the uv range to each visibility: with a sample of
    the data, cells must be wide enough to hold several sampled visibilities, else all look equally lonely.

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
    """Return the uniform weight of each visibility: every cell in use weighs 1 in sum."""
    weights: Floats = np.divide(natural, gridded.density, out=np.zeros_like(gridded.density), where=gridded.usable)
    return weights


def briggs_weights(
    u_lambda: Floats, v_lambda: Floats, natural: Floats, image: ImageWeighting, coarsening: int = 1
) -> Floats:
    """Return Briggs imaging weights, same shape as the visibilities; 0 outside the uv range or where natural is 0.

    w / (1 + W (5 * 10^-robust)^2 / (sum W^2 / sum W)), W the summed natural weight of a uv cell. A common scale of the
    natural weights changes nothing but the scale of the result. `grid_density` explains the other arguments.

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
