"""Source catalogues of target images: by PyBDSF, or by fits of the beam shape to islands."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize
from astropy.io import fits

from lofarpipe.imaging.ata.images import beam_exponent, beam_power, islands_of, local_noise
from lofarpipe.imaging.quality.catalogue import FWHM_PER_SIGMA, FindingOptions, measured_sources
from lofarpipe.imaging.quality.sky_image import SkyImage, read_sky_image
from lofarpipe.support.utilities import write_atomically

CATALOGUE_SIGMA = 7.0  # Source: doc/spec/calibration.md, section 4
COLUMNS = (
    *("name", "ra_deg", "dec_deg", "flux_jy", "flux_error_jy", "peak_jy", "position_error_arcsec"),
    "beam_power",  # primary beam at the source; fluxes are not corrected for it
)


def find_sources(image: str) -> list[dict[str, Any]]:
    """Return the sources of an image: islands above 7 times the local noise, brightest first.

    The beam shape is fitted around the peak pixel; right ascensions are from 0 to 360 degrees.
    """
    sky = read_sky_image(image)
    noise = local_noise(sky.plane)
    labels, number = islands_of(sky.plane, CATALOGUE_SIGMA)
    sources, shape = [], beam_exponent(sky)
    for label in range(1, number + 1):
        row, column = np.unravel_index(np.argmax(np.where(labels == label, sky.plane, -np.inf)), labels.shape)
        sources.append(_measured(sky, shape, int(row), int(column), float(noise[row, column])))
    return sorted((one for one in sources if one), key=lambda one: -float(one["flux_jy"]))


def find_with_pybdsf(image: str, cores: int = 1) -> list[dict[str, Any]]:
    """Return PyBDSF's sources of an image, brightest first; an extended source is one entry.

    Raises
    ------
    CatalogueError
        If PyBDSF is not installed, or fails.
    """
    options = FindingOptions(threshold_peak=CATALOGUE_SIGMA, adaptive_rms_box=False, rms_box=None)
    sky = read_sky_image(image)
    entries = [
        _entry(
            sky,
            *(one.right_ascension_deg, one.declination_deg, one.flux_jy, one.flux_error_jy, one.peak_jy),
            one.position_error_arcsec,
        )
        for one in measured_sources(image, image, options, cores)
    ]
    return sorted(entries, key=lambda one: -float(one["flux_jy"]))


#: Find the sources of an image, by the name of the option.
FINDERS: Mapping[str, Callable[[str], list[dict[str, Any]]]] = {"pybdsf": find_with_pybdsf, "islands": find_sources}


def _measured(sky: SkyImage, shape: Any, row: int, column: int, noise_jy: float) -> dict[str, Any]:
    """Return a source fitted around a pixel; {} at the edge of the image."""
    half = math.ceil(sky.beam_major_arcsec / sky.cell_arcsec)
    rows, columns = (offset.ravel() for offset in np.mgrid[-half : half + 1, -half : half + 1])
    height, width = sky.plane.shape
    if not (half <= row < height - half and half <= column < width - half):
        return {}
    inside = shape(columns, rows) < 4 * math.log(2)
    x, y, values = columns[inside], rows[inside], sky.plane[row + rows[inside], column + columns[inside]].astype(float)
    start = [float(sky.plane[row, column]), 0.0, 0.0]
    fitted = scipy.optimize.least_squares(
        lambda numbers: numbers[0] * np.exp(-shape(x - numbers[1], y - numbers[2])) - values, start
    )
    ra, dec = sky.celestial.wcs_pix2world(column + fitted.x[1], row + fitted.x[2], 0)
    flux_jy, peak_jy = float(fitted.x[0]), float(sky.plane[row, column])
    error_arcsec = noise_jy / flux_jy * sky.beam_major_arcsec / FWHM_PER_SIGMA
    return _entry(sky, float(ra) % 360, float(dec), flux_jy, noise_jy, peak_jy, error_arcsec)


def _entry(
    sky: SkyImage, ra_deg: float, dec_deg: float, flux_jy: float, error_jy: float, peak_jy: float, place_arcsec: float
) -> dict[str, Any]:
    """Return an entry of the catalogue."""
    column, row = (round(float(value)) for value in sky.celestial.wcs_world2pix(ra_deg, dec_deg, 0))
    height, width = sky.plane.shape
    power = beam_power(sky)[0][min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
    return {
        "name": f"J{ra_deg:08.4f}{dec_deg:+08.4f}",
        "ra_deg": round(ra_deg, 6),
        "dec_deg": round(dec_deg, 6),
        "flux_jy": round(flux_jy, 6),
        "flux_error_jy": round(error_jy, 6),
        "peak_jy": round(peak_jy, 6),
        "position_error_arcsec": round(place_arcsec, 3),
        "beam_power": round(float(power), 4),
    }


def write_catalogue(root: str, sources: Sequence[Mapping[str, Any]]) -> str:
    """Write a catalogue as CSV, FITS table and DS9 regions; return the name of the CSV."""
    lines = [",".join(COLUMNS), *(",".join(str(source[name]) for name in COLUMNS) for source in sources)]
    write_atomically(Path(f"{root}_catalogue.csv"), "\n".join(lines) + "\n")
    columns = [
        fits.Column(name, "24A" if name == "name" else "D", array=[source[name] for source in sources])
        for name in COLUMNS
    ]
    fits.BinTableHDU.from_columns(columns).writeto(f"{root}_catalogue.fits", overwrite=True)
    regions = [f"point({one['ra_deg']},{one['dec_deg']}) # point=circle text={{{one['name']}}}" for one in sources]
    write_atomically(Path(f"{root}_catalogue.reg"), "\n".join(["fk5", *regions]) + "\n")
    return f"{root}_catalogue.csv"
