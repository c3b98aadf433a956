"""Imaging weights, by hand and against a plain loop."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.imaging.weighting.weights import (
    ImageWeighting,
    briggs_weights,
    grid_density,
    padded_size,
    rms_baseline_lambda,
    uniform_from_density,
)

IMAGE = ImageWeighting((100, 100), 1e-3, robust=0.0, padding=1.0)  # uv cells of 10 wavelengths


def loop_over_cells(u, v, natural, robust):
    """Briggs weights the slow way: a dictionary of cells."""
    cells = {}
    for one_u, one_v, weight in zip(u, v, natural, strict=True):
        sign = -1 if one_v < 0 else 1
        key = (math.floor(one_u * sign / 10), math.floor(one_v * sign / 10))
        cells[key] = cells.get(key, 0.0) + weight
    sums = np.array(list(cells.values()))
    factor = (5 * 10**-robust) ** 2 / ((sums**2).sum() / sums.sum())
    keys = [(math.floor(a * (-1 if b < 0 else 1) / 10), math.floor(abs(b) / 10)) for a, b in zip(u, v, strict=True)]
    return natural / (1 + factor * np.array([cells[key] for key in keys]))


def test_padding_rounds_up_to_a_multiple_of_four():
    assert padded_size(1024, 1.2) == 1232  # measured with WSClean 3.1
    assert padded_size(1000, 1.0) == 1000
    assert padded_size(1000, 1.1) == 1100  # not 1104: 1000 * 1.1 is a little more than 1100 in binary
    assert padded_size(1001, 1.0) == 1004


@pytest.mark.parametrize("robust", [-2.0, 0.0, 0.5, 2.0])
def test_briggs_weights_equal_plain_loop(robust):
    rng = np.random.default_rng(1)
    u, v = rng.normal(0, 100, (2, 500))
    natural = rng.random(500) + 0.1
    weights = briggs_weights(u, v, natural, replace(IMAGE, robust=robust))
    assert weights == pytest.approx(loop_over_cells(u, v, natural, robust))


def test_robust_goes_from_uniform_to_natural():
    u, v = np.array([55.0, 56.0, 205.0]), np.array([5.0, 6.0, 305.0])
    natural = np.ones(3)
    uniform = uniform_from_density(natural, grid_density(u, v, natural, IMAGE))
    assert uniform == pytest.approx([0.5, 0.5, 1.0])
    nearly_uniform = briggs_weights(u, v, natural, replace(IMAGE, robust=-5))
    assert nearly_uniform / nearly_uniform[2] == pytest.approx(uniform, rel=1e-6)
    assert briggs_weights(u, v, natural, replace(IMAGE, robust=5)) == pytest.approx(natural, rel=1e-6)


def test_conjugate_visibilities_share_a_cell():
    u, v = np.array([55.0, -55.0]), np.array([35.0, -35.0])
    assert grid_density(u, v, np.ones(2), IMAGE).density == pytest.approx([2.0, 2.0])


def test_unusable_visibilities_have_no_weight():
    u = np.array([105.0, 105.0, 5.0, 305.0, 900.0])
    v = np.array([5.0, 5.0, 5.0, 5.0, 5.0])
    natural = np.array([1.0, 0.0, 1.0, 1.0, 1.0])  # flagged: the second; off the grid: the last
    image = replace(IMAGE, min_lambda=50, max_lambda=200)
    weights = briggs_weights(u, v, natural, image)
    assert (weights > 0).tolist() == [True, False, False, False, False]
    gridded = grid_density(u, v, natural, image)
    assert gridded.cells == 3  # the cut does not take visibilities out of the density


def test_wide_cells_cut_per_visibility():
    u, v = np.array([108.0]), np.array([0.0])  # its cell begins at 100
    image = replace(IMAGE, max_lambda=105)
    fine = grid_density(u, v, np.ones(1), image)
    assert fine.usable.all()
    with pytest.raises(ValueError, match="no unflagged visibility lies between 0 and 105 wavelengths"):
        grid_density(u, v, np.ones(1), image, coarsening=2)


def test_wide_cells_hold_more():
    u, v = np.array([101.0, 112.0, 301.0]), np.array([1.0, 1.0, 1.0])
    assert grid_density(u, v, np.ones(3), IMAGE).density.tolist() == [1, 1, 1]
    assert grid_density(u, v, np.ones(3), IMAGE, coarsening=2).density.tolist() == [2, 2, 1]


def test_rectangular_image_has_rectangular_cells():
    u, v = np.array([101.0, 106.0, 101.0]), np.array([1.0, 1.0, 6.0])
    density = grid_density(u, v, np.ones(3), replace(IMAGE, npix=(100, 200))).density  # 10 x 5 wavelengths
    assert density.tolist() == [2, 2, 1]


@given(st.floats(1e-3, 1e6), st.floats(-2, 2))
def test_scale_of_natural_weights_cancels(scale, robust):
    rng = np.random.default_rng(2)
    u, v = rng.normal(0, 100, (2, 50))
    natural = rng.random(50) + 0.1
    image = replace(IMAGE, robust=robust)
    one, other = (briggs_weights(u, v, natural * factor, image) for factor in (1.0, scale))
    assert other / scale == pytest.approx(one, rel=1e-6)


def test_rms_baseline_is_weighted():
    assert rms_baseline_lambda(np.array([30.0, 0.0]), np.array([40.0, 0.0]), np.array([1.0, 3.0])) == 25.0
