"""A sample of the visibilities: whether it stands for all of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from lofarpipe.imaging.ms import uv_sample
from lofarpipe.imaging.ms.measurement_set import read_metadata
from lofarpipe.imaging.ms.tables import MeasurementSetError
from lofarpipe.imaging.ms.uv_sample import draw_visibilities, imaging_sample, read_samples, rotate_uvw
from lofarpipe.imaging.weighting.weights import ImageWeighting
from small_sets import SetShape, antenna_xyz_m, make_set, pairs, set_flags, uvw_at

IMAGE = ImageWeighting((2400, 2400), math.radians(8 / 3600), 0.0, 1.2, 80.0, 6000.0)
SHAPE = SetShape(nantennas=20, ntimes=240, timestep_s=60.0, nchan=4, channel_width_hz=50e3)


def make_subbands(folder, count, shape=SHAPE, spacing_hz=2e6):
    sets = []
    for number in range(count):
        one = SetShape(**{**vars(shape), "first_channel_hz": shape.first_channel_hz + number * spacing_hz})
        sets.append(read_metadata(make_set(folder / f"SB{number:03d}.MS", one)))
    return sets


@pytest.fixture(scope="module")
def subbands(tmp_path_factory):
    return make_subbands(tmp_path_factory.mktemp("subbands"), 6)


def test_rotation_equals_earth_rotation():
    shape = SetShape()
    antenna1, antenna2 = pairs(shape)
    xyz_m = antenna_xyz_m(shape)
    now, later = uvw_at(shape, xyz_m[antenna2] - xyz_m[antenna1], np.array([5.0e9, 5.0e9 + 4000.0]))
    turned = rotate_uvw(now, np.full(len(now), 4000.0), shape.dec_rad)
    assert np.abs(turned - later).max() < 1e-6


def test_rotation_agrees_with_recorded_uvw(hba_set_generic):
    from lofarpipe.imaging.ms.measurement_set import sample_visibilities

    metadata = read_metadata(str(hba_set_generic))
    sample = sample_visibilities(str(hba_set_generic))
    first, last = (sample.uvw_m[sample.time_s == time_s] for time_s in (sample.time_s[0], sample.time_s[-1]))
    seconds = np.full(len(first), sample.time_s[-1] - sample.time_s[0])
    turned = rotate_uvw(first, seconds, metadata.phase_centre_rad[1])
    # Source: precession and aberration move baselines by some 1e-4 of their 50 s of turning (91 m on 25 km)
    assert np.abs(turned - last).max() < 0.005 * np.abs(first - last).max()


def test_few_sets_are_read_entirely(subbands):
    samples = read_samples(subbands[:3], max_rows=10_000_000)
    assert [one.metadata.path for one in samples] == [one.path for one in subbands[:3]]
    visibilities, complete = draw_visibilities(samples)
    assert complete
    assert len(visibilities.natural) == 3 * 240 * 190 * 4


def test_many_sets_are_represented(subbands, monkeypatch):
    samples = read_samples(subbands, max_rows=10_000)
    assert len(samples) == 4
    assert samples[0].metadata.path == subbands[0].path
    assert samples[-1].metadata.path == subbands[-1].path
    everything = np.concatenate([one.frequencies_hz for one in samples])
    assert sorted(everything) == sorted(np.concatenate([one.frequencies_hz for one in subbands]))
    monkeypatch.setattr(uv_sample, "MAX_DENSITY_POINTS", 20_000)
    visibilities, complete = draw_visibilities(samples)
    assert not complete
    assert 10_000 < len(visibilities.natural) <= 20_000
    # each stands for many: in sum they weigh as much as all (weight of Stokes I: 1)
    assert visibilities.natural.sum() == pytest.approx(1.0 * 6 * 240 * 190 * 4, rel=0.01)


def test_sample_reproduces_weights_of_whole(subbands):
    """rms baseline and longest baseline from 5 % of the rows and from everything: 2 % is less than the loss needs."""
    whole = imaging_sample(
        [uv_sample.SetSample(one, uv_sample.sample_set(one, 10**7), one.frequencies_hz) for one in subbands],
        IMAGE,
    )
    some = imaging_sample(read_samples(subbands, max_rows=12_000), IMAGE)
    assert whole.complete
    assert some.complete
    assert some.rows_read < 0.05 * 6 * 240 * 190
    for weighting in ("briggs", "uniform"):
        lengths = [one.rms_baseline_lambda(getattr(one, weighting)) for one in (some, whole)]
        assert lengths[0] == pytest.approx(lengths[1], rel=0.02)
    assert some.max_baseline_lambda() == pytest.approx(whole.max_baseline_lambda(), rel=0.01)


def test_sampled_rows_represent_neighbouring_slots(subbands):
    """One slot in eight is read; the seven others are where the Earth turns it to."""
    (one,) = read_samples(subbands[:1], max_rows=210 * 30)
    made, complete = draw_visibilities([one])
    (everything,) = read_samples(subbands[:1], max_rows=10**6)
    true, _ = draw_visibilities([everything])
    assert complete
    assert one.sample.slots == 30
    assert len(made.natural) == len(true.natural)
    for visibilities in (made, true):
        visibilities.uvw_lambda.sort(axis=0)
    assert np.abs(made.uvw_lambda - true.uvw_lambda).max() < 1e-5


@pytest.mark.parametrize("max_points", [100_000, 200_000])
def test_sparse_points_use_wide_cells(subbands, monkeypatch, max_points):
    """From a tenth or a fifth of the visibilities b_rms is within 6 %; in narrow cells all would look alike."""
    samples = read_samples(subbands, max_rows=12_000)
    whole = imaging_sample(samples, IMAGE)
    monkeypatch.setattr(uv_sample, "MAX_DENSITY_POINTS", max_points)
    some = imaging_sample(samples, IMAGE)
    assert some.cell_factor > 1
    expected = whole.rms_baseline_lambda(whole.briggs)
    assert some.rms_baseline_lambda(some.briggs) == pytest.approx(expected, rel=0.06)
    monkeypatch.setattr(uv_sample, "POINTS_PER_CELL", 0)
    narrow = imaging_sample(samples, IMAGE)
    assert narrow.cell_factor == 1
    assert narrow.rms_baseline_lambda(narrow.uniform) < 0.95 * whole.rms_baseline_lambda(whole.uniform)


def test_sampling_is_reproducible(subbands):
    one, other = (imaging_sample(read_samples(subbands, max_rows=5000), IMAGE) for _ in range(2))
    assert np.array_equal(one.briggs, other.briggs)


def test_sample_respects_flags(tmp_path):
    path = make_set(tmp_path / "a.MS", SetShape(ntimes=10))
    flags = np.zeros((780, 8), bool)
    flags[:, 2:] = True
    set_flags(path, flags)
    sample = imaging_sample(read_samples([read_metadata(path)]), replace(IMAGE, max_lambda=math.inf))
    assert sample.flagged_fraction == pytest.approx(0.75)
    assert sample.visibilities.frequency_hz.max() == pytest.approx(144e6 + 24414.0625)


def test_flagged_sets_are_dropped_or_refused(tmp_path):
    sets = make_subbands(tmp_path, 2, SetShape(ntimes=5))
    set_flags(sets[0].path, np.ones((390, 8), bool))
    assert [one.metadata.path for one in read_samples(sets)] == [sets[1].path]
    set_flags(sets[1].path, np.ones((390, 8), bool))
    with pytest.raises(MeasurementSetError, match=r"SB000.MS, SB001.MS: all sampled rows are flagged"):
        read_samples(sets)


def test_channels_are_drawn_from_whole_band():
    rng = np.random.default_rng(0)
    drawn = uv_sample._draw_places(rng, 1000, 100, 10)
    assert drawn.shape == (1000, 10)
    assert (drawn // 10 == np.arange(10)).all()  # one from each tenth
    assert len(np.unique(drawn)) == 100
