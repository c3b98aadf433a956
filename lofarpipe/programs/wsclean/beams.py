"""The primary beams that WSClean itself made, read from the files that it wrote beside its images.

With IDG and -grid-with-beam every output channel has one image of the scalar beam that its image is seen through;
with -apply-primary-beam 16 of the mean Mueller matrix of the station pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.beam.spectral import BandPart
from lofarpipe.imaging.beam.station import BeamError
from lofarpipe.imaging.quality.sky_image import HISTORY_BEGIN, SkyImageError, read_sky_image
from lofarpipe.programs.wsclean.arguments import given_options
from lofarpipe.programs.wsclean.products import Product, option_products, select

Plane = NDArray[np.float32]

# Elements of the Hermitian matrix, row by row up to the diagonal: (XX,XX), (YY,YY), and the real part of (YY,XX). What
# Stokes I gets of unpolarised emission is half their sum with (XX,YY). Source: WSClean 3.1 against EveryBeam's Jones
# matrices, equal to 1e-5, also where these are far from diagonal.
XX_XX, YY_YY, YY_XX = 0, 15, 9
DIFFERENTIAL = "-use-differential-lofar-beam"
HISTORY_CHARACTERS = 72  # of a card, which the command fills
BEAM_HISTORY = "primary beam: "  # begins what the correction adds


@dataclass(frozen=True, eq=False)
class OwnBeam:
    """The beam of one output channel as WSClean has it, and its value at the centre of the image.

    It is that in the middle of the channel's band, for which WSClean asks EveryBeam; IDG, too, which divides it out of
    what it grids and multiplies its image with it, so that this is seen through the beams of all of the band.
    """

    plane: Plane
    centre: float

    def parts(self, parts: Sequence[BandPart], middle_hz: float, scale: float) -> Iterator[Plane]:
        """Yield the beams of parts of the channel's band: as wide as a Gaussian's is at each frequency."""
        relative = np.maximum(self.plane / np.float32(self.centre), 0)
        for part in parts:
            yield relative ** np.float32((part.frequency_hz / middle_hz) ** 2) * np.float32(scale * self.centre)


def channel_beams(products: Sequence[Product], channel: int | None) -> list[Product]:
    """Return the files of the beam of an output channel; none where WSClean has made none."""
    return select(products, "beam", channel=channel, interval=None)


def is_gridded(files: Sequence[Product]) -> bool:
    """Return whether the beam was applied while gridding: IDG writes one file for it, not a matrix."""
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
    """Return the command that made an image, as WSClean writes it into HISTORY; empty where there is none."""
    lines = [str(line) for line in header.get("HISTORY", ())]
    ends = [number for number, line in enumerate(lines) if line.startswith((HISTORY_BEGIN, BEAM_HISTORY))]
    return "".join(line.ljust(HISTORY_CHARACTERS) for line in lines[: min(ends, default=len(lines))])


def is_differential(header: Any) -> bool:
    """Return whether WSClean was told that the data are corrected for the beam at the centre."""
    return DIFFERENTIAL in wsclean_command(header).split()


def products_by_header(root: str) -> list[Product]:
    """Return the files that WSClean wrote for a root name, by the command in the header of its image.

    Raises
    ------
    BeamError
        If there is no image.
    """
    names = [f"{root}{band}{stokes}-image.fits" for band in ("-MFS", "") for stokes in ("", "-I")]
    there = [name for name in names if Path(name).is_file()]
    if not there:
        raise BeamError(
            f"{root}: no {Path(names[0]).name} or {Path(names[2]).name} there; has WSClean run with this name?"
        )
    newest = max(there, key=lambda name: Path(name).stat().st_mtime_ns)
    options = given_options({}, wsclean_command(read_sky_image(newest).header).split())
    written = option_products(options | {"name": [root]})
    return [one for one in written if Path(one.path).is_file()]
