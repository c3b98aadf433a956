"""Cube files: written plane by plane, verified, and named only when complete."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from astropy.io import fits

from lofarpipe.imaging.cubes.fits_unit import (
    FITS_BLOCK_BYTES,
    FLOAT_BYTES,
    TILE_PIXELS,
    FitsUnit,
    TiledUnit,
    as_bytes,
    empty_primary,
)
from lofarpipe.imaging.cubes.header import CubeError
from lofarpipe.support.utilities import remove_unfinished, unfinished_name

if TYPE_CHECKING:  # a slow import: astropy.coordinates and units
    from lofarpipe.imaging.quality.sky_image import Pixels

PLANE_BLOCK_BYTES = 1 << 23  # of a plane, converted and written or read back at a time


def write_cube(
    path: str | Path,
    header: fits.Header,
    planes: Iterable[Pixels | None],
    tables: Sequence[fits.BinTableHDU] = (),
    is_tiled: bool = False,
) -> list[int]:
    """Write a cube from its planes, (y, x), in file order; return their checksums.

    ``header`` has the lengths of all axes. None is a blank plane. Memory holds one plane at a time. The cube is read
    back and verified before it replaces an earlier cube of its name. Every unit has CHECKSUM
    and DATASUM. ``is_tiled``: store the image as an extension of losslessly compressed tiles.

    Raises
    ------
    CubeError
        If number or size of the planes differ from the header, the cube cannot be written, or reading it back
        gives other values.
    """
    shape = tuple(int(header[f"NAXIS{number}"]) for number in range(int(header["NAXIS"]), 0, -1))
    nplanes = int(np.prod(shape[:-2]))
    with _unfinished_file(Path(path)) as unfinished:
        with unfinished.open("wb") as stream:
            stream.write(empty_primary() if is_tiled else b"")
            unit = TiledUnit(stream, header) if is_tiled else FitsUnit(stream, header)
            coming = iter(planes)
            checksums = [_write_plane(unit, plane, shape[-2:], path) for plane in islice(coming, nplanes)]
            if (number := len(checksums) + sum(1 for _ in coming)) != nplanes:
                raise CubeError(f"{path}: {number} planes came for a cube of {nplanes}")
            unit.finish()
            for table in tables:
                stream.write(_table_bytes(table))
            stream.flush()
            os.fsync(stream.fileno())
        verify_cube(unfinished, checksums, str(path))
    return checksums


@contextmanager
def _unfinished_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; rename the file at the end, or remove it after an error."""
    target = Path(os.path.realpath(path))
    unfinished = unfinished_name(target)
    try:
        remove_unfinished([target.parent])  # left by killed writers
        yield unfinished
        unfinished.replace(target)
    except OSError as err:
        raise CubeError(f"{path}: cannot be written: {err.strerror or err}") from err
    finally:
        unfinished.unlink(missing_ok=True)


def _write_plane(unit: FitsUnit, plane: Pixels | None, shape: tuple[int, ...], path: str | Path) -> int:
    """Write one plane in blocks of rows; return its checksum."""
    if plane is not None and plane.shape != shape:
        sizes = " and ".join(f"{width} x {height} pixels" for height, width in (plane.shape, shape))
        raise CubeError(f"{path}: planes differ in size: {sizes}")
    step, checksum = TILE_PIXELS if isinstance(unit, TiledUnit) else _block_rows(shape), 0
    for first in range(0, shape[0], step):
        rows = min(step, shape[0] - first)
        block = np.full((rows, shape[1]), np.nan, np.float32) if plane is None else plane[first : first + rows]
        content = np.ascontiguousarray(block, ">f4")
        checksum = zlib.crc32(as_bytes(content), checksum)
        unit.write_rows(content)
    return checksum


def _block_rows(shape: Sequence[int]) -> int:
    return max(1, PLANE_BLOCK_BYTES // (FLOAT_BYTES * shape[1]))


def _table_bytes(table: fits.BinTableHDU) -> bytes:
    content = BytesIO()
    table.writeto(content, checksum=True)  # preceded by an empty primary unit
    return content.getvalue()[FITS_BLOCK_BYTES:]


def plane_checksum(plane: Pixels) -> int:
    """Return the checksum of a plane, (y, x), in a cube."""
    checksum, step = 0, _block_rows(plane.shape)
    for first in range(0, plane.shape[0], step):
        checksum = zlib.crc32(plane[first : first + step].astype(">f4").tobytes(), checksum)
    return checksum


def verify_cube(path: str | Path, checksums: Sequence[int], name: str = "") -> None:
    """Read a cube back and compare every plane, in file order, with its checksum.

    Raises
    ------
    CubeError
        If the cube cannot be read, has other planes, or is truncated; ``name`` replaces the path in the message.
    """
    name = name or str(path)
    try:
        with fits.open(path, memmap=False, lazy_load_hdus=True) as units:
            read_checksums = list(_checksums_of(Path(path), image_unit(units)))
    except (OSError, KeyError, zlib.error) as err:
        raise CubeError(f"{name}: cannot be read back: {err}") from err
    nplanes = len(read_checksums)
    if wrong := [
        number for number, pair in enumerate(zip(read_checksums, checksums, strict=False)) if pair[0] != pair[1]
    ]:
        raise CubeError(f"{name}: plane {wrong[0]} is not as it was written ({len(wrong)} of {nplanes}); make it again")
    if nplanes != len(checksums):
        raise CubeError(f"{name}: has {nplanes} planes where {len(checksums)} were written; make it again")


def image_unit(units: fits.HDUList) -> Any:
    """Return the image unit of a file: the first unit, or the compressed tiles."""
    return units[0] if units[0].header["NAXIS"] else units[1]


def _checksums_of(path: Path, image: Any) -> Iterator[int]:
    """Yield the checksum of each plane of a cube on disk."""
    shape = [int(image.header[f"NAXIS{number}"]) for number in range(int(image.header["NAXIS"]), 0, -1)]
    if isinstance(image, fits.CompImageHDU):
        yield from (plane_checksum(image.section[place]) for place in np.ndindex(*shape[:-2]))
        return
    with path.open("rb") as stream:
        stream.seek(image.fileinfo()["datLoc"])
        for _ in range(int(np.prod(shape[:-2]))):
            yield _read_checksum(stream, FLOAT_BYTES * shape[-1] * shape[-2])


def _read_checksum(stream: BinaryIO, size_bytes: int) -> int:
    checksum = 0
    while size_bytes:
        block: Any = stream.read(min(PLANE_BLOCK_BYTES, size_bytes))
        if not block:
            raise OSError("it ends early")
        checksum, size_bytes = zlib.crc32(block, checksum), size_bytes - len(block)
    return checksum
