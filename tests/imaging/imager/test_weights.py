"""Imaging weights."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from lofarpipe.imaging.imager.settings import ImagerSettings
from lofarpipe.imaging.imager.weights import (
    WeightGrid,
    gaussian_taper,
    limit_to_surroundings,
    tukey_rise,
    weighting_factors,
)

C_M_S = 299792458.0
FREQUENCIES_HZ = np.array([140e6, 150e6])


def make_grid(**options):
    return WeightGrid(ImagerSettings(name="a", sets=("a.ms",), **{"size": (100, 60), "cell_rad": 1e-4} | options))


def samples(seed=1, rows=500):
    rng = np.random.default_rng(seed)
    uvw_m = np.concatenate([rng.uniform(-11000, 11000, (rows, 2)), np.zeros((rows, 1))], axis=1)
    weights = rng.uniform(0.5, 2, (rows, 2)).astype(np.float32)
    weights[rng.uniform(size=(rows, 2)) < 0.1] = 0
    return uvw_m, weights


def cells(grid, uvw_m):
    """Columns and rows of the cells in numpy, and whether they are on the grid."""
    uv = uvw_m[:, None, :2] * (FREQUENCIES_HZ / C_M_S)[None, :, None]
    uv = np.where(uv[..., 1:] < 0, -uv, uv)
    x, y = np.floor(uv[..., 0] / grid.du + grid.nx // 2).astype(int), np.floor(uv[..., 1] / grid.dv).astype(int)
    return x, y, (x >= 0) & (x < grid.nx) & (y < grid.ny // 2)


def test_cells_cover_padded_image():
    grid = make_grid(padding=1.21)
    assert (grid.nx, grid.ny) == (124, 76)  # 121 and 72.6, to multiples of 4
    assert grid.du == pytest.approx(1 / (124 * 1e-4))


def test_density_is_sum_of_weights_in_cells():
    grid = make_grid()
    uvw_m, weights = samples()
    x, y, inside = cells(grid, uvw_m)
    assert 0.5 < inside.mean() < 0.99
    expected = np.zeros_like(grid.rho)
    np.add.at(expected, (y[inside], x[inside]), weights[inside])
    grid.add(uvw_m, FREQUENCIES_HZ, weights)
    np.testing.assert_allclose(grid.rho, expected, rtol=1e-12)
    assert (weights[~inside] == 0).all()


def test_factors_multiply_weights_of_their_cells():
    grid = make_grid()
    uvw_m, weights = samples(2)
    x, y, inside = cells(grid, uvw_m)
    factors = np.random.default_rng(3).uniform(0, 1, grid.rho.shape).astype(np.float32)
    expected = np.where(inside, weights * factors[np.minimum(y, grid.ny // 2 - 1), np.clip(x, 0, grid.nx - 1)], 0)
    grid.apply(uvw_m, FREQUENCIES_HZ, weights, factors)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_opposite_points_share_a_cell():
    grid = make_grid()
    uvw_m, weights = np.array([[1000.0, 500.0, 0.0], [-1000.0, -500.0, 0.0]]), np.ones((2, 1), np.float32)
    grid.add(uvw_m, FREQUENCIES_HZ[:1], weights)
    assert grid.rho.max() == 2


def test_uniform_weights_equalise_cells():
    grid = make_grid(weighting="uniform")
    uvw_m, weights = samples(4)
    grid.add(uvw_m, FREQUENCIES_HZ, weights)
    filled = (grid.rho > 0).sum()
    grid.apply(uvw_m, FREQUENCIES_HZ, weights, grid.factors())
    assert weights.sum() == pytest.approx(filled, rel=1e-5)


def test_weighting_factors_equal_hand_calculation():
    # f^2 = (5 x 10^-r)^2 sum(rho) / sum(rho^2) = 25 x 4 / 10 = 10 for cells of 1 and 3.
    rho = np.array([[0.0, 1.0, 3.0]])
    np.testing.assert_allclose(weighting_factors(rho, ("briggs", 0.0)), [[1, 1 / 11, 1 / 31]])
    np.testing.assert_allclose(weighting_factors(rho, ("briggs", 1.0)), [[1, 1 / 1.1, 1 / 1.3]])
    np.testing.assert_allclose(weighting_factors(rho, "natural"), 1)
    np.testing.assert_allclose(weighting_factors(rho, "uniform"), [[0, 1, 1 / 3]])
    np.testing.assert_allclose(weighting_factors(0 * rho, ("briggs", 0.0)), 1)


def test_uv_range_is_cut_by_cell():
    grid = make_grid(size=(100, 100), min_uv_lambda=200.0, max_uv_lambda=1000.0)  # cells of 83.3
    wavelength_m = C_M_S / 150e6
    u = np.array([249.0, 251.0, 999.0, 1082.0, 1084.0])  # cells 2 to 3, 3, 11 (917), 12 (1000), 13
    uvw_m = np.stack([u, 0 * u, 0 * u], axis=1) * wavelength_m
    weights = np.ones((5, 1), np.float32)
    grid.add(uvw_m, np.array([150e6]), weights)
    assert weights[:, 0].tolist() == [0, 1, 1, 1, 0]


def test_gaussian_taper_is_transform_of_beam():
    # exp(-2 (pi sigma u)^2) is a half at u = 2 ln 2 / (pi FWHM): 441.3 wavelengths for 1e-3 rad.
    assert gaussian_taper(np.array([0.0, 441.27]), 1e-3) == pytest.approx([1, 0.5], abs=1e-4)
    assert gaussian_taper(np.array([441.0]), 0.0) == pytest.approx([1])


def test_tukey_rises_from_zero_to_one():
    inside = np.array([-10.0, 0.0, 50.0, 100.0, 200.0])
    assert tukey_rise(inside, 100.0) == pytest.approx([0, 0, 0.5, 1, 1])
    assert tukey_rise(inside, 0.0) == pytest.approx([0, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("options", "zero", "half"),
    [
        ({"max_uv_lambda": 2000.0, "taper_tukey_lambda": 1000.0}, 2000.0, 1500.0),
        ({"min_uv_lambda": 500.0, "taper_inner_tukey_lambda": 1000.0}, 500.0, 1000.0),
        ({"taper_edge_lambda": 1000.0, "taper_edge_tukey_lambda": 1000.0}, 4000.0, 3500.0),
    ],
)
def test_settings_determine_tapers(options, zero, half):
    grid = make_grid(size=(100, 100), padding=1.0, **options)  # cells of 100, to 5000
    taper = grid.tapers()
    assert taper[0, grid.nx // 2 + round(zero / 100)] == pytest.approx(0, abs=1e-6)
    assert taper[0, grid.nx // 2 + round(half / 100)] == pytest.approx(0.5)
    assert taper.max() == pytest.approx(1)


def test_rank_filter_limits_cells_to_mean_of_used_ones_around():
    rng = np.random.default_rng(4)
    used = rng.uniform(size=(30, 41)) < 0.3
    factors = np.where(used, rng.uniform(size=used.shape) ** -2, 0).astype(np.float32)
    expected = factors.copy()
    for y, x in zip(*np.nonzero(used), strict=True):
        window = slice(max(0, y - 3), y + 3), slice(max(0, x - 3), x + 3)
        expected[y, x] = min(factors[y, x], 2 * factors[window][used[window]].mean())
    assert (expected < factors).sum() > 10
    limit_to_surroundings(factors, 2.0, 6)
    np.testing.assert_allclose(factors, expected, rtol=1e-5)


def test_rank_filter_is_for_levels_from_one():
    uvw_m, weights = samples()
    factors = {}
    for level in (0.0, 0.99, 1.0):
        grid = make_grid(weighting="uniform", rank_filter=level)
        grid.add(uvw_m, FREQUENCIES_HZ, weights.copy())
        factors[level] = grid.factors()
    np.testing.assert_array_equal(factors[0.0], factors[0.99])
    assert factors[1.0].max() < factors[0.0].max()
