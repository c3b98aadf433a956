"""The primary beam per output channel."""

import dataclasses
import math

import numpy as np
import pytest

from lofarpipe.imaging.beam.primary_beam import beam_cube, resample
from lofarpipe.imaging.beam.station import BeamGrid, StationBeams, equal_pair_weights
from lofarpipe.imaging.ms.measurement_set import read_metadata
from lofarpipe.imaging.weighting.pairs import ChannelRange
from lofarpipe.imaging.weighting.weights import ImageWeighting

IMAGE = ImageWeighting((512, 512), math.radians(40 / 3600), 0.0, 1.4, 80.0, 3000.0)
REACH = (0.05, 0.05)
RANGE = ChannelRange(134.2e6, 134.6e6)


@pytest.fixture(scope="module")
def hba(hba_set):
    return read_metadata(str(hba_set))


def test_cube_lies_between_the_beams_of_its_stations(hba):
    cube = beam_cube([hba], [RANGE], IMAGE, hba.phase_centre_rad, REACH)
    beams = StationBeams(hba.path)
    every = beams.power(cube.grid, (hba.start_s + hba.end_s) / 2, 134.375e6, equal_pair_weights(8))
    assert cube.source == "everybeam"
    assert cube.warnings == ()
    assert cube.centre(0) == pytest.approx(1, abs=1e-5)
    assert cube.parts[0][0].frequency_hz == pytest.approx(134.375e6, rel=1e-3)
    (power,) = cube.powers[0]
    assert np.abs(power - every).max() < 0.05
    assert np.abs(power - every).max() > 1e-3  # imaging weights are not equal


def test_empty_output_channel_is_nan(hba):
    cube = beam_cube([hba], [RANGE, ChannelRange(150e6, 151e6)], IMAGE, hba.phase_centre_rad, REACH)
    assert np.isfinite(cube.powers[0][0]).all()
    assert cube.parts[1] == cube.powers[1] == []
    assert cube.warnings == ("output channel 1 has no unflagged data; its beam is NaN",)


def test_sets_without_beam_model_get_gaussian(dish_set):
    dish = read_metadata(str(dish_set))
    ranges = [ChannelRange(850e6, 950e6), ChannelRange(1.75e9, 1.85e9)]
    cube = beam_cube([dish], ranges, IMAGE, dish.phase_centre_rad, (0.02, 0.02))
    assert cube.source == "formula"
    assert "the primary beam is a Gaussian by formula" in cube.warnings[0]
    assert dish.name in cube.warnings[0]
    centre, half = cube.grid.nodes // 2, math.radians(1.555) / 2  # half-power radius at 900 MHz
    assert [power[centre, centre] for (power,) in cube.powers] == [1, 1]
    ((_, at_half),) = resample(cube.grid, cube.powers[0][0], np.array([half]), np.array([0.0]))
    assert at_half[0, 0] == pytest.approx(0.5, abs=1e-3)
    ((_, twice),) = resample(cube.grid, cube.powers[1][0], np.array([half]), np.array([0.0]))
    assert twice[0, 0] == pytest.approx(0.5**4, abs=1e-3)


def test_warning_names_only_some_sets(dish_set):
    dish = read_metadata(str(dish_set))
    cube = beam_cube([dish] * 4, [RANGE], IMAGE, dish.phase_centre_rad, (0.02, 0.02))
    assert "and others" in cube.warnings[0]


def test_missing_diameter_is_refused(dish_set):
    bare = dataclasses.replace(
        read_metadata(str(dish_set)), dish_diameters_m=np.zeros_like(read_metadata(str(dish_set)).dish_diameters_m)
    )
    with pytest.raises(ValueError, match="station diameter is"):
        beam_cube([bare], [RANGE], IMAGE, bare.phase_centre_rad, REACH)
    assert beam_cube([bare], [RANGE], IMAGE, bare.phase_centre_rad, (0.02, 0.02), 13.5).source == "formula"


def test_resampling_keeps_nodes_and_directions():
    grid = BeamGrid(0.0, 0.0, 16, 0.01, 0.02)
    east, north = np.meshgrid(grid.columns_l, grid.rows_m)
    power = np.exp(-((east / 0.1) ** 2) - (north / 0.2) ** 2) + 0.5 * east + 0.2 * north
    pixels_l, pixels_m = np.linspace(0.06, -0.06, 601), np.linspace(-0.1, 0.1, 700)
    blocks = list(resample(grid, power, pixels_l, pixels_m))
    assert [rows.stop - rows.start for rows, _ in blocks] == [256, 256, 188]
    full = np.concatenate([block for _, block in blocks])
    east, north = np.meshgrid(pixels_l, pixels_m)
    expected = np.exp(-((east / 0.1) ** 2) - (north / 0.2) ** 2) + 0.5 * east + 0.2 * north
    assert np.abs(full - expected).max() < 1e-4
