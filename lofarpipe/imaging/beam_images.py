"""FITS images of the primary beam, and images corrected for it, beside the images that WSClean wrote."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from lofarpipe.imaging.measurement_set import SetMetadata
from lofarpipe.imaging.pair_weights import ChannelRange
from lofarpipe.imaging.primary_beam import BeamCube, beam_cube, resample
from lofarpipe.imaging.sky_image import remove_facts
from lofarpipe.imaging.station_beam import BeamError
from lofarpipe.imaging.weights import ImageWeighting

Floats = NDArray[np.float64]

LOWEST_POWER = 0.005  # of the centre; below it noise and sidelobes are all that a correction would show
# In the header of what is written here: everybeam, formula, or wsclean where WSClean made the beam itself.
SOURCE_KEY = "PBSOURCE"
# WSClean's MFS image is the mean of its channel images weighted with this key, to 1e-7. Source: measured,
# tests/imaging/test_beam_images.py.
WEIGHT_KEY = "WSCIMGWG"
CENTRE_TOLERANCE = 1e-3
IMAGE_NAME = re.compile(r"(?:-(?P<channel>\d{4}|MFS))?(?:-(?P<stokes>[IQUV]))?-image\.fits")


@dataclass(frozen=True)
class BeamImages:
    """What was written: names of the MFS image, its corrected version and its beam; and how the beam was made."""

    image: Path
    image_pb: Path
    beam: Path
    source: str  # "everybeam", "formula" or "wsclean"
    detail: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Image:
    """One of WSClean's images: its path, output channel (None: MFS, or the only one) and Stokes letter or ''."""

    path: Path
    channel: int | None
    stokes: str

    def sibling(self, ending: str, stokes: bool = True) -> Path:
        """Return the name of a product of this image: `-image.fits` replaced; without the Stokes letter on request."""
        stem = self.path.name.removesuffix("-image.fits")
        if self.stokes and not stokes:
            stem = stem.removesuffix(f"-{self.stokes}")
        return self.path.with_name(stem + ending)


def find_images(root: str, written: Sequence[str] | None = None) -> list[_Image]:
    """Return WSClean's images of a root name, MFS first; a lone image is copied to its MFS name.

    ``written`` are the files that WSClean wrote; None takes those that are there.

    Raises
    ------
    BeamError
        If there is none.
    """
    directory, name = Path(root).parent, Path(root).name
    matches = [
        (path, IMAGE_NAME.fullmatch(path.name[len(name) :]))
        for path in (sorted(directory.glob("*-image.fits")) if written is None else map(Path, written))
        if path.name.startswith(name)
    ]
    found = {path: match for path, match in matches if match}
    images = {}
    for path, match in found.items():
        channel, stokes = match["channel"], match["stokes"] or ""
        named = path if channel else _mfs_copy(path, root, stokes)
        images[named] = _Image(named, int(channel) if (channel or "MFS") != "MFS" else None, stokes)
    if not any(image.channel is None for image in images.values()):
        raise BeamError(f"{root}: no {name}-MFS-image.fits or {name}-image.fits there; has WSClean run with this name?")
    return sorted(images.values(), key=lambda image: (-1 if image.channel is None else image.channel, image.stokes))


def _mfs_copy(path: Path, root: str, stokes: str) -> Path:
    """Copy the only image of a run with one output channel to the name that it has with several."""
    target = Path(f"{root}-MFS{'-' + stokes if stokes else ''}-image.fits")
    partial = _unfinished(target)
    try:
        shutil.copyfile(path, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _unfinished(path: Path) -> Path:
    """Return the name of a file until it is complete; the next try replaces what a killed one left."""
    return path.with_name(f".{path.name}.part")


def _write(path: Path, pixels: NDArray[np.float32], header: Any) -> None:
    """Write a FITS image under its final name only when it is complete."""
    partial = _unfinished(path)
    try:
        fits.PrimaryHDU(pixels[np.newaxis, np.newaxis], header).writeto(partial, overwrite=True)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _pixels_and_header(path: Path) -> tuple[NDArray[np.float32], Any]:
    """Return the plane of a WSClean image, (y, x), and its header."""
    try:
        with fits.open(path, memmap=True) as hdus:
            plane, header = np.array(hdus[0].data[0, 0], np.float32), hdus[0].header.copy()
            if plane.ndim != 2:
                raise TypeError(f"it has {plane.ndim + 2} axes")
            return plane, header
    except (OSError, TypeError, IndexError) as err:
        raise BeamError(f"{path}: not a FITS image with the axes RA, Dec, frequency, Stokes: {err}") from err


def _axes(header: Any) -> tuple[Floats, Floats]:
    """Return the direction cosines l of the columns and m of the rows of an image in the SIN projection."""
    if not (str(header["CTYPE1"]).endswith("SIN") and str(header["CTYPE2"]).endswith("SIN")):
        raise BeamError(f"image has projection {header['CTYPE1']}, {header['CTYPE2']}; expected RA---SIN, DEC--SIN")
    columns, rows = (
        (np.arange(header[f"NAXIS{axis}"]) + 1 - header[f"CRPIX{axis}"]) * math.radians(header[f"CDELT{axis}"])
        for axis in (1, 2)
    )
    return columns, rows


def _channel_range(header: Any) -> ChannelRange:
    """Return the edges of an image's frequency axis; WSClean gives its centre and its full width."""
    half = abs(header["CDELT3"]) / 2
    return ChannelRange(header["CRVAL3"] - half, header["CRVAL3"] + half)


def write_beam_images(
    root: str,
    sets: Sequence[SetMetadata],
    robust: float,
    padding: float,
    min_lambda: float,
    max_lambda: float,
    dish_diameter_m: float | None = None,
    written: Sequence[str] | None = None,
) -> BeamImages:
    """Write the primary beam of all images of a root name, and the images divided by it.

    For ``root-MFS-image.fits`` and each ``root-NNNN-image.fits`` (or with ``-I``, ``-Q``... before ``-image``):
    ``...-primary-beam.fits`` and ``...-image-pb.fits``. The beam is the power beam of Stokes I, 1 where the data were
    corrected for the beam, the centre; all Stokes are divided by it. Below 0.5 % it is NaN. The MFS beam is the mean
    of the channels' beams with the weights that WSClean gave the channels in its MFS image. Where WSClean has made the
    corrected image itself, that one is only scaled to 1 at the centre.

    Raises
    ------
    BeamError
        If there is no such image, one cannot be read, or no beam can be computed for the sets.
    ValueError
        As `lofarpipe.imaging.primary_beam.beam_cube`.
    """
    images = find_images(root, written)
    mfs = images[0]
    if (own := _corrected_by_wsclean(mfs, written)) is not None:
        return own
    headers = {image.path: fits.getheader(image.path) for image in images}
    channels = [image for image in images if image.channel is not None and image.stokes == mfs.stokes] or [mfs]
    columns_l, rows_m = _axes(headers[mfs.path])
    cube = beam_cube(
        sets,
        [_channel_range(headers[image.path]) for image in channels],
        ImageWeighting(
            (len(columns_l), len(rows_m)), abs(columns_l[1] - columns_l[0]), robust, padding, min_lambda, max_lambda
        ),
        (math.radians(headers[mfs.path]["CRVAL1"]), math.radians(headers[mfs.path]["CRVAL2"])),
        (float(np.abs(columns_l).max()), float(np.abs(rows_m).max())),
        dish_diameter_m,
    )
    weights = np.array([headers[image.path].get(WEIGHT_KEY, 0.0) for image in channels], float)
    powers: dict[int | None, Floats] = {image.channel: cube.power[i] for i, image in enumerate(channels)}
    powers[None] = _mean_beam(root, cube.power, weights)
    for key, power in powers.items():
        _write_of_channel([image for image in images if image.channel == key], cube, power, columns_l, rows_m)
    names = (mfs.path, mfs.sibling("-image-pb.fits"), mfs.sibling("-primary-beam.fits", stokes=False))
    return BeamImages(*names, cube.source, cube.detail, cube.warnings)


def _mean_beam(root: str, powers: Floats, weights: Floats) -> Floats:
    """Return the mean of the channels' beams; a channel without weight does not count, whatever its beam."""
    if len(powers) == 1:
        return np.asarray(powers[0])
    used = weights > 0
    if not used.any():
        raise BeamError(f"{root}: no channel image has a positive {WEIGHT_KEY}; was it written by WSClean, from data?")
    return np.asarray(np.average(powers[used], axis=0, weights=weights[used]))


def _write_of_channel(
    images: Sequence[_Image], cube: BeamCube, power: Floats, columns_l: Floats, rows_m: Floats
) -> None:
    """Write the beam of one output channel, and all its Stokes images divided by it."""
    beam = np.full((len(rows_m), len(columns_l)), np.nan, np.float32)
    if np.isfinite(power).all():
        for rows, block in resample(cube.grid, power, columns_l, rows_m):
            beam[rows] = np.where(block >= LOWEST_POWER, block, np.nan)
    for number, image in enumerate(images):
        pixels, header = _pixels_and_header(image.path)
        remove_facts(header)  # an earlier try may have come as far as to measure the image
        _describe(header, cube.source, cube.detail)
        _write(image.sibling("-image-pb.fits"), pixels / beam, header)
        if number == 0:
            _write(image.sibling("-primary-beam.fits", stokes=False), beam, _beam_header(header))


def _describe(header: Any, source: str, detail: str) -> None:
    """Say in a header how the beam was made."""
    header[SOURCE_KEY] = (source, "how the primary beam was made")
    header["PBCUT"] = (LOWEST_POWER, "blank where the beam is below")
    header.add_history(f"primary beam: {detail}")


def _beam_header(header: Any) -> Any:
    """Return the header of a beam image: that of the image, without unit and restoring beam."""
    header = header.copy()
    for key in ("BMAJ", "BMIN", "BPA"):
        header.remove(key, ignore_missing=True)
    header["BUNIT"], header["BTYPE"] = "", "Beam"
    return header


def _corrected_by_wsclean(mfs: _Image, written: Sequence[str] | None) -> BeamImages | None:
    """Return the products of a run in which WSClean made the corrected image; None where it did not.

    The beam is the ratio of its two images; where that is not 1 at the centre, the corrected image is scaled.
    """
    path = mfs.sibling("-image-pb.fits")
    is_written = path.exists() if written is None else str(path) in written
    if not is_written or fits.getheader(path).get(SOURCE_KEY, "wsclean") != "wsclean":
        return None
    pixels, _ = _pixels_and_header(mfs.path)
    corrected, header = _pixels_and_header(path)
    with np.errstate(divide="ignore", invalid="ignore"):
        beam = np.where(corrected == 0, np.nan, pixels / corrected)
    row, column = int(header["CRPIX2"]) - 1, int(header["CRPIX1"]) - 1
    centre = float(np.nanmedian(beam[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]))
    if not centre > 0:
        raise BeamError(f"{path}: {mfs.path.name} divided by it is {centre} at the centre; expected a positive beam")
    detail = f"WSClean's own beam, {centre:.4f} at the centre"
    warnings: tuple[str, ...] = ()
    if abs(centre - 1) > CENTRE_TOLERANCE:
        warnings = (f"{path.name}: WSClean's beam is {centre:.4f} at the centre; scaled to 1",)
        corrected, beam = corrected * np.float32(centre), beam / np.float32(centre)
    _describe(header, "wsclean", detail)
    if warnings:
        _write(path, corrected, header)
    target = mfs.sibling("-primary-beam.fits", stokes=False)
    _write(target, np.where(beam >= LOWEST_POWER, beam, np.nan).astype(np.float32), _beam_header(header))
    return BeamImages(mfs.path, path, target, "wsclean", detail, warnings)
