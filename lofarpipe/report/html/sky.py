"""A sky image as a picture that fits into a page: averaged, eight bits, with what turns it back into fluxes and angles.

The grey of a pixel is the asinh of its flux, so that noise and the brightest source both keep their digits: steps of
less than a tenth of the noise near zero, and of a few per cent at the peak. The page computes its scales from that.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from lofarpipe.imaging.quality.statistics import central_part, robust_rms

LARGEST_SIDE = 1400  # pixels of a preview: two of them, of noise alone, take 5 MB
SOFTENING_RMS = 2.0  # below this many times the noise the asinh is nearly linear
LOWEST_RMS = -20.0  # nothing is darker than this
LEVELS = 254  # 255 is blank

Pixels = NDArray[np.float32]


class NoPictureError(ValueError):
    """A file has nothing to show, or cannot be read."""


@dataclass(frozen=True)
class Preview:
    """A picture of an image and its numbers; everything is plain, so that it can be kept as JSON.

    ``factor`` image pixels, along both axes, became one pixel of the picture. The flux of a grey level g is
    ``softening_jy * sinh(lowest + (highest - lowest) * (254 - g) / 254)``; g = 255 is blank.
    """

    name: str
    picture: str  # data URI of a PNG, north up, grey
    width: int  # pixels of the picture
    height: int
    factor: int
    image_width: int
    image_height: int
    softening_jy: float
    lowest: float
    highest: float
    noise_jy: float  # of the picture: averaging lowers it
    unit: str
    reference_pixel: tuple[float, float]  # CRPIX, from 1
    reference_deg: tuple[float, float]  # CRVAL
    increment_deg: tuple[float, float]  # CDELT
    is_sin: bool  # whether the page can compute world coordinates
    beam_deg: tuple[float, float, float] | None  # BMAJ, BMIN, BPA


def open_plane(path: Path) -> tuple[NDArray[Any], fits.Header]:
    """Return the first plane of an image, (y, x), which stays on the disk until it is used, and the header.

    Raises
    ------
    NoPictureError
        If there is no such file, or no image of two axes or more in it.
    """
    try:
        with fits.open(path, memmap=True) as opened:
            pixels, header = opened[0].data, opened[0].header.copy()
    except (OSError, ValueError, TypeError) as err:
        raise NoPictureError(f"{path}: cannot be read as FITS: {err}") from err
    if pixels is None or pixels.ndim < 2 or not pixels.size:
        raise NoPictureError(f"{path}: holds no image in its first unit")
    return pixels.reshape(-1, *pixels.shape[-2:])[0], header


def averaged(plane: NDArray[Any], factor: int) -> Pixels:
    """Return the mean of blocks of ``factor`` x ``factor`` pixels; blank pixels do not count, blank blocks are NaN.

    Blocks at the upper and right edge may hold fewer pixels. Memory: a strip of ``factor`` rows at a time.
    """
    height, width = plane.shape
    starts = np.arange(0, width, factor)
    rows = []
    for first in range(0, height, factor):
        strip = np.asarray(plane[first : first + factor], np.float64)
        known = np.isfinite(strip)
        total = np.add.reduceat(np.where(known, strip, 0.0).sum(axis=0), starts)
        count = np.add.reduceat(known.sum(axis=0), starts)
        rows.append(np.divide(total, count, out=np.full(len(starts), np.nan), where=count > 0))
    return np.asarray(rows, np.float32)


def preview(path: Path, largest_side: int = LARGEST_SIDE) -> Preview:
    """Return the picture of an image.

    Raises
    ------
    NoPictureError
        If the image cannot be read, or is blank or constant.
    """
    plane, header = open_plane(path)
    factor = math.ceil(max(plane.shape) / largest_side)
    small = averaged(plane, factor)
    try:
        noise_jy = robust_rms(central_part(small))
    except ValueError as err:
        raise NoPictureError(f"{path}: {err}") from err
    softening_jy = SOFTENING_RMS * noise_jy
    companded = np.arcsinh(small / softening_jy)
    lowest = max(float(np.nanmin(companded)), math.asinh(LOWEST_RMS / SOFTENING_RMS))
    highest = float(np.nanmax(companded))
    return Preview(
        name=path.name,
        picture=_png(_greys(companded, lowest, highest)),
        width=small.shape[1],
        height=small.shape[0],
        factor=factor,
        image_width=plane.shape[1],
        image_height=plane.shape[0],
        softening_jy=softening_jy,
        lowest=lowest,
        highest=highest,
        noise_jy=noise_jy,
        unit=str(header.get("BUNIT", "")),
        **_coordinates(header),
    )


def _greys(companded: Pixels, lowest: float, highest: float) -> NDArray[np.uint8]:
    """Return the greys of a picture, bright sources dark, its first row at the top."""
    part = np.clip((companded - lowest) / (highest - lowest), 0, 1)
    greys = np.where(np.isfinite(part), LEVELS - np.rint(part * LEVELS), 255)
    return np.flipud(greys).astype(np.uint8)


def _png(greys: NDArray[np.uint8]) -> str:
    """Return greys as the data URI of a PNG."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(greys).save(stream, "PNG", compress_level=7)
    return data_uri(stream.getvalue(), "image/png")


def data_uri(content: bytes, kind: str) -> str:
    """Return bytes as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _coordinates(header: fits.Header) -> dict[str, Any]:
    """Return what the page needs to compute world coordinates, and the restoring beam."""
    numbers = {
        key: [_number(header, f"{name}{axis}") for axis in (1, 2)]
        for key, name in (("reference_pixel", "CRPIX"), ("reference_deg", "CRVAL"), ("increment_deg", "CDELT"))
    }
    is_sin = str(header.get("CTYPE1", "")) == "RA---SIN" and str(header.get("CTYPE2", "")) == "DEC--SIN"
    beam = [_number(header, key) for key in ("BMAJ", "BMIN", "BPA")]
    everything = [number for pair in numbers.values() for number in pair]
    return {
        **{key: tuple(0.0 if number is None else number for number in pair) for key, pair in numbers.items()},
        # Rotated or sheared axes, and slanted projections, are for programs that know all of the standard.
        "is_sin": is_sin and None not in everything and not any(key.startswith(("PC", "CD1_", "PV")) for key in header),
        "beam_deg": tuple(beam) if beam[0] and beam[1] and beam[2] is not None else None,
    }


def _number(header: fits.Header, key: str) -> float | None:
    """Return a header value if it is a finite number."""
    value = header.get(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None
