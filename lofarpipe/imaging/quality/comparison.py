"""Comparison of an image with a reference: detection, fluxes and positions of sources; comparison.json."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.spatial
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.beam.spectral import SpectralIndex
from lofarpipe.imaging.quality.catalogue import SourceFit, SourceNotFitted, fit_source
from lofarpipe.imaging.quality.reference import Reference, read_reference
from lofarpipe.imaging.quality.sky_image import SkyImage, read_sky_image
from lofarpipe.imaging.quality.statistics import PEAK_SIGMA, central_part, robust_rms
from lofarpipe.imaging.simulation.sky import Source, Truth, separation_deg
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import write_atomically

HEADER = " source  distance   true flux  measured    +-    ratio   offset   offset  signal  width"
UNITS = "             deg        Jy          Jy       Jy            arcsec   beams  /noise  /beam"


@dataclass(frozen=True)
class SourceCheck:
    """A reference source and its measurement in an image; ``fit`` is None if it is not detected.

    ``noise_jy`` is the noise of the flat image divided by the primary beam at the source, Jy/beam.
    """

    source: Source
    true_flux_jy: float
    distance_deg: float
    noise_jy: float
    beam_arcsec: tuple[float, float]
    fit: SourceFit | None

    @property
    def ratio(self) -> float:
        """Measured over true integrated flux; NaN without a measurement."""
        return self.fit.flux_jy / self.true_flux_jy if self.fit else float("nan")

    @property
    def offset_arcsec(self) -> float:
        """The angle between the true and the measured position, arcsec."""
        if self.fit is None:
            return float("nan")
        true = (self.source.right_ascension_deg, self.source.declination_deg)
        return 3600 * separation_deg(true, (self.fit.right_ascension_deg, self.fit.declination_deg))

    @property
    def offset_beams(self) -> float:
        """The offset in units of the restoring beam's mean width."""
        return self.offset_arcsec / math.sqrt(math.prod(self.beam_arcsec))

    @property
    def signal_to_noise(self) -> float:
        """The true flux over the noise at the source."""
        return self.true_flux_jy / self.noise_jy

    @property
    def widening(self) -> float:
        """The square root of fitted over restoring beam area: 1 for an unsmeared point source."""
        if self.fit is None:
            return float("nan")
        return math.sqrt(self.fit.major_arcsec * self.fit.minor_arcsec / math.prod(self.beam_arcsec))


@dataclass(frozen=True)
class FluxCheck:
    """All sources of an image, from its centre outwards; ``rms_jy`` is the noise at the centre of the flat image."""

    image: str
    frequency_hz: float
    rms_jy: float
    sources: tuple[SourceCheck, ...]

    def select_sources(self, radius_deg: float, signal_to_noise: float = 20.0) -> list[SourceCheck]:
        """Return the sources within a distance of the pointing and above a signal-to-noise limit."""
        return [
            check
            for check in self.sources
            if check.distance_deg <= radius_deg and check.signal_to_noise >= signal_to_noise
        ]


def check_image(image: Path, truth: Truth, flat: Path | None = None) -> FluxCheck:
    """Return the comparison of an image with the simulated sky.

    ``image`` has true fluxes: corrected for the primary beam, unless the truth has none. ``flat`` is the image before
    that correction; its noise is scaled to each source by the ratio of both images. Without it, noise is measured in
    ``image``. True fluxes are taken at the image's frequency, the mean frequency of evenly spread data.

    Raises
    ------
    PipelineError
        If an image cannot be read or is empty, or the two are not of one size.
    """
    corrected = read_sky_image(image)
    uncorrected = read_sky_image(flat) if flat else corrected
    if corrected.plane.shape != uncorrected.plane.shape:
        raise PipelineError(f"{flat}: is not of the size of {image}; give the two images of one run")
    try:
        rms_jy = robust_rms(central_part(uncorrected.plane))
    except ValueError as err:
        raise PipelineError(f"{uncorrected.path}: {err}; make the image again") from err
    centre_deg = truth.phase_centre_deg
    checks = [check_source(source, corrected, uncorrected, centre_deg, rms_jy) for source in truth.sources]
    ordered = tuple(sorted(checks, key=lambda check: check.distance_deg))
    return FluxCheck(str(image), corrected.frequency_hz, rms_jy, ordered)


def check_source(
    source: Source, corrected: SkyImage, flat: SkyImage, centre_deg: tuple[float, float], rms_jy: float
) -> SourceCheck:
    """Compare one source; ``centre_deg`` is the pointing, ``rms_jy`` the noise of the flat image."""
    position = (source.right_ascension_deg, source.declination_deg)
    noise_jy = rms_jy * _correction(corrected, flat, position)
    try:
        fit = _fit(corrected, flat, position, noise_jy)
    except SourceNotFitted:
        fit = None  # reported as missing in the table
    return SourceCheck(
        source=source,
        true_flux_jy=source.flux_at_jy(corrected.frequency_hz),
        distance_deg=separation_deg(centre_deg, position),
        noise_jy=noise_jy,
        beam_arcsec=(corrected.beam_major_arcsec, corrected.beam_minor_arcsec),
        fit=fit,
    )


def _fit(corrected: SkyImage, flat: SkyImage, position: tuple[float, float], noise_jy: float) -> SourceFit:
    """Return a source with its flux in the corrected and its position in the flat image.

    Division by the primary beam B shifts a Gaussian of width sigma by sigma^2 |grad ln B| outwards, which is not an
    image error: 0.05 arcsec for a beam of 34 arcsec where LOFAR's station beam is 0.3.
    """
    fit = fit_source(corrected, *position, noise_jy)
    if flat is corrected:
        return fit
    place = fit_source(flat, *position, noise_jy)
    return replace(fit, right_ascension_deg=place.right_ascension_deg, declination_deg=place.declination_deg)


def _correction(corrected: SkyImage, flat: SkyImage, position: tuple[float, float]) -> float:
    """Return the corrected over the flat image at a position: 1 / primary beam; NaN outside or where blank."""
    column, row = (round(float(value)) for value in corrected.celestial.wcs_world2pix(*position, 0))
    height, width = corrected.plane.shape
    if not (0 <= row < height and 0 <= column < width):
        return float("nan")
    return float(corrected.plane[row, column] / flat.plane[row, column])


def table_text(check: FluxCheck) -> str:
    """Format the comparison as a text table, one line per source, and a last line with the noise."""
    lines = [HEADER, UNITS]
    for one in check.sources:
        start = f"{one.source.name:>7} {one.distance_deg:9.3f} {one.true_flux_jy:11.4f} "
        if one.fit is None:
            lines.append(f"{start}  not found")
            continue
        fluxes = f"{one.fit.flux_jy:9.4f} {one.fit.flux_error_jy:7.4f} {one.ratio:7.4f} "
        positions = f"{one.offset_arcsec:8.2f} {one.offset_beams:7.3f} "
        lines.append(f"{start}{fluxes}{positions}{one.signal_to_noise:7.0f} {one.widening:6.3f}")
    lines.append(f"rms {check.rms_jy * 1e3:.3f} mJy/beam; fluxes at {check.frequency_hz / 1e6:.3f} MHz")
    return "\n".join(lines)


def worst_ratio(checks: Sequence[SourceCheck]) -> float:
    """Return the largest deviation from 1 of measured over true flux; missing sources count as 1."""
    deviations = [abs(check.ratio - 1) if check.fit else 1.0 for check in checks]
    return max(deviations, default=0.0)


LOWEST_SIGNAL = 10.0  # minimum signal-to-noise ratio: below, noise changes fluxes by more than 10 %
MOST_SOURCES = 300  # brightest sources: enough for a median good to a per cent
NEIGHBOUR_BEAMS = 2.0  # distance to bright neighbours of isolated sources
NEIGHBOUR_PART = 0.05  # of its flux

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Expected:
    """Reference sources expected in an image, and the frequency of each measurement, Hz, if known."""

    reference: Reference
    effective_hz: Floats | None = None


def read_expected(path: Path, corrected: SkyImage, frequencies: SkyImage, index: SpectralIndex) -> Expected:
    """Return a reference with fluxes as expected from measurements at effective frequencies.

    ``frequencies`` is the map of effective frequencies. The image extrapolates its measurements to the header frequency
    by a spectral ``index``; so does this, from the reference's flux at the effective frequency.
    """
    reference = read_reference(path, corrected.frequency_hz)
    column, row, inside = _pixels_of(reference, corrected)
    effective_hz, indices = np.full(len(inside), corrected.frequency_hz), np.zeros(len(inside))
    measured_hz = frequencies.plane[row[inside], column[inside]].astype(float)
    effective_hz[inside] = np.where(np.isfinite(measured_hz), measured_hz, corrected.frequency_hz)
    indices[inside] = np.broadcast_to(index.value, corrected.plane.shape)[row[inside], column[inside]]
    at_measured_hz = read_reference(path, effective_hz)
    flux_jy = at_measured_hz.flux_jy * (corrected.frequency_hz / effective_hz) ** indices
    return Expected(replace(reference, flux_jy=flux_jy), effective_hz)


def compare_fluxes(
    corrected: SkyImage, flat: SkyImage, reference: Reference, rms_jy: float, effective_hz: Floats | None = None
) -> dict[str, Any]:
    """Return the comparison of an image with a reference as plain values, ready for JSON.

    ``corrected`` shows true fluxes, ``flat`` is the same image before the correction for the primary beam, ``rms_jy``
    its noise per beam. The brightest isolated sources above 10 times the noise are measured. ``effective_hz`` is the
    map of effective frequencies.
    """
    signal = signal_to_noise(corrected, flat, reference, rms_jy)
    chosen = np.flatnonzero((signal >= LOWEST_SIGNAL) & is_isolated(reference, corrected.beam_major_arcsec))
    chosen = chosen[np.argsort(-signal[chosen], kind="stable")][:MOST_SOURCES]
    checks = [_check(corrected, flat, reference, index, rms_jy) for index in map(int, chosen)]
    entries = [_entry(check, bool(reference.is_point[index])) for check, index in zip(checks, chosen, strict=True)]
    if effective_hz is not None:
        for entry, index in zip(entries, chosen, strict=True):
            entry["effective_frequency_hz"] = float(effective_hz[index])
    return {
        "reference": reference.path,
        "kind": reference.kind,
        "image": corrected.path,
        "frequency_hz": corrected.frequency_hz,
        "summary": _summary(checks, signal, len(reference.flux_jy)),
        "sources": sorted(entries, key=lambda entry: float(entry["distance_deg"])),
    }


def write_comparison(path: Path, comparison: dict[str, Any] | None) -> None:
    """Write a comparison; None removes that of an earlier run's image."""
    if comparison is None:
        path.unlink(missing_ok=True)
        return
    write_atomically(path, json.dumps(comparison, indent=1, allow_nan=False) + "\n")


def signal_to_noise(corrected: SkyImage, flat: SkyImage, reference: Reference, rms_jy: float) -> Floats:
    """Return the signal-to-noise ratio of each source, (n,); 0 outside the image and at blank pixels."""
    column, row, inside = _pixels_of(reference, corrected)
    noise_jy = np.full(len(column), np.inf)
    bright, dim = (image.plane[row[inside], column[inside]].astype(float) for image in (corrected, flat))
    noise_jy[inside] = rms_jy * np.divide(bright, dim, out=np.full(len(bright), np.inf), where=dim != 0)
    return np.asarray(np.nan_to_num(reference.flux_jy / np.where(noise_jy > 0, noise_jy, np.inf)), float)


def _pixels_of(reference: Reference, image: SkyImage) -> tuple[Any, Any, NDArray[np.bool_]]:
    """Return column and row of each source, and a mask of those inside the image."""
    columns, rows = image.celestial.wcs_world2pix(reference.right_ascension_deg, reference.declination_deg, 0)
    height, width = image.plane.shape
    # Positions beyond the projection's horizon have no pixel.
    inside = np.isfinite(columns) & np.isfinite(rows)
    column, row = (np.rint(np.where(inside, axis, -1)).astype(int) for axis in (columns, rows))
    inside &= (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return column, row, inside


def is_isolated(reference: Reference, beam_arcsec: float) -> NDArray[np.bool_]:
    """Return a mask of sources without a neighbour of 5 % or more of their flux within two beams."""
    ra, dec = np.radians(reference.right_ascension_deg), np.radians(reference.declination_deg)
    directions = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    pairs = scipy.spatial.cKDTree(directions).query_pairs(
        math.radians(NEIGHBOUR_BEAMS * beam_arcsec / 3600), output_type="ndarray"
    )
    isolated = np.ones(len(ra), bool)
    for one, other in (pairs.T, pairs.T[::-1]):
        isolated[one[reference.flux_jy[other] >= NEIGHBOUR_PART * reference.flux_jy[one]]] = False
    return isolated


def _check(corrected: SkyImage, flat: SkyImage, reference: Reference, index: int, rms_jy: float) -> SourceCheck:
    """Compare one source; its flux is at the image's frequency."""
    at_image_jy = float(reference.flux_jy[index])
    place = (float(reference.right_ascension_deg[index]), float(reference.declination_deg[index]))
    source = Source(str(reference.names[index]), *place, at_image_jy, spectral_index=0.0)
    return check_source(source, corrected, flat, corrected.phase_centre_deg, rms_jy)


def _entry(check: SourceCheck, is_point: bool) -> dict[str, Any]:
    """Return one source as plain numbers; null if not detected."""
    source, fit = check.source, check.fit
    entry: dict[str, Any] = {
        "name": source.name,
        "right_ascension_deg": source.right_ascension_deg,
        "declination_deg": source.declination_deg,
        "distance_deg": check.distance_deg,
        "flux_jy": check.true_flux_jy,
        "signal_to_noise": check.signal_to_noise,
        "found": fit is not None,
    }
    if fit is None:
        return entry
    east_deg = (fit.right_ascension_deg - source.right_ascension_deg + 180) % 360 - 180
    entry |= {
        "measured_jy": fit.flux_jy,
        "error_jy": fit.flux_error_jy,
        "ratio": check.ratio,
        "ratio_error": fit.flux_error_jy / check.true_flux_jy,
        "east_arcsec": 3600 * east_deg * math.cos(math.radians(source.declination_deg)),
        "north_arcsec": 3600 * (fit.declination_deg - source.declination_deg),
        "offset_arcsec": check.offset_arcsec,
        "offset_beams": check.offset_beams,
        "widening": check.widening,
    }
    if is_point:  # peak losses: averaging in time and frequency, and others
        entry["peak_loss"] = 1 - fit.peak_jy / check.true_flux_jy
        entry["peak_loss_error"] = check.noise_jy / check.true_flux_jy
    return entry


def _summary(checks: Sequence[SourceCheck], signal: Floats, sources: int) -> dict[str, Any]:
    """Return counts, and flux scale and position offsets as medians, robust to outliers."""
    measured = [check for check in checks if check.fit is not None]
    ratios = np.array([check.ratio for check in measured])
    summary: dict[str, Any] = {
        "reference_sources": sources,
        "expected_above_5_sigma": int((signal >= PEAK_SIGMA).sum()),
        "compared": len(checks),
        "measured": len(measured),
    }
    if measured:
        median = float(np.median(ratios))
        summary |= {
            "median_ratio": median,
            # The scatter of one source is undefined, not 0.
            **({"ratio_scatter": float(1.4826 * np.median(np.abs(ratios - median)))} if len(measured) > 1 else {}),
            "median_offset_arcsec": float(np.median([check.offset_arcsec for check in measured])),
            "median_widening": float(np.median([check.widening for check in measured])),
        }
    return summary
