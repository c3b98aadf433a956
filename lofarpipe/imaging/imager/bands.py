"""Output channels: the division of the input frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.imager.errors import ImagerError
from lofarpipe.support.dataclass import dataclass

Floats = NDArray[np.float64]
GAP_WIDTHS = 1.5  # channel widths; frequencies further apart are not averaged


@dataclass(frozen=True)
class BandRange:
    """Frequencies of an output channel, Hz: its edges, and the centres of its input channels."""

    low_hz: float
    high_hz: float
    frequencies_hz: tuple[float, ...]

    def columns(self, frequencies_hz: Floats) -> slice:
        """Return the slice of rising frequencies in this output channel."""
        first, last = self.frequencies_hz[0], self.frequencies_hz[-1]
        return slice(
            int(np.searchsorted(frequencies_hz, first)), int(np.searchsorted(frequencies_hz, last, side="right"))
        )


def band_ranges(frequencies_hz: Sequence[Floats], widths_hz: Sequence[Floats], count: int) -> list[BandRange]:
    """Divide the frequencies of all sets into output channels of equally many input channels.

    Channel i of n has the input channels i N / n to (i + 1) N / n, rounded down, as in WSClean.

    Raises
    ------
    ImagerError
        If there are more output channels than frequencies.
    """
    everything, index = np.unique(np.concatenate(list(frequencies_hz)), return_index=True)
    widths = np.concatenate(list(widths_hz))[index]
    if not 1 <= count <= len(everything):
        raise ImagerError(f"channels_out is {count}, and the sets have {len(everything)} channels; lower channels_out")
    edges = [number * len(everything) // count for number in range(count + 1)]
    return [_band(everything[low:high], widths[low:high]) for low, high in pairwise(edges)]


def frequency_bins(
    frequencies_hz: Floats, widths_hz: Floats, bands: Sequence[BandRange], count: int
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Divide rising frequencies into bins of at most ``count`` channels next to each other in an output channel.

    Return each channel's bin (chan,), and the bins' mean frequencies and the standard deviations of theirs (bin,), Hz.
    """
    starts = np.ones(len(frequencies_hz), bool)
    limit_hz = GAP_WIDTHS * np.minimum(widths_hz[1:], widths_hz[:-1])
    starts[1:] = np.diff(frequencies_hz) > limit_hz
    for band in bands:
        starts[band.columns(frequencies_hz).start % len(starts)] = True
    run = 0
    for chan, is_start in enumerate(starts):
        run = 1 if is_start or run == count else run + 1
        starts[chan] = run == 1
    bins = np.cumsum(starts) - 1
    sizes = np.bincount(bins)
    means_hz = np.bincount(bins, frequencies_hz) / sizes
    spreads_hz = np.sqrt(np.bincount(bins, (frequencies_hz - means_hz[bins]) ** 2) / sizes)
    return bins, means_hz, spreads_hz


def _band(frequencies_hz: Floats, widths_hz: Floats) -> BandRange:
    low = float((frequencies_hz - widths_hz / 2).min())
    high = float((frequencies_hz + widths_hz / 2).max())
    return BandRange(low, high, tuple(float(one) for one in frequencies_hz))
