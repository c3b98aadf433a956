"""Estimates of disk space, by hand and against the decisions of the plan."""

from __future__ import annotations

import pytest

from lofarpipe.imaging.ms.measurement_set import read_metadata
from lofarpipe.imaging.plan.losses import AveragingWish, expected_steps
from lofarpipe.programs.disk_space import ImagingVolume, least_volume
from small_sets import SetShape, make_set


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    """78 baselines and autocorrelations, 40 slots of 2 s, 16 channels of 12.207 kHz."""
    shape = SetShape(timestep_s=2.0, nchan=16, channel_width_hz=12207.03125)
    return read_metadata(str(make_set(tmp_path_factory.mktemp("sets") / "a.MS", shape)))


def test_reordered_bytes_equal_hand_calculation():
    volume = ImagingVolume(rows=168, visibilities=1344)
    assert volume.reordered_bytes() == 168 * 38 + 1344 * 20
    assert volume.reordered_bytes(with_model=False) == 168 * 38 + 1344 * 12
    assert volume.reordered_bytes(polarisations=4) == 168 * 38 + 1344 * 80


def test_averaged_bytes_match_known_set():
    volume = ImagingVolume(rows=425_475, visibilities=425_475 * 20)
    assert volume.averaged_bytes == pytest.approx(294e6, rel=0.15)


def test_historical_steps_are_exact(metadata):
    """16 s / 2 s = 8 slots; 0.2 MHz / 12.2 kHz = 16.4, all 16 channels."""
    assert expected_steps(metadata, AveragingWish(averaging="historical")) == (16, 8)


def test_tighter_limit_averages_less(metadata):
    loose = expected_steps(metadata, AveragingWish(max_peak_smearing=0.3))
    tight = expected_steps(metadata, AveragingWish(max_peak_smearing=0.001))
    worst = expected_steps(metadata, AveragingWish(max_peak_smearing=0.3, smearing_criterion="worst"))
    assert loose[0] >= worst[0] >= 1
    assert loose[1] > tight[1]
    assert loose[1] >= worst[1]


def test_empty_uv_range_disables_averaging(metadata):
    assert expected_steps(metadata, AveragingWish(minlambda=1e6, maxlambda=2e6)) == (1, 1)


def test_volumes_add_up(metadata):
    """3120 rows x 16 channels, averaged 8 x 16, twice."""
    volume = least_volume([metadata, metadata], AveragingWish(averaging="historical"))
    assert (volume.rows, volume.visibilities) == (2 * 3120 / 8, 2 * 3120 / 8)


def test_station_without_diameter_is_refused(tmp_path):
    metadata = read_metadata(str(make_set(tmp_path / "a.MS", SetShape(dish_diameter_m=0.0, ntimes=4))))
    with pytest.raises(ValueError, match="diameter"):
        least_volume([metadata], AveragingWish())
    assert least_volume([metadata], AveragingWish(station_diameter_m=31.0)).rows > 0
