"""Masks from FITS images, and the noise of the surroundings."""

import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.imaging.imager.errors import ImagerError
from lofarpipe.imaging.imager.masks import coarse_noise, local_factors, read_mask


def test_mask_covers_non_zero_pixels(tmp_path):
    plane = np.zeros((3, 4), np.float32)
    plane[1, 2], plane[2, 0], plane[0, 0] = 1, -0.5, np.nan
    fits.writeto(tmp_path / "mask.fits", plane[None, None])
    assert np.argwhere(read_mask(str(tmp_path / "mask.fits"), (3, 4))).tolist() == [[1, 2], [2, 0]]


@pytest.mark.parametrize(
    ("plane", "words"),
    [
        (np.ones((4, 3)), "the mask has 3 x 4 pixels, and the image 4 x 3"),
        (np.zeros((3, 4)), "is 0 everywhere"),
        (None, "the mask has 0 pixels"),
    ],
)
def test_mask_of_wrong_size_is_refused(tmp_path, plane, words):
    fits.PrimaryHDU(plane).writeto(tmp_path / "mask.fits")
    with pytest.raises(ImagerError, match=words):
        read_mask(str(tmp_path / "mask.fits"), (3, 4))


@pytest.mark.parametrize("name", ["missing.fits", "text.fits"])
def test_file_without_image_is_refused(tmp_path, name):
    (tmp_path / "text.fits").write_text("no image")
    with pytest.raises(ImagerError, match=rf"{name}: no mask can be read from it: .*; give a FITS image"):
        read_mask(str(tmp_path / name), (3, 4))


@pytest.fixture(scope="module")
def uneven():
    """Noise of 1 mJy, but of 4 mJy in the upper half."""
    image = np.random.default_rng(1).normal(0, 1e-3, (300, 200)).astype(np.float32)
    image[150:] *= 4
    return image


def test_local_noise_comes_from_box(uneven):
    rows, columns, noise = coarse_noise(uneven, 50)
    assert (rows[0], rows[-1], columns[-1]) == (0, 299, 199)
    assert noise[rows < 120] == pytest.approx(1e-3, rel=0.1)
    assert noise[rows > 180] == pytest.approx(4e-3, rel=0.1)


def test_factor_is_noise_over_local_noise(uneven):
    factors = local_factors(uneven, 2e-3, 50)
    assert factors.shape == uneven.shape
    assert np.median(factors[:120]) == pytest.approx(2, rel=0.05)
    assert np.median(factors[180:]) == pytest.approx(0.5, rel=0.05)
    assert np.abs(np.diff(factors, axis=0)).max() < 0.1  # no steps


def test_blank_parts_and_images_have_finite_factors(uneven):
    half_blank = uneven.copy()
    half_blank[:150] = 0
    assert local_factors(half_blank, 1e-3, 50).max() == pytest.approx(1000)
    assert (local_factors(np.zeros((20, 20), np.float32), 0.0, 50) == 1).all()


def test_box_larger_than_image_gives_one_noise(uneven):
    assert local_factors(uneven[:100], 1e-3, 5000) == pytest.approx(1, rel=0.05)
