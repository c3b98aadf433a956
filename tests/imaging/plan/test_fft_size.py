"""Image sizes: the definition, by brute force, and the examples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.imaging.plan.fft_size import SMALLEST_SIDE, format_size, image_size, is_smooth, smooth_even_size


@pytest.mark.parametrize(
    ("npix", "size"),
    [
        (1, 2),
        (1001, 1008),
        (1111, 1120),
        (2019, 2048),
        (3028, 3072),
        (3076, 3136),
        (4197, 4200),
        (4411, 4480),
        (6001, 6048),
        (12345, 12348),
        (3136, 3136),
    ],
)
def test_smooth_sizes_equal_hand_calculation(npix, size):
    assert smooth_even_size(npix) == size


@given(st.integers(1, 20000))
def test_smooth_size_is_the_smallest(npix):
    size = smooth_even_size(npix)
    assert size % 2 == 0
    assert is_smooth(size)
    assert not any(is_smooth(smaller) for smaller in range(npix + npix % 2, size, 2))


@pytest.mark.parametrize("npix", [0, -4])
def test_no_pixels_are_refused(npix):
    with pytest.raises(ValueError, match="smaller than a pixel"):
        smooth_even_size(npix)


def test_image_size_covers_the_field():
    assert image_size(1.5 * 4.2003, 0.00208) == 3072  # 3029.1 pixels


@pytest.mark.parametrize("cellsize_deg", [0.0, -0.1, float("nan")])
def test_zero_cell_size_is_refused(cellsize_deg):
    with pytest.raises(ValueError, match="cell size is"):
        image_size(5.0, cellsize_deg)


def test_size_has_wsclean_format():
    assert format_size((3072, 2048)) == "3072 2048"


def test_small_field_has_minimum_size():
    assert image_size(0.01, 0.02) == SMALLEST_SIDE
