"""WSClean's own primary beams, read from the files beside its images.

With IDG and -grid-with-beam every output channel has one file with the scalar beam of its image;
with -apply-primary-beam 16 of the mean Mueller matrix of the station pairs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.beam.applied import NONE, UNSTATED, AppliedBeam, read_applied_beam
from lofarpipe.imaging.beam.primary_beam import BeamCube, band_parts, beam_cube, resample
from lofarpipe.imaging.beam.spectral import BandPart
from lofarpipe.imaging.beam.station import WHOLE_BEAM, BeamError
from lofarpipe.imaging.ms.measurement_set import SetMetadata
from lofarpipe.imaging.quality.sky_image import SkyImageError, read_sky_image
from lofarpipe.imaging.weighting.pairs import ChannelRange
from lofarpipe.imaging.weighting.weights import ImageWeighting
from lofarpipe.programs.wsclean.options import option_words
from lofarpipe.programs.wsclean.outputs import Product, option_products, select
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.fits_header import HISTORY_BEGIN

Plane = NDArray[np.float32]

# Elements of the Hermitian matrix, row by row up to the diagonal: (XX,XX), (YY,YY), and the real part of (YY,XX). What
# Stokes I gets of unpolarised emission is half their sum with (XX,YY). Source: WSClean 3.1 against EveryBeam's Jones
# matrices, equal to 1e-5, also where these are far from diagonal.
XX_XX, YY_YY, YY_XX = 0, 15, 9
DIFFERENTIAL = "-use-differential-lofar-beam"
HISTORY_CHARACTERS = 72  # of a card filled by the command
BEAM_HISTORY = "primary beam: "  # prefix of the correction's HISTORY


@dataclass(frozen=True, eq=False)
class OwnBeam:
    """WSClean's beam of one output channel, and its value at the image centre.

    WSClean takes the beam at the middle of the channel's band from EveryBeam; so does IDG, which divides it out of
    the gridded data and multiplies the image with it, so that the image has the mean beam of the band.
    """

    plane: Plane
    centre: float

    def parts(self, parts: Sequence[BandPart], middle_hz: float, scale: float) -> Iterator[Plane]:
        """Yield the beams of parts of the channel's band: as wide as a Gaussian's is at each frequency."""
        relative = np.maximum(self.plane / np.float32(self.centre), 0)
        for part in parts:
            yield relative ** np.float32((part.frequency_hz / middle_hz) ** 2) * np.float32(scale * self.centre)


def channel_beams(products: Sequence[Product], channel: int | None) -> list[Product]:
    """Return the beam files of an output channel, if WSClean made any."""
    return select(products, "beam", channel=channel, interval=None)


def is_gridded(files: Sequence[Product]) -> bool:
    """Return whether the beam was applied during gridding: IDG then writes one file, not a matrix."""
    return bool(files) and files[0].element is None


def read_own_beam(files: Sequence[Product]) -> OwnBeam:
    """Return the beam in the files of an output channel.

    Raises
    ------
    BeamError
        If a file cannot be read, or the beam is not positive at the centre.
    """
    by_element = {one.element: one.path for one in files}
    try:
        if is_gridded(files):
            image = read_sky_image(by_element[None])
            plane = image.plane
        else:
            image = read_sky_image(by_element[XX_XX])
            plane = (image.plane + read_sky_image(by_element[YY_YY]).plane) * np.float32(0.5)
            if YY_XX in by_element:
                plane = plane + read_sky_image(by_element[YY_XX]).plane
    except (SkyImageError, KeyError) as err:
        raise BeamError(f"{files[0].path}: WSClean's beam cannot be read: {err}; make the image again") from err
    row, column = (round(image.axis(kind).reference_pixel) - 1 for kind in ("DEC", "RA"))
    centre = float(plane[row, column])
    if not centre > 0:
        raise BeamError(f"{files[0].path}: WSClean's beam is {centre} at the centre; expected a positive one")
    return OwnBeam(plane, centre)


def wsclean_command(header: Any) -> str:
    """Return WSClean's command from an image's HISTORY, or ""."""
    lines = [str(line) for line in header.get("HISTORY", ())]
    ends = [number for number, line in enumerate(lines) if line.startswith((HISTORY_BEGIN, BEAM_HISTORY))]
    return "".join(line.ljust(HISTORY_CHARACTERS) for line in lines[: min(ends, default=len(lines))])


def is_differential(header: Any) -> bool:
    """Return whether a WSClean has the option for data corrected for the beam at the centre."""
    return DIFFERENTIAL in wsclean_command(header).split()


def products_by_header(root: str) -> list[Product]:
    """Return the files that WSClean wrote for a root name, by the command in the header of its image.

    Raises
    ------
    BeamError
        If there is no image.
    """
    names = [f"{root}{band}{stokes}-image.fits" for band in ("-MFS", "") for stokes in ("", "-I")]
    images = [name for name in names if Path(name).is_file()]
    if not images:
        raise BeamError(
            f"{root}: no {Path(names[0]).name} or {Path(names[2]).name} there; has WSClean run with this name?"
        )
    newest = max(images, key=lambda name: Path(name).stat().st_mtime_ns)
    options = option_words({}, wsclean_command(read_sky_image(newest).header).split())
    products = option_products(options | {"name": [root]})
    return [one for one in products if Path(one.path).is_file()]


Floats = NDArray[np.float64]
CENTRE_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class ImageField:
    """The basis of the beams of an image's channels.

    ``columns_l`` and ``rows_m`` are the direction cosines of its pixels, ``channels`` the edges of its channels.
    """

    sets: Sequence[SetMetadata]
    channels: Sequence[ChannelRange]
    columns_l: Floats
    rows_m: Floats
    centre_rad: tuple[float, float]
    robust: float
    padding: float
    min_lambda: float
    max_lambda: float
    dish_diameter_m: float | None = None

    @property
    def weighting(self) -> ImageWeighting:
        """The weighting of the image."""
        shape = (len(self.columns_l), len(self.rows_m))
        cellsize_rad = float(abs(self.columns_l[1] - self.columns_l[0]))
        return ImageWeighting(shape, cellsize_rad, self.robust, self.padding, self.min_lambda, self.max_lambda)

    def cube(self, normalisation: str = "") -> BeamCube:
        """Return the beams by EveryBeam or by formula."""
        reach = (float(np.abs(self.columns_l).max()), float(np.abs(self.rows_m).max()))
        return beam_cube(
            *(self.sets, self.channels, self.weighting, self.centre_rad, reach, self.dish_diameter_m, normalisation)
        )


@dataclass(frozen=True, eq=False)
class BeamSource(ABC):
    """The beams of all output channels of an image.

    ``parts`` are the parts of each channel's band; empty for an unknown channel. ``source`` and ``detail``
    are their origin, ``warnings`` notes for people before they use them.
    """

    parts: Sequence[Sequence[BandPart]]
    source: str
    detail: str
    warnings: tuple[str, ...]

    @property
    def corrects_leakage(self) -> bool:
        """Whether the imager itself has corrected Q, U and V by the whole matrix of the beam."""
        return False

    @property
    def scale(self) -> float:
        """The ratios of the beams to those assumed by the imager."""
        return 1.0

    @abstractmethod
    def planes(self, channel: int) -> Iterator[Plane]:
        """Yield the beam of each part of a channel at the pixels of the image."""

    @abstractmethod
    def centre(self, channel: int) -> float:
        """Return the beam of a channel at the centre of the image."""


@dataclass(frozen=True, eq=False)
class ComputedBeams(BeamSource):
    """Beams on a coarse grid, brought to the pixels of the image."""

    field: ImageField
    cube: BeamCube

    def planes(self, channel: int) -> Iterator[Plane]:
        """Yield the beam of each part of a channel."""
        columns_l, rows_m = self.field.columns_l, self.field.rows_m
        for power in self.cube.powers[channel]:
            plane = np.empty((len(rows_m), len(columns_l)), np.float32)
            for rows, block in resample(self.cube.grid, power, columns_l, rows_m):
                plane[rows] = block
            yield plane

    def centre(self, channel: int) -> float:
        """Return the beam of a channel at the centre."""
        return self.cube.centre(channel)


@dataclass(frozen=True, eq=False)
class WSCleanBeams(BeamSource):
    """Beams in files of WSClean, times a missing factor: 1 where it knew the correction of the data."""

    files: Sequence[Sequence[Product]]
    scales: Sequence[float]
    middles_hz: Sequence[float]

    @property
    def corrects_leakage(self) -> bool:
        """Whether WSClean had the matrix; IDG corrects while it grids."""
        return not is_gridded(self.files[0])

    @property
    def scale(self) -> float:
        """The mean of the missing factors of the channels."""
        return float(np.mean(self.scales))

    def planes(self, channel: int) -> Iterator[Plane]:
        """Yield the beam of each part of a channel."""
        beam = read_own_beam(self.files[channel])
        return beam.parts(self.parts[channel], self.middles_hz[channel], self.scales[channel])

    def centre(self, channel: int) -> float:
        """Return the beam of a channel at the centre."""
        return read_own_beam(self.files[channel]).centre * self.scales[channel]


def find_source(field: ImageField, products: Sequence[Product], channels: Sequence[Product], header: Any) -> BeamSource:
    """Return WSClean's own beams of an image's channels, if it made them, else computed ones.

    Raises
    ------
    BeamError
        If a beam cannot be read or computed, or if only some channels have one.
    """
    files = [channel_beams(products, image.channel) for image in channels]
    if not any(files):
        cube = field.cube()
        return ComputedBeams(cube.parts, cube.source, cube.detail, cube.warnings, field, cube)
    without = [image.path for image, of_channel in zip(channels, files, strict=True) if not of_channel]
    if without:
        raise BeamError(f"{without[0]}: WSClean has made the beams of other channels, and none of it; make it again")
    scales, reason = _scales(field, files, is_differential(header))
    centre = read_own_beam(files[0]).centre
    detail = f"WSClean's own beam, {centre:.4f} at the centre"
    warnings: tuple[str, ...] = ()
    if abs(scales[0] - 1) > CENTRE_TOLERANCE:
        scaled = f"scaled to {centre * scales[0]:.4g}"
        warnings = (f"{files[0][0].path}: WSClean's beam is {centre:.4f} at the centre; {scaled}{reason}",)
        detail += f", {scaled}"
    parts = band_parts(field.sets, field.channels, field.weighting)
    middles_hz = [(channel.low_hz + channel.high_hz) / 2 for channel in field.channels]
    return WSCleanBeams(parts, "wsclean", detail, warnings, files, scales, middles_hz)


def _scales(field: ImageField, files: Sequence[Sequence[Product]], differential: bool) -> tuple[list[float], str]:
    """Return the factor from WSClean's beams to the remaining correction of the data, and the reason.

    IDG divides its image by its beam at the centre, so its file always has 1 there.
    """
    centres = [read_own_beam(of_channel).centre for of_channel in files]
    applied = _applied_beam(field)
    if is_gridded(files[0]):
        if applied.mode == NONE and differential:
            return _centres(field, ""), ": the sets are not corrected for the beam, and WSClean was told that they are"
        if applied.mode == UNSTATED and not differential and field.sets[0].has_lofar_beam:
            factors = _centres(field, WHOLE_BEAM)
            return [1 / centre for centre in factors], ": WSClean was not told that the sets are corrected for the beam"
        return [1 / centre for centre in centres], ""
    if applied.is_complete_at(field.centre_rad) or not field.sets[0].has_lofar_beam:
        return [1 / centre for centre in centres], ""
    return [lacking / beam_at_centre for lacking, beam_at_centre in zip(_centres(field, ""), centres, strict=True)], ""


def _applied_beam(field: ImageField) -> AppliedBeam:
    """Return the beam correction of the sets, which must be the same for all."""
    first, *others = [(metadata.path, read_applied_beam(metadata.path)) for metadata in field.sets]
    for path, applied in others:
        if conflict := applied.conflict(first[1], first[0]):
            raise BeamError(f"{path}: {conflict}")
    return first[1]


def _centres(field: ImageField, normalisation: str) -> list[float]:
    """Return the computed beams at the centre of the image; 1 for a channel without data."""
    cube = field.cube(normalisation)
    return [cube.centre(channel) if cube.parts[channel] else 1.0 for channel in range(len(field.channels))]
