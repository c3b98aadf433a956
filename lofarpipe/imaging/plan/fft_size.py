"""Sizes of images: even, and products of 2, 3, 5 and 7, which FFTs like."""

from __future__ import annotations

SMALLEST_SIDE = 16  # pixels: WSClean grids no fewer, and a noise has to be measured
# Below, IDG 1.2 drops visibilities at the edge of its grid: peaks are 8 % too low at 120 pixels, 40 % at 40, and all
# is 0 at 24; from 128 on they are right to 1e-5. Source: WSClean 3.1, IDG against w-gridder, 16 to 256 pixels.
SMALLEST_IDG_SIDE = 128
SMALL_PRIMES = (2, 3, 5, 7)


def is_smooth(number: int) -> bool:
    """Return whether all prime factors of a positive number are 2, 3, 5 or 7."""
    for prime in SMALL_PRIMES:
        while number % prime == 0:
            number //= prime
    return number == 1


def smooth_even_size(npix: int) -> int:
    """Return the smallest even number, not below ``npix``, without prime factors above 7.

    Raises
    ------
    ValueError
        If ``npix`` is not positive.
    """
    if npix <= 0:
        raise ValueError(
            f"image size is {npix} pixels; the field is smaller than a pixel: check cellsize and fieldsize"
        )
    size = npix + npix % 2
    while not is_smooth(size):
        size += 2
    return size


def image_size(width_deg: float, cellsize_deg: float, smallest: int = SMALLEST_SIDE) -> int:
    """Return the number of pixels, smooth and even, that covers ``width_deg``; at least ``smallest``.

    Raises
    ------
    ValueError
        If the cell size is not positive.
    """
    if not cellsize_deg > 0:
        raise ValueError(f"cell size is {cellsize_deg} deg; it must be positive, e.g. 0.00208 for HBA")
    return smooth_even_size(max(smallest, int(width_deg / cellsize_deg)))


def format_size(size: tuple[int, int]) -> str:
    """Return a size as WSClean's ``-size`` takes it: width, blank, height."""
    return f"{size[0]} {size[1]}"
