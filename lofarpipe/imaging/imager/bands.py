"""Output channels: the division of the input frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.imager.errors import ImagerError
from lofarpipe.support.dataclass import dataclass

Floats = NDArray[np.float64]


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


def _band(frequencies_hz: Floats, widths_hz: Floats) -> BandRange:
    low = float((frequencies_hz - widths_hz / 2).min())
    high = float((frequencies_hz + widths_hz / 2).max())
    return BandRange(low, high, tuple(float(one) for one in frequencies_hz))
