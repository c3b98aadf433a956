"""Small pictures of cubes."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from lofarpipe.imaging.cubes.thumbnail import MOST_PLANES, SIDE_PIXELS, Thumbnail


def noise(seed=1, side=300):
    return np.random.default_rng(seed).normal(0, 1e-3, (side, side)).astype(np.float32)


def greys(thumbnail):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(thumbnail.png()))))


def test_source_is_dark_and_blank_pixels_are_white():
    thumbnail = Thumbnail(1)
    pixels = noise()
    pixels[40:44, 60:64] = 1.0
    pixels[:, 296:] = np.nan
    thumbnail.add(pixels)
    found = greys(thumbnail)
    assert max(found.shape) <= SIDE_PIXELS
    assert found[::-1][10, 15] == 0  # its first row is the uppermost of the sky
    assert (found[:, -1] == 255).all()


def test_thumbnail_averages_some_planes():
    thumbnail = Thumbnail(60)
    for number in range(60):
        thumbnail.add(noise(number, 30))
    assert len(thumbnail._planes) == MOST_PLANES


@pytest.mark.parametrize("planes", [[], [np.full((9, 9), np.nan, np.float32)], [np.ones((9, 9), np.float32)]])
def test_blank_planes_give_no_picture(planes):
    thumbnail = Thumbnail(len(planes))
    for plane in planes:
        thumbnail.add(plane)
    assert thumbnail.png() == ""
