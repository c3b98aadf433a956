"""Settings of an observation, and refused ones."""

import math

import numpy as np
import pytest

from lofarpipe.imaging.simulation.stations import ObservationSettings


def test_subbands_are_on_the_lofar_grid():
    settings = ObservationSettings(nsubbands=2, lowest_frequency_hz=120e6, highest_frequency_hz=160e6)
    # by hand: 20 MHz / 195312.5 Hz = 102.4, 60 MHz / 195312.5 Hz = 307.2
    assert settings.subband_numbers() == [102, 307]
    assert settings.subband_frequencies_hz() == [100e6 + 102 * 195312.5, 100e6 + 307 * 195312.5]
    assert settings.channel_width_hz == 195312.5 / 8


def test_blocks_are_spread_evenly_around_transit():
    settings = ObservationSettings(nblocks=3, span_s=3600, slots_per_block=3, timestep_s=4.0, transit_s=5e9)
    blocks = list(settings.block_times_s())
    assert [block[1] for block in blocks] == [5e9 - 1800, 5e9, 5e9 + 1800]
    assert list(blocks[1] - 5e9) == [-4, 0, 4]
    assert settings.block_s == 12


def test_single_block_is_at_transit():
    settings = ObservationSettings(nblocks=1, slots_per_block=2, timestep_s=2.0, transit_s=5e9)
    (times_s,) = settings.block_times_s()
    assert list(times_s - 5e9) == [-1, 1]


def test_phase_centre_is_in_radians():
    centre = ObservationSettings(right_ascension_deg=180, declination_deg=45).phase_centre_rad
    assert centre == pytest.approx((math.pi, math.pi / 4))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"nstations": 1}, "nstations is 1"),
        ({"nstations": 63}, "nstations is 63; the Netherlands have 62 fields"),
        ({"timestep_s": 0.0}, "timestep_s is 0.0"),
        ({"timestep_s": math.nan}, "timestep_s is nan"),
        ({"antenna_set": "LBA_OUTER"}, "antenna_set is 'LBA_OUTER'; it must be one of HBA_DUAL_INNER, HBA_DUAL"),
        ({"lowest_frequency_hz": 60e6}, "frequencies are 60 to 156 MHz"),
        ({"lowest_frequency_hz": 160e6}, "they must rise"),
        ({"declination_deg": 90.0}, "declination_deg is 90.0"),
        ({"flagged_fraction": 1.0}, "flagged_fraction is 1.0; it must be below 1"),
        ({"nsubbands": 100}, "100 subbands of 0.1953 MHz do not fit"),
        ({"span_s": 100.0, "nblocks": 2}, "2 blocks of 401 s do not fit in span_s = 100 s"),
    ],
)
def test_impossible_numbers_are_refused_by_name(wrong, said):
    with pytest.raises(ValueError, match=r"must|not fit|have") as caught:
        ObservationSettings(**wrong)
    assert said in str(caught.value)


def test_demonstration_loses_little_by_sampling():
    """Its longest baselines (5 klambda) lose 1 % by the samples themselves at the edge of the image (3.3 deg)."""
    settings = ObservationSettings()
    turns = 5000 * math.radians(3.3)
    assert 1 - np.sinc(turns * settings.channel_width_hz / settings.lowest_frequency_hz) < 0.01
    assert 1 - np.sinc(turns * 7.2921e-5 * settings.timestep_s) < 0.015
