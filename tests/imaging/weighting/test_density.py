"""Imaging weights from a sample of the time slots."""

import math

import numpy as np
import pytest

from lofarpipe.imaging.weighting import weights as uv_density
from lofarpipe.imaging.weighting.weights import (
    ImageWeighting,
    SampledTracks,
    UvGrid,
    briggs_weights,
    sampled_briggs_weights,
)
from small_sets import SetShape, antenna_xyz_m, pairs, uvw_at

SHAPE = SetShape(nantennas=24, ntimes=180, timestep_s=20.0, nchan=10)
FREQUENCIES_HZ = np.linspace(130e6, 150e6, SHAPE.nchan)
PER_M = FREQUENCIES_HZ / 299792458.0
IMAGE = ImageWeighting((400, 400), math.radians(20 / 3600), 0.0, 1.3, 80.0, 3000.0)


def tracks(slots, shape=SHAPE):
    first, second = pairs(shape)
    cross = first != second
    xyz_m = antenna_xyz_m(shape)
    uvw_m = uvw_at(shape, (xyz_m[second] - xyz_m[first])[cross], shape.times_s[slots]).reshape(-1, 3)
    natural = np.tile(1.0 + (first + second)[cross] % 3, len(slots))[:, None] * np.ones(shape.nchan)
    return SampledTracks(uvw_m, natural, PER_M, shape.ntimes / len(slots), shape.timestep_s)


def weights_of(sampled):
    return sampled_briggs_weights([sampled], SHAPE.dec_rad, IMAGE)[0]


def by_pair(weights):
    summed = weights.sum(axis=1).reshape(-1, SHAPE.nantennas * (SHAPE.nantennas - 1) // 2).sum(axis=0)
    return summed / summed.sum()


@pytest.fixture(scope="module")
def everything():
    return tracks(np.arange(SHAPE.ntimes))


def test_full_data_reproduce_briggs_weights(everything, monkeypatch):
    monkeypatch.setattr(uv_density, "SAMPLES_PER_CHUNK", 9999)  # pieces of a size that divides nothing
    u, v = (np.outer(everything.uvw_m[:, axis], PER_M) for axis in (0, 1))
    expected = briggs_weights(u, v, everything.natural, IMAGE)
    assert weights_of(everything) == pytest.approx(expected)
    assert (expected > 0).mean() > 0.3


def test_turned_slot_equals_later_slot(everything):
    rows = SHAPE.nantennas * (SHAPE.nantennas - 1) // 2
    u_m, v_m = everything.rotate(everything.uvw_m[:rows], 9 * SHAPE.timestep_s, SHAPE.dec_rad)
    later_m = everything.uvw_m[9 * rows : 10 * rows]
    assert u_m == pytest.approx(later_m[:, 0], abs=1e-6)
    assert v_m == pytest.approx(later_m[:, 1], abs=1e-6)


def test_sampled_slots_reproduce_pair_weights(everything):
    truth, sampled = (by_pair(weights_of(some)) for some in (everything, tracks(np.arange(5, SHAPE.ntimes, 10))))
    assert np.abs(sampled - truth).sum() < 0.03
    # The sampled slots alone look emptier than the whole: without turning them the weights are wrong.
    alone = tracks(np.arange(5, SHAPE.ntimes, 10))
    alone = SampledTracks(alone.uvw_m, alone.natural, PER_M, 1.0, SHAPE.timestep_s)
    assert np.abs(by_pair(weights_of(alone)) - truth).sum() > 2 * np.abs(sampled - truth).sum()


def test_number_of_copies_is_bounded(everything, monkeypatch):
    sampled = tracks(np.arange(5, SHAPE.ntimes, 10))
    monkeypatch.setattr(uv_density, "MOST_GRIDDED", 5 * sampled.natural.size)
    assert uv_density._copies([sampled]) == [5]
    assert np.abs(by_pair(weights_of(sampled)) - by_pair(weights_of(everything))).sum() < 0.04


def test_two_sets_share_one_density(everything):
    half = [tracks(np.arange(0, 90)), tracks(np.arange(90, 180))]
    for sampled in half:
        object.__setattr__(sampled, "slots_each", 1.0)
    parts = sampled_briggs_weights(half, SHAPE.dec_rad, IMAGE)
    assert np.concatenate(parts) == pytest.approx(weights_of(everything))


def test_grid_ignores_outside_cells():
    grid = UvGrid(ImageWeighting((40, 40), math.radians(0.1), 0.0, 1.0))
    grid.add(np.array([1e6, 0.0, 50.0]), np.array([0.0, 1e6, 50.0]), np.array([1.0, 1.0, 2.0]))
    assert grid.weight.sum() == 2.0
    grid.add(np.array([1e6]), np.array([0.0]), np.array([1.0]))
    assert grid.weight.sum() == 2.0


def test_empty_grid_is_refused(everything):
    flagged = SampledTracks(everything.uvw_m, 0 * everything.natural, PER_M, 1.0, 20.0)
    with pytest.raises(ValueError, match="no unflagged visibility lies on the uv grid"):
        weights_of(flagged)
