"""Averages of successive visibilities of a baseline."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from lofarpipe.imaging.imager.averaging import Averager, Chunk, Rows, averaged_channels, averaged_steps, sinc_width
from lofarpipe.imaging.imager.stokes import coefficients
from small_sets import SetShape, uvw_at

STEP_S = 10.0
C_M_S = 299792458.0
LINEAR = (9, 10, 11, 12)


def make_rows(baselines, times_s, seed=1, channels=3, correlations=4):
    rng = np.random.default_rng(seed)
    shape = (len(times_s), channels, correlations)
    vis = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
    weights = rng.uniform(0.5, 2, shape).astype(np.float32)
    uvw_m = rng.uniform(-1000, 1000, (len(times_s), 3))
    return Rows(vis, weights, rng.uniform(size=shape) < 0.2, uvw_m, np.array(baselines), np.array(times_s, float))


def average(rows, steps, pol=("I",), correlation_types=LINEAR, columns=None):
    columns = np.arange(rows.vis.shape[1]) if columns is None else np.array(columns)
    averager = Averager(np.array(steps), STEP_S, coefficients("a.ms", correlation_types, pol), columns)
    parts = [averager.add(rows), averager.finish()]
    vis = np.concatenate([one.vis for one in parts], axis=1)
    return Chunk(vis, *(np.concatenate(columns) for columns in zip(*(one[1:] for one in parts), strict=True)))


def expected_average(rows):
    """The same in numpy, of rows that belong together: Stokes I, weight and uvw."""
    first, last = rows.vis[..., 0], rows.vis[..., -1]
    a, b = rows.weights[..., 0].astype(float), rows.weights[..., -1].astype(float)
    usable = ~(rows.flags[..., 0] | rows.flags[..., -1]) & (a > 0) & (b > 0) & np.isfinite(first) & np.isfinite(last)
    usable &= np.isfinite(a) & np.isfinite(b)
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = np.where(
            usable, 2 * np.minimum(a, b), 0
        )  # of the mean of two samples, as if both had the smaller one
    vis = np.where(usable, (first + last) / 2, 0)
    total = weights.sum(axis=0)
    uvw_m = (weights.sum(axis=1)[:, None] * rows.uvw_m).sum(axis=0) / weights.sum()
    return (weights * vis).sum(axis=0) / np.where(total > 0, total, 1), total, uvw_m


def part(rows, which):
    return Rows(*(column[which] for column in rows))


def test_average_is_weighted_mean_of_usable_samples():
    rows = make_rows([0, 1, 0, 1, 0, 1], [0, 0, 10, 10, 20, 20])
    rows.weights[0, 0, 0], rows.weights[1, 1, 3], rows.weights[2, 2, 0] = 0, -1, np.inf
    rows.vis[3, 0, 0], rows.vis[4, 1, 3], rows.vis[5, 2, 1] = np.nan, np.inf, np.nan  # the last is a cross hand
    rows.weights[4, 0, 1] = np.nan  # so is this
    rows.flags[2, :, 1:3] = True
    chunk = average(rows, [3, 3])
    assert chunk.vis.shape == (1, 2, 3)
    for baseline in (0, 1):
        vis, weights, uvw_m = expected_average(part(rows, rows.baselines == baseline))
        np.testing.assert_allclose(chunk.vis[0, baseline], vis, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(chunk.weights[baseline], weights, rtol=1e-5)
        np.testing.assert_allclose(chunk.uvw_m[baseline], uvw_m, rtol=1e-6)


def test_averaging_preserves_sum_of_weights():
    rows = make_rows(np.tile([0, 1, 2], 20), np.repeat(np.arange(20) * STEP_S, 3), seed=2)
    sums = [average(rows, steps).weights.sum(dtype=float) for steps in ([1, 1, 1], [5, 7, 20])]
    assert sums[0] == pytest.approx(sums[1], rel=1e-5)


def test_average_has_at_most_step_rows():
    rows = make_rows(np.zeros(7, int), np.arange(7) * STEP_S)
    assert len(average(rows, [3]).weights) == 3  # of 3, 3 and 1 rows


@pytest.mark.parametrize(("pause_s", "averages"), [(10.0, 1), (14.9, 1), (15.1, 2), (3600.0, 2)])
def test_gap_ends_average(pause_s, averages):
    rows = make_rows([0, 0, 0], [0.0, STEP_S, STEP_S + pause_s])
    rows.flags[:] = False
    chunk = average(rows, [10])
    assert len(chunk.weights) == averages
    if averages == 2:
        np.testing.assert_allclose(chunk.vis[0, 0], expected_average(part(rows, slice(2)))[0], rtol=1e-5)
        np.testing.assert_allclose(chunk.uvw_m[1], rows.uvw_m[2])


def test_flagged_average_is_dropped():
    rows = make_rows([0, 0, 1], [0.0, STEP_S, 0.0])
    rows.flags[:2], rows.flags[2] = True, False
    assert len(average(rows, [2, 2]).weights) == 1


@pytest.mark.parametrize(
    ("types", "pol", "vis"),
    [
        (LINEAR, "I", 3), (LINEAR, "Q", 1), (LINEAR, "U", 0.5), (LINEAR, "V", -0.25),
        ((5, 6, 7, 8), "I", 3), ((5, 6, 7, 8), "Q", 0.5), ((5, 6, 7, 8), "U", -0.25), ((5, 6, 7, 8), "V", 1),
        ((9, 12), "I", 3), ((12, 11, 10, 9), "V", -0.25), ((1,), "I", 3), ((1, 2, 3, 4), "V", 7),
    ],
)  # fmt: skip
def test_correlations_become_stokes_parameters(types, pol, vis):
    """XX = I + Q, YY = I - Q, XY = U + iV; RR = I + V, LL = I - V, RL = Q + iU. The numbers by hand."""
    parallel = {1: 3, 2: 1, 3: 0.5, 4: 7, 9: 4, 12: 2, 5: 4, 8: 2}
    values = parallel | {10: 0.5 - 0.25j, 11: 0.5 + 0.25j, 6: 0.5 - 0.25j, 7: 0.5 + 0.25j}
    rows = make_rows([0], [0.0], correlations=len(types))
    rows.flags[:], rows.weights[:] = False, 2.0
    rows.vis[:] = [values[code] for code in types]
    chunk = average(rows, [1], (pol,), types)
    np.testing.assert_allclose(chunk.vis[0, 0], vis, atol=1e-6)
    expected = 2.0 if types[0] < 5 else 4.0  # of the mean of two samples with 2
    np.testing.assert_allclose(chunk.weights[0], expected)


def test_stokes_parameters_share_samples():
    rows = make_rows([0], [0.0])
    rows.flags[:] = False
    rows.flags[0, 1, 2] = True  # a cross hand
    assert (average(rows, [1], ("I",)).weights > 0).all()
    assert (average(rows, [1], ("I", "Q", "U", "V")).weights[0] > 0).tolist() == [True, False, True]


def test_steps_follow_from_loss():
    # sin(pi x) / (pi x) = 1 - (pi x)^2 / 6: x = sqrt(0.06) / pi; a baseline of 1000 wavelengths, 0.05 rad from the
    # centre, turns 1000 x 0.05 x 7.292e-5 x 8 = 0.02917 times per step of 8 s.
    assert sinc_width(0.01) == pytest.approx(np.sqrt(0.06) / np.pi, rel=2e-3)
    assert sinc_width(0) == 0
    lengths_m = np.array([1000.0, 500.0, 1e-9, 1e5]) * C_M_S / 150e6
    assert averaged_steps(lengths_m, 150e6, 0.05, 8.0, 0.01).tolist() == [2, 5, 15, 1]  # 15: 120 s
    assert averaged_steps(lengths_m, 150e6, 0.05, 8.0, 0.0).tolist() == [1, 1, 1, 1]
    assert averaged_steps(lengths_m, 150e6, 0.05, 300.0, 0.01).tolist() == [1, 1, 1, 1]


def test_source_at_edge_stays_within_loss():
    loss, radius_rad, frequency_hz = 0.01, 0.05, 150e6
    shape = SetShape(ntimes=400, timestep_s=2.0, dec_rad=1.2)
    baseline_m = np.array([0.0, 3000.0, 0.0])
    uvw_m = uvw_at(shape, baseline_m[None], shape.times_s)[:, 0]
    steps = averaged_steps(np.array([3000.0]), frequency_hz, radius_rad, shape.timestep_s, loss)
    assert steps[0] > 4
    for l, m in ((radius_rad, 0.0), (0.0, radius_rad)):  # noqa: E741
        direction = np.array([l, m, np.sqrt(1 - l * l - m * m) - 1])
        turn = np.exp(2j * np.pi * uvw_m @ direction * frequency_hz / C_M_S)
        rows = make_rows(np.zeros(400, int), shape.times_s, channels=1)._replace(uvw_m=uvw_m)
        rows.flags[:], rows.weights[:], rows.vis[:] = False, 1, turn[:, None, None]
        chunk = average(rows, steps)
        back = np.exp(-2j * np.pi * chunk.uvw_m @ direction * frequency_hz / C_M_S)
        assert 1 - loss <= (chunk.vis[0, :, 0] * back).real.mean() < 1 + 1e-6


def test_channels_are_averaged_in_their_columns():
    rows = make_rows([0, 0, 1], [0.0, STEP_S, 0.0], channels=4)
    apart = average(rows, [2, 1])
    chunk = average(rows, [2, 1], columns=[0, 0, 0, 1])
    total = apart.weights[:, :3].sum(axis=1)
    np.testing.assert_allclose(chunk.weights, np.stack([total, apart.weights[:, 3]], axis=1), rtol=1e-5)
    vis = (apart.weights * apart.vis[0])[:, :3].sum(axis=1) / total
    np.testing.assert_allclose(chunk.vis[0, :, 0], vis, rtol=1e-5)
    np.testing.assert_allclose(chunk.vis[0, :, 1], apart.vis[0, :, 3], rtol=1e-5)


def test_channels_to_average_follow_loss():
    """x = 0.0777 of 1 % loss: 10 km at 0.05 rad turn by 0.0167 in 10 kHz."""
    assert averaged_channels(10e3, 0.05, 10e3, 0.01) == 4
    assert averaged_channels(10e3, 0.05, 10e3, 0.0) == 1
    assert averaged_channels(10e3, 0.05, 1e6, 0.01) == 1


def test_source_at_edge_loses_permitted_flux_by_channels():
    longest_m, radius_rad, width_hz, loss = 10e3, 0.05, 10e3, 0.01
    count = averaged_channels(longest_m, radius_rad, width_hz, loss)
    delays_s = longest_m * radius_rad / C_M_S
    seen = abs(np.exp(2j * np.pi * delays_s * width_hz * np.arange(count)).mean())
    assert 1 - loss <= seen < 1 - loss / 4


def test_average_knows_its_times():
    rows = make_rows([0, 0, 0], [100.0, 110.0, 130.0])
    rows.flags[:], rows.weights[:] = False, 1.0
    chunk = average(rows, [3])
    assert chunk.baselines.tolist() == [0, 0]  # a gap ends the first
    np.testing.assert_allclose(chunk.times_s, [105.0, 130.0])
    np.testing.assert_allclose(chunk.spreads_s, [5.0, 0.0], atol=1e-6)
