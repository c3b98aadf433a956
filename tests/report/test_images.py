"""Small pictures of the images that jobs wrote, and their numbers."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from lofarpipe.report.images import SIDE_PIXELS, card, image_of, shrunk, small_picture
from lofarpipe.state.events import JobDone, JobStarted
from lofarpipe.state.run_state import JobState, RunState


def image(path: Path, pixels: np.ndarray, **keywords: float) -> Path:
    fits.writeto(path, pixels.astype(np.float32), fits.Header(keywords), overwrite=True)
    return path


def test_card_has_a_picture_north_up(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).normal(0, 0.001, (1, 1, 600, 300))
    pixels[0, 0, 560:580, 20:40] = 1.0  # in the north, which is the end of the rows
    made = card(image(tmp_path / "img-image.fits", pixels, BMAJ=0.05, BMIN=0.05), "[/d/A.MS,/d/B.MS]")
    assert made["sets"] == ["A.MS", "B.MS"]
    assert made["numbers"][1:] == ["peak 1 Jy", "beam 3.0' x 3.0'"]
    assert made["numbers"][0] == "noise 998.5 µJy"
    picture = np.array(Image.open(io.BytesIO(base64.b64decode(made["picture"].partition(",")[2]))))
    assert picture.shape == (200, 100)
    darkest = np.argwhere(picture == picture.min())
    assert darkest[:, 0].max() < 20
    assert darkest[:, 1].max() < 20


@pytest.mark.parametrize("value", [np.nan, 1.0])
def test_image_without_scatter_has_no_picture(tmp_path: Path, value: float) -> None:
    assert small_picture(image(tmp_path / "a.fits", np.full((8, 8), value))) == ""
    assert small_picture(tmp_path / "none.fits") == ""


def test_blank_pixels_are_white(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).normal(size=(8, 8))
    pixels[0, 0] = np.nan
    picture = small_picture(image(tmp_path / "a.fits", pixels))
    assert np.array(Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))))[7, 0] == 255


def test_narrow_image_is_shrunk() -> None:
    assert shrunk(np.ones((2 * SIDE_PIXELS, 1))).shape == (SIDE_PIXELS, 1)


def test_job_image_is_the_mfs_image() -> None:
    names = ("img-0000-image.fits", "img-MFS-image.fits", "img-MFS-psf.fits")
    done = JobDone("image", "image/000", exit_code=0, written={f"/o/{name}": "1" for name in names})
    state = RunState.from_events([JobStarted("image", "image/000"), done])
    assert image_of(state, JobState("image/000")) == Path("/o/img-MFS-image.fits")
    assert image_of(state, JobState("image/001")) is None
