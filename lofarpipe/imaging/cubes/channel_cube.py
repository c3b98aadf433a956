"""The cube of one polarisation from its channel images, convolved to a common beam one by one, and its weights."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from astropy.io import fits

from lofarpipe.imaging.cubes.beams import CommonBeamError
from lofarpipe.imaging.cubes.channels import ChannelImage, CommonBeam, read_channel
from lofarpipe.imaging.cubes.convolution import convolve
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
from lofarpipe.imaging.cubes.thumbnail import Thumbnail
from lofarpipe.imaging.cubes.weights import plane_weight, write_weights
from lofarpipe.imaging.quality.sky_image import Pixels, read_sky_image
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import write_atomically

MHZ = 1e6
NOISY_JY = 1.0  # per beam, highest plausible noise of a whole-band image


@dataclass(frozen=True)
class CubeFacts:
    """Summary of a cube for the report and checks; ``thumbnail`` is a PNG in base64."""

    path: str
    stokes: str
    frequencies_hz: tuple[float, ...]
    blank: tuple[int, ...]
    weights: tuple[float, ...]
    thumbnail: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def rms_jy(self) -> list[float | None]:
        """Noise of every plane; None for a blank plane."""
        return [None if math.isnan(weight) else weight**-0.5 for weight in self.weights]

    @property
    def summary(self) -> dict[str, Any]:
        """The numbers of the report."""
        facts = {"stokes": self.stokes, "path": self.path, "blank": self.blank, "thumbnail": self.thumbnail}
        return facts | {"frequencies_hz": self.frequencies_hz, "rms_jy": self.rms_jy}


def write_channel_cube(
    paths: Sequence[str], common: CommonBeam, cube: str, weights: str = "", angle_deg: float | None = None
) -> CubeFacts:
    """Write the cube of one polarisation at the common beam, and the weights of its planes.

    ``paths`` are channel images or residuals, in any order; their native beams are those of the images with equal
    polarisation and frequency in ``common``. Memory holds one plane at a time.

    Raises
    ------
    CubeError, CommonBeamError
        If the images do not fit together, an image is not part of the common beam, or a file cannot be written.
    """
    images = [_set_native_beam(read_channel(path), common) for path in paths]
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
    plane_weights, thumbnail = list[float](), Thumbnail(grid.nplanes)
    write_cube(cube, header, _convolved(planes, common, plane_weights, thumbnail), tables)
    if weights:
        write_weights(weights, plane_weights)
    frequencies_hz = [
        image.frequency_hz if image else grid.first_hz + place * grid.step_hz for place, image in enumerate(planes)
    ]
    blank = tuple(number for number, image in enumerate(planes) if not (image and common.is_used(image)))
    numbers = (tuple(frequencies_hz), blank, tuple(plane_weights))
    return CubeFacts(cube, first.stokes, *numbers, thumbnail.png(), tuple(_warnings(cube, grid)))


def _set_native_beam(image: ChannelImage, common: CommonBeam) -> ChannelImage:
    """Return an image with its native beam from the common beam's record."""
    beams_by_key = {one.key: one.beam for one in common.images}
    if image.key not in beams_by_key:
        raise CubeError(
            f"{image.path}: Stokes {image.stokes} at {image.frequency_hz / MHZ:.3f} MHz is not among the "
            f"{len(beams_by_key)} images of the common beam; make the common beam again"
        )
    return replace(image, beam=beams_by_key[image.key])


def _convolved(
    planes: Iterable[ChannelImage | None], common: CommonBeam, weights: list[float], thumbnail: Thumbnail
) -> Iterator[Pixels | None]:
    """Yield the planes at the common beam, None for a blank one; append their weights and add them to the thumbnail."""
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
        except CommonBeamError as err:
            raise CommonBeamError(f"{image.path}: {err}") from err
        weights.append(plane_weight(pixels))
        thumbnail.add(pixels)
        yield pixels


def noise_warnings(paths: Iterable[str], highest_jy: float = NOISY_JY) -> Iterator[str]:
    """Yield a warning for each image with implausibly high noise, as after a divergence."""
    for path in paths:
        noise_jy = 1 / math.sqrt(weight) if (weight := plane_weight(read_sky_image(path).plane)) > 0 else 0.0
        if noise_jy > highest_jy:
            yield f"{path}: its noise is {noise_jy:.3g} Jy/beam; more than {highest_jy:g} is implausible"


def write_cube_facts(path: str | Path, name: str, common: CommonBeam, cubes: Iterable[CubeFacts]) -> None:
    """Write the numbers of the report about the cubes of one beam as JSON."""
    facts = {"name": name, "beam": asdict(common.beam), "cubes": [cube.summary for cube in cubes]}
    write_atomically(Path(path), json.dumps(facts, indent=1) + "\n")


def _warnings(cube: str, grid: FrequencyGrid) -> Iterator[str]:
    if not grid.is_regular:
        yield (
            f"{cube}: the channels are irregularly spaced: up to {grid.deviation_hz / MHZ:.4g} MHz off the "
            f"axis in the header (step {grid.step_hz / MHZ:.4g} MHz); the true frequencies are in the table FREQUENCIES"
        )
