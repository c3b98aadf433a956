"""Averaging steps: never coarser than the limit, never across a set's edge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.imaging.plan.losses import choose_freqstep, choose_timestep


@pytest.mark.parametrize(
    ("nchan", "width_hz", "limit_hz", "step"),
    [
        (8, 24414.0625, 104e3, 4),
        (8, 24414.0625, 97656.25, 4),  # a step that equals the limit is allowed
        (8, 24414.0625, 97656.0, 2),
        (16, 12207.03125, 120231.97, 8),
        (20, 10e3, 75e3, 5),  # 7 does not divide 20, and 5 is the divisor below
        (64, 3051.7578125, 1e9, 64),  # all of a set
        (1000, 10e3, 1e9, 200),  # cap of 2 MHz
        (1, 195312.5, 200e3, 1),
    ],
)
def test_frequency_steps_respect_limit(nchan, width_hz, limit_hz, step):
    chosen = choose_freqstep(nchan, width_hz, limit_hz)
    assert (chosen.step, chosen.too_coarse) == (step, False)


@pytest.mark.parametrize(
    ("ntimes", "timestep_s", "limit_s", "step"),
    [
        (7200, 4.00556, 11.45, 2),
        (7200, 1.00139, 11.45, 11),
        (7200, 1.0, 1e4, 120),  # cap of 120 s
        (6, 1.0, 60.0, 3),  # two output slots are left
        (5, 1.0, 60.0, 3),
        (1, 1.0, 60.0, 1),
        (600, 8.01112, 8.01112, 1),
    ],
)
def test_time_steps_respect_limit(ntimes, timestep_s, limit_s, step):
    chosen = choose_timestep(ntimes, timestep_s, limit_s)
    assert (chosen.step, chosen.too_coarse) == (step, False)


def test_input_beyond_the_limit_is_not_averaged():
    for chosen in (choose_freqstep(8, 195312.5, 1e5), choose_timestep(100, 16.0, 11.0)):
        assert chosen.step == 1
        assert chosen.too_coarse
        assert "beyond the limit" in chosen.reason


@pytest.mark.parametrize(("nchan", "least", "step"), [(8, 2, 4), (9, 2, 3), (7, 2, 1), (2, 2, 1), (1, 2, 1), (8, 1, 8)])
def test_averaging_leaves_channels_for_output(nchan, least, step):
    assert choose_freqstep(nchan, 1e3, 1e5, least).step == step


def test_reasons_name_the_limit():
    assert "edge" in choose_freqstep(8, 1e3, 1e5).reason
    assert "2 channels at least must be left of 8" in choose_freqstep(8, 1e3, 1e5, 2).reason
    assert "cap of 2 MHz" in choose_freqstep(1000, 1e4, 1e9).reason
    assert "cap of 120 s" in choose_timestep(10_000, 1.0, 1e4).reason
    assert "must leave 2" in choose_timestep(6, 1.0, 60.0).reason
    assert "the limit of 11.4500 s" in choose_timestep(600, 4.0, 11.45).reason


@given(st.integers(1, 256), st.floats(1e3, 1e6), st.floats(1e3, 1e7))
def test_frequency_steps_divide_the_channels(nchan, width_hz, limit_hz):
    chosen = choose_freqstep(nchan, width_hz, limit_hz)
    assert nchan % chosen.step == 0
    if not chosen.too_coarse:
        assert chosen.step * width_hz <= limit_hz * 1.000001


@given(st.integers(1, 100_000), st.floats(0.1, 60.0), st.floats(0.1, 1000.0))
def test_time_steps_leave_two_slots(ntimes, timestep_s, limit_s):
    chosen = choose_timestep(ntimes, timestep_s, limit_s)
    assert ntimes == 1 or -(-ntimes // chosen.step) >= 2
    if not chosen.too_coarse:
        assert chosen.step * timestep_s <= limit_s * 1.000001
