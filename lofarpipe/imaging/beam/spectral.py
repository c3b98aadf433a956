"""Beams over a band: the flux in an image and the frequency that it belongs to.

An image of several channels is sum w b S / sum w of a source's spectrum S, w the weight and b the beam of each channel.
With S a power law of the index a through S0 at f0 = sum w f / sum w that is S0 times B = sum w b (f/f0)^a / sum w, so
divided by B it shows S0, the flux at f0, everywhere. The beam is wider at lower frequencies, so what is measured far
from the centre is the flux at the effective frequency sum w b f / sum w b, which falls outwards; the index only carries
it from there to f0, and an error of it counts by the logarithm of the ratio of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError
from lofarpipe.support.dataclass import dataclass

DEFAULT_INDEX = -0.7  # of synchrotron sources, as most are at these frequencies
STEEPEST_INDEX = 5.0
Plane = NDArray[np.float32]
MAP_NAME_CHARACTERS = 60  # that fit into one card of a FITS header


def index_findings(text: str) -> list[str]:
    """Return the problem of a user's spectral index: a number, or the name of a FITS image."""
    try:
        number = float(text)
    except ValueError:
        return _map_findings(Path(text))
    if abs(number) <= STEEPEST_INDEX:
        return []
    return [f"is {text}; a number from {-STEEPEST_INDEX:g} to {STEEPEST_INDEX:g} is needed"]


def _map_findings(path: Path) -> list[str]:
    if not path.is_file():
        return [f"is '{path}', which is neither a number nor a file; give an index such as -0.7, or a FITS map of it"]
    if not path.is_absolute():
        return [f"{path} is relative, and jobs work elsewhere; write {path.absolute()}"]
    with path.open("rb") as opened:
        if opened.read(9) != b"SIMPLE  =":
            return [f"{path} is no FITS file; give an index such as -0.7, or a FITS map of it"]
    return []


@dataclass(frozen=True)
class BandPart:
    """A part of an output channel's band, so narrow that it has one beam: weight in the image, and mean frequency."""

    weight: float
    frequency_hz: float


def mean_frequency_hz(parts: Sequence[BandPart]) -> float:
    """Return the mean frequency of some parts, with their weights."""
    return float(np.average([part.frequency_hz for part in parts], weights=[part.weight for part in parts]))


@dataclass(frozen=True, eq=False)
class SpectralIndex:
    """The spectral index of the sources: one number, or one for each pixel; ``name`` is how the user gave it."""

    name: str
    value: float | Plane

    @property
    def is_number(self) -> bool:
        """Whether it is the same for all sources."""
        return isinstance(self.value, float)

    @property
    def header_value(self) -> float | str:
        """Value for the header of an image: the number, or the end of the map's name."""
        return self.value if isinstance(self.value, float) else self.name[-MAP_NAME_CHARACTERS:]

    def factor(self, ratio: float) -> Any:
        """Return the flux at a frequency over that at another, ``ratio`` of both: ratio ** index."""
        return ratio**self.value


@dataclass(frozen=True, eq=False)
class ChannelBeam:
    """The beam of an output channel: ``mean``, for sources of some index relative to f0, and times the frequency."""

    mean: Plane
    indexed: Plane
    frequency: Plane


def channel_beam(
    parts: Sequence[BandPart], planes: Iterable[Plane], index: SpectralIndex, reference_hz: float
) -> ChannelBeam:
    """Return the beam of an output channel from those of the parts of its band, ``planes``."""
    mean: Any = np.float32(0)
    first, indexed = mean, mean
    total = sum(part.weight for part in parts)
    for part, plane in zip(parts, planes, strict=True):
        share = np.float32(part.weight / total) * plane
        mean, first = mean + share, first + share * np.float32(part.frequency_hz / reference_hz)
        indexed = indexed + share * np.asarray(index.factor(part.frequency_hz / reference_hz), np.float32)
    return ChannelBeam(mean, indexed, first * np.float32(reference_hz))


@dataclass
class BandBeam:
    """The beam of the image of the whole band, as the channels are added one by one."""

    weight: float = 0.0
    _sums: dict[str, Any] = field(default_factory=dict)

    def add(self, weight: float, beam: ChannelBeam) -> None:
        """Count a channel with the weight that it has in the image."""
        self.weight += weight
        for name in ("mean", "indexed", "frequency"):
            self._sums[name] = self._sums.get(name, np.float32(0)) + np.float32(weight) * getattr(beam, name)

    @property
    def indexed(self) -> Plane:
        """The beam by which the image is to be divided."""
        return np.asarray(self._sums["indexed"] / np.float32(self.weight))

    @property
    def effective_frequency_hz(self) -> Plane:
        """The frequency at which each pixel's flux was measured."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self._sums["frequency"] / self._sums["mean"])


def read_index(text: str, celestial: Any, shape: tuple[int, int]) -> SpectralIndex:
    """Return the spectral index for an image of ``shape`` whose world coordinates are ``celestial``.

    A map is looked up at every pixel's direction; where it is blank, or does not reach, the default is taken.

    Raises
    ------
    PipelineError
        If the text is neither a number nor a map that can be read.
    """
    findings = index_findings(text)
    if findings:
        raise PipelineError(f"spectral_index: {findings[0]}")
    try:
        return SpectralIndex(text, float(text))
    except ValueError:
        return SpectralIndex(text, _read_map(text, celestial, shape))


def _read_map(path: str, celestial: Any, shape: tuple[int, int]) -> Plane:
    """Return a map's value at every pixel of an image, row by row."""
    from lofarpipe.imaging.quality.sky_image import read_sky_image

    image = read_sky_image(path)
    indices = np.full(shape, DEFAULT_INDEX, np.float32)
    columns = np.arange(shape[1])
    height, width = image.plane.shape
    for row in range(shape[0]):
        directions = celestial.wcs_pix2world(columns, np.full(shape[1], row), 0)
        x, y = (np.nan_to_num(np.asarray(axis), nan=-1.0) for axis in image.celestial.wcs_world2pix(*directions, 0))
        x, y = np.rint(x).astype(int), np.rint(y).astype(int)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        values = image.plane[y[inside], x[inside]]
        indices[row, inside] = np.where(
            np.isfinite(values), np.clip(values, -STEEPEST_INDEX, STEEPEST_INDEX), DEFAULT_INDEX
        )
    return indices
