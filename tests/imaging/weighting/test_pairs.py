"""Weights of station pairs, in stretches of time and frequency."""

import math

import numpy as np
import pytest

from lofarpipe.imaging.beam.station import BeamError
from lofarpipe.imaging.ms.measurement_set import read_metadata, sample_visibilities
from lofarpipe.imaging.weighting import pairs as pair_weights
from lofarpipe.imaging.weighting.pairs import ChannelRange, weigh_pairs
from lofarpipe.imaging.weighting.weights import ImageWeighting
from small_sets import START_S, SetShape, make_set, pairs, set_flags

IMAGE = ImageWeighting((300, 300), math.radians(20 / 3600), 0.0, 1.2, 30.0, 2500.0)
SHAPE = SetShape(nantennas=8, ntimes=90, timestep_s=120.0, nchan=8, channel_width_hz=2e6, first_channel_hz=140e6)
ALL = ChannelRange(139e6, 155e6)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return read_metadata(make_set(tmp_path_factory.mktemp("sets") / "three_hours.MS", SHAPE))


def test_stretches_are_an_hour_and_six_percent(made):
    found = weigh_pairs([made], [ALL], IMAGE)
    assert len(found) == 3 * 2  # 3 h; 14 MHz at 147 MHz is 9.5 %
    times = sorted({round((stretch.time_s - START_S) / 3600, 1) for stretch in found})
    assert times == pytest.approx([0.5, 1.5, 2.5], abs=0.11)
    assert sorted(stretch.frequency_hz < 147e6 for stretch in found) == [False] * 3 + [True] * 3
    assert all(stretch.weights.shape == (8, 8) for stretch in found)
    assert all((np.tril(stretch.weights) == 0).all() for stretch in found)


def test_channels_have_separate_stretches(made):
    found = weigh_pairs([made], [ChannelRange(139e6, 147e6), ChannelRange(147e6, 155e6), ChannelRange(1e6, 2e6)], IMAGE)
    assert sorted({(stretch.output_channel, round(stretch.frequency_hz / 1e6)) for stretch in found}) == [
        (0, 143),
        (1, 151),
    ]


def test_sample_represents_the_whole_set(made, monkeypatch):
    def total(channel_ranges):
        return sum(stretch.weights for stretch in weigh_pairs([made], channel_ranges, IMAGE))

    complete = total([ALL])
    monkeypatch.setattr(pair_weights, "MOST_SAMPLES", 1000)
    sampled = total([ALL])
    assert sampled.sum() == pytest.approx(complete.sum(), rel=0.1)
    assert np.abs(sampled / sampled.sum() - complete / complete.sum()).sum() < 0.2


def test_large_set_is_sampled(made, monkeypatch):
    asked = []

    def looked_at(path, rows):
        asked.append(rows)
        return sample_visibilities(path, rows)

    monkeypatch.setattr(pair_weights, "sample_visibilities", looked_at)
    weigh_pairs([made], [ALL], IMAGE)
    monkeypatch.setattr(pair_weights, "MOST_SAMPLES", made.nrows * 8 - 1)
    weigh_pairs([made], [ALL], IMAGE)
    monkeypatch.setattr(pair_weights, "MOST_SAMPLES", 10)
    weigh_pairs([made], [ALL], IMAGE)
    assert asked == [made.nrows, 2 * 3 * 36, 3 * 36]  # all; two slots an hour; one slot an hour


def test_flagged_stations_weigh_nothing(tmp_path):
    path = make_set(tmp_path / "flagged.MS", SetShape(nantennas=6, ntimes=10))
    first, second = (np.tile(antenna, 10) for antenna in pairs(SetShape(nantennas=6)))
    set_flags(path, np.repeat(((first == 2) | (second == 2))[:, None], 8, axis=1))
    (found,) = weigh_pairs([read_metadata(path)], [ChannelRange(1e8, 2e8)], IMAGE)
    assert found.weights[2].sum() == found.weights[:, 2].sum() == 0
    assert found.weights.sum() > 0


def test_set_without_imaged_data_is_refused(tmp_path, made):
    with pytest.raises(BeamError, match="no unflagged visibility lies within the output channels"):
        weigh_pairs([made], [ChannelRange(1e6, 2e6)], IMAGE)
    with pytest.raises(BeamError, match="no unflagged visibility lies within the output channels"):
        weigh_pairs([made], [ALL], ImageWeighting((300, 300), IMAGE.cellsize_rad, 0.0, 1.2, 1e5, 2e5))
    path = make_set(tmp_path / "flagged.MS", SetShape(nantennas=4, ntimes=3))
    set_flags(path, np.ones((30, 8), bool))
    with pytest.raises(BeamError, match="cannot be weighted: no unflagged visibility"):
        weigh_pairs([read_metadata(path)], [ALL], IMAGE)


def test_several_sets_have_separate_stretches(made, tmp_path):
    later = SetShape(nantennas=6, ntimes=10, start_s=START_S + 86400, first_channel_hz=145e6)
    other = read_metadata(make_set(tmp_path / "later.MS", later))
    found = weigh_pairs([made, other], [ALL], IMAGE)
    assert [len([s for s in found if s.ms_path == made.path]), len([s for s in found if s.ms_path == other.path])] == [
        6,
        1,
    ]
    assert found[-1].weights.shape == (6, 6)
    assert found[-1].time_s == pytest.approx(START_S + 86400 + 50, abs=10)
