"""Channel images of one observation: what their headers say, their common beam, and the cube of a polarisation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from lofarpipe.imaging.cubes.beams import Beam, BeamError, common_beam, is_usable
from lofarpipe.imaging.cubes.convolution import Pixels, convolve
from lofarpipe.imaging.cubes.cube import write_cube
from lofarpipe.imaging.cubes.grid import FrequencyGrid, frequency_grid
from lofarpipe.imaging.cubes.header import (
    ANGLE_KEY,
    ORIGINAL_BEAMS,
    CubeError,
    beam_table,
    cube_header,
    frequency_table,
)
from lofarpipe.imaging.cubes.weights import plane_weight, write_weights
from lofarpipe.imaging.quality.sky_image import STOKES_NAMES, SkyImage, read_sky_image
from lofarpipe.support.utilities import write_atomically

NOISY_JY = 1.0  # of the image of the whole band, per beam
MHZ = 1e6


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


@dataclass(frozen=True)
class CubeFacts:
    """What a cube holds, for people and for checks."""

    path: str
    planes: int
    blank: tuple[int, ...]
    weights: tuple[float, ...]
    warnings: tuple[str, ...] = ()


def read_channel(path: str) -> ChannelImage:
    """Return what the header of a channel image says; its pixels are not read.

    Raises
    ------
    CubeError
        If it is no FITS image of one frequency and one polarisation.
    """
    try:
        header = fits.getheader(path)
    except OSError as err:
        raise CubeError(f"{path}: cannot be read as FITS: {err}; make the image again") from err
    image = SkyImage(path, header, np.empty((0, 0), np.float32))  # only its header is asked
    frequency, stokes = image.axis("FREQ"), image.axis("STOKES")
    if frequency.length != 1 or stokes.length != 1:
        raise CubeError(f"{path}: has {frequency.length} frequencies and {stokes.length} polarisations; one is needed")
    name = STOKES_NAMES.get(round(stokes.reference_value), "?")
    return ChannelImage(path, name, frequency.reference_value, frequency.increment, Beam.of_header(header))


def find_common_beam(paths: Iterable[str], cutoff_arcsec: float | None) -> CommonBeam:
    """Return the smallest beam for all channel images of an observation, all polarisations together.

    Raises
    ------
    CubeError, BeamError
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
    CubeError
        If there is none, or it is something else.
    """
    try:
        facts = json.loads(Path(path).read_text())
        images = tuple(_image_of(entry) for entry in facts["images"])
        return CommonBeam(Beam(**facts["beam"]), facts["cutoff_arcsec"], images)
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise CubeError(f"{path}: is no common beam: {err}; make it again with common_beam.py") from err


def _image_of(entry: Mapping[str, Any]) -> ChannelImage:
    facts = {key: value for key, value in entry.items() if key != "used"}
    return ChannelImage(**facts | {"beam": Beam(**facts["beam"]) if facts["beam"] else None})


def write_channel_cube(
    paths: Sequence[str], common: CommonBeam, cube: str, weights: str = "", angle_deg: float | None = None
) -> CubeFacts:
    """Write the cube of one polarisation, all planes with the common beam, and the weights of its planes.

    ``paths`` are channel images or residuals, in any order; their own beams are those of the images of the same
    polarisation and frequency in ``common``. One plane is held at a time.

    Raises
    ------
    CubeError, BeamError
        If the images do not belong together, one is not among those of the common beam, or a file cannot be written.
    """
    images = [_with_beam(read_channel(path), common) for path in paths]
    if len(names := {image.stokes for image in images}) > 1:
        raise CubeError(
            f"{cube}: images of {', '.join(sorted(names))} cannot be in one cube; one polarisation is needed"
        )
    grid = frequency_grid([image.frequency_hz for image in images], images[0].width_hz if images else 0)
    planes: list[ChannelImage | None] = [None] * grid.nplanes
    for image, place in zip(images, grid.places, strict=True):
        planes[place] = image
    first = next(image for image in planes if image)
    cards = {} if angle_deg is None else {ANGLE_KEY: (angle_deg, "deg")}
    header = cube_header(fits.getheader(first.path), grid, [first.stokes], common.beam, cards)
    beams = [[image.beam if image else None] for image in planes]
    tables = [beam_table(beams, ORIGINAL_BEAMS)]
    if not grid.is_regular:
        tables.append(frequency_table([image.frequency_hz for image in planes if image]))
    found: list[float] = []
    write_cube(cube, header, _convolved(planes, common, found), tables)
    if weights:
        write_weights(weights, found)
    blank = tuple(number for number, image in enumerate(planes) if not (image and common.is_used(image)))
    return CubeFacts(cube, grid.nplanes, blank, tuple(found), tuple(_warnings(cube, grid)))


def _with_beam(image: ChannelImage, common: CommonBeam) -> ChannelImage:
    """Return an image with the beam that the common one was made of."""
    known = {one.key: one.beam for one in common.images}
    if image.key not in known:
        raise CubeError(
            f"{image.path}: Stokes {image.stokes} at {image.frequency_hz / MHZ:.3f} MHz is not among the "
            f"{len(known)} images of the common beam; make that again"
        )
    return replace(image, beam=known[image.key])


def _convolved(
    planes: Iterable[ChannelImage | None], common: CommonBeam, weights: list[float]
) -> Iterator[Pixels | None]:
    """Yield every plane at the common beam, None for a blank one, and add its weight to a list."""
    for image in planes:
        if image is None or image.beam is None or not common.is_used(image):
            weights.append(math.nan)
            yield None
            continue
        sky = read_sky_image(image.path)
        cell_arcsec = (sky.axis("RA").increment * 3600, sky.axis("DEC").increment * 3600)
        pixels = sky.plane
        del sky
        try:
            convolve(pixels, image.beam, common.beam, cell_arcsec)
        except BeamError as err:
            raise BeamError(f"{image.path}: {err}") from err
        weights.append(plane_weight(pixels))
        yield pixels


def noise_warnings(paths: Iterable[str], highest_jy: float = NOISY_JY) -> Iterator[str]:
    """Yield a warning for each image whose noise is no noise of an observation: it diverged, or is of no sky."""
    for path in paths:
        noise_jy = 1 / math.sqrt(weight) if (weight := plane_weight(read_sky_image(path).plane)) > 0 else 0.0
        if noise_jy > highest_jy:
            yield f"{path}: its noise is {noise_jy:.3g} Jy/beam, and more than {highest_jy:g} is hardly that of a sky"


def _warnings(cube: str, grid: FrequencyGrid) -> Iterator[str]:
    if not grid.is_regular:
        yield (
            f"{cube}: the channels lie on no regular axis: they are up to {grid.deviation_hz / MHZ:.4g} MHz off the "
            f"one in its header (step {grid.step_hz / MHZ:.4g} MHz); the true frequencies are in the table FREQUENCIES"
        )
