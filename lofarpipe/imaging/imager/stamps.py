"""Addition of patches to images around many pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.imager.kernels import compiled_finite

Floats = NDArray[np.float32]
Places = NDArray[np.int32]


@compiled_finite
def add_patches(ys: Places, xs: Places, amplitudes: Floats, patches: Floats, side: int, out: Floats) -> None:
    """Add amplitude x patch around each pixel to ``out`` (plane, y, x).

    ``amplitudes`` (pixel, plane); ``patches`` (tile, y, x, chan) of ``side`` x ``side`` tiles of the image.
    """
    for plane in range(len(out)):
        for pixel in range(len(ys)):
            tile = ys[pixel] * side // out.shape[1] * side + xs[pixel] * side // out.shape[2]
            stamp_one(ys[pixel], xs[pixel], amplitudes[pixel, plane], patches[tile], plane, out)


@compiled_finite
def stamp_one(y: int, x: int, amplitude: float, patch: Floats, plane: int, out: Floats) -> None:
    """Add one patch to a plane, clipped at its edges."""
    radius, chan = patch.shape[0] // 2, plane % patch.shape[2]
    for row in range(max(0, y - radius), min(out.shape[1], y + radius + 1)):
        for column in range(max(0, x - radius), min(out.shape[2], x + radius + 1)):
            out[plane, row, column] += amplitude * patch[row - y + radius, column - x + radius, chan]
