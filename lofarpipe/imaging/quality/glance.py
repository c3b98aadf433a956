"""Quick look at an image: noise, peak and beam from a minimal read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.fits_header import FitsHeader, read_header

TYPES = {-32: ">f4", -64: ">f8"}  # BITPIX -> pixels
MOST_PIXELS = 1_000_000  # pixels sampled for the noise
CHUNK_PIXELS = 4_000_000
MAD_TO_SIGMA = 1.482602  # 1 / (inverse normal distribution at 3/4), for Gaussian noise
ARCSEC = 3600.0  # in a degree


@dataclass(frozen=True)
class Glance:
    """Numbers of an image; NaN if undefined.

    Attributes
    ----------
    noise_jy: median absolute deviation of the pixels, scaled to a Gaussian's standard deviation, Jy/beam.
    peak_jy: highest pixel, Jy/beam.
    beam_arcsec: major and minor axis of the restoring beam.
    """

    noise_jy: float = math.nan
    peak_jy: float = math.nan
    beam_arcsec: tuple[float, float] = (math.nan, math.nan)


def glance_at(path: Path) -> Glance:
    """Return the numbers of an image's first plane; NaN if the file is not an image."""
    try:
        plane, header = mapped_plane(path)
    except (OSError, ValueError, KeyError):
        return Glance()
    return Glance(noise_of(plane), _peak(plane), _beam(header))


def mapped_plane(path: Path) -> tuple[NDArray[np.floating], FitsHeader]:
    """Return the memory-mapped first plane of an image, (y, x), and the header.

    Raises
    ------
    OSError, ValueError, KeyError
        If the file is not an image of floating-point numbers.
    """
    with path.open("rb") as stream:
        header = read_header(stream)
        start = stream.tell()
    shape = int(header.number("NAXIS2")), int(header.number("NAXIS1"))
    return np.memmap(path, TYPES[int(header.number("BITPIX"))], "r", start, shape), header


def _beam(header: FitsHeader) -> tuple[float, float]:
    try:
        return header.number("BMAJ") * ARCSEC, header.number("BMIN") * ARCSEC
    except ValueError:
        return math.nan, math.nan


def noise_of(plane: NDArray[np.floating]) -> float:
    """Return the noise of a plane; NaN if undefined."""
    step = max(1, math.ceil(math.sqrt(plane.size / MOST_PIXELS)))
    pixels = np.asarray(plane[::step, ::step], np.float64)
    pixels = pixels[np.isfinite(pixels)]
    if not pixels.size:
        return math.nan
    return MAD_TO_SIGMA * float(np.median(np.abs(pixels - np.median(pixels)))) or math.nan


def _peak(plane: NDArray[np.floating]) -> float:
    rows = max(1, CHUNK_PIXELS // plane.shape[1])
    peaks = (np.fmax.reduce(plane[row : row + rows], axis=None) for row in range(0, plane.shape[0], rows))
    return float(np.fmax.reduce([float(peak) for peak in peaks]))
