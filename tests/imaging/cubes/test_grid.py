"""The frequency axis of a cube."""

import itertools

import numpy as np
import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.cubes.grid import frequency_grid


def averaged(nchannels: int, nimages: int) -> list[float]:
    """Frequencies of images of input channels 1 MHz apart, divided as WSClean does."""
    edges = [number * nchannels // nimages for number in range(nimages + 1)]
    return [888e6 + 1e6 * (first + last - 1) / 2 for first, last in itertools.pairwise(edges)]


@pytest.mark.parametrize(
    ("frequencies", "expected"),
    [
        ([888e6, 889e6, 890e6], (888e6, 1e6, 3, (0, 1, 2))),
        ([890e6, 888e6, 889e6], (888e6, 1e6, 3, (2, 0, 1))),
        ([888e6, 889e6, 891e6], (888e6, 1e6, 4, (0, 1, 3))),
        ([888e6], (888e6, 3e6, 1, (0,))),
        (averaged(36, 9), (889.5e6, 4e6, 9, tuple(range(9)))),
        (averaged(36, 8), (889.5e6, 4.5e6, 8, tuple(range(8)))),
    ],
)
def test_regular_channels_have_a_regular_axis(frequencies, expected):
    grid = frequency_grid(frequencies, 3e6)
    assert (grid.first_hz, grid.step_hz, grid.nplanes, grid.places) == expected
    assert grid.is_regular


@pytest.mark.parametrize(("nchannels", "nimages"), [(8, 3), (288, 7), (288, 35), (1000, 7), (36, 7)])
def test_irregular_channels_have_separate_planes(nchannels, nimages):
    frequencies = averaged(nchannels, nimages)
    grid = frequency_grid(frequencies, 1e6)
    assert not grid.is_regular
    assert grid.nplanes == nimages
    off_hz = np.array(frequencies) - (grid.first_hz + grid.step_hz * np.array(grid.places))
    assert grid.deviation_hz == pytest.approx(np.abs(off_hz).max())
    assert grid.deviation_hz < 1e6
    assert off_hz.mean() == pytest.approx(0, abs=1)  # the line that fits best


def test_three_images_have_hand_computed_axis():
    grid = frequency_grid([888e6, 890.5e6, 893.5e6], 1e6)
    assert (grid.first_hz, grid.step_hz) == pytest.approx((890.6666667e6 - 2.75e6, 2.75e6))
    assert grid.deviation_hz == pytest.approx(166666.7, rel=1e-6)


def test_distant_channel_adds_no_blank_planes():
    grid = frequency_grid([888e6, 889e6, 1188e6], 1e6)
    assert (grid.nplanes, grid.is_regular) == (3, False)


def test_images_of_one_frequency_are_refused():
    with pytest.raises(PipelineError, match="two channel images have the frequency 888000000 Hz"):
        frequency_grid([888e6, 889e6, 888e6], 1e6)
    with pytest.raises(PipelineError, match="no channel image"):
        frequency_grid([], 1e6)
