"""Greyscale thumbnail of a cube: the mean of some of its planes."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.quality.statistics import averaged, robust_rms

SIDE_PIXELS = 96
MOST_PLANES = 6  # averaged: more would not improve the picture
SOFTENING_RMS, LOWEST_RMS = 2.0, -10.0  # of an asinh scale, as in the large picture of an image
GREY_LEVELS = 254  # 255, white, is blank


class Thumbnail:
    """The downsampled mean of planes; of many planes a regular subset is used."""

    def __init__(self, nplanes: int) -> None:
        self._every = max(1, nplanes // MOST_PLANES)
        self._count = 0
        self._planes: list[NDArray[np.float32]] = []

    def add(self, pixels: NDArray[np.float32]) -> None:
        """Add the next plane, (y, x)."""
        if self._count % self._every == 0:
            self._planes.append(averaged(pixels, math.ceil(max(pixels.shape) / SIDE_PIXELS)))
        self._count += 1

    def png(self) -> str:
        """Return the picture as PNG in base64; "" if every pixel is blank, or all are equal."""
        from PIL import Image

        try:
            mean = _mean(self._planes)
            noise = robust_rms(mean)
        except ValueError:
            return ""
        companded = np.arcsinh(np.maximum(mean / noise, LOWEST_RMS) / SOFTENING_RMS)
        part = (companded - np.nanmin(companded)) / (np.nanmax(companded) - np.nanmin(companded))
        greys = np.where(np.isfinite(part), GREY_LEVELS - np.rint(part * GREY_LEVELS), 255)
        stream = io.BytesIO()
        Image.fromarray(np.flipud(greys).astype(np.uint8)).save(stream, "PNG", optimize=True)
        return base64.b64encode(stream.getvalue()).decode("ascii")


def _mean(planes: Iterable[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Return the mean of planes, ignoring blank pixels; NaN where all are blank."""
    stack = np.array(list(planes), np.float64)
    if not stack.size:
        raise ValueError("there is no plane")
    is_finite = np.isfinite(stack)
    count = is_finite.sum(axis=0)
    total = np.where(is_finite, stack, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0))
