"""The division of a band into output channels and batches."""

from __future__ import annotations

import numpy as np
import pytest

from lofarpipe.imaging.plan.channels import (
    OutputChannel,
    channel_label,
    chosen_channels,
    divide_band,
    divide_into_batches,
    effective_frequency_hz,
    frequency_range,
    joined_channel_edges,
    mark_blank_channels,
)

WINDOWS = {0: np.arange(4) * 10e6 + 905e6, 1: np.arange(4) * 10e6 + 965e6}  # a gap from 940 to 960 MHz


def test_meerkat_band_is_divided() -> None:
    channels = divide_band({0: np.array([886e6, 888507800.0])}, 886, 1680, 2.5078)
    assert len(channels) == 317
    assert (channels[0].low_hz, channels[0].high_hz) == (886000000, 888507800)
    assert channels[199].high_hz == 1387560000
    assert (channels[316].low_hz, channels[316].high_hz) == (1678464800, 1680000000)
    assert channels[316].frequency_hz == 1678464800 + 2507800 / 2  # of the regular axis
    assert channels[0].members == ((0, 0),)  # half-open: the second centre is on the edge
    assert channels[1].members == ((0, 1),)
    assert channels[2].reason == "no data"


def test_gap_has_no_members() -> None:
    channels = divide_band(WINDOWS, 900, 1000, 20)
    assert [channel.reason for channel in channels] == ["", "", "no data", "", ""]
    assert channels[3].members == ((1, 0), (1, 1))


def test_overlapping_windows_share_a_channel() -> None:
    channels = divide_band({0: np.array([905e6, 915e6]), 1: np.array([910e6, 915e6])}, 900, 920, 20)
    assert channels[0].members == ((0, 0), (0, 1), (1, 0), (1, 1))
    assert frequency_range(channels[0], [np.array([905e6, 915e6]), np.array([910e6, 915e6])]) == (0, 3)


def test_falling_frequencies_are_counted_from_the_lowest() -> None:
    channel = divide_band({0: WINDOWS[0][::-1]}, 900, 920, 20)[0]
    assert channel.members == ((0, 2), (0, 3))
    assert frequency_range(channel, [WINDOWS[0][::-1]]) == (0, 2)


def test_flagged_channels_have_a_reason() -> None:
    channels = divide_band(WINDOWS, 900, 1000, 20)
    counts = {0: np.array([0, 0, 5, 5]), 1: np.array([1, 3, 2, 2])}
    assert [channel.reason for channel in mark_blank_channels(channels, counts)] == ["flagged", "", "no data", "", ""]
    assert effective_frequency_hz(channels[3], WINDOWS, counts) == pytest.approx(965e6 + 7.5e6)
    assert effective_frequency_hz(channels[0], WINDOWS, counts) is None


@pytest.mark.parametrize(("text", "indices"), [("all", [1, 2, 3, 4, 5]), ("2-3", [2, 3]), ("5", [5])])
def test_channels_are_chosen(text: str, indices: list[int]) -> None:
    assert [channel.index for channel in chosen_channels(divide_band(WINDOWS, 900, 1000, 20), text)] == indices


@pytest.mark.parametrize(("text", "reason"), [("0-3", "the plan has 1-5"), ("4-9", "1-5"), ("a-b", "a range such as")])
def test_wrong_channels_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        chosen_channels(divide_band(WINDOWS, 900, 1000, 20), text)


def test_batches_contain_neighbouring_channels() -> None:
    channels = divide_band(WINDOWS, 900, 1000, 20)
    batches = divide_into_batches(channels, 2)
    assert [[channel.index for channel in batch.channels] for batch in batches] == [[1, 2], [4, 5]]
    assert [(part.window, part.first, part.count) for part in batches[1].ranges()] == [(1, 0, 4)]
    assert len(divide_into_batches(channels, 1)) == 2  # windows that share no channel are not read together
    assert [len(batch.channels) for batch in divide_into_batches(channels, 32)] == [1, 1, 1, 1]
    assert [len(batch.channels) for batch in divide_into_batches(channels, 1, size=1)] == [1, 1, 1, 1]


def test_labels_have_as_many_digits_as_the_last() -> None:
    assert [channel_label(7, 317), channel_label(7, 1200)] == ["007", "0007"]


def test_joined_channels_are_never_empty() -> None:
    centres = np.concatenate(list(WINDOWS.values()))
    edges = joined_channel_edges(centres, 900e6, 1000e6, 6)
    groups = np.histogram(centres, [0, *edges, 2e9])[0]
    assert groups.sum() == 8
    assert groups.all()
    assert len(joined_channel_edges(centres, 900e6, 1000e6, 100)) == 7
    assert joined_channel_edges(centres, 2000e6, 3000e6, 4) == []


def test_blank_channel_is_in_no_batch() -> None:
    assert divide_into_batches([OutputChannel(1, 0, 1, (), "no data")], 3) == []
