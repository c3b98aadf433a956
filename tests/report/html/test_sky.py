"""Sky images as pictures of a page: averages, greys, and what turns them back."""

from __future__ import annotations

import base64
import io
import math
import mmap
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from lofarpipe.report.html.sky import NoPictureError, averaged, data_uri, open_plane, preview
from made_images import CELL_DEG, sky_header, write_image


def greys_of(picture: str) -> np.ndarray:
    """The pixels of a data URI, its first row at the top."""
    kind, content = picture.split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_blocks_are_averaged() -> None:
    plane = np.arange(16.0).reshape(4, 4)
    assert averaged(plane, 2).tolist() == [[2.5, 4.5], [10.5, 12.5]]  # (0 + 1 + 4 + 5) / 4, ...


def test_blocks_at_the_edges_are_smaller() -> None:
    plane = np.arange(15.0).reshape(3, 5)
    # Columns 0-1, 2-3, 4; rows 0-1, 2.
    assert averaged(plane, 2).tolist() == [[3.0, 5.0, 6.5], [10.5, 12.5, 14.0]]


def test_blank_pixels_do_not_count() -> None:
    plane = np.array([[1.0, np.nan, np.nan, np.nan], [3.0, np.nan, np.nan, np.nan]])
    with np.errstate(all="raise"):
        assert averaged(plane, 2)[0, 0] == 2
        assert np.isnan(averaged(plane, 2)[0, 1])


def test_numbers_of_a_file_in_the_other_byte_order_are_averaged() -> None:
    assert averaged(np.ones((2, 2), ">f4"), 2).tolist() == [[1.0]]


def test_greys_turn_back_into_fluxes(tmp_path: Path) -> None:
    plane = np.random.default_rng(1).normal(0, 1e-3, (64, 64))
    plane[10, 20], plane[40, 50] = 2.0, np.nan
    made = preview(write_image(tmp_path / "a.fits", plane))
    greys = greys_of(made.picture)
    assert greys.shape == (64, 64)
    assert greys[63 - 10, 20] == 0  # the brightest; north is up
    assert greys[63 - 40, 50] == 255  # blank
    part = (254 - greys[::-1].astype(float)) / 254
    fluxes = made.softening_jy * np.sinh(made.lowest + (made.highest - made.lowest) * part)
    known = np.isfinite(plane)
    # Half a step: (highest - lowest) / 508 in asinh(flux / softening), the derivative of which is 1 / hypot of both.
    half_step = (made.highest - made.lowest) / 508 * np.hypot(plane, made.softening_jy)
    assert np.all(np.abs(fluxes - plane)[known] <= 1.05 * half_step[known])
    assert half_step[known].min() < 0.1 * 1e-3  # a tenth of the noise


def test_deep_holes_share_the_darkest_level(tmp_path: Path) -> None:
    plane = np.random.default_rng(1).normal(0, 1e-3, (64, 64))
    plane[0, 0] = -5.0
    made = preview(write_image(tmp_path / "a.fits", plane))
    assert made.lowest == pytest.approx(math.asinh(-20 / 2))
    assert greys_of(made.picture)[63, 0] == 254


def test_large_images_become_small_ones(tmp_path: Path) -> None:
    made = preview(write_image(tmp_path / "a.fits", np.random.default_rng(1).normal(0, 1, (50, 101))), largest_side=40)
    assert (made.factor, made.width, made.height) == (3, 34, 17)  # 101 / 40 -> 3; 101 / 3, 50 / 3 rounded up
    assert (made.image_width, made.image_height) == (101, 50)
    assert made.noise_jy == pytest.approx(1 / 3, rel=0.15)  # white noise: 9 pixels in a block


def test_coordinates_and_beam_come_from_the_header(tmp_path: Path) -> None:
    made = preview(write_image(tmp_path / "a.fits"))
    assert made.is_sin
    assert made.reference_pixel == (65.0, 65.0)
    assert made.reference_deg == (-142.0, 34.5)
    assert made.increment_deg == pytest.approx((-CELL_DEG, CELL_DEG))
    assert made.beam_deg == pytest.approx((80 / 3600, 40 / 3600, 30.0))
    assert (made.name, made.unit) == ("a.fits", "JY/BEAM")


@pytest.mark.parametrize(
    "header", [{"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}, {"PC1_2": 0.1}, {"PV2_1": 0.1}, {"CRVAL1": "unknown"}]
)
def test_other_coordinates_are_left_to_others(tmp_path: Path, header: dict[str, object]) -> None:
    assert not preview(write_image(tmp_path / "a.fits", **header)).is_sin


def test_image_without_beam_and_coordinates_has_a_picture(tmp_path: Path) -> None:
    made = preview(write_image(tmp_path / "a.fits", without=("BMAJ", "CRPIX1")))
    assert made.beam_deg is None
    assert not made.is_sin
    assert made.reference_pixel == (0.0, 65.0)


def test_nothing_is_read_before_it_is_used(tmp_path: Path) -> None:
    plane, header = open_plane(write_image(tmp_path / "a.fits"))
    assert plane.shape == (128, 128)
    assert header["CRPIX1"] == sky_header()["CRPIX1"]
    owner = plane
    while hasattr(owner, "base") and owner.base is not None:
        owner = owner.base
    assert isinstance(owner, mmap.mmap)


@pytest.mark.parametrize(
    ("plane", "message"),
    [(np.full((8, 8), np.nan), "every pixel is blank"), (np.zeros((8, 8)), "the same value")],
)
def test_images_without_a_picture(tmp_path: Path, plane: np.ndarray, message: str) -> None:
    with pytest.raises(NoPictureError, match=rf"a\.fits: .*{message}"):
        preview(write_image(tmp_path / "a.fits", plane))


def test_files_without_an_image(tmp_path: Path) -> None:
    (tmp_path / "text.fits").write_text("no FITS at all")
    with pytest.raises(NoPictureError, match=r"text\.fits: cannot be read as FITS"):
        preview(tmp_path / "text.fits")
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    with pytest.raises(NoPictureError, match="holds no image"):
        preview(tmp_path / "empty.fits")
    with pytest.raises(NoPictureError, match="cannot be read as FITS"):
        preview(tmp_path / "nowhere.fits")


def test_data_uri() -> None:
    assert data_uri(b"abc", "text/plain") == "data:text/plain;base64,YWJj"


def test_a_beam_of_nothing_is_none(tmp_path: Path) -> None:
    assert preview(write_image(tmp_path / "dirty.fits", BMAJ=0.0, BMIN=0.0)).beam_deg is None
