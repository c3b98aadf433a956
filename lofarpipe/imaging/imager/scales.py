"""Scales of multiscale cleaning: Gaussian atoms, and residual maps smoothed with them.

An atom is a source of one scale and unit norm: its response, smoothed once more, is 1 at the centre. A scale map is
the residual in units of atoms, so that maps of all scales compare by the chi^2 reduction of an atom. It is sampled at
every d-th pixel only, d at most a third of the scale's width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ducc0 import fft
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Cube = NDArray[np.float32]  # (plane, y, x)

SAMPLES_PER_WIDTH = 3
PATCH_WIDTHS = 1.5  # half the width of a Gaussian's patch, in FWHM


def automatic_scales(beam: float, largest: float) -> tuple[float, ...]:
    """Return scales for a beam width in pixels: 0 for points, then from 2 beams to ``largest``, about doubling.

    A source wider than the largest scale loses flux: one of 2.2 times its width, 10 %.
    """
    smallest = 2 * beam
    if largest < smallest:
        return (0.0,)
    steps = round(np.log2(largest / smallest))
    return (0.0, *(float(fwhm) for fwhm in np.geomspace(smallest, largest, steps + 1)))


def gaussian_transform(shape: tuple[int, int], fwhm: tuple[float, float]) -> NDArray[np.float32]:
    """Return the transform of a Gaussian of unit sum on the half plane of an image; FWHM along y, x in pixels."""
    sigma_y, sigma_x = (width / np.sqrt(8 * np.log(2)) for width in fwhm)
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    transform = np.exp(-2 * np.pi**2 * ((sigma_y * ky) ** 2 + (sigma_x * kx) ** 2))
    return np.asarray(transform, np.float32)


def smooth(image: Plane, fwhm: float, threads: int) -> Plane:
    """Return an image convolved with a Gaussian of unit sum; FWHM in pixels."""
    if fwhm == 0:
        return image
    spectrum = fft.r2c(image, axes=(0, 1), nthreads=threads)
    spectrum *= gaussian_transform(image.shape, (fwhm, fwhm))
    real = fft.c2r(spectrum, axes=(0, 1), lastsize=image.shape[1], inorm=2, forward=False, nthreads=threads)
    return np.asarray(real, np.float32)


def stride(shape: tuple[int, int], fwhm: float) -> int:
    """Return the sampling step of a scale's map, pixels: a divisor of both sides of the image."""
    common = np.gcd(*shape)
    return max((d for d in range(1, int(fwhm / SAMPLES_PER_WIDTH) + 1) if common % d == 0), default=1)


def gaussian_patch(fwhm: float) -> Plane:
    """Return a Gaussian of unit sum."""
    half = int(np.ceil(PATCH_WIDTHS * fwhm))
    profile = np.exp(-4 * np.log(2) * (np.arange(-half, half + 1) / fwhm) ** 2)
    patch = np.outer(profile, profile)
    return np.asarray(patch / patch.sum(), np.float32)


def scale_maps(residual: Cube, scales: Sequence[float], flux: NDArray[np.float64], threads: int) -> list[Cube]:
    """Return the residual planes of each scale in units of atoms, on every d-th pixel.

    ``flux`` (scale, plane) of an atom, Jy. The first scale is a point; its map is the residual itself.
    """
    maps = [residual]
    maps += [np.empty((len(residual), *_map_shape(residual.shape[1:], fwhm)), np.float32) for fwhm in scales[1:]]
    for plane in range(len(residual) if len(scales) > 1 else 0):
        spectrum = fft.r2c(residual[plane], axes=(0, 1), nthreads=threads)
        for scale, fwhm in enumerate(scales[1:], 1):
            _smooth_to(maps[scale][plane], spectrum, residual.shape[1:], fwhm, float(flux[scale, plane]), threads)
    return maps


def _map_shape(shape: tuple[int, ...], fwhm: float) -> tuple[int, int]:
    step = stride((shape[0], shape[1]), fwhm)
    return shape[0] // step, shape[1] // step


def _smooth_to(
    out: Plane, spectrum: NDArray[np.complex64], shape: tuple[int, ...], fwhm: float, factor: float, threads: int
) -> None:
    """Write a smoothed image sampled at every d-th pixel, by transforming only its lowest frequencies."""
    ny, nx = out.shape
    low = np.empty((ny, nx // 2 + 1), spectrum.dtype)
    top = (ny + 1) // 2
    low[:top] = spectrum[:top, : low.shape[1]]
    low[top:] = spectrum[len(spectrum) - (ny - top) :, : low.shape[1]]
    low *= gaussian_transform((ny, nx), (fwhm * ny / shape[0], fwhm * nx / shape[1]))
    low *= np.float32(factor / (shape[0] * shape[1]))
    fft.c2r(low, axes=(0, 1), lastsize=nx, inorm=0, forward=False, nthreads=threads, out=out)
