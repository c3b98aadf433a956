"""Noise and sources of an image from its pixels; blank pixels (NaN) are ignored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]

RMS_METHOD = "1.4826 x MAD, clipped at 4 sigma"
MAD_TO_SIGMA = 1.482602  # 1 / (inverse normal distribution at 3/4), for Gaussian noise
CLIP_SIGMA = 4.0
MAX_ROUNDS = 10
ENOUGH_REJECTED = 1e-3  # fraction of rejected pixels that ends clipping
SMALLEST_TILE_PIXELS = 16
BEAMS_PER_TILE = 100  # independent noise samples in a tile: the rms of one tile is good to 8 %
# PyBDSF's thresholds in the pipeline, in units of the local rms. Source: doc/spec/imaging.md, section 6.1.
ISLAND_SIGMA, PEAK_SIGMA = 4.0, 5.0


def robust_rms(pixels: NDArray[Any]) -> float:
    """Return the noise of an image in the unit of its pixels, robust to sources and NaN.

    The median absolute deviation, scaled to a Gaussian's standard deviation, of the pixels within 4 sigma of the
    median; clipped again until fewer than 0.1 % are rejected.

    Raises
    ------
    ValueError
        If all pixels are blank, or more than half are equal.

    Source: Huber 1981, Robust Statistics, for the estimator.
    """
    values = np.asarray(pixels, np.float64).ravel()
    values = values[np.isfinite(values)]
    if values.size == 0:
        raise ValueError("every pixel is blank, so there is no noise to measure")
    sigma = 0.0
    for _ in range(MAX_ROUNDS):
        median = np.median(values)
        deviation = np.abs(values - median)
        sigma = MAD_TO_SIGMA * float(np.median(deviation))
        clipped = values[deviation <= CLIP_SIGMA * sigma]
        if sigma == 0 or values.size - clipped.size < ENOUGH_REJECTED * values.size:
            break
        values = clipped
    if sigma == 0:
        raise ValueError("more than half of the pixels have the same value, so there is no noise to measure")
    return sigma


def averaged(plane: NDArray[Any], factor: int) -> Pixels:
    """Return the mean of blocks of ``factor`` x ``factor`` pixels, ignoring blank pixels; blank blocks are NaN.

    Blocks at the upper and right edge may hold fewer pixels. Memory: a strip of ``factor`` rows at a time.
    """
    height, width = plane.shape
    starts = np.arange(0, width, factor)
    rows = []
    for first in range(0, height, factor):
        strip = np.asarray(plane[first : first + factor], np.float64)
        is_finite = np.isfinite(strip)
        total = np.add.reduceat(np.where(is_finite, strip, 0.0).sum(axis=0), starts)
        count = np.add.reduceat(is_finite.sum(axis=0), starts)
        rows.append(np.divide(total, count, out=np.full(len(starts), np.nan), where=count > 0))
    return np.asarray(rows, np.float32)


def central_part(plane: NDArray[Any], fraction: float = 0.5) -> NDArray[Any]:
    """Return the central part of an image: ``fraction`` of its height and width."""
    edges = [(int(size * (1 - fraction) / 2), size - int(size * (1 - fraction) / 2)) for size in plane.shape]
    return plane[edges[0][0] : edges[0][1], edges[1][0] : edges[1][1]]


def tile_size(plane: NDArray[Any], beam_area_pixels: float) -> int:
    """Return the side of the tiles for the local noise, pixels: at least 100 beams, at most a quarter of the image."""
    side = max(SMALLEST_TILE_PIXELS, int(np.ceil(np.sqrt(BEAMS_PER_TILE * beam_area_pixels))))
    return int(max(1, min(side, min(plane.shape) // 4)))


def tile_rms(plane: NDArray[Any], tile: int) -> Floats:
    """Return the robust rms of each tile of ``tile`` pixels; NaN where a tile is constant, or mostly blank."""
    rows, columns = (max(1, size // tile) for size in plane.shape)
    noise = np.full((rows, columns), np.nan)
    for row, strip in enumerate(np.array_split(plane, rows)):
        for column, part in enumerate(np.array_split(strip, columns, axis=1)):
            if np.count_nonzero(np.isfinite(part)) < part.size / 2:
                continue  # a few correlated pixels, closer than a beam, underestimate the noise
            try:
                noise[row, column] = robust_rms(part)
            except ValueError:
                continue  # blank corners stay NaN
    return noise


def local_rms(plane: NDArray[Any], beam_area_pixels: float) -> Floats:
    """Return the local noise at every pixel, same shape as the image; NaN where the image is blank.

    The robust rms of tiles, with a median over 3 x 3 tiles against bright sources, and bilinear interpolation.

    Raises
    ------
    ValueError
        If no tile has noise.
    """
    import scipy.ndimage

    noise = tile_rms(plane, tile_size(plane, beam_area_pixels))
    if not np.isfinite(noise).any():
        raise ValueError("no part of the image has noise to measure")
    noise = np.where(np.isfinite(noise), noise, np.nanmedian(noise))
    noise = scipy.ndimage.median_filter(noise, size=3, mode="nearest")
    down, across = (_interpolation(n, m) for n, m in zip(plane.shape, noise.shape, strict=True))
    spread: Floats = np.where(np.isfinite(plane), down @ noise @ across.T, np.nan)
    return spread


def _interpolation(npixels: int, ntiles: int) -> Floats:
    """Return the matrix (pixel, tile) of linear interpolation between tile centres, constant beyond."""
    positions = (np.arange(npixels) + 0.5) * ntiles / npixels - 0.5  # the middle of the first tile is 0
    units = np.eye(ntiles)
    return np.stack([np.interp(positions, np.arange(ntiles), unit) for unit in units], axis=1)


def count_sources(plane: NDArray[Any], noise: Floats) -> int:
    """Return the number of islands above 4 times the local noise whose peak is above 5 times.

    Pixels that touch at a corner belong to the same island; a group of blended sources counts once.
    """
    import scipy.ndimage

    significance = np.nan_to_num(plane / noise, nan=0.0)
    islands, number = scipy.ndimage.label(significance > ISLAND_SIGMA, structure=np.ones((3, 3)))
    if number == 0:
        return 0
    peaks = scipy.ndimage.maximum(significance, islands, index=np.arange(1, number + 1))
    return int((np.asarray(peaks) > PEAK_SIGMA).sum())
