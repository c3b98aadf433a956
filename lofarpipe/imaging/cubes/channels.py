"""Channel images of one observation: their headers, and their common beam. Their pixels are not read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lofarpipe.imaging.cubes.beams import Beam, CommonBeamError, common_beam, is_usable
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.fits_header import STOKES_NAMES, FitsHeader, read_header
from lofarpipe.support.utilities import write_atomically

BEAM_KEYS = ("BMAJ", "BMIN", "BPA")


@dataclass(frozen=True)
class ChannelImage:
    """One plane of one polarisation. Without a beam, or with one that is left out, it is blank in a cube."""

    path: str
    stokes: str
    frequency_hz: float
    width_hz: float
    beam: Beam | None

    @property
    def key(self) -> tuple[str, int]:
        """Polarisation and frequency, which the image shares with its residual."""
        return self.stokes, round(self.frequency_hz)


@dataclass(frozen=True)
class CommonBeam:
    """The beam that all planes of an observation get, and the beams that they had.

    ``images`` has all channel images with the beams in their headers; those that do not count are not ``used``.
    """

    beam: Beam
    cutoff_arcsec: float | None
    images: tuple[ChannelImage, ...]

    def is_used(self, image: ChannelImage) -> bool:
        """Whether an image counts, and is convolved; else its plane is blank."""
        return is_usable(image.beam, self.cutoff_arcsec)

    def by_stokes(self, paths: Iterable[str]) -> dict[str, list[str]]:
        """Return images by the polarisation in their headers, in the order of the images of this beam."""
        order = list(dict.fromkeys(image.stokes for image in self.images))
        groups: dict[str, list[str]] = {}
        for path in paths:
            groups.setdefault(read_channel(path).stokes, []).append(path)
        return dict(
            sorted(groups.items(), key=lambda group: order.index(group[0]) if group[0] in order else len(order))
        )


def read_channel(path: str) -> ChannelImage:
    """Return the facts in the header of a channel image.

    Raises
    ------
    CommonBeamError
        If it is no FITS image of one frequency and one polarisation.
    """
    try:
        with Path(path).open("rb") as stream:
            header = read_header(stream)
        axes = {
            str(header.text(f"CTYPE{number}"))[:6]: number for number in range(3, 1 + round(header.number("NAXIS")))
        }
        frequency, stokes = _axis(header, axes, "FREQ"), _axis(header, axes, "STOKES")
        beam = {key: header.number(key) for key in BEAM_KEYS if header.text(key)}
    except (OSError, ValueError) as err:
        reason = err.strerror if isinstance(err, OSError) else str(err)
        raise CommonBeamError(f"{path}: is no image of a channel: {reason}; make it again") from err
    name = STOKES_NAMES.get(round(stokes[0]), "?")
    return ChannelImage(path, name, *frequency, Beam.of_header(beam))


def _axis(header: FitsHeader, axes: Mapping[str, int], kind: str) -> tuple[float, float]:
    """Return value and increment of an axis of length 1."""
    number = axes.get(kind)
    if number is None:
        raise ValueError(f"it has no {kind} axis")
    if (length := round(header.number(f"NAXIS{number}"))) != 1:
        raise ValueError(f"its {kind} axis has {length} planes, and one is needed")
    return header.number(f"CRVAL{number}"), header.number(f"CDELT{number}")


def find_common_beam(paths: Iterable[str], cutoff_arcsec: float | None) -> CommonBeam:
    """Return the smallest beam for all channel images of an observation, all polarisations together.

    Raises
    ------
    CommonBeamError
        If an image cannot be read, or no beam is left.
    """
    images = tuple(read_channel(path) for path in paths)
    return CommonBeam(common_beam((image.beam for image in images), cutoff_arcsec), cutoff_arcsec, images)


def write_common_beam(common: CommonBeam, path: str | Path) -> None:
    """Write a common beam, and every image with its own, as JSON."""
    facts = {
        "beam": asdict(common.beam),
        "cutoff_arcsec": common.cutoff_arcsec,
        "images": [asdict(image) | {"used": common.is_used(image)} for image in common.images],
    }
    write_atomically(Path(path), json.dumps(facts, indent=1) + "\n")


def read_common_beam(path: str | Path) -> CommonBeam:
    """Return a common beam from its file.

    Raises
    ------
    CommonBeamError
        If there is none, or it is something else.
    """
    try:
        facts = json.loads(Path(path).read_text())
        images = tuple(_image_of(entry) for entry in facts["images"])
        return CommonBeam(Beam(**facts["beam"]), facts["cutoff_arcsec"], images)
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise CommonBeamError(f"{path}: is no common beam: {err}; make it again with common_beam.py") from err


def _image_of(entry: Mapping[str, Any]) -> ChannelImage:
    facts = {key: value for key, value in entry.items() if key != "used"}
    return ChannelImage(**facts | {"beam": Beam(**facts["beam"]) if facts["beam"] else None})
