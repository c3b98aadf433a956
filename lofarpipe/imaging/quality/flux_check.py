"""An image against the truth that was simulated: fluxes, positions, noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.quality.sky_image import SkyImage, read_sky_image
from lofarpipe.imaging.quality.source_fit import SourceFit, SourceNotFitted, fit_source
from lofarpipe.imaging.quality.statistics import central_part, robust_rms
from lofarpipe.imaging.simulation.sky import Source, separation_deg
from lofarpipe.imaging.simulation.truth import Truth

HEADER = " source  distance   true flux  measured    +-    ratio   offset   offset  signal  width"
UNITS = "             deg        Jy          Jy       Jy            arcsec   beams  /noise  /beam"


@dataclass(frozen=True)
class SourceCheck:
    """A source as it is and as an image has it; ``fit`` is None where the image shows nothing that fits.

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
        """Measured over true integrated flux; NaN where nothing was measured."""
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
        """The fitted area over the restoring beam's, as the root: 1 for a point that nothing has smeared."""
        if self.fit is None:
            return float("nan")
        return math.sqrt(self.fit.major_arcsec * self.fit.minor_arcsec / math.prod(self.beam_arcsec))


@dataclass(frozen=True)
class FluxCheck:
    """All sources of an image, from its centre outwards; ``rms_jy`` is the noise of the middle of the flat image."""

    image: str
    frequency_hz: float
    rms_jy: float
    sources: tuple[SourceCheck, ...]

    def within(self, radius_deg: float, signal_to_noise: float = 20.0) -> list[SourceCheck]:
        """Return the sources up to a distance from the pointing that are bright enough to be held to a percentage."""
        return [
            check
            for check in self.sources
            if check.distance_deg <= radius_deg and check.signal_to_noise >= signal_to_noise
        ]


def check_image(image: Path, truth: Truth, flat: Path | None = None) -> FluxCheck:
    """Return how an image compares with what was simulated.

    ``image`` shows true fluxes: corrected for the primary beam, unless the truth has none. ``flat`` is the same image
    before that correction; the noise is measured there, and scaled to each source by the ratio of both images. Without
    it, noise is measured in ``image`` alone. True fluxes are those at the image's own frequency, which is
    the mean frequency of the data as far as these are spread evenly.

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
    """Return one source's comparison; ``centre_deg`` is the pointing, ``rms_jy`` the noise of the flat image."""
    position = (source.right_ascension_deg, source.declination_deg)
    noise_jy = rms_jy * _correction(corrected, flat, position)
    try:
        fit = fit_source(corrected, *position, noise_jy)
    except SourceNotFitted:
        fit = None  # shown in the table as missing; that is a result, too
    return SourceCheck(
        source=source,
        true_flux_jy=source.flux_at_jy(corrected.frequency_hz),
        distance_deg=separation_deg(centre_deg, position),
        noise_jy=noise_jy,
        beam_arcsec=(corrected.beam_major_arcsec, corrected.beam_minor_arcsec),
        fit=fit,
    )


def _correction(corrected: SkyImage, flat: SkyImage, position: tuple[float, float]) -> float:
    """Return the corrected over the flat image at a position: 1 / primary beam; NaN outside or where blank."""
    column, row = (round(float(value)) for value in corrected.celestial.wcs_world2pix(*position, 0))
    height, width = corrected.plane.shape
    if not (0 <= row < height and 0 <= column < width):
        return float("nan")
    return float(corrected.plane[row, column] / flat.plane[row, column])


def table_text(check: FluxCheck) -> str:
    """Return the comparison as a table of plain text, one line a source, and a last line with the noise."""
    lines = [HEADER, UNITS, *map(_line, check.sources)]
    lines.append(f"rms {check.rms_jy * 1e3:.3f} mJy/beam; fluxes at {check.frequency_hz / 1e6:.3f} MHz")
    return "\n".join(lines)


def _line(check: SourceCheck) -> str:
    """Return one source's line."""
    start = f"{check.source.name:>7} {check.distance_deg:9.3f} {check.true_flux_jy:11.4f} "
    if check.fit is None:
        return f"{start}  not found"
    fluxes = f"{check.fit.flux_jy:9.4f} {check.fit.flux_error_jy:7.4f} {check.ratio:7.4f} "
    positions = f"{check.offset_arcsec:8.2f} {check.offset_beams:7.3f} "
    return f"{start}{fluxes}{positions}{check.signal_to_noise:7.0f} {check.widening:6.3f}"


def worst_ratio(checks: Sequence[SourceCheck]) -> float:
    """Return the largest deviation from 1 of measured over true flux; a source that is not found counts as 1."""
    deviations = [abs(check.ratio - 1) if check.fit else 1.0 for check in checks]
    return max(deviations, default=0.0)
