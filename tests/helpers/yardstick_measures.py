"""Measures of an image of a known sky, and where an imager is worse than another one on the same set."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from yardstick_set import Truth
from yardstick_sky import Floats, apparent_fluxes

Measures = dict[str, Any]

EXTENDED_ARCSEC = 60.0
MEASURED_JY = 0.05
RINGS_PIXELS = ((0, 8), (8, 30), (30, 120))
QUADRATIC = np.array([(x * x, x * y, y * y, x, y, 1) for y in (-1, 0, 1) for x in (-1, 0, 1)], float)  # six terms


def channel_weights(name: Path, truth: Truth) -> tuple[Floats, Floats]:
    """Return frequencies and weights of the output channels from the headers of their images, as WSClean writes them.

    Without channel images all channels count alike, and true fluxes may be wrong by 1 to 2 %.
    """
    paths = [path for path in name.parent.glob(f"{name.name}-*-image.fits") if re.search(r"-\d{4}-image", path.name)]
    headers = [fits.getheader(path) for path in sorted(paths)]
    if not headers:
        return np.array(truth.frequencies_hz), np.ones(len(truth.frequencies_hz))
    return np.array([one["CRVAL3"] for one in headers]), np.array([one["WSCIMGWG"] for one in headers])


def median_and_spread(values: Floats) -> tuple[float, float]:
    """Return the median, and the standard deviation from the median absolute deviation."""
    middle = float(np.median(values))
    return middle, float(1.4826 * np.median(np.abs(values - middle)))


def fit_peak(box: Floats) -> tuple[float, float, float]:
    """Return offset x, y in pixels and height of the peak of a 3 x 3 box around a maximum.

    All six terms of a quadratic in the logarithm: with one parabola per axis the cross term of an inclined beam shifts
    the position by up to 0.1 pixel.
    """
    a, b, c, d, e, f = np.linalg.lstsq(QUADRATIC, np.log(np.maximum(box, 1e-9)).ravel(), rcond=None)[0]
    determinant = 4 * a * c - b * b
    if determinant <= 0 or a >= 0:
        return 0.0, 0.0, float(box[1, 1])
    x = float(np.clip((b * e - 2 * c * d) / determinant, -1, 1))
    y = float(np.clip((b * d - 2 * a * e) / determinant, -1, 1))
    return x, y, float(np.exp(a * x * x + b * x * y + c * y * y + d * x + e * y + f))


@dataclass(frozen=True)
class Field:
    """MFS images of one imager, and the truth in their pixels: places, apparent fluxes, widths in arcsec."""

    image: Floats
    residual: Floats
    model: Floats
    header: fits.Header
    x: Floats
    y: Floats
    fluxes: Floats
    majors: Floats
    aperture: int  # half width of a box around a point, pixels

    @classmethod
    def read(cls, name: Path, truth: Truth, weights: tuple[Floats, Floats]) -> Field:
        """Read NAME-MFS-{image,residual,model}.fits."""
        planes = []
        for kind in ("image", "residual", "model"):
            with fits.open(f"{name}-MFS-{kind}.fits") as hdus:
                planes.append(hdus[0].data.squeeze().astype(np.float64))
                header = hdus[0].header
        cell_rad = math.radians(abs(header["CDELT1"]))
        frequencies_hz, channel_weight = weights
        fluxes = apparent_fluxes(truth.sources, frequencies_hz) @ channel_weight / channel_weight.sum()
        cosines = np.array([(one.l, one.m) for one in truth.sources]) / cell_rad
        header = fits.getheader(f"{name}-MFS-image.fits")
        aperture = math.ceil(max(60.0, 3e5 / truth.max_uv) / (math.degrees(cell_rad) * 3600))
        x, y = header["CRPIX1"] - 1 - cosines[:, 0], header["CRPIX2"] - 1 + cosines[:, 1]
        return cls(*planes, header, x, y, fluxes, np.array([one.major for one in truth.sources]), aperture)

    @property
    def cell_arcsec(self) -> float:
        """Width of a pixel."""
        return abs(float(self.header["CDELT1"])) * 3600

    @property
    def beam_pixels(self) -> float:
        """Pixels of the restoring beam's area."""
        area_deg2 = np.pi / (4 * np.log(2)) * self.header["BMAJ"] * self.header["BMIN"]
        return float(area_deg2 * 3600**2 / self.cell_arcsec**2)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """The sources whose aperture is in the image."""
        margin, (height, width) = self.aperture + 4, self.image.shape
        across = (self.x > margin) & (self.x < width - margin - 1)
        return np.asarray(across & (self.y > margin) & (self.y < height - margin - 1))

    @property
    def extended(self) -> NDArray[np.bool_]:
        """The sources that are measured as extended."""
        return np.asarray(self.majors >= EXTENDED_ARCSEC)

    def box(self, plane: NDArray[Any], source: int, half: int) -> NDArray[Any]:
        """Return the pixels of a plane around a source."""
        x, y = round(self.x[source]), round(self.y[source])
        return plane[max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1]

    def noise_jy(self) -> float:
        """Return the residual's noise from its median absolute value."""
        return float(1.4826 * np.median(np.abs(self.residual)))


def measure(name: Path, truth: Truth, weights: tuple[Floats, Floats]) -> Measures:
    """Return all measures of NAME-MFS-*.fits by name."""
    field = Field.read(name, truth, weights)
    head = field.header
    measures: Measures = {
        "beam": f"{head['BMAJ'] * 3600:.1f} x {head['BMIN'] * 3600:.1f} @ {head['BPA']:.0f}",
        "residual MAD, mJy": 1e3 * field.noise_jy(),
        "rms off sources, mJy": 1e3 * rms_off_sources(field),
        "deepest pixel, mJy": 1e3 * float(field.image.min()),
    }
    measures |= isolated_measures(field) | brightest_measures(field) | detection_measures(field)
    return measures | dict(extended_measures(field))


def rms_off_sources(field: Field) -> float:
    """Return the residual's standard deviation away from sources above 3 mJy."""
    far = np.ones(field.residual.shape, bool)
    for source in np.flatnonzero(field.inside & (field.fluxes > 0.003)):
        extent = int(2 * field.majors[source] / field.cell_arcsec) if field.extended[source] else 0
        field.box(far, source, field.aperture + extent)[:] = False
    return float(field.residual[far].std())


def is_isolated(field: Field, source: int) -> bool:
    """Return whether no source of a tenth of its flux disturbs a source's aperture."""
    distance = np.hypot(field.x - field.x[source], field.y - field.y[source])
    distance[source] = np.inf
    reach = np.maximum(2.2 * field.aperture, 1.3 * field.majors / field.cell_arcsec + field.aperture)
    return not ((field.fluxes > 0.1 * field.fluxes[source]) & (distance < reach)).any()


def isolated_row(field: Field, source: int) -> tuple[float, ...]:
    """Return flux, aperture, model and peak over the true flux, offsets in arcsec, largest residual over flux."""
    flux = field.fluxes[source]
    top = np.unravel_index(field.box(field.image, source, 2).argmax(), (5, 5))
    y, x = round(field.y[source]) + int(top[0]) - 2, round(field.x[source]) + int(top[1]) - 2
    shift_x, shift_y, peak = fit_peak(field.image[y - 1 : y + 2, x - 1 : x + 2])
    image, model, residual = (
        field.box(plane, source, field.aperture) for plane in (field.image, field.model, field.residual)
    )
    ratios = (image.sum() / field.beam_pixels / flux, model.sum() / flux)
    offsets = ((x + shift_x - field.x[source]) * field.cell_arcsec, (y + shift_y - field.y[source]) * field.cell_arcsec)
    return flux, *ratios, peak / flux if field.majors[source] == 0 else np.nan, *offsets, np.abs(residual).max() / flux


def isolated_measures(field: Field) -> Measures:
    """Return medians and scatter of fluxes, and position errors, of isolated sources."""
    candidates = np.flatnonzero(field.inside & (field.fluxes >= MEASURED_JY) & ~field.extended)
    rows = np.array([isolated_row(field, source) for source in candidates if is_isolated(field, source)])
    measures: Measures = {"isolated sources > 50 mJy": len(rows)}
    for label, above_jy in (("", 0.0), (" > 0.5 Jy", 0.5)):
        chosen = rows[rows[:, 0] > above_jy]
        if len(chosen) < 3:
            continue
        for column, ratio in enumerate(("aperture/true", "model/true", "peak/true"), 1):
            values = chosen[:, column]
            middle, scatter = median_and_spread(values[np.isfinite(values)])
            measures |= {f"{ratio}{label}": middle, f"{ratio}{label}, scatter": scatter}
        measures[f"position rms, arcsec{label}"] = float(np.sqrt((chosen[:, 4:6] ** 2).mean()))
        measures[f"largest residual/flux{label}"] = float(np.median(chosen[:, 6]))
    return measures


def brightest_measures(field: Field) -> Measures:
    """Return the residual's rms in rings around the brightest compact source."""
    source = int(np.argmax(np.where(field.inside & ~field.extended, field.fluxes, 0)))
    y, x = np.ogrid[: field.image.shape[0], : field.image.shape[1]]
    radius = np.hypot(y - round(field.y[source]), x - round(field.x[source]))
    title = f"brightest ({field.fluxes[source]:.1f} Jy), rms"
    rings = {f"{title} {low}-{high} px, mJy": (radius >= low) & (radius < high) for low, high in RINGS_PIXELS}
    return {key: 1e3 * float(field.residual[ring].std()) for key, ring in rings.items()}


def detection_measures(field: Field) -> Measures:
    """Return the false detections above 5 sigma, and the sources above 7 sigma without one."""
    noise, size = field.noise_jy(), min(field.image.shape)
    y, x = np.mgrid[: field.image.shape[0], : field.image.shape[1]]
    inner = np.hypot(y - field.image.shape[0] / 2, x - field.image.shape[1] / 2) < size / 2 - 10
    tops_y, tops_x = np.nonzero((field.image == maximum_filter(field.image, 9)) & (field.image > 5 * noise) & inner)
    distance = np.hypot(tops_x[:, None] - field.x, tops_y[:, None] - field.y)
    false = ~(distance < (1.2 * field.majors + 90) / field.cell_arcsec).any(axis=1)
    peaks = field.image[tops_y[false], tops_x[false]]
    wanted = np.flatnonzero(field.inside & (field.fluxes > 7 * noise) & ~field.extended)
    return {
        "false sources > 5 sigma": int(false.sum()),
        "brightest false, mJy": 1e3 * float(peaks.max()) if len(peaks) else 0.0,
        "pixels < -5 sigma": int((field.image < -5 * noise).sum()),
        "sources > 7 sigma missed": int((distance[:, wanted] >= 3).all(axis=0).sum()),
        "of": len(wanted),
    }


def extended_measures(field: Field) -> Iterator[tuple[str, float]]:
    """Yield aperture and model over true flux of each extended source; compact ones in its box are subtracted."""
    for source in np.flatnonzero(field.inside & field.extended):
        half = math.ceil(1.3 * field.majors[source] / field.cell_arcsec) + field.aperture
        near = (np.abs(field.x - round(field.x[source])) < half) & (np.abs(field.y - round(field.y[source])) < half)
        others, flux = field.fluxes[near & ~field.extended].sum(), field.fluxes[source]
        title = f"extended {field.majors[source]:.0f} arcsec"
        aperture = field.box(field.image, source, half).sum() / field.beam_pixels
        yield f"{title}: aperture/true", float((aperture - others) / flux)
        yield f"{title}: model/true", float((field.box(field.model, source, half).sum() - others) / flux)


def limits(reference: Mapping[str, Any]) -> dict[str, float]:
    """Return the most of each measure (of ratios: of the distance from 1) that another imager's may be."""
    most = {key: 1.03 * reference[key] for key in ("rms off sources, mJy", "residual MAD, mJy")}
    for key, value in reference.items():
        if key.endswith("aperture/true") and key.startswith("extended"):
            most[key] = max(0.03, 1.2 * abs(value - 1))
        elif "/true" in key and "scatter" not in key and not key.startswith("extended"):
            most[key] = max(0.01, 1.2 * abs(value - 1))
        elif key.startswith("position"):
            most[key] = max(0.25, 1.2 * value)
        elif key.startswith("brightest ("):
            most[key] = max(1.15 * value, value + 0.1)
    most["false sources > 5 sigma"] = reference["false sources > 5 sigma"] + 5
    most["sources > 7 sigma missed"] = reference["sources > 7 sigma missed"] + 2
    return most


def worse_measures(reference: Mapping[str, Any], measures: Mapping[str, Any]) -> list[str]:
    """Return a line for each quality measure that is worse than the reference imager's by more than its limit."""
    lines = []
    for key, most in limits(reference).items():
        value = abs(measures[key] - 1) if "/true" in key else measures[key]
        if not value <= most:
            lines.append(f"{'error of ' if '/true' in key else ''}{key} {value:.4g} exceeds {most:.4g}")
    return lines
