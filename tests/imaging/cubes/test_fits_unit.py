"""The check sums of a unit of a FITS file, and its tiles."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.imaging.cubes.fits_unit import TILE_PIXELS, TiledUnit, checksum_text, empty_primary, ones_sum


def test_checksum_carry_wraps_around() -> None:
    assert ones_sum(bytes([0xFF] * 4 + [0, 0, 0, 2])) == 2
    assert ones_sum(bytes([0, 0, 0, 5]), 7) == 12


# By hand from the standard: 868229149 is its own example.
@pytest.mark.parametrize(("total", "text"), [(868229149, "hcHjjc9ghcEghc9g"), (0xDEADBEEF, "49FH48D948DG48D9")])
def test_checksum_is_letters_and_digits(total: int, text: str) -> None:
    assert checksum_text(total) == text
    assert ones_sum(f"000{text}0".encode(), 0) == ones_sum(b"0" * 20, 0xFFFFFFFF - total)


def test_tiles_of_odd_sizes_are_read_back() -> None:
    rows, columns = TILE_PIXELS + 3, 2 * TILE_PIXELS + 5
    plane = np.random.default_rng(1).normal(size=(rows, columns)).astype(">f4")
    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", columns), ("NAXIS2", rows)])
    stream = io.BytesIO()
    stream.write(empty_primary())
    unit = TiledUnit(stream, header)
    for first in range(0, rows, TILE_PIXELS):
        unit.write_rows(plane[first : first + TILE_PIXELS])
    unit.finish()
    stream.seek(0)
    with fits.open(stream, checksum=True) as units:
        assert np.array_equal(units[1].data, plane)
