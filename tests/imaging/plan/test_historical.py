"""The historical rules: every published number."""

from __future__ import annotations

import math

import pytest

from lofarpipe.imaging.plan import historical

CHANNELS_OUT = {1: 2, 29: 2, 30: 3, 40: 4, 49: 4, 50: 2, 59: 2, 60: 3, 80: 4, 89: 4, 90: 2, 120: 3, 162: 4, 231: 5}


@pytest.mark.parametrize(("nfrequencies", "nchans"), [*CHANNELS_OUT.items(), (244, 6), (366, 9), (488, 12)])
def test_historical_output_channels_are_reproduced(nfrequencies, nchans):
    assert historical.historical_channels_out(nfrequencies) == nchans


def test_historical_bands_are_counted():
    assert [historical.count_bands(number) for number in (9, 10, 244)] == [0, 1, 24]


@pytest.mark.parametrize(
    ("nchan", "width_khz", "averaged_khz"),
    [
        (4, 48.828125, 195.3125),
        (8, 24.4140625, 195.3125),
        (16, 12.20703125, 195.3125),
        (64, 3.0517578125, 195.3125),
        (20, 97.65625, 195.3125),
        (64, 2.44140625, 156.25),
    ],
)
def test_historical_frequency_steps_are_reproduced(nchan, width_khz, averaged_khz):
    assert historical.freqstep(nchan, width_khz * 1e3) * width_khz == pytest.approx(averaged_khz)


def test_tied_divisors_prefer_the_larger():
    assert historical.freqstep(8, 0.2e6 / 3) == 4  # wanted 3: 2 and 4 are equally near


@pytest.mark.parametrize(
    ("sample_s", "averaged_s"),
    [
        (1.00139, 16.02224),
        (2.00278, 16.02224),
        (4.00556, 16.02224),
        (8.01112, 16.02224),
        (10.0139, 20.0278),
        (5.0, 15.0),
        (3.0, 15.0),
        (40.0, 40.0),
    ],
)
def test_historical_time_steps_are_reproduced(sample_s, averaged_s):
    assert historical.timestep(sample_s) * sample_s == pytest.approx(averaged_s)


def test_sizes_include_stretch_and_padding():
    # 3136 pixels: a field of 3076 pixels of 1 deg
    for stretch, height in ((0.8, 2520), (1.2, 3780), (1.5, 4704)):
        size, _ = historical.historical_image_sizes(1.0, 3076.0, 1.0, 1.0, stretch)
        assert size == (3136, height)
    assert historical.historical_image_sizes(1.0, 3076.0, 1.0, 1.4, 1.0) == ((3136, 3136), (4410, 4410))


def test_empty_field_is_refused():
    with pytest.raises(ValueError, match="smaller than a pixel"):
        historical.historical_image_sizes(1.5, 0.001, 1.0, 1.0, 1.0)


def test_baseline_averaging_lengths_are_reproduced():
    assert historical.nwavelengths(0.00208, 16.02) == 2  # 2.67
    assert historical.nwavelengths(0.00694, 16.02) == 0  # 0.80: off


def test_historical_beam_width_is_reproduced():
    # tNDPPP-generic.MS: 134.375 MHz, 31.2625 m, elevation 66.06 deg
    assert historical.beam_fwhm_deg(134.375e6, 31.2625, math.radians(66.06)) == pytest.approx(4.924, abs=1e-3)


@pytest.mark.parametrize(("diameter_m", "elevation_rad", "problem"), [(0.0, 1.0, "diameter"), (31.0, -0.1, "not up")])
def test_impossible_beam_is_refused(diameter_m, elevation_rad, problem):
    with pytest.raises(ValueError, match=problem):
        historical.beam_fwhm_deg(144e6, diameter_m, elevation_rad)
