"""Products of a run: restored images and the planes behind them, as FITS files with WSClean's names and header keys.

    <name>-0003-Q-residual.fits    Stokes Q of output channel 3
    <name>-MFS-image.fits          the whole band, if one Stokes parameter is imaged
    <name>-image.fits              the same for one output channel

Planes are written one by one, so that no second copy of a cube is held. Later steps read names, axes and keys such as
WSCIMGWG (the weight of a channel); ORIGIN, WSCVERSI and HISTORY name the imager.
Source: files of WSClean 3.1 (header in tests/imaging/imager/test_products.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import lofarpipe
from lofarpipe.errors import PipelineError
from lofarpipe.imaging.imager.components import write_components
from lofarpipe.imaging.imager.restore import RestoringBeam, restore
from lofarpipe.imaging.ms.observation import observation_keywords
from lofarpipe.imaging.ms.tables import opened
from lofarpipe.support.dataclass import dataclass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lofarpipe.imaging.imager.settings import ImagerSettings

PROGRAM = "lofar-clean"
MFS = "MFS"
ROWS_AT_ONCE = 256
FITS_BLOCK_BYTES = 2880
STOKES_AXIS = {"I": 1, "Q": 2, "U": 3, "V": 4}  # Source: FITS standard 4.0, table 29
Key = tuple[str | float | int | bool, str]  # value and comment


def own_version() -> str:
    """Return name and version of this imager."""
    return f"{PROGRAM} {lofarpipe.__version__}"


@dataclass(frozen=True)
class OutputBand:
    """One output channel, or the whole band.

    Attributes
    ----------
    low_hz, high_hz: band edges.
    weight_sum: of the imaging weights; 0 if fully flagged.
    visibilities: number of used visibilities.
    effective_visibilities: (sum of weights)^2 / sum of squared weights; 0: unknown.
    natural_weight_sum: of the weights in the sets; 0: unknown.
    beam: of restored images; None without a PSF.
    """

    low_hz: float
    high_hz: float
    weight_sum: float
    visibilities: int
    effective_visibilities: float = 0.0
    natural_weight_sum: float = 0.0
    beam: RestoringBeam | None = None


def whole_band(bands: Sequence[OutputBand], beam: RestoringBeam | None) -> OutputBand:
    """Return the band of all channels together; ``beam`` is fitted to their weighted mean PSF."""
    return OutputBand(
        min(one.low_hz for one in bands),
        max(one.high_hz for one in bands),
        sum(one.weight_sum for one in bands),
        sum(one.visibilities for one in bands),
        sum(one.effective_visibilities for one in bands),
        sum(one.natural_weight_sum for one in bands),
        beam,
    )


@dataclass(frozen=True)
class CleaningFacts:
    """Numbers of major cycles and components of a cleaned image."""

    majors: int
    components: int


@dataclass(frozen=True)
class HeaderFacts:
    """Sky and observation in a header: phase centre, degrees; keyword -> value and comment."""

    ra_deg: float
    dec_deg: float
    column: str
    keywords: Mapping[str, Key] = field(default_factory=dict)


def read_observation(sets: Sequence[str], field_id: int, column: str) -> HeaderFacts:
    """Return the header facts of sets with a common phase centre.

    Raises
    ------
    PipelineError
        If the field does not exist.
    """
    with opened(f"{sets[0]}::FIELD") as table:
        if not 0 <= field_id < table.nrows():
            raise PipelineError(f"{sets[0]}: field {field_id} is not there; it has 0 to {table.nrows() - 1}")
        ra_rad, dec_rad = table.getcell("PHASE_DIR", field_id)[0][:2]
    return HeaderFacts(math.degrees(ra_rad) % 360, math.degrees(dec_rad), column, observation_keywords(sets))


class ProductWriter:
    """Writes the images of one run, plane by plane.

    Parameters
    ----------
    settings: names, size and kinds of products of the run.
    observation: facts of the sets.
    bands: the output channels in order.
    total_band: the whole band; its beam is that of the MFS images.
    history: lines for HISTORY, such as the command.
    """

    def __init__(
        self,
        settings: ImagerSettings,
        observation: HeaderFacts,
        bands: Sequence[OutputBand],
        total_band: OutputBand,
        history: Sequence[str] = (),
    ) -> None:
        self._settings = settings
        self._observation = observation
        self._bands = list(bands)
        self._total_band = total_band
        self._history = [own_version(), *history]
        self.paths: list[str] = []

    def write_planes(self, kind: str, planes: Iterable[NDArray[np.float32]], stokes: str = "I") -> None:
        """Write the planes of all channels, and their weighted mean as the plane of the band."""
        mean = self._empty()
        for channel, plane in enumerate(planes):
            self._add_to_mean(mean, plane, channel)
            self._write_channel(kind, plane, channel, stokes, None)
        if len(self._bands) > 1:
            self._write(kind, mean, None, stokes, None)

    def write_cleaned(
        self,
        residuals: Sequence[NDArray[np.float32]],
        models: Sequence[NDArray[np.float32]],
        cleaning: CleaningFacts,
        stokes: str = "I",
    ) -> None:
        """Write residuals, models and restored images of all channels and of the band."""
        mean_residual, mean_model = self._empty(), self._empty()
        for channel, (residual, model) in enumerate(zip(residuals, models, strict=True)):
            self._add_to_mean(mean_residual, residual, channel)
            self._add_to_mean(mean_model, model, channel)
            if self._has_channel_products:
                self._write_three(residual, model, channel, stokes, cleaning)
        if len(self._bands) > 1:
            self._write_three(mean_residual, mean_model, None, stokes, cleaning)
        if self._settings.component_list and stokes == "I":
            self._write_components(models)

    def _write_components(self, models: Sequence[NDArray[np.float32]]) -> None:
        path, sky = f"{self._settings.name}-sources.txt", self._observation
        weights = [band.weight_sum for band in self._bands]
        frequencies_hz = [(band.low_hz + band.high_hz) / 2 for band in self._bands]
        centre_deg = sky.ra_deg, sky.dec_deg
        settings = self._settings
        write_components(
            path, models, weights, frequencies_hz, centre_deg, settings.cell_rad, settings.fit_spectral_terms
        )
        self.paths.append(path)

    @property
    def _has_channel_products(self) -> bool:
        return self._settings.channel_products or len(self._bands) == 1

    def _empty(self) -> NDArray[np.float32]:
        width, height = self._settings.size
        return np.zeros((height, width), np.float32)

    def _add_to_mean(self, mean: NDArray[np.float32], plane: NDArray[np.float32], channel: int) -> None:
        """Add a channel's plane to the mean; a channel without visibilities has no weight, whatever its values."""
        weight = self._bands[channel].weight_sum
        if weight and self._total_band.weight_sum:
            mean += np.float32(weight / self._total_band.weight_sum) * plane

    def _write_three(
        self,
        residual: NDArray[np.float32],
        model: NDArray[np.float32],
        channel: int | None,
        stokes: str,
        cleaning: CleaningFacts,
    ) -> None:
        for kind, plane in (("residual", residual), ("model", model)):
            self._write(kind, plane, channel, stokes, cleaning)
        if "image" in self._settings.products:
            beam = self._band(channel).beam
            restored = (
                residual
                if beam is None
                else restore(model, residual, beam, self._settings.threads, self._settings.cell_rad)
            )
            self._write("image", restored, channel, stokes, cleaning)

    def _write_channel(
        self, kind: str, plane: NDArray[np.float32], channel: int, stokes: str, cleaning: CleaningFacts | None
    ) -> None:
        if self._has_channel_products:
            self._write(kind, plane, channel, stokes, cleaning)

    def _band(self, channel: int | None) -> OutputBand:
        return self._total_band if channel is None or len(self._bands) == 1 else self._bands[channel]

    def path(self, kind: str, channel: int | None, stokes: str) -> str:
        """Return the path of an image; ``channel`` None: of the whole band."""
        label = MFS if channel is None else f"{channel:04d}"
        several = len(self._settings.pol) > 1 and kind != "psf"
        parts = [*([label] if len(self._bands) > 1 else []), *([stokes] if several else []), f"{kind}.fits"]
        return "-".join([self._settings.name, *parts])

    def _write(
        self, kind: str, plane: NDArray[np.float32], channel: int | None, stokes: str, cleaning: CleaningFacts | None
    ) -> None:
        if kind not in self._settings.products:
            return
        path = self.path(kind, channel, stokes)
        write_image(path, plane, self._header(kind, self._band(channel), stokes, cleaning), self._history)
        self.paths.append(path)

    def _header(self, kind: str, band: OutputBand, stokes: str, cleaning: CleaningFacts | None) -> dict[str, Key]:
        per = "pixel" if kind == "model" else "beam"
        beam = band.beam or RestoringBeam(0.0, 0.0, 0.0)
        keys: dict[str, Key] = {
            "BSCALE": (1.0, ""),
            "BZERO": (0.0, ""),
            "BUNIT": (f"JY/{per.upper()}", f"Units are in Jansky per {per}"),
            "BMAJ": (math.degrees(beam.major_rad), "Gaussian fitted to the main lobe of the PSF"),
            "BMIN": (math.degrees(beam.minor_rad), "above 0.3 of its peak"),
            "BPA": (beam.angle_deg, "from north to east"),
            "EQUINOX": (2000.0, "J2000"),
            "BTYPE": ("Intensity", ""),
            "ORIGIN": (own_version(), "imager of genericpipeline"),
            **self._axes(band, stokes),
            "SPECSYS": ("TOPOCENT", ""),
        }
        return keys | dict(self._observation.keywords) | self._run_keys(band, cleaning)

    def _axes(self, band: OutputBand, stokes: str) -> dict[str, Key]:
        width, height = self._settings.size
        cell_deg = math.degrees(self._settings.cell_rad)
        sky = self._observation
        centre_hz, width_hz = (band.low_hz + band.high_hz) / 2, band.high_hz - band.low_hz
        rows: list[tuple[str, float, float, float, str, str]] = [
            ("RA---SIN", width // 2 + 1, sky.ra_deg, -cell_deg, "deg", "Right ascension angle cosine"),
            ("DEC--SIN", height // 2 + 1, sky.dec_deg, cell_deg, "deg", "Declination angle cosine"),
            ("FREQ", 1.0, centre_hz, width_hz, "Hz", "Central frequency"),
            ("STOKES", 1.0, float(STOKES_AXIS[stokes]), 1.0, "", ""),
        ]
        keys: dict[str, Key] = {}
        for axis, (kind, pixel, value, step, unit, comment) in enumerate(rows, 1):
            keys[f"CTYPE{axis}"] = (kind, comment)
            keys[f"CRPIX{axis}"] = (float(pixel), "")
            keys[f"CRVAL{axis}"] = (value, "")
            keys[f"CDELT{axis}"] = (step, "")
            keys[f"CUNIT{axis}"] = (unit, "")
        return keys

    def _run_keys(self, band: OutputBand, cleaning: CleaningFacts | None) -> dict[str, Key]:
        """Return WSClean's keys of the run; those of cleaning for cleaned images only."""
        settings = self._settings
        keys: dict[str, Key] = {
            "WSCDATAC": (self._observation.column, "column of the visibilities"),
            "WSCVDATE": ("", "of no version of WSClean"),
            "WSCVERSI": (own_version(), ""),
            "WSCWEIGH": (weighting_text(settings), ""),
            "WSCENVIS": (band.effective_visibilities, "effective number of visibilities"),
            "WSCFIELD": (float(settings.field_id), ""),
            "WSCGAIN": (settings.gain, ""),
            "WSCGKRNL": (0.0, "by the accuracy"),
            "WSCIMGWG": (band.weight_sum, "sum of the imaging weights"),
            "WSCMGAIN": (settings.mgain, "has no meaning for this imager"),
            "WSCNEGCM": (1.0, ""),
            "WSCNEGST": (0.0, ""),
            "WSCNITER": (float(settings.niter), ""),
            "WSCNORMF": (band.weight_sum, "sum of the imaging weights"),
            "WSCNVIS": (float(band.visibilities), "visibilities after averaging"),
            "WSCNWLAY": (0.0, "by the accuracy"),
            "WSCTHRES": (settings.threshold_jy, "Jy"),
            "WSCVWSUM": (band.natural_weight_sum or band.weight_sum, ""),
        }
        if cleaning is not None:
            keys |= {
                "WSCMAJOR": (float(cleaning.majors), "major cycles"),
                "WSCMINOR": (float(cleaning.components), "components"),
            }
        return keys


def weighting_text(settings: ImagerSettings) -> str:
    """Return the weighting as WSClean writes it: ``Briggs'(0)``."""
    weighting = settings.weighting
    return weighting if isinstance(weighting, str) else f"Briggs'({weighting[1]:g})"


def write_image(path: str, plane: NDArray[np.float32], keys: Mapping[str, Key], history: Iterable[str] = ()) -> None:
    """Write one plane with the axes RA, Dec, frequency and Stokes; the file gets its name once complete.

    Astropy's writer is avoided: it removes BSCALE and BZERO, and copies the plane.
    """
    from astropy.io import fits

    height, width = plane.shape
    shape: dict[str, Key] = {
        "SIMPLE": (True, "file does conform to FITS standard"),
        "BITPIX": (-32, "number of bits per data pixel"),
        "NAXIS": (4, "number of data axes"),
        **{f"NAXIS{axis}": (side, "") for axis, side in enumerate((width, height, 1, 1), 1)},
        "EXTEND": (True, ""),
    }
    header: Any = fits.Header()
    for name, (value, comment) in (shape | dict(keys)).items():
        header[name] = (value, comment)
    for line in history:
        header.add_history(line)
    part = Path(f"{path}.part")
    with part.open("wb") as stream:
        stream.write(header.tostring(padding=True).encode("ascii"))
        for start in range(0, height, ROWS_AT_ONCE):
            stream.write(np.asarray(plane[start : start + ROWS_AT_ONCE], dtype=">f4").tobytes())
        stream.write(bytes(-plane.size * 4 % FITS_BLOCK_BYTES))
    part.replace(path)
