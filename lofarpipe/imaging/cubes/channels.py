"""Headers and common beam of an observation's channel images; pixels are not read."""

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
    """One plane of one polarisation; blank in a cube if its beam is missing or excluded."""

    path: str
    stokes: str
    frequency_hz: float
    width_hz: float
    beam: Beam | None

    @property
    def key(self) -> tuple[str, int]:
        """Polarisation and frequency, shared by an image and its residual."""
        return self.stokes, round(self.frequency_hz)


@dataclass(frozen=True)
class CommonBeam:
    """The common beam of an observation's planes, and their native beams.

    ``images`` has all channel images with the beams in their headers, also those excluded from the common beam.
    """

    beam: Beam
    cutoff_arcsec: float | None
    images: tuple[ChannelImage, ...]

    def is_used(self, image: ChannelImage) -> bool:
        """Whether an image counts for the common beam and is convolved; else its plane is blank."""
        return is_usable(image.beam, self.cutoff_arcsec)

    def group_by_stokes(self, paths: Iterable[str]) -> dict[str, list[str]]:
        """Group images by polarisation, in the order of this beam's images."""
        order = list(dict.fromkeys(image.stokes for image in self.images))
        groups: dict[str, list[str]] = {}
        for path in paths:
            groups.setdefault(read_channel(path).stokes, []).append(path)
        return dict(
            sorted(groups.items(), key=lambda group: order.index(group[0]) if group[0] in order else len(order))
        )


def read_channel(path: str) -> ChannelImage:
    """Read the header of a channel image.

    Raises
    ------
    CommonBeamError
        If the file is not a FITS image of one frequency and one polarisation.
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
    return ChannelImage(path, name, *frequency, Beam.from_header(beam))


def _axis(header: FitsHeader, axes: Mapping[str, int], kind: str) -> tuple[float, float]:
    """Return value and increment of an axis of length 1."""
    number = axes.get(kind)
    if number is None:
        raise ValueError(f"it has no {kind} axis")
    if (length := round(header.number(f"NAXIS{number}"))) != 1:
        raise ValueError(f"its {kind} axis has {length} planes, and one is needed")
    return header.number(f"CRVAL{number}"), header.number(f"CDELT{number}")


def find_common_beam(paths: Iterable[str], cutoff_arcsec: float | None) -> CommonBeam:
    """Return the smallest common beam of an observation's channel images, all polarisations together.

    Raises
    ------
    CommonBeamError
        If an image cannot be read, or no beam is usable.
    """
    images = tuple(read_channel(path) for path in paths)
    return CommonBeam(common_beam((image.beam for image in images), cutoff_arcsec), cutoff_arcsec, images)


def write_common_beam(common: CommonBeam, path: str | Path) -> None:
    """Write a common beam, and every image with its native beam, as JSON."""
    facts = {
        "beam": asdict(common.beam),
        "cutoff_arcsec": common.cutoff_arcsec,
        "images": [asdict(image) | {"used": common.is_used(image)} for image in common.images],
    }
    write_atomically(Path(path), json.dumps(facts, indent=1) + "\n")


def read_common_beam(path: str | Path) -> CommonBeam:
    """Load a common beam written by `write_common_beam`.

    Raises
    ------
    CommonBeamError
        If the file is missing, or not a common beam.
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
