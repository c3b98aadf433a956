"""Active pixels: those above the thresholds, which the minor cycle works on, sorted by image tile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.imager.kernels import compiled_finite

TILE = 32  # pixels per side

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Pixels(NamedTuple):
    """The n active pixels of all scales, scale by scale, in ``tiles`` (rows, columns) of the image.

    ``starts`` (scale, tile + 1) are the indices of the tiles' first pixels, ``values`` (n, plane) the residuals in
    units of the scale's atoms; ``factors`` (n,) multiply values for comparison with the thresholds.
    """

    y: NDArray[np.int32]
    x: NDArray[np.int32]
    starts: NDArray[np.int64]
    values: NDArray[np.float32]
    factors: NDArray[np.float32]


@compiled_finite
def count_pixels(
    detection: Plane, mask: Mask, threshold: np.float32, step: int, edge: int, columns: int, count: NDArray[np.int64]
) -> None:
    """Count the pixels above the threshold by tile, in ``count``."""
    ny, nx = detection.shape
    for y in range(edge, ny - edge):
        for x in range(edge, nx - edge):
            if detection[y, x] > threshold and (mask.size == 0 or mask[y, x]):
                count[y * step // TILE * columns + x * step // TILE] += 1


@compiled_finite
def place_pixels(
    detection: Plane,
    mask: Mask,
    threshold: np.float32,
    step: int,
    edge: int,
    columns: int,
    at: NDArray[np.int64],
    ys: NDArray[np.int32],
    xs: NDArray[np.int32],
) -> None:
    """Write the pixels above the threshold at the indices ``at`` of their tiles, and advance these."""
    ny, nx = detection.shape
    for y in range(edge, ny - edge):
        for x in range(edge, nx - edge):
            if detection[y, x] > threshold and (mask.size == 0 or mask[y, x]):
                tile = y * step // TILE * columns + x * step // TILE
                ys[at[tile]], xs[at[tile]] = y * step, x * step
                at[tile] += 1


def tile_grid(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the rows and columns of tiles of an image."""
    return -(-shape[0] // TILE), -(-shape[1] // TILE)


def select_pixels(
    detection: Plane, mask: Mask | None, threshold: float, step: int, edge: int, tiles: tuple[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Return y, x of the pixels above a threshold, on the full grid, and each tile's first index (tile + 1,).

    ``detection`` samples every ``step``-th pixel of the image; ``edge`` of its pixels at each side are excluded.
    """
    mask_array = np.zeros((0, 0), np.bool_) if mask is None else mask
    count = np.zeros(tiles[0] * tiles[1], np.int64)
    count_pixels(detection, mask_array, np.float32(threshold), step, edge, tiles[1], count)
    starts = np.concatenate([[0], np.cumsum(count)])
    ys, xs = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
    place_pixels(detection, mask_array, np.float32(threshold), step, edge, tiles[1], starts[:-1].copy(), ys, xs)
    return ys, xs, starts


def join_scales(
    selections: Sequence[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]],
    values: Sequence[NDArray[np.float32]],
    factors: Sequence[NDArray[np.float32]],
) -> Pixels:
    """Join the selections, values and factors of all scales."""
    counts = np.array([0, *(len(y) for y, _, _ in selections)])
    firsts = np.cumsum(counts)[:-1]
    starts = np.array([one[2] + first for one, first in zip(selections, firsts, strict=True)])
    ys, xs = (np.concatenate([one[k] for one in selections]) for k in (0, 1))
    return Pixels(ys, xs, starts, np.concatenate(values), np.concatenate(factors))
