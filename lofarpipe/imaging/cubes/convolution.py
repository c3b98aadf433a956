"""Convolution of an image from its native beam to a larger one, in the Fourier plane with bounded memory.

The plane is transformed, multiplied and transformed back in blocks of rows and of columns, in single precision:
memory holds the plane, one more array of its size, and a second one if pixels are blank.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from lofarpipe.imaging.cubes.beams import FWHM2_PER_VARIANCE, Beam, CommonBeamError, Matrix

if TYPE_CHECKING:  # a slow import: astropy.coordinates and units
    from lofarpipe.imaging.quality.sky_image import Pixels

Spectrum = NDArray[np.complex64]

BLOCK_VALUES = 1 << 21  # of a block of rows or columns: 16 MB
# Zero padding of a plane, in sigma of the convolving Gaussian, which is below 2e-8 of its peak beyond.
PADDING_SIGMA = 6.0
# Share of blank pixels under the convolving Gaussian above which a pixel is blank, times the square root of the ratio
# of the beams' areas; edges wrap around. Source: racs-tools 4.5.0 (convolve_uv.convolve), so that both blank the same
# pixels.
BLANK_SHARE = 0.99


def convolve(pixels: Pixels, old: Beam, new: Beam, cell_arcsec: tuple[float, float], is_padded: bool = False) -> None:
    """Convolve a plane, (y, x), in place; a point source keeps its peak in Jy/beam.

    ``cell_arcsec`` is the pixel width along x and y, signed as CDELT. A plane already at the new beam is unchanged.
    Blank pixels (NaN) count as 0; a pixel among hardly any other than blank ones becomes blank. Without padding the
    plane wraps around: a source near an edge spreads to the opposite edge, and the noise is uniform over the plane;
    ``is_padded`` adds zeros instead.

    Raises
    ------
    CommonBeamError
        If the old beam does not fit into the new one.

    Source: doc/spec/cubes.md, section 3.
    """
    if old == new:
        return
    if not old.fits_into(new):
        raise CommonBeamError(f"the beam {old} does not fit into the common beam {new}")
    kernel = (new.covariance - old.covariance) / FWHM2_PER_VARIANCE
    gain = new.area_arcsec2 / old.area_arcsec2
    is_blank = np.isnan(pixels)
    if is_blank.all():
        return
    sizes = _padded_sizes(pixels.shape, kernel, cell_arcsec) if is_padded else pixels.shape
    if not is_blank.any():
        del is_blank
        _multiply_spectrum(pixels, kernel, gain, cell_arcsec, sizes)
        return
    pixels[is_blank] = 0
    share = is_blank.astype(np.float32)
    _multiply_spectrum(share, kernel, math.sqrt(gain), cell_arcsec, share.shape)
    is_blank = share >= BLANK_SHARE
    del share
    _multiply_spectrum(pixels, kernel, gain, cell_arcsec, sizes)
    pixels[is_blank] = np.nan


def _multiply_spectrum(
    pixels: Pixels, kernel: Matrix, gain: float, cell_arcsec: tuple[float, float], sizes: tuple[int, ...]
) -> None:
    """Multiply a plane's Fourier transform, in place, by that of a Gaussian of variance ``kernel``, times the gain.

    ``sizes`` of the transform, (y, x).
    """
    (nrows, ncolumns), (height, width) = pixels.shape, sizes
    spectrum: Spectrum = np.zeros((height, width // 2 + 1), np.complex64)
    for rows in _blocks(nrows, width):
        spectrum[rows] = scipy.fft.rfft(pixels[rows], n=width, axis=1)
    # Frequencies in cycles per arcsec along north and east, the axes of the beams.
    north = (np.fft.fftfreq(height) / cell_arcsec[1]).astype(np.float32)
    east = (np.fft.rfftfreq(width) / cell_arcsec[0]).astype(np.float32)
    for columns in _blocks(len(east), height):
        block = scipy.fft.fft(spectrum[:, columns].T, axis=1)
        block *= _kernel_spectrum(kernel, north, east[columns], gain)
        spectrum[:, columns] = scipy.fft.ifft(block, axis=1, overwrite_x=True).T
    for rows in _blocks(nrows, width):
        pixels[rows] = scipy.fft.irfft(spectrum[rows], n=width, axis=1)[:, :ncolumns]


def _padded_sizes(shape: tuple[int, ...], kernel: Matrix, cell_arcsec: tuple[float, float]) -> tuple[int, int]:
    """Return the sizes, (y, x), of a plane zero-padded by the reach of the kernel."""
    reach_arcsec = PADDING_SIGMA * math.sqrt(max(0.0, float(np.linalg.eigvalsh(kernel)[-1])))
    height, width = (
        size + math.ceil(reach_arcsec / abs(cell)) for size, cell in zip(shape, cell_arcsec[::-1], strict=True)
    )
    return scipy.fft.next_fast_len(height), scipy.fft.next_fast_len(width, real=True)


def _kernel_spectrum(kernel: Matrix, north: Pixels, east: Pixels, gain: float) -> Pixels:
    """Return gain x exp(-2 pi^2 k' S k), shape (east, north)."""
    (north2, cross), (_, east2) = (-2 * math.pi**2 * kernel).astype(np.float32)
    exponent: Pixels = np.multiply.outer(2 * cross * east, north)
    exponent += north2 * north**2
    exponent += (east2 * east**2)[:, np.newaxis]
    np.exp(exponent, out=exponent)
    exponent *= np.float32(gain)
    return exponent


def _blocks(size: int, length: int) -> list[slice]:
    """Return slices of at most BLOCK_VALUES values, or one line, along an axis of lines of ``length``."""
    step = max(1, BLOCK_VALUES // length)
    return [slice(first, min(first + step, size)) for first in range(0, size, step)]
