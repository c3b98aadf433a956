"""Convolution to a common beam: against analytic Gaussians, and the numbers of racs-tools 4.5.0 for blank pixels."""

import tracemalloc

import numpy as np
import pytest

from channel_images import CELL_ARCSEC, gaussian
from lofarpipe.imaging.cubes import convolution as module
from lofarpipe.imaging.cubes.beams import Beam, CommonBeamError
from lofarpipe.imaging.cubes.convolution import convolve

OLD, NEW = Beam(12, 10, 20), Beam(16, 14, 50)
CELL = (-CELL_ARCSEC, CELL_ARCSEC)


@pytest.mark.parametrize("is_padded", [False, True])
@pytest.mark.parametrize(
    ("old", "new"), [(OLD, NEW), (Beam(15, 12, 0), Beam(16, 14, 0)), (OLD, Beam(12.05, 10.05, 20))]
)
@pytest.mark.parametrize(("npixels", "peak"), [(64, 2.5), (63, -0.7)])
def test_point_source_keeps_peak_and_gets_new_beam(old, new, npixels, peak, is_padded):
    pixels = gaussian(npixels, old, 32, 30, peak).astype(np.float32)
    convolve(pixels, old, new, CELL, is_padded)
    assert np.abs(pixels - gaussian(npixels, new, 32, 30, peak)).max() < 4e-7 * abs(peak)


def test_rectangular_planes_and_pixels_are_convolved():
    rows, columns = np.mgrid[:50, :80]
    north, east = (rows - 25) * 3.0, -(columns - 40) * 2.0

    def seen(beam):
        (north2, cross), (_, east2) = np.linalg.inv(beam.covariance)
        return np.exp(-4 * np.log(2) * (north2 * north**2 + 2 * cross * north * east + east2 * east**2))

    pixels = seen(OLD).astype(np.float32)
    convolve(pixels, OLD, NEW, (-2.0, 3.0))
    assert np.abs(pixels - seen(NEW)).max() < 1e-6


def test_convolution_preserves_extended_flux():
    sky = gaussian(64, Beam(25, 20, 70), 32, 32)
    pixels = sky.astype(np.float32)
    convolve(pixels, OLD, NEW, CELL, is_padded=True)
    assert pixels.sum() / NEW.area_arcsec2 == pytest.approx(sky.sum() / OLD.area_arcsec2, rel=1e-6)


def test_plane_with_common_beam_is_unchanged():
    pixels = np.random.default_rng(1).normal(size=(20, 20)).astype(np.float32)
    pixels[3, 4] = np.nan
    before = pixels.copy()
    convolve(pixels, OLD, OLD, CELL)
    assert pixels.tobytes() == before.tobytes()


def test_smaller_target_is_refused():
    with pytest.raises(CommonBeamError, match="beam 16 x 14 arcsec at 50 deg does not fit into"):
        convolve(np.zeros((8, 8), np.float32), NEW, OLD, CELL)


@pytest.mark.parametrize("is_padded", [False, True])
def test_blank_pixels_spread_as_recorded(is_padded):
    pixels = gaussian(64, OLD, 32, 32).astype(np.float32)
    pixels[:, :10] = np.nan
    pixels[40, 40] = np.nan
    convolve(pixels, OLD, NEW, CELL, is_padded)
    assert np.isnan(pixels).sum() == 512
    assert np.flatnonzero(np.isnan(pixels[32])).tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert pixels[40, 40] == pytest.approx(1.2416258869052399e-05, abs=1e-7)


def test_plane_of_blank_pixels_stays_blank():
    pixels = np.full((8, 8), np.nan, np.float32)
    convolve(pixels, OLD, NEW, CELL)
    assert np.isnan(pixels).all()


def test_padding_prevents_wrap_around():
    for is_padded in (False, True):
        pixels = gaussian(64, OLD, 0, 32).astype(np.float32)
        convolve(pixels, OLD, NEW, CELL, is_padded)
        assert (pixels[32, -1] < 1e-6) == is_padded


def test_blocks_equal_whole_convolution(monkeypatch):
    whole, parts = (np.random.default_rng(1).normal(size=(40, 30)).astype(np.float32) for _ in range(2))
    convolve(whole, OLD, NEW, CELL)
    monkeypatch.setattr(module, "BLOCK_VALUES", 100)
    convolve(parts, OLD, NEW, CELL)
    assert parts.tobytes() == whole.tobytes()


@pytest.mark.parametrize(("has_blanks", "planes"), [(False, 1.1), (True, 2.4)])
def test_memory_beside_the_plane_is_bounded(monkeypatch, has_blanks, planes):
    monkeypatch.setattr(module, "BLOCK_VALUES", 1000)
    pixels = np.ones((512, 512), np.float32)
    if has_blanks:
        pixels[:9] = np.nan
    tracemalloc.start()
    convolve(pixels, OLD, NEW, CELL)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < planes * pixels.nbytes
