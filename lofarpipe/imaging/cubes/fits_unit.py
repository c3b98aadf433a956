"""Incremental writer of one FITS unit: an image, plain or in compressed tiles, with checksums."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from astropy.io import fits

if TYPE_CHECKING:  # a slow import: astropy.coordinates and units
    from lofarpipe.imaging.quality.sky_image import Pixels


FITS_BLOCK_BYTES = 2880
FLOAT_BYTES = 4
TILE_PIXELS = 256  # width and height of a compressed tile
DESCRIPTOR_BYTES = 16  # of a tile: length and offset of 8 bytes each
GZIP_LEVEL = 1  # higher levels hardly shrink noise, at several times the cost
ALL_ONES = 0xFFFFFFFF
# Structural keywords of a compressed image, renamed in the table.
STRUCTURE = ("SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "NAXIS4", "EXTEND")


class FitsUnit:
    """A header and its data; `finish` writes CHECKSUM and DATASUM into the header.

    Source: FITS standard 4.0, section 4.4.2.7 and appendix J.
    """

    def __init__(self, stream: BinaryIO, header: fits.Header) -> None:
        self._stream, self.header = stream, header.copy()
        self.header["CHECKSUM"], self.header["DATASUM"] = "0" * 16, "0"
        self._begin, self._sum = stream.tell(), 0
        stream.write(self._header_bytes())
        self.data_begin = stream.tell()

    def _header_bytes(self) -> bytes:
        return str(self.header.tostring(padding=True)).encode("ascii")

    def write_rows(self, block: Pixels) -> None:
        """Write rows of a plane, (y, x), big-endian."""
        self.write(as_bytes(block))

    def write(self, content: bytes | memoryview) -> None:
        """Write data with a length of a multiple of 4 bytes."""
        self._sum = ones_sum(content, self._sum)
        self._stream.write(content)

    def put(self, place: int, content: bytes) -> None:
        """Overwrite zeros at an offset in the data."""
        self._stream.seek(self.data_begin + place)
        self.write(content)
        self._stream.seek(0, 2)

    def finish(self) -> None:
        """Pad the last block, and write the header with its checksums."""
        self._stream.write(bytes(-self._stream.tell() % FITS_BLOCK_BYTES))
        self.header["DATASUM"] = str(self._sum)
        self.header["CHECKSUM"] = checksum_text(ones_sum(self._header_bytes(), self._sum))
        self._stream.seek(self._begin)
        self._stream.write(self._header_bytes())
        self._stream.seek(0, 2)


def as_bytes(block: Pixels) -> memoryview:
    """Return a view of a contiguous array's bytes."""
    return memoryview(block).cast("B")  # type: ignore[arg-type]  # arrays have buffers in Python 3.12


def ones_sum(content: bytes | memoryview, total: int = 0) -> int:
    """Return the ones' complement sum of big-endian 4-byte words."""
    total += int(np.frombuffer(content, ">u4").sum(dtype=np.uint64))
    while total > ALL_ONES:
        total = (total & ALL_ONES) + (total >> 32)
    return total


def checksum_text(total: int) -> str:
    """Return the 16 letters and digits that, replacing 16 zeros, make a unit's sum -0.

    Each byte of the complement is spread over four characters; a character that is no letter or digit is shifted
    against its neighbour. Source: FITS standard 4.0, appendix J.
    """
    columns = []
    for value in (ALL_ONES - total).to_bytes(4, "big"):
        quarters = [value // 4 + ord("0")] * 4
        quarters[0] += value % 4
        for pair in (0, 2):
            while not all(chr(code).isalnum() for code in quarters[pair : pair + 2]):
                quarters[pair], quarters[pair + 1] = quarters[pair] + 1, quarters[pair + 1] - 1
        columns.append(quarters)
    text = "".join(chr(column[row]) for row in range(4) for column in columns)
    return text[-1] + text[:-1]


# ------------------------------------------------------------------------------------------------ compressed tiles
class TiledUnit(FitsUnit):
    """An image as a table of losslessly compressed tiles; memory holds one plane and the offset of each tile.

    Source: FITS standard 4.0, section 10; compression GZIP_2 without quantization.
    """

    def __init__(self, stream: BinaryIO, header: fits.Header) -> None:
        lengths = [int(header[f"NAXIS{number}"]) for number in range(1, int(header["NAXIS"]) + 1)]
        tiles = [min(TILE_PIXELS, length) for length in lengths[:2]]
        nplanes = int(np.prod(lengths[2:]))
        per_plane = -(-lengths[0] // tiles[0]) * -(-lengths[1] // tiles[1])
        self._places = np.zeros((nplanes * per_plane, 2), ">i8")
        self._number = self._heap_bytes = 0
        super().__init__(stream, _table_header(header, lengths, tiles, len(self._places)))
        self.write(bytes(self._places.nbytes))

    def write_rows(self, block: Pixels) -> None:
        """Write a row of tiles: ``TILE_PIXELS`` rows of a plane, or its remaining rows."""
        for column in range(0, block.shape[1], TILE_PIXELS):
            content = _compressed(block[:, column : column + TILE_PIXELS])
            self._places[self._number] = len(content), self._heap_bytes
            self._number += 1
            content += bytes(-len(content) % FLOAT_BYTES)
            self.write(content)
            self._heap_bytes += len(content)

    def finish(self) -> None:
        """Write the offsets of the tiles, and the header."""
        self.put(0, self._places.tobytes())
        self.header["PCOUNT"], self.header["TFORM1"] = self._heap_bytes, f"1QB({int(self._places[:, 0].max())})"
        super().finish()


def _compressed(tile: Pixels) -> bytes:
    """Compress a tile after byte shuffling: all first bytes of its numbers, then all second bytes, and so on."""
    ordered = np.frombuffer(tile.tobytes(), np.uint8).reshape(-1, FLOAT_BYTES).T
    return gzip.compress(ordered.tobytes(), GZIP_LEVEL, mtime=0)


def _table_header(image: fits.Header, lengths: Sequence[int], tiles: Sequence[int], rows: int) -> fits.Header:
    table = fits.Header([("XTENSION", "BINTABLE"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", DESCRIPTOR_BYTES)])
    table["NAXIS2"], table["PCOUNT"], table["GCOUNT"], table["TFIELDS"] = rows, 0, 1, 1
    table["TTYPE1"], table["TFORM1"] = "COMPRESSED_DATA", "1QB(0)"
    table["ZIMAGE"], table["ZTENSION"], table["ZBITPIX"], table["ZNAXIS"] = True, "IMAGE", -32, len(lengths)
    for number, length in enumerate(lengths, start=1):
        table[f"ZNAXIS{number}"] = length
        table[f"ZTILE{number}"] = tiles[number - 1] if number <= len(tiles) else 1
    table["ZPCOUNT"], table["ZGCOUNT"], table["ZCMPTYPE"], table["ZQUANTIZ"] = 0, 1, "GZIP_2", "NONE"
    table["EXTNAME"] = "COMPRESSED_IMAGE"
    for card in image.cards:
        if card.keyword not in STRUCTURE:
            table.append(card, end=True)
    return table


def empty_primary() -> bytes:
    """Return the primary unit of a file with its image in a table."""
    header = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)])
    return str(header.tostring(padding=True)).encode("ascii")
