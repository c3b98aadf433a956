"""How many output channels an image is cleaned with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lofarpipe.imaging.ms.measurement_set import SetMetadata

# Over 6 % in frequency a Gaussian beam changes by 4 % on either side at half power, and by 9 % at 0.75 FWHM.
MAX_RELATIVE_WIDTH = 0.06
MIN_CHANNELS_OUT = 2


def count_channels_out(lowest_hz: float, highest_hz: float, averaged_channels: int) -> int:
    """Return the number of output channels between two band edges; it never falls when the band grows.

    One for every started 6 % in frequency, so that the primary beam and the spectra of sources change little within
    one; at least 2, but never more than there are channels after averaging.

    Raises
    ------
    ValueError
        If the edges are not positive and rising, or there is no channel.
    """
    if not 0 < lowest_hz < highest_hz or averaged_channels < 1:
        raise ValueError(
            f"{averaged_channels} channels from {lowest_hz / 1e6} to {highest_hz / 1e6} MHz; "
            "rising frequencies and one channel are needed"
        )
    wanted = math.ceil(math.log(highest_hz / lowest_hz) / MAX_RELATIVE_WIDTH - 1e-9)
    return min(max(wanted, MIN_CHANNELS_OUT), averaged_channels)


def channel_findings(sets: Sequence[SetMetadata], wanted: float) -> list[str]:
    """Return whether more output channels are asked for than the sets have channels."""
    channels = len({hz for one in sets for hz in one.frequencies_hz})
    if wanted <= channels:
        return []
    return [f"channels_out: is {wanted:g}, the sets have {channels} channels; set it to {channels} at most, or to 0"]
