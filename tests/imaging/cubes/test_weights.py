"""Weights of planes. The values and their weight were recorded with astropy's mad_std."""

import math

import numpy as np
import pytest

from lofarpipe.imaging.cubes.weights import plane_weight, write_weights

VALUES = [-0.8028, 0.2428, -1.6563, math.nan, 1.1435, -0.4526, 0.4305, 0.2509, -0.3944, -0.8624, -2.0326, 1.4104]
VALUES += [-0.0476, 2.5223, 0.8262, 0.2778, -0.6574, 1.3925, -0.5063, 1.5699, -0.3984, 0.186, -1.5227, 2.3432, -0.094]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_weight_equals_recorded_one(kind):
    plane = np.array(VALUES, kind).reshape(5, 5)
    assert plane_weight(plane) == pytest.approx(0.8267554200020568, rel=1e-6)
    assert np.array_equal(plane, np.array(VALUES, kind).reshape(5, 5), equal_nan=True)  # it is not changed


def test_odd_number_of_pixels_has_middle_median():
    assert plane_weight(np.array([[1.0, 2.0, 4.0]])) == pytest.approx(1 / 1.482602218505602**2)


@pytest.mark.parametrize("value", [math.nan, 0.0])
def test_plane_without_noise_has_no_weight(value):
    assert math.isnan(plane_weight(np.full((4, 4), value, np.float32)))


def test_text_has_a_line_for_each_plane(tmp_path):
    write_weights(tmp_path / "w.txt", [5368.52392578125, math.nan])
    assert (tmp_path / "w.txt").read_text() == "# Channel Weight\n0 5368.52392578125\n1 nan\n"
