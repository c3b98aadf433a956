"""Noise, peak and beam of an image, at a glance."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.imaging.quality import glance
from lofarpipe.imaging.quality.glance import Glance, glance_at


def write(path: Path, pixels: np.ndarray, **keywords: float) -> Path:
    fits.writeto(path, pixels.astype(np.float32), fits.Header(keywords))
    return path


def test_glance_measures_noise_and_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glance, "MOST_PIXELS", 40_000)
    monkeypatch.setattr(glance, "CHUNK_PIXELS", 1000)
    pixels = np.random.default_rng(1).normal(0.1, 2.0, (1, 1, 400, 300))
    pixels[0, 0, 399, 299], pixels[0, 0, :10] = 50.0, np.nan
    seen = glance_at(write(tmp_path / "a.fits", pixels, BMAJ=0.01, BMIN=0.005))
    assert seen.noise_jy == pytest.approx(2.0, rel=0.05)
    assert seen.peak_jy == 50
    assert seen.beam_arcsec == pytest.approx((36, 18))


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_image_without_noise_is_nan(tmp_path: Path, value: float) -> None:
    seen = glance_at(write(tmp_path / "a.fits", np.full((4, 4), value)))
    assert math.isnan(seen.noise_jy)
    assert all(map(math.isnan, seen.beam_arcsec))
    assert math.isnan(seen.peak_jy) == math.isnan(value)


def test_unreadable_image_is_nan(tmp_path: Path) -> None:
    (tmp_path / "a.fits").write_text("none")
    for name in ("a.fits", "none.fits"):
        assert math.isnan(glance_at(tmp_path / name).peak_jy)
    fits.writeto(tmp_path / "b.fits", np.ones((3, 3), np.int16))
    assert str(glance_at(tmp_path / "b.fits")) == str(Glance())
