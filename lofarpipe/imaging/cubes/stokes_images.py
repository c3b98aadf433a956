"""Full-Stokes images as FITS files of four planes: headers, noise, and manifest entries."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.cubes.cube import image_unit
from lofarpipe.imaging.quality.statistics import robust_rms
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.patterns import lazy_pattern

STOKES = "IQUV"
RECIPE, EFFECTIVE, FLAGGED, ROBUST = "RECIPE", "EFFFREQ", "FLAGFRAC", "ROBUST"
COPIED = ("BUNIT", "EQUINOX", "RADESYS", "TELESCOP", "OBSERVER", "DATE-OBS", "ORIGIN", "BMAJ", "BMIN", "BPA")
SKY = lazy_pattern(r"(NAXIS|CTYPE|CRPIX|CRVAL|CDELT|CUNIT)[12]|(PV|PC|CROTA)\d\S*|LONPOLE|LATPOLE")
Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class StokesFacts:
    """Header facts of an image that its planes lack."""

    frequency_hz: float  # of the axis
    width_hz: float
    recipe: str  # fingerprint of data and settings
    robust: float
    object_name: str
    effective_hz: float | None = None
    flagged_fraction: float | None = None
    history: tuple[str, ...] = ()


def write_stokes_image(path: Path, planes: Mapping[str, str | Path], facts: StokesFacts) -> None:
    """Combine four FITS files, one per Stokes parameter, into one, with the header of total intensity.

    Raises
    ------
    PipelineError
        If a file is missing, the sizes differ, a plane has NaN, or total intensity is 0 everywhere.
    """
    from astropy.io import fits

    missing = [name for name in STOKES if name not in planes]
    if missing:
        raise PipelineError(f"{path}: there is no image of Stokes {', '.join(missing)} to put into it")
    pixels, headers = zip(*(_read_plane(planes[name]) for name in STOKES), strict=True)
    if len({plane.shape for plane in pixels}) > 1:
        raise PipelineError(f"{path}: the images of {', '.join(STOKES)} are not of one size")
    if undefined := [name for name, plane in zip(STOKES, pixels, strict=True) if not np.isfinite(plane).all()]:
        raise PipelineError(f"{path}: the image of Stokes {', '.join(undefined)} has NaN; look for NaN in the data")
    if not pixels[0].any():
        raise PipelineError(f"{path}: the image of Stokes I is 0 everywhere; look for zeros in the data")
    header = stokes_header(headers[0], facts)
    write_noise(header, pixels)
    for line in facts.history:
        header.add_history(line)
    fits.PrimaryHDU(np.stack(pixels)[None], header).writeto(path, overwrite=True, checksum=True)


def write_noise(header: Any, planes: Iterable[Floats32]) -> None:
    """Write the noise of the I, Q, U and V planes into a header."""
    for name, plane in zip(STOKES, planes, strict=True):
        with contextlib.suppress(ValueError):  # a plane without noise
            header[f"RMS_{name}"] = (robust_rms(plane), "Jy/beam, noise")


def _read_plane(path: str | Path) -> tuple[Floats32, Any]:
    from astropy.io import fits

    with fits.open(path, memmap=False) as hdus:
        plane = np.asarray(hdus[0].data, np.float32)
        return plane.reshape(plane.shape[-2:]), hdus[0].header


def stokes_header(source: Mapping[str, Any], facts: StokesFacts) -> Any:
    """Return the header of an image with the axes RA, Dec, Stokes, frequency, from a plane's header."""
    from astropy.io import fits

    header = fits.Header()
    for key, value in source.items():
        if key in COPIED or SKY.fullmatch(key):
            header[key] = value
    header["BUNIT"] = "Jy/beam"
    header.setdefault("RADESYS", "FK5")  # some readers ignore EQUINOX without it
    axes = {3: ("STOKES", 1.0, 1.0, ""), 4: ("FREQ", facts.frequency_hz, facts.width_hz, "Hz")}
    for axis, (kind, value, step, unit) in axes.items():
        header[f"CTYPE{axis}"], header[f"CRPIX{axis}"] = kind, 1.0
        header[f"CRVAL{axis}"], header[f"CDELT{axis}"], header[f"CUNIT{axis}"] = value, step, unit
    header["SPECSYS"] = "TOPOCENT"
    header["RESTFRQ"] = (facts.frequency_hz, "Hz")
    header["OBJECT"] = facts.object_name
    header[ROBUST] = (facts.robust, "of Briggs weighting")
    header[RECIPE] = (facts.recipe, "fingerprint of data and settings")
    if facts.effective_hz is not None:
        header[EFFECTIVE] = (facts.effective_hz, "Hz, mean of unflagged visibilities")
    if facts.flagged_fraction is not None:
        header[FLAGGED] = (facts.flagged_fraction, "of the visibilities")
    return header


def recipe_of(*parts: object) -> str:
    """Return the fingerprint of an image's data and settings; an image with an equal one need not be remade."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def recipe_in(path: Path) -> str | None:
    """Return the fingerprint in an image's header; None without such an image."""
    header = header_of(path)
    return None if header is None else str(header.get(RECIPE, ""))


def header_of(path: Path) -> Any:
    """Return the header of an image; None if it is missing or unreadable."""
    from astropy.io import fits

    try:
        with fits.open(path, memmap=True) as hdus:
            return image_unit(hdus).header.copy()
    except (OSError, IndexError):
        return None


def write_threshold_mask(image: str | Path, mask: Path, sigma: float) -> int:
    """Write a mask of an image's pixels above ``sigma`` times its noise; return their number.

    Raises
    ------
    PipelineError
        If the image has no finite pixel.
    """
    from astropy.io import fits

    with fits.open(image, memmap=False) as hdus:
        pixels, header = np.asarray(hdus[0].data, np.float32), hdus[0].header
    if not np.isfinite(pixels).any():
        raise PipelineError(f"{image}: has no finite pixel; flag visibilities with weights that are NaN or infinite")
    inside = np.nan_to_num(pixels) > sigma * robust_rms(pixels)
    fits.PrimaryHDU(inside.astype(np.float32), header).writeto(mask, overwrite=True)
    return int(inside.sum())


def noise_by_stokes(header: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the noise of the Stokes parameters in a header."""
    return {name: float(header[f"RMS_{name}"]) if f"RMS_{name}" in header else None for name in STOKES}


# ------------------------------------------------------------------------------------------------ names
def channel_image(products: Path, base: str, label: str, robust: float, imsize: int, smoothed: bool = False) -> Path:
    """Return the path of a channel's image."""
    return products / "chan_imgs" / label / f"{base}.chan{label}_IQUV_{robust}_{imsize}{_ending(smoothed)}"


def band_image(products: Path, base: str, robust: float, imsize: int, smoothed: bool = False) -> Path:
    """Return the path of a multi-frequency image."""
    return products / f"mfs_{robust}" / f"{base}_mfs_IQUV_{robust}_{imsize}{_ending(smoothed)}"


def cube_file(products: Path, base: str, robust: float, imsize: int, smoothed: bool = False) -> Path:
    """Return the path of a cube."""
    return products / "cubes" / f"{base}_cube_IQUV_{robust}_{imsize}{_ending(smoothed)}"


def _ending(smoothed: bool) -> str:
    return ".smoothed.fits" if smoothed else ".fits"


# ------------------------------------------------------------------------------------------------ the manifest
def manifest_entry(channel: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest's entry of a channel of the plan; ``record`` is its image's or `blank_record`."""
    return {
        "index": channel["index"],
        "low_hz": channel["low_hz"],
        "high_hz": channel["high_hz"],
        "frequency_hz": channel["frequency_hz"],
        "input_channels": [list(member) for member in channel["members"]],
        **record,
        "weight_per_jy2": _polarised_weight(record["rms_jy"]),
    }


def _polarised_weight(rms_jy: Mapping[str, float | None]) -> float:
    """Return the inverse variance of Q and U as the weight in rotation-measure synthesis; 0 without noise."""
    variance = sum((rms_jy.get(name) or 0.0) ** 2 for name in "QU") / 2
    return 1 / variance if variance else 0.0


def blank_record(reason: str) -> dict[str, Any]:
    """Return the manifest record of a channel without image."""
    return {
        "effective_frequency_hz": None,
        "status": "blank",
        "reason": reason,
        "beam": None,
        "flagged_fraction": 1.0 if reason == "flagged" else None,
        "rms_jy": dict.fromkeys(STOKES),
        "file": None,
        "smoothed_status": "blank",
        "smoothed_reason": reason,
    }


def image_record(path: Path, header: Mapping[str, Any], products: Path) -> dict[str, Any]:
    """Return the manifest record of a channel's image."""
    return {
        "effective_frequency_hz": header.get(EFFECTIVE),
        "status": "ok",
        "reason": None,
        "beam": {
            "bmaj_arcsec": round(3600 * header["BMAJ"], 6),
            "bmin_arcsec": round(3600 * header["BMIN"], 6),
            "bpa_deg": round(header["BPA"], 6),
        },
        "flagged_fraction": header.get(FLAGGED),
        "rms_jy": noise_by_stokes(header),
        "file": str(path.relative_to(products)),
    }
