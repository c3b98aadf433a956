"""Delays, bandpass, fluxes and interpolated gains of known answers."""

import numpy as np
import pytest

from lofarpipe.imaging.calibration.gains import (
    bandpass_deviation,
    bootstrap_flux,
    choose_reference,
    fit_delay,
    flag_channels,
    flag_scans,
    interpolate_gains,
    lost_amplitude,
    ripple_period_hz,
    split_gains,
)

HZ = 3.0e9 + 1e6 * np.arange(32)


def turned(delay_s: float) -> np.ndarray:
    return np.exp(2j * np.pi * delay_s * HZ)


@pytest.mark.parametrize("delay_ns", [0.0, 25.0, -480.0])
def test_delay_is_found_to_a_picosecond(delay_ns):
    gains = 0.03 * turned(delay_ns * 1e-9)
    gains[5] = np.nan
    assert fit_delay(gains, HZ) == pytest.approx(delay_ns * 1e-9, abs=1e-12)


def test_delay_of_two_channels_is_zero():
    gains = np.full(32, np.nan + 0j)
    gains[:2] = turned(3e-8)[:2]
    assert fit_delay(gains, HZ) == 0


def test_split_gains_multiply_to_the_whole():
    rng = np.random.default_rng(1)
    gains = (1 + 0.1 * rng.normal(size=(4, 2, 32))) * np.exp(1j * rng.uniform(-3, 3, (4, 2, 1))) * turned(2e-8)
    gains[3, 1] = np.nan
    band = split_gains(gains, HZ, 2)
    product = np.exp(1j * band.phases_rad)[..., None] * np.exp(2j * np.pi * band.delays_s[..., None] * HZ) * band.rest
    expected = gains * np.exp(-1j * np.angle(gains[2]))
    assert np.allclose(product, expected, equal_nan=True)
    assert not band.solved[3, 1].any()
    assert np.allclose(band.delays_s[2], 0)


def test_outlying_channels_are_flagged():
    gains = np.ones((1, 1, 20), complex) + 0.01 * np.arange(20)
    gains[0, 0, 7] = 9
    assert np.flatnonzero(np.isnan(flag_channels(gains)[0, 0])).tolist() == [7]
    assert np.isnan(flag_channels(np.full((1, 1, 4), np.nan + 0j))).all()


def test_outlying_scans_are_flagged():
    gains = np.ones((4, 2, 2), complex)
    gains[2, 1, 0] = 2
    assert np.argwhere(np.isnan(flag_scans(gains))).tolist() == [[2, 1, 0]]


@pytest.mark.parametrize(
    ("asked", "chosen", "reason"),
    [
        (["b"], "b", ""),
        (["x", "b"], "b", "x is not in the data"),
        (["c"], "a", "c is solved in 50% of the channels"),
        ([], "a", ""),
    ],
)
def test_reference_antenna_is_solved_and_central(asked, chosen, reason):
    solved, unflagged = np.array([1.0, 0.9, 0.5]), np.array([0.95, 0.96, 0.99])
    positions_m = np.array([[0.0, 0, 0], [100, 0, 0], [1, 0, 0]])
    assert choose_reference(["a", "b", "c"], asked, solved, unflagged, positions_m) == (chosen, reason)


def test_unsolved_antennas_give_no_reference():
    assert choose_reference(["a"], ["a"], np.array([0.1]), np.ones(1), np.zeros((1, 3)))[0] == ""


def test_flux_ratio_excludes_outliers():
    flux = np.full((6, 2), 1 + 0j)
    phase = np.sqrt(4.0) * np.ones((3, 6, 2), complex) * (1 + 0.01 * np.arange(6))[:, None]
    phase[1, 2, 0] = 50
    found = bootstrap_flux(phase, flux)
    powers = 4 * (1 + 0.01 * np.arange(6)) ** 2
    assert found.flux_jy == pytest.approx(powers.mean(), rel=2e-3)
    assert found.error_jy == pytest.approx(np.std(np.repeat(powers, 2), ddof=1) / np.sqrt(12), rel=1e-6)
    assert len(found.by_scan_jy) == 3


def test_flux_without_gains_is_refused():
    with pytest.raises(ValueError, match="too few antennas"):
        bootstrap_flux(np.full((2, 3, 2), np.nan + 0j), np.ones((3, 2), complex))


def test_gains_are_interpolated_in_amplitude_and_phase():
    gains = np.array([1 * np.exp(3.0j), 2 * np.exp(-3.0j)])[:, None, None]
    between = interpolate_gains(np.array([0.0, 10.0]), gains, np.array([-5.0, 5.0, 20.0]))[:, 0, 0]
    assert np.abs(between) == pytest.approx([1, 1.5, 2])
    assert np.angle(between) == pytest.approx([3.0, np.pi, -3.0]) or np.angle(between)[1] == pytest.approx(-np.pi)
    nearest = interpolate_gains(np.array([0.0, 10.0]), gains, np.array([4.0, 6.0]), "nearest")[:, 0, 0]
    assert np.allclose(nearest, gains[:, 0, 0])


def test_interpolation_skips_flagged_scans():
    gains = np.array([1, np.nan, 3], complex)[:, None, None]
    assert interpolate_gains(np.array([0.0, 1, 2]), gains, np.array([1.0]))[0, 0, 0] == pytest.approx(2)
    assert np.isnan(interpolate_gains(np.array([0.0]), gains[1:2], np.array([1.0]))).all()


def test_bandpass_structure_is_measured():
    ripple = 1 + 0.15 * np.cos(2 * np.pi * np.arange(64) / 16)
    assert bandpass_deviation(ripple[None, None]) == pytest.approx(0.15, abs=1e-3)
    assert ripple_period_hz(ripple, 1e6) == pytest.approx(16e6, rel=0.03)
    assert np.isnan(ripple_period_hz(np.full(8, np.nan), 1e6))
    assert np.isnan(bandpass_deviation(np.full((1, 1, 8), np.nan))).all()


def test_delay_loses_amplitude():
    assert lost_amplitude(1e-7, 1e6) == pytest.approx(1 - np.sin(np.pi * 0.1) / (np.pi * 0.1))
