"""The frequency axis of a cube: the planes that channel images take on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lofarpipe.errors import PipelineError
from lofarpipe.support.dataclass import dataclass

# Largest distance of an image from the middle of its plane, in planes, on a regular axis: frequencies in headers are
# good to 1e-9 of themselves, and channels of 142 and 143 input channels are 3.5e-3 apart.
ON_GRID = 1e-3
MOST_PLANES_PER_IMAGE = 10  # more than nine of ten planes blank are no cube: then the axis is not regular


@dataclass(frozen=True)
class FrequencyGrid:
    """A linear axis: ``first_hz`` + plane x ``step_hz``.

    ``places`` has the plane of every image, in the order of the images. ``deviation_hz`` is the largest one of an
    image's own frequency from its plane's: 0 on a regular axis.
    """

    first_hz: float
    step_hz: float
    nplanes: int
    places: tuple[int, ...]
    deviation_hz: float

    @property
    def is_regular(self) -> bool:
        """Whether the axis has the frequency of every plane."""
        return self.deviation_hz == 0


def frequency_grid(frequencies_hz: Sequence[float], width_hz: float) -> FrequencyGrid:
    """Return the axis for images of some frequencies: a missing one between others has a plane.

    Where they lie on no grid, there is a plane for each image, and the axis is the line that fits best. ``width_hz``
    is the step of an axis of one plane.

    Raises
    ------
    PipelineError
        If there are none, or two images have the same frequency.

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
