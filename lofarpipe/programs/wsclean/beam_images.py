"""FITS images of the primary beam, and images corrected for it, beside the images that WSClean wrote."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from lofarpipe.imaging.beam.spectral import BandBeam, channel_beam, mean_frequency_hz, read_index
from lofarpipe.imaging.beam.station import BeamError
from lofarpipe.imaging.quality.sky_image import INDEX_KEY, remove_facts
from lofarpipe.imaging.weighting.pairs import ChannelRange
from lofarpipe.programs.base import BEAM, CORRECTED, EFFECTIVE_FREQUENCY
from lofarpipe.programs.wsclean.beams import BEAM_HISTORY, ImageField, find_source
from lofarpipe.programs.wsclean.outputs import CORRECTED_KINDS, Product, select
from lofarpipe.support.dataclass import dataclass

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

LOWEST_POWER = 0.005  # fraction of the centre, below which a correction shows noise and sidelobes only
# Header keys of the products: everybeam, formula, or wsclean for WSClean's own beam; and the level at which the
# beam is cut.
SOURCE_KEY, CUT_KEY = "PBSOURCE", "PBCUT"
# WSClean's MFS image is the mean of its channel images weighted with this key, to 1e-7. Source: measured,
# tests/programs/wsclean/test_beam_images.py.
WEIGHT_KEY = "WSCIMGWG"
MIDDLE_KEY = "BANDMID"  # middle of the band's edges, WSClean's frequency
STOKES = ("", "I", "Q", "U", "V")


@dataclass(frozen=True)
class BeamImages:
    """The written images of the whole band, and the origin of the beam.

    Names of the image, its corrected version, its beam, and the map of the frequency at which each pixel's flux was
    measured; ``products`` has those of all images, of every channel and polarisation.
    """

    image: Path
    image_pb: Path
    beam: Path
    effective_frequency: Path
    source: str  # "everybeam", "formula" or "wsclean"
    detail: str
    warnings: tuple[str, ...]
    products: tuple[Path, ...]


@dataclass(frozen=True)
class BeamRequest:
    """Object and correction of the images; `ImageField` has the same names."""

    sets: Sequence[Any]
    robust: float
    padding: float
    min_lambda: float
    max_lambda: float
    dish_diameter_m: float | None = None
    spectral_index: str = "-0.7"


def sibling(image: Product, ending: str) -> Path:
    """Return the name of an image's product, with `-image.fits` replaced."""
    path = Path(image.path)
    return path.with_name(path.name.removesuffix(f"-{image.kind}.fits") + ending)


def beam_name(image: Product, ending: str) -> Path:
    """Return the common name of all polarisations of an image."""
    path = sibling(image, "")
    stem = path.name.removesuffix(f"-{image.stokes}") if image.stokes else path.name
    return path.with_name(stem + ending)


def images_of(root: str, products: Iterable[Product]) -> list[Product]:
    """Return WSClean's images, whole band first; a single image is copied to its MFS name.

    Raises
    ------
    BeamError
        If there are no images.
    """
    images = [one for one in select(products, "image", interval=None) if one.stokes in STOKES]
    if not any(image.channel is None for image in images):
        name = Path(root).name
        raise BeamError(f"{root}: WSClean wrote no {name}-MFS-image.fits and no {name}-image.fits; see its log")
    return [_band_copy(image, root) if image.channel is None else image for image in images]


def _band_copy(image: Product, root: str) -> Product:
    """Copy the single image of a run with one output channel to its MFS name."""
    target = Path(f"{root}-MFS{'-' + image.stokes if image.stokes else ''}-image.fits")
    if target == Path(image.path):
        return image
    partial = _unfinished(target)
    try:
        shutil.copyfile(image.path, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return replace(image, path=str(target))


def _unfinished(path: Path) -> Path:
    """Return the temporary name of an unfinished file; a retry replaces the file of a killed job."""
    return path.with_name(f".{path.name}.part")


def _write(path: Path, pixels: Plane, header: Any) -> None:
    """Write a FITS image under its final name only when it is complete."""
    partial = _unfinished(path)
    try:
        fits.PrimaryHDU(pixels[np.newaxis, np.newaxis], header).writeto(partial, overwrite=True)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _pixels_and_header(path: str | Path) -> tuple[Plane, Any]:
    """Return the plane of a WSClean image, (y, x), and its header."""
    try:
        with fits.open(path, memmap=True) as hdus:
            plane, header = np.array(hdus[0].data[0, 0], np.float32), hdus[0].header.copy()
            if plane.ndim != 2:
                raise TypeError(f"it has {plane.ndim + 2} axes")
            return plane, header
    except (OSError, TypeError, IndexError) as err:
        raise BeamError(f"{path}: not a FITS image with the axes RA, Dec, frequency, Stokes: {err}") from err


def _axes(header: Any) -> tuple[Floats, Floats]:
    """Return the direction cosines l of the columns and m of the rows of an image in the SIN projection."""
    if not (str(header["CTYPE1"]).endswith("SIN") and str(header["CTYPE2"]).endswith("SIN")):
        raise BeamError(f"image has projection {header['CTYPE1']}, {header['CTYPE2']}; expected RA---SIN, DEC--SIN")
    columns, rows = (
        (np.arange(header[f"NAXIS{axis}"]) + 1 - header[f"CRPIX{axis}"]) * math.radians(header[f"CDELT{axis}"])
        for axis in (1, 2)
    )
    return columns, rows


def _channel_range(header: Any) -> ChannelRange:
    """Return the edges of an image's frequency axis; WSClean gives their middle and their distance."""
    middle, half = header.get(MIDDLE_KEY, header["CRVAL3"]), abs(header["CDELT3"]) / 2
    return ChannelRange(middle - half, middle + half)


def write_beam_images(root: str, products: Sequence[Product], request: BeamRequest) -> BeamImages:
    """Write the primary beams of WSClean's images with a root name, and the corrected images.

    For ``root-MFS-image.fits`` and each ``root-NNNN-image.fits`` (or with ``-I``, ``-Q``... before ``-image``):
    ``...-primary-beam.fits`` and ``...-image-pb.fits``. The beam is the power beam of Stokes I, 1 where the data were
    corrected for the beam, the centre; all Stokes are divided by it. Below 0.5 % of the centre it is blank. The beam of
    the whole band is that of `lofarpipe.imaging.beam.spectral`, with the weights that WSClean gave the channels;
    ``root-MFS-effective-frequency.fits`` is the map of where its fluxes were measured. Every image gets the mean
    frequency of its data as its frequency.

    Raises
    ------
    BeamError
        If an image is missing or unreadable, or no beam can be computed for the sets.
    ValueError
        As `lofarpipe.imaging.beam.primary_beam.beam_cube`.
    """
    images = images_of(root, products)
    return _Correction(products, images, request).write()


class _Correction:
    """Corrects all images of one run."""

    def __init__(self, products: Sequence[Product], images: Sequence[Product], request: BeamRequest) -> None:
        self.products, self.images, self.band = products, images, images[0]
        same_stokes = [image for image in images if image.channel is not None and image.stokes == self.band.stokes]
        self.channels = same_stokes or [self.band]
        header = fits.getheader(self.band.path)
        headers = [fits.getheader(image.path) for image in self.channels]
        columns_l, rows_m = _axes(header)
        centre_rad = (math.radians(header["CRVAL1"]), math.radians(header["CRVAL2"]))
        field = ImageField(
            *(request.sets, [_channel_range(one) for one in headers], columns_l, rows_m, centre_rad),
            *(request.robust, request.padding, request.min_lambda, request.max_lambda, request.dish_diameter_m),
        )
        self.beams = find_source(field, products, self.channels, header)
        self.weights = self._channel_weights(headers)
        self.reference_hz = self._reference_hz()
        shape = (len(rows_m), len(columns_l))
        self.index = read_index(request.spectral_index, WCS(header, fix=False).celestial, shape)

    def _channel_weights(self, headers: Sequence[Any]) -> list[float]:
        """Return the weight of each channel in the image of the whole band; 0 without a beam."""
        if len(headers) == 1:
            return [1.0]
        weights = [float(header.get(WEIGHT_KEY, 0.0)) for header in headers]
        if not any(weight > 0 for weight in weights):
            raise BeamError(
                f"{self.band.path}: no channel image has a positive {WEIGHT_KEY}; was it written by WSClean, from data?"
            )
        return [weight if parts else 0.0 for weight, parts in zip(weights, self.beams.parts, strict=True)]

    def _reference_hz(self) -> float:
        """Return the mean frequency of the whole band, with the weights of its channels."""
        pairs = [(weight, parts) for weight, parts in zip(self.weights, self.beams.parts, strict=True) if weight > 0]
        if not any(parts for _, parts in pairs):
            raise BeamError(f"{self.band.path}: nothing is known of the frequencies in it; is it made of these sets?")
        return float(np.average([mean_frequency_hz(parts) for _, parts in pairs], weights=[one for one, _ in pairs]))

    def write(self) -> BeamImages:
        """Write everything."""
        band, centre, total = BandBeam(), 0.0, sum(self.weights)
        for number, (image, weight) in enumerate(zip(self.channels, self.weights, strict=True)):
            parts = self.beams.parts[number]
            if not parts:
                self._write_channel(image, None, 0.0, None)
                continue
            at_centre = self.beams.centre(number)
            beam = channel_beam(parts, self.beams.planes(number), self.index, self.reference_hz)
            if weight > 0:
                band.add(weight, beam)
                centre += weight / total * at_centre
            if image.channel is not None:
                mean_hz = mean_frequency_hz(parts)
                power = np.asarray(beam.indexed / self.index.factor(mean_hz / self.reference_hz), np.float32)
                self._write_channel(image, power, at_centre, mean_hz)
        self._write_channel(self.band, band.indexed, centre, self.reference_hz)
        beam_path = beam_name(self.band, BEAM)
        frequency_path = beam_name(self.band, EFFECTIVE_FREQUENCY)
        self._write_frequency(frequency_path, beam_path, band.effective_frequency_hz)
        self._mend_stokes()
        names = (Path(self.band.path), sibling(self.band, CORRECTED), beam_path, frequency_path)
        beams = [beam_name(image, BEAM) for image in self.images]
        corrected = [sibling(image, CORRECTED) for image in self.images]
        products = tuple(dict.fromkeys([*names, *corrected, *beams]))
        return BeamImages(*names, self.beams.source, self.beams.detail, self.beams.warnings, products)

    def _write_channel(self, image: Product, power: Plane | None, centre: float, mean_hz: float | None) -> None:
        """Write the beam of an output channel or the whole band, and its corrected Stokes images."""
        cut = LOWEST_POWER * centre
        for number, one in enumerate(one for one in self.images if one.channel == image.channel):
            pixels, header = _pixels_and_header(one.path)
            if power is None:
                power = np.full(pixels.shape, np.nan, np.float32)
            elif number == 0:
                with np.errstate(invalid="ignore"):
                    power = np.where(power >= cut, power, np.float32(np.nan))
            if mean_hz is not None:
                _set_frequency(header, mean_hz)
                _write(Path(one.path), pixels, header)
            remove_facts(header)  # an earlier try may have come as far as to measure the image
            self._describe(header, cut)
            _write(sibling(one, CORRECTED), self._corrected(one, pixels, power), header)
            if number == 0:
                _write(beam_name(one, BEAM), power, _map_header(header, "", "Beam"))

    def _corrected(self, image: Product, pixels: Plane, power: Plane) -> Plane:
        """Return an image divided by the beam; Q, U and V as WSClean corrected them, where it knew their leakage."""
        corrected_by_wsclean = select(
            self.products, "image-pb", channel=image.channel, interval=None, stokes=image.stokes
        )
        if image.stokes not in ("Q", "U", "V") or not corrected_by_wsclean or not self.beams.corrects_leakage:
            return pixels / power
        corrected, header = _pixels_and_header(corrected_by_wsclean[0].path)
        if INDEX_KEY not in header:  # else an earlier try has scaled it
            corrected /= np.float32(self.beams.scale)
        return np.where(np.isfinite(power), corrected, np.float32(np.nan))

    def _describe(self, header: Any, cut: float) -> None:
        """Write the origin of the beam, and the spectral index of the fluxes, to a header."""
        header[SOURCE_KEY] = (self.beams.source, "how the primary beam was made")
        header[CUT_KEY] = (cut, "blank where the beam is below")
        header[INDEX_KEY] = self.index.header_value
        header.comments[INDEX_KEY] = "spectral index that the flux holds for" if self.index.is_number else ""
        header.add_history(f"{BEAM_HISTORY}{self.beams.detail}")
        header.add_history(f"flux at CRVAL3 for the spectral index {self.index.name}")

    def _write_frequency(self, path: Path, beam_path: Path, frequency_hz: Plane) -> None:
        """Write the map of the effective frequency, blank where the beam is."""
        power, header = _pixels_and_header(beam_path)
        _write(
            path, np.where(np.isfinite(power), frequency_hz, np.float32(np.nan)), _map_header(header, "Hz", "Frequency")
        )

    def _mend_stokes(self) -> None:
        """Give WSClean's own corrected images their Stokes axis: with the beam it writes V for I."""
        for kind in ("image", "model", "residual"):
            for one in select(self.products, CORRECTED_KINDS[kind]):
                flat = select(self.products, kind, channel=one.channel, interval=one.interval, stokes=one.stokes)
                if flat:
                    fits.setval(one.path, "CRVAL4", value=fits.getval(flat[0].path, "CRVAL4"))


def _set_frequency(header: Any, frequency_hz: float) -> None:
    """Give an image the mean frequency of its data, and keep the middle of its band's edges."""
    header.setdefault(MIDDLE_KEY, (header["CRVAL3"], "[Hz] middle between the edges of the band"))
    header["CRVAL3"] = frequency_hz


def _map_header(header: Any, unit: str, kind: str) -> Any:
    """Return the header of a map other than flux: the image's, without its restoring beam."""
    header = header.copy()
    for key in ("BMAJ", "BMIN", "BPA"):
        header.remove(key, ignore_missing=True)
    header["BUNIT"], header["BTYPE"] = unit, kind
    return header
