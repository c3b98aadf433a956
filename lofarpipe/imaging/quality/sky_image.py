"""Sky images in FITS: headers, and keywords added to them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.fits_header import HISTORY_BEGIN, HISTORY_END, STOKES_NAMES, other_history, printable_ascii

Pixels = NDArray[np.float32]

# Written by `write_facts`; XPOSURE is the FITS standard's word for exposure without dead time.
RMS_KEY, RMS_METHOD_KEY, INTEGRATION_TIME_KEY = "MEANRMS", "RMSMETH", "XPOSURE"
DYNAMIC_RANGE_KEY, PEAK_KEY = "DYNRANGE", "PEAKSKY"
# The spectral index (or map) used to scale fluxes to the header's frequency.
INDEX_KEY = "PBINDEX"
FACT_KEYS = (RMS_KEY, RMS_METHOD_KEY, INTEGRATION_TIME_KEY, DYNAMIC_RANGE_KEY, PEAK_KEY)
FITS_COMMENT_CHARACTERS = 47
FLUX_PER_BEAM = "Jy/beam"
MISSING_KEY_ADVICE = {
    RMS_KEY: "measure the image first: measure_quality.py",
    RMS_METHOD_KEY: "measure the image first: measure_quality.py",
    INTEGRATION_TIME_KEY: "measure the image first: measure_quality.py",
    "BMAJ": "make the image with WSClean's -fit-beam",
    "BMIN": "make the image with WSClean's -fit-beam",
    "BPA": "make the image with WSClean's -fit-beam",
}


class SkyImageError(PipelineError):
    """An image is missing, is not FITS, or its header lacks a required key."""


@dataclass(frozen=True)
class Axis:
    """One axis of an image, numbered from 1 as in FITS; the reference pixel counts from 1 too."""

    number: int
    kind: str  # RA, DEC, FREQ, STOKES ...
    ctype: str
    unit: str
    length: int
    increment: float
    reference_pixel: float
    reference_value: float


@dataclass(frozen=True, eq=False)
class SkyImage:
    """Pixels and header of an image file.

    ``pixels`` has the axes of the file in reverse, usually (stokes, frequency, y, x); blank pixels are NaN.
    """

    path: str
    header: fits.Header
    pixels: Pixels

    def value(self, key: str) -> Any:
        """Return a header value.

        Raises
        ------
        SkyImageError
            If the header has no such key, or no value for it.
        """
        content = self.header.get(key)
        if content is None or isinstance(content, fits.card.Undefined) or content == "":
            advice = MISSING_KEY_ADVICE.get(key, "make the image again, or add the key")
            raise SkyImageError(f"{self.path}: FITS header has no {key}; {advice}")
        return content

    def number(self, key: str) -> float:
        """Return a header value that is a finite number.

        Raises
        ------
        SkyImageError
            If it is missing or not a finite number.
        """
        content = self.value(key)
        if isinstance(content, bool) or not isinstance(content, int | float) or not math.isfinite(content):
            raise SkyImageError(f"{self.path}: FITS key {key} is {content!r}; a number is needed; make the image again")
        return float(content)

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The axes in the order of the file."""
        return tuple(self._axis(number) for number in range(1, int(self.value("NAXIS")) + 1))

    def _axis(self, number: int) -> Axis:
        ctype = str(self.value(f"CTYPE{number}"))
        return Axis(
            number=number,
            kind=ctype.split("-")[0].strip().upper(),
            ctype=ctype,
            unit=str(self.header.get(f"CUNIT{number}", "")).strip(),
            length=int(self.value(f"NAXIS{number}")),
            increment=self.number(f"CDELT{number}"),
            reference_pixel=self.number(f"CRPIX{number}"),
            reference_value=self.number(f"CRVAL{number}"),
        )

    def axis(self, kind: str) -> Axis:
        """Return the axis of one kind: RA, DEC, FREQ or STOKES.

        Raises
        ------
        SkyImageError
            If the image has none.
        """
        for axis in self.axes:
            if axis.kind == kind:
                return axis
        kinds = ", ".join(axis.kind for axis in self.axes)
        raise SkyImageError(
            f"{self.path}: has no {kind} axis, only {kinds}; an image of a pipeline's WSClean is needed"
        )

    @property
    def plane(self) -> Pixels:
        """The first plane, (y, x): Stokes I of the first channel."""
        first: Pixels = self.pixels.reshape(-1, *self.pixels.shape[-2:])[0]
        return first

    @property
    def unit(self) -> str:
        """Unit of the pixels, as the archive spells it: Jy/beam."""
        text = str(self.value("BUNIT")).strip()
        return FLUX_PER_BEAM if text.upper() == FLUX_PER_BEAM.upper() else text

    @property
    def cell_arcsec(self) -> float:
        """The height of a pixel, arcsec."""
        return abs(self.axis("DEC").increment) * 3600

    @property
    def has_beam(self) -> bool:
        """Whether there is a restoring beam: WSClean writes zeros without a PSF."""
        return self.number("BMAJ") > 0 and self.number("BMIN") > 0

    @property
    def beam_major_arcsec(self) -> float:
        """The major axis of the restoring beam: full width at half maximum, arcsec."""
        return self.number("BMAJ") * 3600

    @property
    def beam_minor_arcsec(self) -> float:
        """The minor axis of the restoring beam: full width at half maximum, arcsec."""
        return self.number("BMIN") * 3600

    @property
    def beam_angle_deg(self) -> float:
        """The position angle of the restoring beam's major axis, degrees, north through east."""
        return self.number("BPA")

    @property
    def beam_area_pixels(self) -> float:
        """The area of the restoring beam in pixels: pi a b / (4 ln 2) of the Gaussian."""
        cell_deg2 = abs(self.axis("RA").increment * self.axis("DEC").increment)
        return math.pi / (4 * math.log(2)) * self.number("BMAJ") * self.number("BMIN") / cell_deg2

    @property
    def frequency_hz(self) -> float:
        """The centre frequency, Hz."""
        return self.axis("FREQ").reference_value

    @property
    def bandwidth_hz(self) -> float:
        """The channel width of the frequency axis, Hz: in an MFS image the whole band, gaps included."""
        return self.axis("FREQ").increment

    @property
    def stokes(self) -> tuple[str, ...]:
        """The polarizations along the STOKES axis, such as ('I',).

        Raises
        ------
        SkyImageError
            If a value along the axis is not a polarization code.
        """
        axis = self.axis("STOKES")
        steps = (index + 1 - axis.reference_pixel for index in range(axis.length))
        codes = [round(axis.reference_value + axis.increment * step) for step in steps]
        unknown = [code for code in codes if code not in STOKES_NAMES]
        if unknown:
            raise SkyImageError(f"{self.path}: STOKES axis has value {unknown[0]}, which is no polarization")
        return tuple(STOKES_NAMES[code] for code in codes)

    @property
    def phase_centre_deg(self) -> tuple[float, float]:
        """Right ascension and declination of the reference pixel, degrees."""
        return self.axis("RA").reference_value, self.axis("DEC").reference_value

    @property
    def celestial(self) -> WCS:
        """World coordinates of the first plane; pixels count from 0."""
        return WCS(self.header, fix=False).celestial


def read_sky_image(path: str | Path) -> SkyImage:
    """Read header and pixels of an image.

    Raises
    ------
    SkyImageError
        If the file is missing, not FITS, truncated, or has no image of two axes or more.
    """
    try:
        size_bytes = Path(path).stat().st_size
        with fits.open(path, memmap=False) as opened:
            header = opened[0].header.copy()
            needed_bytes = opened[0].fileinfo()["datLoc"] + _data_bytes(header)
            if size_bytes < needed_bytes:
                raise SkyImageError(
                    f"{path}: is cut off: {size_bytes} bytes where its header promises {needed_bytes}; make it again"
                )
            pixels = opened[0].data
    except FileNotFoundError as err:
        raise SkyImageError(f"{path}: no such image") from err
    except (OSError, ValueError, TypeError) as err:
        raise SkyImageError(f"{path}: cannot be read as FITS: {err}") from err
    if pixels is None or pixels.ndim < 2:
        raise SkyImageError(f"{path}: holds no image in its first unit; a FITS image of two axes or more is needed")
    return SkyImage(str(path), header, np.asarray(pixels, np.float32))


def _data_bytes(header: fits.Header) -> int:
    """Return the size of the pixels in bytes according to the header, without padding."""
    naxis = int(header.get("NAXIS", 0))
    lengths = [int(header[f"NAXIS{number}"]) for number in range(1, naxis + 1)]
    return math.prod(lengths) * abs(int(header["BITPIX"])) // 8 if lengths else 0


def write_facts(path: str | Path, facts: Mapping[str, tuple[Any, str]], history: Iterable[str]) -> None:
    """Write keywords and HISTORY lines into an image's header; pixels stay bit-identical.

    ``facts`` is keyword -> (value, comment); keywords without a value are removed. HISTORY lines of earlier calls are
    replaced, those of other programs stay. The file appears only when complete; links stay valid.

    Raises
    ------
    SkyImageError
        If the image cannot be read or written.
    """
    target = Path(os.path.realpath(path))
    unfinished = target.with_name(f".{target.name}.part")  # fixed name: replaces the remains of a killed attempt
    try:
        with fits.open(target, memmap=False, do_not_scale_image_data=True) as opened:
            header = opened[0].header
            for key, (value, comment) in facts.items():
                header.remove(key, ignore_missing=True)
                if value is not None:
                    header[key] = (value, comment[:FITS_COMMENT_CHARACTERS])
            _set_history(header, [*_other_history(header), HISTORY_BEGIN, *history, HISTORY_END])
            opened.writeto(unfinished, output_verify="fix+ignore", overwrite=True)
        unfinished.replace(target)
    except (OSError, ValueError) as err:
        raise SkyImageError(f"{path}: cannot be given its keywords: {err}") from err
    finally:
        unfinished.unlink(missing_ok=True)


def remove_facts(header: fits.Header) -> None:
    """Remove the keys of ``write_facts`` from a header, as they do not hold for derived images."""
    for key in FACT_KEYS:
        header.remove(key, ignore_missing=True)
    _set_history(header, _other_history(header))


def _other_history(header: fits.Header) -> list[str]:
    return other_history(list(header["HISTORY"]) if "HISTORY" in header else [])


def _set_history(header: fits.Header, lines: Iterable[str]) -> None:
    header.remove("HISTORY", ignore_missing=True, remove_all=True)
    for line in lines:
        header.add_history(printable_ascii(line))
