"""Smearing: the published vectors, and the formulas against finite differences and each other."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.imaging.plan import smearing

VECTORS = json.loads((Path(__file__).parent / "smear_vectors.json").read_text())


def test_constants_equal_reference_vectors():
    assert VECTORS["constants"]["omega_earth_rad_s"] == smearing.EARTH_ROTATION_RAD_S
    assert VECTORS["constants"]["c_m_s"] == smearing.SPEED_OF_LIGHT_M_S


@pytest.mark.parametrize("vector", VECTORS["sinc_inv"], ids=str)
def test_sinc_loss_is_inverted(vector):
    assert smearing.invert_sinc_loss(vector["loss"]) == pytest.approx(vector["x"], abs=1e-6)


@pytest.mark.parametrize("vector", VECTORS["beta_inv"], ids=str)
def test_gaussian_loss_equals_reference_vectors(vector):
    assert smearing.gaussian_loss(vector["beta"]) == pytest.approx(vector["loss"], abs=1e-6)


@pytest.mark.parametrize("vector", VECTORS["single_baseline"], ids=str)
def test_baseline_loss_equals_reference_vectors(vector):
    turns = smearing.phase_turns(
        vector["b_lambda"], math.radians(vector["theta_deg"]), vector["nu"], vector["dnu"], vector["dt"]
    )
    assert turns == pytest.approx((vector["x_nu"], vector["x_t"]), rel=2e-5)
    assert smearing.sinc_loss(turns) == pytest.approx([vector["loss_bw"], vector["loss_t"]], abs=2e-5)


@pytest.mark.parametrize("vector", VECTORS["limits"], ids=str)
def test_limits_equal_reference_vectors(vector):
    asked = (vector["loss_total"], math.radians(vector["theta_deg"]), vector["nu"])
    peak = smearing.peak_limits(*asked, vector["b_rms"])
    worst = smearing.worst_limits(*asked, vector["b_max"])
    assert peak.channel_width_hz == pytest.approx(vector["peak_dnu_hz"], rel=1e-3)
    assert peak.timestep_s == pytest.approx(vector["peak_dt_s"], rel=1e-3)
    assert worst.channel_width_hz == pytest.approx(vector["worst_dnu_hz"], rel=1e-3)
    assert worst.timestep_s == pytest.approx(vector["worst_dt_s"], rel=1e-3)


# Predicted totals of the simulated cases: FWHM of the beam (arcsec), frequency, theta, width (Hz), step (s), loss.
@pytest.mark.parametrize(
    ("fwhm_arcsec", "frequency_hz", "theta_deg", "width_hz", "step_s", "total"),
    [
        (28.3, 144e6, 2.1002, 195312.5, 16.02224, 0.0509),
        (32.0, 144e6, 2.1002, 195312.5, 16.02224, 0.0403),
        (28.3, 144e6, 3.1503, 97656.25, 8.01112, 0.0291),
        (28.3, 144e6, 4.4552, 195312.5, 16.02224, 0.205),
        (42.6, 54e6, 3.2285, 195312.5, 16.02224, 0.2048),
        (0.276, 144e6, 0.5, 12207.03125, 1.00139, 0.1129),
    ],
)
def test_closed_form_equals_simulated_cases(fwhm_arcsec, frequency_hz, theta_deg, width_hz, step_s, total):
    b_rms_lambda = 0.5300 / math.radians(fwhm_arcsec / 3600)
    loss = smearing.closed_form_loss(b_rms_lambda, math.radians(theta_deg), frequency_hz, width_hz, step_s)
    assert loss.total == pytest.approx(total, rel=0.015)  # the published widths have three digits


@pytest.mark.parametrize(("offset_arcmin", "kept_bandwidth", "kept_time"), [(25, 0.945, 0.901), (35, 0.897, 0.806)])
def test_closed_form_equals_published_percentages(offset_arcmin, kept_bandwidth, kept_time):
    b_rms_lambda = 0.5300 / math.radians(5 / 3600)  # 5 arcsec, 150 MHz, 0.25 MHz, 30 s
    loss = smearing.closed_form_loss(b_rms_lambda, math.radians(offset_arcmin / 60), 150e6, 0.25e6, 30.0)
    quadratic = 1.22e-9 * (offset_arcmin * 60 / 5 * 30.0) ** 2  # the published time loss; it overshoots
    assert 1 - loss.bandwidth == pytest.approx(kept_bandwidth, abs=0.001)
    assert 1 - quadratic == pytest.approx(kept_time, abs=0.001)
    assert quadratic * 0.83 < loss.time < quadratic


def test_gaussian_loss_series_is_continuous():
    for beta in (1e-5, 1.1999e-4, 1.2013e-4, 1e-3):
        assert smearing.gaussian_loss(beta) == pytest.approx(math.log(2) / 3 * beta**2, rel=1e-4, abs=1e-15)


@pytest.mark.parametrize("loss", [0.0, 1.0, -0.1, 1.5])
def test_loss_outside_zero_to_one_is_refused(loss):
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        smearing.invert_sinc_loss(loss)


@pytest.mark.parametrize(
    ("theta_rad", "frequency_hz", "b_rms_lambda", "name"),
    [(0.0, 1e8, 1e3, "theta"), (0.1, -1.0, 1e3, "frequency"), (0.1, 1e8, math.nan, "baseline length")],
)
def test_non_positive_limits_are_refused(theta_rad, frequency_hz, b_rms_lambda, name):
    with pytest.raises(ValueError, match=f"{name} is"):
        smearing.peak_limits(0.05, theta_rad, frequency_hz, b_rms_lambda)


@given(st.floats(1e-4, 0.5))
def test_inverse_recovers_any_loss(loss):
    assert float(smearing.sinc_loss(smearing.invert_sinc_loss(loss))) == pytest.approx(loss, rel=1e-6)


@given(st.floats(1e-4, 0.5))
def test_two_shares_make_the_whole(loss):
    assert 1 - (1 - smearing.loss_per_axis(loss)) ** 2 == pytest.approx(loss)


def test_time_limit_is_shorter_near_the_equator():
    limits = smearing.AveragingLimits(1e5, 10.0)
    assert smearing.for_declination(limits, math.radians(-10)) == limits
    assert smearing.for_declination(limits, math.radians(9)).timestep_s == pytest.approx(10 / math.sqrt(1.3))


def test_one_second_balances_ten_kilohertz():
    limits = smearing.peak_limits(0.05, 0.05, 144e6, 3000.0)
    assert limits.channel_width_hz / limits.timestep_s == pytest.approx(10.50e3, rel=1e-3)


def test_fringe_rate_equals_rate_of_delay():
    """Turn a baseline around the pole by hand, and watch u l + v m + w (n - 1) change."""
    xyz = np.array([3000.0, -1200.0, 800.0])
    dec, step_s = 0.7, 0.01

    def uvw(time_s):
        hour_angle = smearing.EARTH_ROTATION_RAD_S * time_s + 0.4
        outward = xyz[0] * math.cos(hour_angle) - xyz[1] * math.sin(hour_angle)
        u = xyz[0] * math.sin(hour_angle) + xyz[1] * math.cos(hour_angle)
        return np.array(
            [u, -math.sin(dec) * outward + math.cos(dec) * xyz[2], math.cos(dec) * outward + math.sin(dec) * xyz[2]]
        )

    for east, north in ((0.03, 0.02), (-0.05, 0.01), (0.0, -0.06)):
        later, earlier = (smearing.delay_turns(uvw(sign * step_s / 2), east, north) for sign in (1, -1))
        rate = smearing.fringe_rate_turns_s(uvw(0.0), east, north, dec)
        assert (later - earlier) / step_s == pytest.approx(rate, rel=1e-6)


def test_fringe_rate_agrees_with_recorded_uvw(hba_set_generic):
    from lofarpipe.imaging.ms.measurement_set import read_metadata, sample_visibilities

    metadata = read_metadata(str(hba_set_generic))
    sample = sample_visibilities(str(hba_set_generic))
    nbaselines = len(sample.time_s) // sample.slots
    uvw_lambda = (sample.uvw_m * metadata.frequencies_hz[0] / smearing.SPEED_OF_LIGHT_M_S).reshape(-1, nbaselines, 3)
    dec = metadata.phase_centre_rad[1]
    theta = math.radians(3)
    for index in range(8):
        east, north = theta * math.sin(index * math.pi / 4), theta * math.cos(index * math.pi / 4)
        delays = smearing.delay_turns(uvw_lambda, east, north)
        measured = (delays[2:] - delays[:-2]) / (2 * metadata.timestep_s)
        rates = smearing.fringe_rate_turns_s(uvw_lambda[1:-1], east, north, dec)
        assert np.abs(measured - rates).max() < 2e-3 * np.abs(rates).max()


def test_weighted_loss_is_product_of_sincs():
    uvw = np.array([[7000.0, 0.0, 0.0]])
    loss = smearing.weighted_loss(
        uvw, np.array([144e6]), np.ones(1), math.radians(3.1503), math.pi / 2, 97656.25, 8.01112, nangles=2
    )
    # nangles 2 looks north (no delay, all fringe rate) and east (all delay, no fringe rate)
    assert loss.bandwidth == pytest.approx(0.108359 / 2, rel=2e-3)
    assert loss.time == pytest.approx(0.081107 / 2, rel=2e-3)
    assert loss.worst_angle == pytest.approx(0.108359, rel=2e-3)


def test_weighted_loss_needs_weights_and_sky():
    uvw, frequency = np.ones((1, 3)), np.array([1e8])
    with pytest.raises(ValueError, match="all imaging weights are 0"):
        smearing.weighted_loss(uvw, frequency, np.zeros(1), 0.1, 0.5, 1e4, 1.0)
    with pytest.raises(ValueError, match="less than 90 deg is needed"):
        smearing.weighted_loss(uvw, frequency, np.ones(1), 1.6, 0.5, 1e4, 1.0)


def test_worst_baseline_loss_saturates():
    assert smearing.worst_baseline_loss(950133, 950133, math.radians(1.25), 144e6, 12207.0, 1.0) == 1.0


def test_turning_depends_on_declination():
    """Along w nothing is seen of a baseline, but at the equator it turns at its full length."""
    along_w = np.array([[0.0, 0.0, 5000.0]])
    assert smearing.max_turning_lambda(along_w, 0.0) == pytest.approx(5000)
    assert smearing.max_turning_lambda(along_w, math.pi / 2) == pytest.approx(0, abs=1e-9)
