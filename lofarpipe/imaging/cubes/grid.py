"""The frequency axis of a cube, and the assignment of channel images to its planes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lofarpipe.errors import PipelineError
from lofarpipe.support.dataclass import dataclass

# Largest offset of an image from its plane on a regular axis, in planes: header frequencies are accurate to a relative
# 1e-9, and alternating channels of 142 and 143 input channels are off by 3.5e-3.
ON_GRID = 1e-3
MOST_PLANES_PER_IMAGE = 10  # with more than 90 % of blank planes the axis counts as irregular


@dataclass(frozen=True)
class FrequencyGrid:
    """A linear axis: ``first_hz`` + plane x ``step_hz``.

    ``places`` has the plane of every image, in the order of the images. ``deviation_hz`` is the largest difference
    of an image's frequency from its plane's: 0 on a regular axis.
    """

    first_hz: float
    step_hz: float
    nplanes: int
    places: tuple[int, ...]
    deviation_hz: float

    @property
    def is_regular(self) -> bool:
        """Whether the linear axis gives the frequencies of all planes."""
        return self.deviation_hz == 0


def frequency_grid(frequencies_hz: Sequence[float], width_hz: float) -> FrequencyGrid:
    """Return the frequency axis of images; missing channels get a plane.

    Frequencies off any regular grid get one plane per image, and the best-fitting linear axis. ``width_hz``
    is the step for a single plane.

    Raises
    ------
    PipelineError
        If there are no images, or two have the same frequency.

    Source: doc/spec/cubes.md, section 5.
    """
    values = np.asarray(frequencies_hz, np.float64)
    if not values.size:
        raise PipelineError("cube: there is no channel image to put into it")
    order = np.argsort(values)
    steps = np.diff(values[order])
    if (steps == 0).any():
        twice = values[order][int(np.argmin(steps))]
        raise PipelineError(f"cube: two channel images have the frequency {twice:.0f} Hz; one for each plane is needed")
    if values.size == 1:
        return FrequencyGrid(float(values[0]), float(width_hz), 1, (0,), 0.0)
    first_hz = float(values[order[0]])
    places = np.rint((values - first_hz) / steps.min())
    step_hz = float((values.max() - first_hz) / places.max())
    off_hz = np.abs(first_hz + places * step_hz - values).max()
    nplanes = int(places.max()) + 1
    if off_hz <= ON_GRID * step_hz and nplanes <= MOST_PLANES_PER_IMAGE * values.size:
        return FrequencyGrid(first_hz, step_hz, nplanes, tuple(int(place) for place in places), 0.0)
    places = np.empty(values.size)
    places[order] = np.arange(values.size)
    step_hz, first_hz = (float(number) for number in np.polyfit(places, values, 1))
    off_hz = np.abs(first_hz + places * step_hz - values).max()
    return FrequencyGrid(first_hz, step_hz, values.size, tuple(int(place) for place in places), float(off_hz))
