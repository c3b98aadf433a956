"""Whether two products differ by rounding alone: threads that add in another order change the last digits."""

from __future__ import annotations

import math
import re
from typing import Any

NOISE_PART = 0.05  # of the image's noise: nobody can see it
LARGEST_PART = 1e-5  # of the largest pixel, of images without noise, such as models
NUMBER_PART = 1e-3  # of a number in a text: what follows from pixels differs by more than these
LARGEST_NUMBER = 1e5  # larger ones are times, frequencies and sizes: no sum of pixels changes them
LEVELS = 2  # of 255, of a drawing

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def are_close_images(one: Any, other: Any) -> bool:
    """Whether no pixel of two images of one shape differs by more than 5 % of the noise, and the same ones are blank.

    Where most pixels have the same value there is no noise: then by no more than 1e-5 of the largest.
    """
    import numpy as np

    from lofarpipe.imaging.quality.statistics import robust_rms

    there = np.isfinite(one)
    if not np.array_equal(there, np.isfinite(other)) or not there.any():
        return False
    try:
        limit = NOISE_PART * robust_rms(one)
    except ValueError:
        limit = LARGEST_PART * float(np.abs(one[there]).max())
    return bool(np.abs(one[there].astype(float) - other[there]).max() <= limit)


def are_close_texts(one: str, other: str) -> bool:
    """Whether two texts are the same but for numbers with a decimal point, and these differ by 0.1 % at most."""
    if _NUMBER.sub("0", one) != _NUMBER.sub("0", other):
        return False
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    return all(_are_close_numbers(*pair) for pair in pairs)


def _are_close_numbers(one: str, other: str) -> bool:
    if one == other:
        return True
    if one.lstrip("+-").isdigit() or other.lstrip("+-").isdigit() or abs(float(one)) > LARGEST_NUMBER:
        return False
    return math.isclose(float(one), float(other), rel_tol=NUMBER_PART)


def are_close_drawings(one: str, other: str) -> bool:
    """Whether no pixel of two pictures in files differs by more than 2 of 255 levels; False if one is no picture."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(one) as first, Image.open(other) as second:
            levels = [np.asarray(picture.convert("RGBA"), np.int16) for picture in (first, second)]
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return False
    return levels[0].shape == levels[1].shape and int(np.abs(levels[0] - levels[1]).max(initial=0)) <= LEVELS
