"""Where the beam of an image comes from: EveryBeam, a formula, or the files of a WSClean that made it itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.beam.applied import NONE, UNSTATED, AppliedBeam, read_applied_beam
from lofarpipe.imaging.beam.primary_beam import BeamCube, band_parts, beam_cube, resample
from lofarpipe.imaging.beam.spectral import BandPart
from lofarpipe.imaging.beam.station import WHOLE_BEAM, BeamError
from lofarpipe.imaging.ms.measurement_set import SetMetadata
from lofarpipe.imaging.weighting.pairs import ChannelRange
from lofarpipe.imaging.weighting.weights import ImageWeighting
from lofarpipe.programs.wsclean.beams import channel_beams, is_differential, is_gridded, read_own_beam
from lofarpipe.programs.wsclean.products import Product

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

CENTRE_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class ImageField:
    """What the beams of an image's channels follow from.

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

    ``parts`` are those of each channel's band; none where nothing is known of the channel. ``source`` and ``detail``
    say how the beams were made, ``warnings`` what people must know before they use them.
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
        """The beams over those that the imager assumed."""
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
    """Beams in files of WSClean, times what they lack: 1 where it knew what the data were corrected for."""

    files: Sequence[Sequence[Product]]
    scales: Sequence[float]
    middles_hz: Sequence[float]

    @property
    def corrects_leakage(self) -> bool:
        """Whether WSClean had the matrix; IDG corrects while it grids."""
        return not is_gridded(self.files[0])

    @property
    def scale(self) -> float:
        """The mean of what the beams of the channels lack."""
        return float(np.mean(self.scales))

    def planes(self, channel: int) -> Iterator[Plane]:
        """Yield the beam of each part of a channel."""
        beam = read_own_beam(self.files[channel])
        return beam.parts(self.parts[channel], self.middles_hz[channel], self.scales[channel])

    def centre(self, channel: int) -> float:
        """Return the beam of a channel at the centre."""
        return read_own_beam(self.files[channel]).centre * self.scales[channel]


def find_source(field: ImageField, products: Sequence[Product], channels: Sequence[Product], header: Any) -> BeamSource:
    """Return WSClean's own beams where it made them for the channels of an image, else those that are computed.

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
    """Return by how much WSClean's beams are to be multiplied so that they are what the data still lack, and why.

    IDG divides its image by the beam at the centre that it assumes, so what its file says there is 1 whatever that was.
    """
    centres = [read_own_beam(of_channel).centre for of_channel in files]
    applied = _applied_beam(field)
    if is_gridded(files[0]):
        if applied.mode == NONE and differential:
            return _centres(field, ""), ": the sets are not corrected for the beam, and WSClean was told that they are"
        if applied.mode == UNSTATED and not differential and field.sets[0].has_lofar_beam:
            whole = _centres(field, WHOLE_BEAM)
            return [1 / centre for centre in whole], ": WSClean was not told that the sets are corrected for the beam"
        return [1 / centre for centre in centres], ""
    if applied.is_complete_at(field.centre_rad) or not field.sets[0].has_lofar_beam:
        return [1 / centre for centre in centres], ""
    return [lacking / own for lacking, own in zip(_centres(field, ""), centres, strict=True)], ""


def _applied_beam(field: ImageField) -> AppliedBeam:
    """Return the beam that the sets were corrected for, which must be one for all of them."""
    first, *others = [(metadata.path, read_applied_beam(metadata.path)) for metadata in field.sets]
    for path, applied in others:
        if why := applied.conflict(first[1], first[0]):
            raise BeamError(f"{path}: {why}")
    return first[1]


def _centres(field: ImageField, normalisation: str) -> list[float]:
    """Return the computed beams at the centre of the image; 1 for a channel without data."""
    cube = field.cube(normalisation)
    return [cube.centre(channel) if cube.parts[channel] else 1.0 for channel in range(len(field.channels))]
