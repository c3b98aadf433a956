"""Output channels: monotonic in bandwidth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.imaging.plan.plan import count_channels_out


@pytest.mark.parametrize(
    ("lowest_hz", "highest_hz", "channels", "expected"),
    [
        (120e6, 168e6, 488, 6),  # full HBA band: ln(1.4) / 0.06 = 5.6
        (143.9e6, 144.1e6, 2, 2),
        (143.9e6, 144.1e6, 1, 1),  # no more than there are
        (30e6, 78e6, 1000, 16),
        (120e6, 168e6, 4, 4),
    ],
)
def test_channels_out_equals_hand_calculation(lowest_hz, highest_hz, channels, expected):
    assert count_channels_out(lowest_hz, highest_hz, channels) == expected


@given(st.floats(20e6, 2e9), st.floats(1e5, 5e8), st.floats(0, 5e8), st.integers(1, 1000))
def test_more_bandwidth_never_gives_fewer_channels(lowest_hz, width_hz, more_hz, channels):
    narrow = count_channels_out(lowest_hz, lowest_hz + width_hz, channels)
    wide = count_channels_out(lowest_hz, lowest_hz + width_hz + more_hz, channels)
    assert min(2, channels) <= narrow <= wide <= channels


@pytest.mark.parametrize(("lowest_hz", "highest_hz", "channels"), [(0, 1e8, 4), (2e8, 1e8, 4), (1e8, 2e8, 0)])
def test_impossible_bands_are_refused(lowest_hz, highest_hz, channels):
    with pytest.raises(ValueError, match="rising frequencies"):
        count_channels_out(lowest_hz, highest_hz, channels)
