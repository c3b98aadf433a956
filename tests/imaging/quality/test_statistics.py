"""Noise and source counts, against numbers that are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from lofarpipe.imaging.quality.statistics import central_part, count_sources, local_rms, robust_rms, tile_rms, tile_size


def noise(npix=256, sigma=2.0, seed=1):
    return np.random.default_rng(seed).normal(0, sigma, (npix, npix))


def add_source(plane, y, x, flux, width=2.0):
    rows, columns = np.indices(plane.shape)
    plane += flux * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2))


def test_rms_of_gaussian_noise_is_correct():
    assert robust_rms(noise()) == pytest.approx(2.0, rel=0.01)


def test_rms_ignores_sources():
    plane = noise()
    for place in range(20, 240, 40):
        add_source(plane, place, place, 1e5)
    assert plane.std() > 1000
    assert robust_rms(plane) == pytest.approx(2.0, rel=0.02)


def test_rms_ignores_blanks_and_offset():
    plane = noise() + 100
    plane[:100] = np.nan
    assert robust_rms(plane) == pytest.approx(2.0, rel=0.02)


def test_rms_equals_hand_calculation():
    # median 3, deviations 2 1 0 1 2, median deviation 1; nothing beyond 4 sigma
    assert robust_rms(np.array([1.0, 2, 3, 4, 5])) == pytest.approx(1.4826, abs=1e-4)


def test_blank_image_has_no_noise():
    with pytest.raises(ValueError, match="every pixel is blank"):
        robust_rms(np.full((4, 4), np.nan))


def test_constant_image_has_no_noise():
    with pytest.raises(ValueError, match="same value"):
        robust_rms(np.zeros((4, 4)))


def test_central_part_of_rectangle_is_central():
    plane = np.arange(80).reshape(8, 10)
    assert central_part(plane, 0.5).tolist() == plane[2:6, 2:8].tolist()
    assert central_part(plane, 1.0).shape == plane.shape


@pytest.mark.parametrize(
    ("shape", "beam", "expected"), [((1000, 1000), 20, 45), ((1000, 1000), 1, 16), ((40, 90), 20, 10)]
)
def test_tile_size_follows_beam(shape, beam, expected):
    assert tile_size(np.zeros(shape), beam) == expected


def test_only_blank_tile_is_blank():
    plane = noise(64)
    plane[:32, :32] = np.nan
    tiles = tile_rms(plane, 32)
    assert np.isnan(tiles).tolist() == [[True, False], [False, False]]


def test_local_noise_follows_the_image():
    plane = noise(256) * np.linspace(1, 3, 256)
    found = local_rms(plane, 1.0)
    assert found.shape == plane.shape
    assert found[:, 20].mean() == pytest.approx(2 * (1 + 2 * 20 / 255), rel=0.1)
    assert found[:, 235].mean() == pytest.approx(2 * (1 + 2 * 235 / 255), rel=0.1)


def test_local_noise_keeps_blanks_and_ignores_one_source():
    plane = noise(128)
    add_source(plane, 56, 56, 1e4, width=4)  # fills one tile of 16 pixels
    plane[0, 0] = np.nan
    found = local_rms(plane, 1.0)
    assert np.isnan(found[0, 0])
    assert np.nanmax(found) < 2.6


def test_local_noise_needs_pixels():
    with pytest.raises(ValueError, match="no part of the image"):
        local_rms(np.full((32, 32), np.nan), 1.0)


def test_sources_are_counted_once():
    plane = noise(256, sigma=1e-3)
    for y, x in ((50, 50), (100, 200), (200, 100)):
        add_source(plane, y, x, 1.0)
    add_source(plane, 100, 203, 1.0)  # blended with its neighbour
    assert count_sources(plane, np.full(plane.shape, 1e-3)) == 3


def test_island_needs_a_peak():
    plane = np.zeros((32, 32))
    plane[5, 5], plane[20, 20] = 4.9, 5.1
    plane[20, 21] = 4.5
    plane[0, 0] = np.nan
    assert count_sources(plane, np.ones((32, 32))) == 1


def test_empty_image_has_no_islands():
    assert count_sources(np.zeros((8, 8)), np.ones((8, 8))) == 0


@pytest.mark.parametrize(("blank", "is_measured"), [(16, True), (17, False)])
def test_mostly_blank_tile_has_no_noise(blank, is_measured):
    plane = np.random.default_rng(3).normal(0, 1e-3, (64, 64))
    plane[:blank, :32] = np.nan  # of the first tile
    tiles = tile_rms(plane, 32)
    assert np.isfinite(tiles).tolist() == [[is_measured, True], [True, True]]
