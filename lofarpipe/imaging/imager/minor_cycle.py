"""The minor cycle: subtracts the brightest atom with PSF patches until none is above its threshold.

It works on the active pixels of all planes (Stokes parameter by channel) and scales together. The next atom is the
one with the largest weighted mean over channels, which reduces chi^2 most; no bias between scales is needed. Several
Stokes parameters are combined as the root of the sum of squares.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.imager.active import TILE, Pixels
from lofarpipe.imaging.imager.kernels import compiled_finite

Floats = NDArray[np.float32]
Pair = tuple[int, int]  # y, x; or first and end


class Patches(NamedTuple):
    """Responses of atoms: ``local`` (tile, y, x, chan), ``cross`` (scale, scale, y, x, chan); see psf.py."""

    local: Floats
    cross: Floats


class Rules(NamedTuple):
    """Parameters of component fits.

    ``weights`` (chan,) sum to 1; ``fits`` (row, column, chan, chan) fit spectra; ``flux`` (scale, chan) of atoms, Jy;
    ``thresholds`` (scale,); ``rows``, ``columns``: numbers of tiles.
    """

    weights: Floats
    fits: Floats
    flux: Floats
    thresholds: Floats
    gain: np.float32
    shape: tuple[int, int]
    tiles: tuple[int, int]


class Peaks(NamedTuple):
    """The strongest pixel of each tile: strength, 0 for none above the threshold, and index.

    Shapes (scale, row, column); ``row`` (scale, row) is the strongest of a row of tiles.
    """

    strength: Floats
    pixel: NDArray[np.int64]
    row: Floats


@compiled_finite
def strength_of(pixels: Pixels, pixel: int, weights: Floats) -> float:
    """Return a pixel's strength: its weighted mean over channels; root sum of squares over Stokes parameters."""
    channels, squares = len(weights), np.float32(0)
    for first in range(0, pixels.values.shape[1], channels):
        mean = np.float32(0)
        for chan in range(channels):
            mean += weights[chan] * pixels.values[pixel, first + chan]
        squares += mean * mean
    strength: float = np.sqrt(squares) * pixels.factors[pixel]
    return strength


@compiled_finite
def find_tile_peak(
    pixels: Pixels, strengths: Floats, scale: int, row: int, column: int, rules: Rules, peaks: Peaks
) -> None:
    """Update the strongest pixel of a tile."""
    tile = row * rules.tiles[1] + column
    best, where = np.float32(0), -1
    for pixel in range(pixels.starts[scale, tile], pixels.starts[scale, tile + 1]):
        if strengths[pixel] > best and strengths[pixel] > rules.thresholds[scale]:
            best, where = strengths[pixel], pixel
    peaks.strength[scale, row, column], peaks.pixel[scale, row, column] = best, where


@compiled_finite
def find_row_peak(scale: int, row: int, peaks: Peaks) -> None:
    """Update the strongest tile of a row of tiles."""
    best = np.float32(0)
    for column in range(peaks.strength.shape[2]):
        best = max(best, peaks.strength[scale, row, column])
    peaks.row[scale, row] = best


@compiled_finite
def strongest(peaks: Peaks) -> tuple[int, int]:
    """Return scale and index of the strongest pixel; index -1 for none."""
    best, scale, row = np.float32(0), 0, 0
    for s in range(peaks.row.shape[0]):
        for r in range(peaks.row.shape[1]):
            if peaks.row[s, r] > best:
                best, scale, row = peaks.row[s, r], s, r
    if best == 0:
        return 0, -1
    column = 0
    while peaks.strength[scale, row, column] != best:
        column += 1
    return scale, peaks.pixel[scale, row, column]


@compiled_finite
def fit_component(pixels: Pixels, pixel: int, scale: int, rules: Rules, amplitudes: Floats) -> None:
    """Write the gain times the fitted spectrum of a pixel into ``amplitudes`` (plane,), in units of atoms."""
    channels, flux = len(rules.weights), rules.flux
    fy, fx = rules.fits.shape[:2]
    y, x = pixels.y[pixel] * fy // rules.shape[0], pixels.x[pixel] * fx // rules.shape[1]
    for plane in range(len(amplitudes)):
        chan, total = plane % channels, np.float32(0)
        first = plane - chan
        for other in range(channels):
            total += rules.fits[y, x, chan, other] * flux[scale, other] * pixels.values[pixel, first + other]
        amplitudes[plane] = rules.gain * total / flux[scale, chan]


@compiled_finite
def subtract_from_tile(
    pixels: Pixels,
    tile_range: Pair,
    centre: Pair,
    amplitudes: Floats,
    patch: Floats,
    weights: Floats,
    strengths: Floats,
) -> None:
    """Subtract a component's response from the pixels of a tile within its patch."""
    radius, channels = patch.shape[0] // 2, len(weights)
    for pixel in range(tile_range[0], tile_range[1]):
        dy, dx = pixels.y[pixel] - centre[0] + radius, pixels.x[pixel] - centre[1] + radius
        if 0 <= dy <= 2 * radius and 0 <= dx <= 2 * radius:
            for plane in range(len(amplitudes)):
                pixels.values[pixel, plane] -= amplitudes[plane] * patch[dy, dx, plane % channels]
            strengths[pixel] = strength_of(pixels, pixel, weights)


@compiled_finite
def subtract_from_scale(
    pixels: Pixels,
    scale: int,
    centre: Pair,
    amplitudes: Floats,
    patch: Floats,
    rules: Rules,
    strengths: Floats,
    peaks: Peaks,
) -> None:
    """Subtract a component's response from all pixels of a scale, and update the peaks of the changed tiles."""
    radius = patch.shape[0] // 2
    rows, columns = rules.tiles
    for row in range(max(0, (centre[0] - radius) // TILE), min(rows - 1, (centre[0] + radius) // TILE) + 1):
        for column in range(max(0, (centre[1] - radius) // TILE), min(columns - 1, (centre[1] + radius) // TILE) + 1):
            tile = row * columns + column
            tile_range = pixels.starts[scale, tile], pixels.starts[scale, tile + 1]
            if tile_range[1] > tile_range[0]:
                subtract_from_tile(pixels, tile_range, centre, amplitudes, patch, rules.weights, strengths)
                find_tile_peak(pixels, strengths, scale, row, column, rules, peaks)
        find_row_peak(scale, row, peaks)


@compiled_finite
def patch_of(patches: Patches, scale: int, other: int, centre: Pair, shape: Pair) -> Floats:
    """Return the response of an atom of one scale in the map of another."""
    if scale > 0 or other > 0:
        across: Floats = patches.cross[scale, other]
        return across
    side = int(np.sqrt(len(patches.local)) + 0.5)
    local: Floats = patches.local[centre[0] * side // shape[0] * side + centre[1] * side // shape[1]]
    return local


@compiled_finite
def clean_pixels(pixels: Pixels, patches: Patches, rules: Rules, most: int, components: Floats) -> int:
    """Add at most ``most`` components to ``components`` (n, plane), in units of atoms; return their number."""
    scales, (rows, columns) = len(rules.thresholds), rules.tiles
    strengths = np.empty(len(pixels.y), np.float32)
    for pixel in range(len(strengths)):
        strengths[pixel] = strength_of(pixels, pixel, rules.weights)
    shape = (scales, rows, columns)
    peaks = Peaks(np.zeros(shape, np.float32), np.zeros(shape, np.int64), np.zeros((scales, rows), np.float32))
    for scale in range(scales):
        for row in range(rows):
            for column in range(columns):
                find_tile_peak(pixels, strengths, scale, row, column, rules, peaks)
            find_row_peak(scale, row, peaks)
    amplitudes = np.empty(pixels.values.shape[1], np.float32)
    for done in range(most):
        scale, pixel = strongest(peaks)
        if pixel < 0:
            return done
        fit_component(pixels, pixel, scale, rules, amplitudes)
        for plane in range(len(amplitudes)):
            components[pixel, plane] += amplitudes[plane]
        centre = pixels.y[pixel], pixels.x[pixel]
        for other in range(scales):
            patch = patch_of(patches, scale, other, centre, rules.shape)
            subtract_from_scale(pixels, other, centre, amplitudes, patch, rules, strengths, peaks)
    return most


def find_components(pixels: Pixels, patches: Patches, rules: Rules, most: int) -> tuple[Floats, int]:
    """Find components at the active pixels; return them (n, plane), in units of atoms, and the number of iterations.

    The values of ``pixels`` become the residual.
    """
    components = np.zeros_like(pixels.values)
    return components, int(clean_pixels(pixels, patches, rules, most, components))
