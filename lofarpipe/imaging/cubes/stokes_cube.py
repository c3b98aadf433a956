"""Full-Stokes channel images at a common beam, and their native and smoothed cubes with a manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.cubes.beams import Beam, smallest_round_beam
from lofarpipe.imaging.cubes.cube import write_cube
from lofarpipe.imaging.cubes.grid import FrequencyGrid
from lofarpipe.imaging.cubes.header import BEAMS, beam_table, cube_header
from lofarpipe.imaging.cubes.stokes_images import (
    EFFECTIVE,
    FLAGGED,
    RECIPE,
    STOKES,
    header_of,
    image_record,
    manifest_entry,
    recipe_in,
    recipe_of,
    write_noise,
)
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import unfinished_name

if TYPE_CHECKING:  # a slow import: astropy.coordinates and units
    from lofarpipe.imaging.quality.sky_image import Pixels

AUTO, NONE = "auto", "none"
TILED = "tiled"
OF_ONE_IMAGE = (EFFECTIVE, FLAGGED, RECIPE, *(f"RMS_{name}" for name in STOKES))


def common_target(option: str, images: Iterable[Path]) -> Beam | None:
    """Return the round target beam of an option: a width, ``auto`` for the smallest possible, or ``none``.

    Raises
    ------
    CommonBeamError
        If the option is ``auto`` and no image has a beam.
    """
    if option == NONE:
        return None
    if option != AUTO:
        return Beam(float(option), float(option), 0.0)
    headers = (header_of(path) for path in images)
    return smallest_round_beam([Beam.from_header(header) for header in headers if header is not None])


def smoothing_obstacle(header: Mapping[str, Any], target: Beam) -> str:
    """Return the reason an image cannot be smoothed to a beam; "" if it can."""
    beam = Beam.from_header(header)
    if beam is None:
        return "no beam"
    if beam.fits_into(target):
        return ""
    axes = f"{beam.major_arcsec:.1f} x {beam.minor_arcsec:.1f}"
    return f"beam {axes} arcsec is larger than the common beam of {target.major_arcsec:g} arcsec"


def write_smoothed(native: Path, smoothed: Path, target: Beam) -> str:
    """Write an image at the common beam unless it is up to date; return the reason if impossible, else "".

    Memory holds the four planes, and one transform.
    """
    header = header_of(native)
    if header is None:
        raise PipelineError(f"{native}: cannot be read; make the image again")
    recipe = recipe_of(header.get(RECIPE), str(target))
    if reason := smoothing_obstacle(header, target):
        smoothed.unlink(missing_ok=True)
        return reason
    if recipe_in(smoothed) == recipe:
        return ""
    from lofarpipe.imaging.cubes.convolution import convolve  # lazy: scipy.fft costs jobs that only join planes 0.3 s

    with fits.open(native, memmap=False) as hdus:
        planes = np.array(hdus[0].data, np.float32)
    beam, cell = Beam.from_header(header), (3600 * header["CDELT1"], 3600 * header["CDELT2"])
    assert beam is not None  # noqa: S101 - checked by `unreached`
    for place in np.ndindex(planes.shape[:2]):
        convolve(planes[place], beam, target, cell, is_padded=True)
    header.update(target.cards)
    header[RECIPE] = recipe
    write_noise(header, planes[0])
    part = unfinished_name(smoothed)
    try:
        fits.PrimaryHDU(planes, header).writeto(part, overwrite=True, checksum=True)
        part.replace(smoothed)
    finally:
        part.unlink(missing_ok=True)
    return ""


# ------------------------------------------------------------------------------------------------ cubes
@dataclass(frozen=True)
class CubeChannel:
    """A channel of a cube: its entry in the plan, its image if any, and the image's record."""

    entry: Mapping[str, Any]
    image: Path | None
    record: Mapping[str, Any]


def write_stokes_cube(
    path: Path, channels: Sequence[CubeChannel], width_hz: float, target: Beam | None, is_tiled: bool = False
) -> bool:
    """Write a cube of four Stokes parameters from channel images; return False for an unchanged existing cube.

    Memory holds one plane at a time; channels without an image are NaN. The cube is read back and verified before it
    gets its name. With a ``target`` all planes have that beam; else the table BEAMS has the native ones.

    Raises
    ------
    PipelineError
        If no channel has an image, or the cube cannot be written correctly.
    """
    headers = [header_of(channel.image) if channel.image else None for channel in channels]
    first = next((header for header in headers if header is not None), None)
    if first is None:
        records = (channel.record for channel in channels)
        reasons = sorted({str(record.get("reason") or record.get("smoothed_reason")) for record in records})
        more = f" and {len(reasons) - 2} more reasons" if len(reasons) > 2 else ""
        raise PipelineError(
            f"{path}: none of its {len(channels)} channels has an image ({', '.join(reasons[:2])}{more}); there is no "
            "cube: set common_beam_arcsec to more, or auto, if beams are larger than it"
        )
    parts = [header and header.get(RECIPE) for header in headers], [c.entry["index"] for c in channels]
    recipe = recipe_of(*parts, *[TILED] * is_tiled)
    if recipe_in(path) == recipe:
        print(f"{path}: unchanged, images are the same")
        return False
    for key in OF_ONE_IMAGE:
        first.remove(key, ignore_missing=True)
    frequencies_hz = [float(channel.entry["frequency_hz"]) for channel in channels]
    grid = FrequencyGrid(frequencies_hz[0], width_hz, len(channels), tuple(range(len(channels))), 0.0)
    cards = {RECIPE: (recipe, "fingerprint of the images"), "RESTFRQ": (frequencies_hz[0], "Hz")}
    header = cube_header(first, grid, STOKES, target, cards)
    beams = [[Beam.from_header(one) if one is not None else None] * len(STOKES) for one in headers]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_cube(path, header, _planes(channels), [] if target else [beam_table(beams, BEAMS)], is_tiled)
    print(f"{path}: {len(channels)} channels, {sum(one is None for one in headers)} of them blank")
    return True


def _planes(channels: Sequence[CubeChannel]) -> Iterator[Pixels | None]:
    for channel in channels:
        if channel.image is None:
            yield from [None] * len(STOKES)
            continue
        with fits.open(channel.image, memmap=False, lazy_load_hdus=True) as hdus:
            for place in range(len(STOKES)):
                yield np.asarray(hdus[0].section[0, place], np.float32)


def manifest(
    channels: Sequence[CubeChannel], smoothed: Sequence[CubeChannel], target: Beam | None, robust: float, products: Path
) -> dict[str, Any]:
    """Return the manifest of the cubes of a robust value, as JSON values."""
    entries = []
    for channel, other in zip(channels, smoothed, strict=True):
        record = dict(channel.record)
        if channel.image is not None:
            record |= image_record(channel.image, header_of(channel.image), products)
            reason = other.record.get("smoothed_reason") or ""
            record |= {"smoothed_status": "blank" if reason else "ok", "smoothed_reason": reason or None}
        entries.append(manifest_entry(channel.entry, {key: value for key, value in record.items() if key != "recipe"}))
    return {
        "robust": robust,
        "stokes": list(STOKES),
        "common_beam_arcsec": target.major_arcsec if target else None,
        "channels": entries,
    }
