"""Cleaning masks from FITS images, and the local noise for thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.imager.errors import ImagerError

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

MAD_TO_SIGMA = 1.4826  # for Gaussian noise
STEPS_PER_BOX = 2  # grid points of the noise measurement per box
SAMPLES_PER_SIDE = 64
LEAST_SHARE = 1e-3  # of the image's noise: lower limit of the local noise, for blank parts


def read_mask(path: str, shape: tuple[int, int]) -> Mask:
    """Return the mask of pixels neither 0 nor blank in a FITS image of ``shape`` = (ny, nx).

    Raises
    ------
    ImagerError
        If the file is not a FITS image, has another size, or is 0 everywhere.
    """
    from astropy.io import fits

    try:
        with fits.open(path) as hdus:
            plane: Any = np.squeeze(hdus[0].data) if hdus[0].data is not None else np.zeros(0)
    except OSError as err:
        raise ImagerError(f"{path}: no mask can be read from it: {err.strerror or err}; give a FITS image") from err
    if plane.shape != shape:
        sides = " x ".join(str(side) for side in plane.shape[::-1])
        raise ImagerError(
            f"{path}: the mask has {sides} pixels, and the image {shape[1]} x {shape[0]}; make them alike"
        )
    mask: Mask = np.isfinite(plane) & (plane != 0)
    if not mask.any():
        raise ImagerError(f"{path}: the mask is 0 everywhere: nothing would be cleaned; leave it out")
    return mask


def robust_sigma(samples: Plane) -> float:
    """Return the standard deviation of Gaussian noise, from the median absolute deviation."""
    return MAD_TO_SIGMA * float(np.median(np.abs(samples - np.median(samples))))


def coarse_noise(image: Plane, box: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return rows and columns of a coarse grid, and the noise (row, column) in boxes of ``box`` pixels."""
    rows, columns = (_grid(side, box) for side in image.shape)
    half = max(1, box // 2)
    step = max(1, min(box, *image.shape) // SAMPLES_PER_SIDE)
    noise = np.empty((len(rows), len(columns)))
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            part = image[max(0, row - half) : row + half + 1 : step, max(0, column - half) : column + half + 1 : step]
            noise[y, x] = robust_sigma(part)
    return rows, columns, noise


def _grid(side: int, box: int) -> NDArray[np.int64]:
    return np.linspace(0, side - 1, max(2, -(-STEPS_PER_BOX * side // box))).round().astype(np.int64)


def local_factors(image: Plane, sigma_jy: float, box: int) -> Plane:
    """Return an image's noise over its local noise (y, x), interpolated linearly from a coarse grid.

    Pixels are multiplied by this factor, so that one threshold is the same number of local sigma everywhere.
    """
    if sigma_jy <= 0:
        return np.ones_like(image)
    rows, columns, noise = coarse_noise(image, box)
    noise = np.maximum(noise, LEAST_SHARE * sigma_jy)
    every_column = np.arange(image.shape[1])
    along = np.array([np.interp(every_column, columns, one) for one in noise])
    factors = np.empty(image.shape, np.float32)
    for y in range(image.shape[0]):
        upper = min(int(np.searchsorted(rows, y)), len(rows) - 1)
        lower = max(upper - 1, 0)
        part = (y - rows[lower]) / (rows[upper] - rows[lower]) if upper > lower else 0.0
        factors[y] = sigma_jy / ((1 - part) * along[lower] + part * along[upper])
    return factors
