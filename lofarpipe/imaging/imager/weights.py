"""Imaging weights: the weight of a visibility times the factor of its uv cell.

The cells are 1 / (padding x size x cell) wide, on the half plane v >= 0, and hold the visibilities of all output
channels together. With rho the sum of the weights of a cell, the factor is 1 for natural weights, 1 / rho for uniform
ones, and for Briggs' 1 / (1 + rho f^2) with f^2 = (5 x 10^-robust)^2 sum(rho) / sum(rho^2). The uv range and the
tapers depend on the cell's distance. The rank filter lowers factors far above those of the surrounding cells, as from
uniform weights of isolated visibilities. Source: Briggs (1995), thesis, section 3.2; WSClean
3.1 (its grids agree with these to 1e-7).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.imager.kernels import compiled
from lofarpipe.imaging.imager.settings import ImagerSettings, Weighting
from lofarpipe.imaging.plan.smearing import SPEED_OF_LIGHT_M_S

Floats = NDArray[np.float64]
Cells = NDArray[np.float32]
LEAST_RANK = 1.0  # a lower level disables the rank filter, as in WSClean


@compiled
def cell_of(u: float, v: float, nx: int, ny: int) -> tuple[int, int, bool]:
    """Return column and row of a uv point in the half plane v >= 0, and whether it is on the grid; u, v in cells."""
    if v < 0:
        u, v = -u, -v
    x, y = int(np.floor(u + nx // 2)), int(np.floor(v))
    return x, y, 0 <= x < nx and y < ny // 2


@compiled
def add_density(uvw_m: Floats, scale: Floats, weights: NDArray[np.float32], ny: int, rho: Floats) -> None:
    """Add the weights to the cells of their visibilities; scale[axis, chan] is in cells per metre."""
    for row in range(len(uvw_m)):
        for chan in range(weights.shape[1]):
            if weights[row, chan] > 0:
                u, v = uvw_m[row, 0] * scale[0, chan], uvw_m[row, 1] * scale[1, chan]
                x, y, is_inside = cell_of(u, v, rho.shape[1], ny)
                if is_inside:
                    rho[y, x] += weights[row, chan]


@compiled
def multiply_cells(
    uvw_m: Floats, scale: Floats, weights: NDArray[np.float32], ny: int, factors: NDArray[np.float32]
) -> None:
    """Multiply the weights by the factors of their cells; 0 outside the grid."""
    for row in range(len(uvw_m)):
        for chan in range(weights.shape[1]):
            if weights[row, chan] > 0:
                u, v = uvw_m[row, 0] * scale[0, chan], uvw_m[row, 1] * scale[1, chan]
                x, y, is_inside = cell_of(u, v, factors.shape[1], ny)
                weights[row, chan] *= factors[y, x] if is_inside else np.float32(0)


class WeightGrid:
    """Grid of weight sums in uv cells, for an image of nx x ny pixels."""

    def __init__(self, settings: ImagerSettings):
        self.settings = settings
        self.nx, self.ny = (_padded(size, settings.padding) for size in settings.size)
        self.du, self.dv = 1 / (self.nx * settings.cell_rad), 1 / (self.ny * settings.cell_rad)  # wavelengths
        self.rho = np.zeros((self.ny // 2, self.nx))
        self.range = self._uv_range()

    def _scale(self, frequencies_hz: Floats) -> Floats:
        per_metre = frequencies_hz / SPEED_OF_LIGHT_M_S
        return np.array([per_metre / self.du, per_metre / self.dv])

    def coordinates(self) -> tuple[Floats, Floats]:
        """Return u of the columns and v of the rows, wavelengths, in broadcastable shapes."""
        u, v = np.arange(self.nx) - self.nx // 2, np.arange(self.ny // 2)
        return np.asarray(u[None] * self.du), np.asarray(v[:, None] * self.dv)

    def add(self, uvw_m: Floats, frequencies_hz: Floats, weights: NDArray[np.float32]) -> None:
        """Add visibilities to their cells, and set weights outside the uv range to 0."""
        scale = self._scale(frequencies_hz)
        add_density(uvw_m, scale, weights, self.ny, self.rho)
        multiply_cells(uvw_m, scale, weights, self.ny, self.range)

    def apply(
        self, uvw_m: Floats, frequencies_hz: Floats, weights: NDArray[np.float32], factors: NDArray[np.float32]
    ) -> None:
        """Multiply the weights in place by the factors of their cells."""
        multiply_cells(uvw_m, self._scale(frequencies_hz), weights, self.ny, factors)

    def _uv_range(self) -> NDArray[np.float32]:
        u, v = self.coordinates()
        distance = np.hypot(u, v)
        inside = distance >= self.settings.min_uv_lambda
        if self.settings.max_uv_lambda > 0:
            inside &= distance <= self.settings.max_uv_lambda
        return inside.astype(np.float32)

    def factors(self) -> NDArray[np.float32]:
        """Return the factors of the cells (row, column); call it after adding all visibilities."""
        settings = self.settings
        factors = np.asarray(weighting_factors(self.rho, settings.weighting), np.float32)
        if settings.rank_filter >= LEAST_RANK and settings.weighting != "natural":
            limit_to_surroundings(factors, settings.rank_filter, settings.rank_filter_size)
        factors *= self.tapers().astype(np.float32)
        return factors

    def tapers(self) -> Floats:
        """Return the product of all tapers at the cells (row, column)."""
        settings = self.settings
        u, v = self.coordinates()
        distance = np.hypot(u, v)
        taper = gaussian_taper(distance, settings.taper_gaussian_rad)
        if settings.taper_tukey_lambda > 0 and settings.max_uv_lambda > 0:
            taper *= tukey_rise(settings.max_uv_lambda - distance, settings.taper_tukey_lambda)
        if settings.taper_inner_tukey_lambda > 0:
            taper *= tukey_rise(distance - settings.min_uv_lambda, settings.taper_inner_tukey_lambda)
        edge, width = settings.taper_edge_lambda, settings.taper_edge_tukey_lambda
        if edge > 0 or width > 0:
            from_edge = np.minimum(self.nx / 2 * self.du - np.abs(u), self.ny / 2 * self.dv - v) - edge
            taper *= tukey_rise(from_edge, width)
        return taper


def _padded(size: int, padding: float) -> int:
    """Return the number of cells: the padded size, rounded up to a multiple of 4."""
    return math.ceil(round(padding * size, 6) / 4) * 4


def weighting_factors(rho: Floats, weighting: Weighting) -> Floats:
    """Return the factors of cells from their weight sums ``rho``."""
    if weighting == "natural":
        return np.ones_like(rho)
    if weighting == "uniform":
        return np.divide(1, rho, out=np.zeros_like(rho), where=rho > 0)
    _, robust = weighting
    squares = float((rho**2).sum())
    f_squared = (5 * 10**-robust) ** 2 * float(rho.sum()) / squares if squares > 0 else 0.0
    return np.asarray(1 / (1 + rho * f_squared))


def limit_to_surroundings(factors: Cells, level: float, size: int) -> None:
    """Limit factors to ``level`` times the mean of the non-zero ones in the surrounding ``size`` x ``size`` cells.

    With Briggs' weighting empty cells have the factor 1, and count, as in WSClean.
    """
    from scipy.ndimage import uniform_filter

    used = factors > 0
    share = uniform_filter(used.astype(np.float32), size, mode="constant")
    mean = uniform_filter(factors, size, mode="constant")
    mean /= np.maximum(share, 0.5 / size**2)
    mean *= np.float32(level)
    np.minimum(factors, mean, out=factors, where=used)


def gaussian_taper(distance_lambda: Floats, fwhm_rad: float) -> Floats:
    """Return the Fourier transform of a Gaussian of unit sum; 1 for a FWHM of 0."""
    sigma_rad = fwhm_rad / math.sqrt(8 * math.log(2))
    return np.asarray(np.exp(-2 * (math.pi * sigma_rad * distance_lambda) ** 2))


def tukey_rise(inside_lambda: Floats, width_lambda: float) -> Floats:
    """Return a cosine that rises from 0 at 0 to 1 at ``width_lambda``; a step for a width of 0."""
    if width_lambda <= 0:
        return np.asarray(inside_lambda >= 0, float)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(inside_lambda / width_lambda, 0, 1)))
