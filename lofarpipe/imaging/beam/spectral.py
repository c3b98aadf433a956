"""Beams over a band: correction of fluxes to the reference frequency.

An image of several channels is sum w b S / sum w of a source's spectrum S, w the weight and b the beam of each channel.
With S a power law of the index a through S0 at f0 = sum w f / sum w that is S0 times B = sum w b (f/f0)^a / sum w, so
divided by B it shows S0, the flux at f0, everywhere. The beam is wider at lower frequencies, so the measured flux far
from the centre is that at the effective frequency sum w b f / sum w b, which decreases outwards. The index only
extrapolates from there to f0, so its error enters with the logarithm of their ratio.
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

DEFAULT_INDEX = -0.7  # typical of synchrotron sources
STEEPEST_INDEX = 5.0
Plane = NDArray[np.float32]
MAP_NAME_CHARACTERS = 60  # characters in one FITS card


def index_findings(text: str) -> list[str]:
    """Return the problems of a user's spectral index, a number or the name of a FITS image."""
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
    """A part of an output channel's band with a single beam: weight in the image, and mean frequency."""

    weight: float
    frequency_hz: float


def mean_frequency_hz(parts: Sequence[BandPart]) -> float:
    """Return the weighted mean frequency of parts."""
    return float(np.average([part.frequency_hz for part in parts], weights=[part.weight for part in parts]))


@dataclass(frozen=True, eq=False)
class SpectralIndex:
    """The spectral index of the sources: one number, or one per pixel; ``name`` is the user's text."""

    name: str
    value: float | Plane

    @property
    def is_number(self) -> bool:
        """Whether the index is the same for all sources."""
        return isinstance(self.value, float)

    @property
    def header_value(self) -> float | str:
        """Value for an image header: the number, or the end of the map's name."""
        return self.value if isinstance(self.value, float) else self.name[-MAP_NAME_CHARACTERS:]

    def factor(self, ratio: float) -> Any:
        """Return the flux ratio for a frequency ratio: ratio ** index."""
        return ratio**self.value


@dataclass(frozen=True, eq=False)
class ChannelBeam:
    """The beam of an output channel: spectrally weighted ``mean`` relative to f0, and beam times frequency."""

    mean: Plane
    indexed: Plane
    frequency: Plane


def channel_beam(
    parts: Sequence[BandPart], planes: Iterable[Plane], index: SpectralIndex, reference_hz: float
) -> ChannelBeam:
    """Return the beam of an output channel from the beams ``planes`` of its parts."""
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
    """The beam of the full-band image, accumulated channel by channel."""

    weight: float = 0.0
    _sums: dict[str, Any] = field(default_factory=dict)

    def add(self, weight: float, beam: ChannelBeam) -> None:
        """Add a channel with its weight in the image."""
        self.weight += weight
        for name in ("mean", "indexed", "frequency"):
            self._sums[name] = self._sums.get(name, np.float32(0)) + np.float32(weight) * getattr(beam, name)

    @property
    def indexed(self) -> Plane:
        """The beam for division of the image."""
        return np.asarray(self._sums["indexed"] / np.float32(self.weight))

    @property
    def effective_frequency_hz(self) -> Plane:
        """The effective frequency of each pixel."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self._sums["frequency"] / self._sums["mean"])


def read_index(text: str, celestial: Any, shape: tuple[int, int]) -> SpectralIndex:
    """Return the spectral index for an image of ``shape`` whose world coordinates are ``celestial``.

    A map is sampled at every pixel's direction; blank or uncovered pixels get the default.

    Raises
    ------
    PipelineError
        If the text is neither a number nor a readable map.
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
