"""Export of an image's components as a DP3 sky model: points with polynomial spectra."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lofarpipe.support.utilities import write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_TERMS = 2  # for channels cleaned without a spectral fit: a flux and a slope
HEADER = (
    "Format = Name, Type, Ra, Dec, I, SpectralIndex, LogarithmicSI, ReferenceFrequency='{reference_hz:.6f}', "
    "MajorAxis, MinorAxis, Orientation"
)


def write_components(
    path: str,
    models: Sequence[NDArray[np.float32]],
    weights: Sequence[float],
    frequencies_hz: Sequence[float],
    centre_deg: tuple[float, float],
    cell_rad: float,
    terms: int = 0,
) -> None:
    """Write the non-zero pixels of a model as points.

    Each spectrum is the weighted least-squares polynomial in (frequency / reference - 1) over the channels; the
    reference is the mean frequency.

    Parameters
    ----------
    models: (y, x) of each channel, Jy per pixel; the phase centre is at ``shape // 2``.
    weights: of the channels.
    centre_deg: right ascension and declination of the phase centre.
    terms: number of polynomial terms; 0: at most a flux and a slope.
    """
    weighted = [channel for channel, weight in enumerate(weights) if weight > 0]
    reference_hz = (
        float(np.mean([frequencies_hz[channel] for channel in weighted])) if weighted else float(frequencies_hz[0])
    )
    has_flux = np.zeros(models[0].shape, bool)
    for model in models:
        has_flux |= model != 0
    ys, xs = np.nonzero(has_flux)
    fluxes = np.array([models[channel][ys, xs] for channel in weighted], np.float64)
    spectra = _polynomials(
        fluxes, np.array(weights, float)[weighted], np.array(frequencies_hz, float)[weighted] / reference_hz - 1, terms
    )
    height, width = models[0].shape
    ras_deg, decs_deg = sky_position(
        -(xs - width // 2) * cell_rad, (ys - height // 2) * cell_rad, *map(math.radians, centre_deg)
    )
    lines = [HEADER.format(reference_hz=reference_hz)]
    for number, (ra_deg, dec_deg) in enumerate(zip(ras_deg, decs_deg, strict=True)):
        flux, *slopes = spectra[:, number]
        index = ",".join(f"{slope:.9g}" for slope in slopes)
        place = f"{ra_text(float(ra_deg))},{dec_text(float(dec_deg))}"
        lines.append(f"s0c{number},POINT,{place},{flux:.9g},[{index}],false,{reference_hz:.6f},,,")
    write_atomically(Path(path), "\n".join(lines) + "\n")


def _polynomials(
    fluxes: NDArray[np.float64], weights: NDArray[np.float64], distances: NDArray[np.float64], terms: int
) -> NDArray[np.float64]:
    """Return the fitted coefficients (term, component)."""
    count = max(1, min(terms or MOST_TERMS, len(weights)))
    powers = np.vander(distances, count, increasing=True)
    root = np.sqrt(weights)
    fitted: NDArray[np.float64] = np.linalg.lstsq(powers * root[:, None], fluxes * root[:, None], rcond=None)[0]
    return fitted


def sky_position(
    east_rad: NDArray[np.float64], north_rad: NDArray[np.float64], ra_rad: float, dec_rad: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return right ascension and declination, degrees, of direction cosines l and m in the SIN projection.

    Source: FITS, Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.5.
    """
    n = np.sqrt(1 - east_rad**2 - north_rad**2)
    dec = np.arcsin(north_rad * math.cos(dec_rad) + n * math.sin(dec_rad))
    ra = ra_rad + np.arctan2(east_rad, n * math.cos(dec_rad) - north_rad * math.sin(dec_rad))
    return np.degrees(ra) % 360, np.degrees(dec)


def ra_text(ra_deg: float) -> str:
    """Return a right ascension as ``hh:mm:ss.sss``."""
    milliseconds = round(ra_deg / 15 * 3_600_000) % (24 * 3_600_000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest / 1000:06.3f}"


def dec_text(dec_deg: float) -> str:
    """Return a declination as ``dd.mm.ss.sss``."""
    milliarcseconds = round(abs(dec_deg) * 3_600_000)
    minutes, rest = divmod(milliarcseconds, 60_000)
    return f"{'-' if dec_deg < 0 else ''}{minutes // 60:02d}.{minutes % 60:02d}.{rest / 1000:06.3f}"
