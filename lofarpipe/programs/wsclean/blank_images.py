"""Images of WSClean without a single number in them.

WSClean writes them without complaint, for example of weights that are NaN: nothing in its log tells. They are read
without numpy, as it is the engine that looks, and mostly no further than the first pixels of the middle.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

CARD_BYTES, BLOCK_BYTES = 80, 2880  # of the FITS standard 4.0, section 3
MOST_BLOCKS = 1000  # of a header
CHUNK_BYTES = 1 << 20
TYPES = {-32: "f", -64: "d"}  # BITPIX -> type of array
ENDING, OF_THE_BAND = "-image.fits", "-MFS-"
SMALL = b"\1\0"


def blank_images(paths: Iterable[Path]) -> list[str]:
    """Return the names of the images of a run of WSClean if none of them has a finite pixel; else none.

    Where there are images of the whole band they alone count: a channel in which all is flagged is blank, too.
    """
    images = [path for path in paths if path.name.endswith(ENDING)]
    images = [path for path in images if OF_THE_BAND in path.name] or images
    return [path.name for path in images] if all(map(is_blank, images)) else []


def is_blank(path: Path) -> bool:
    """Return whether a FITS image of floating-point numbers has pixels, and no finite one; False for any other file."""
    try:
        with path.open("rb") as stream:
            kind, count = _layout(stream)
            return count > 0 and not any(map(_has_number, _chunks(stream, kind, count)))
    except (OSError, ValueError, KeyError):
        return False


def _layout(stream: BinaryIO) -> tuple[str, int]:
    """Return the type and the number of the pixels, and leave the stream at the first one."""
    cards: dict[bytes, bytes] = {}
    for _ in range(MOST_BLOCKS):
        block = stream.read(BLOCK_BYTES)
        lines = [block[start : start + CARD_BYTES] for start in range(0, len(block), CARD_BYTES)]
        cards |= {line[:8].strip(): line[10:].partition(b"/")[0].strip() for line in lines}
        if len(block) < BLOCK_BYTES or b"END" in cards:
            break
    axes = [int(cards[b"NAXIS%d" % axis]) for axis in range(1, int(cards[b"NAXIS"]) + 1)]
    return TYPES[int(cards[b"BITPIX"])], math.prod(axes) if axes else 0


def _chunks(stream: BinaryIO, kind: str, count: int) -> Iterator[array[float]]:
    """Yield the pixels, those of the middle first."""
    size = array(kind).itemsize
    start, middle, end = stream.tell(), stream.tell() + count // 2 * size, stream.tell() + count * size
    for first, last in ((middle, end), (start, middle)):
        stream.seek(first)
        while first < last and (content := stream.read(min(CHUNK_BYTES, last - first))):
            first += len(content)
            yield _pixels(content, kind)


def _pixels(content: bytes, kind: str) -> array[float]:
    pixels: array[float] = array(kind)
    size = pixels.itemsize
    if content == content[:size] * (len(content) // size):  # as blank images are: one pixel says it
        content = content[:size]
    pixels.frombytes(content[: len(content) // size * size])
    if array("H", SMALL)[0] == SMALL[0]:  # FITS has the high byte first
        pixels.byteswap()
    return pixels


def _has_number(pixels: array[float]) -> bool:
    return any(map(math.isfinite, pixels))
