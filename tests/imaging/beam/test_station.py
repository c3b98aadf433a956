"""Station beams from EveryBeam on a grid."""

import builtins

import everybeam
import numpy as np
import pytest
from scipy.interpolate import RectBivariateSpline

from lofarpipe.imaging.beam import station as station_beam
from lofarpipe.imaging.beam.station import (
    BeamError,
    BeamGrid,
    StationBeams,
    equal_pair_weights,
    find_coefficients,
    make_grid,
)
from lofarpipe.imaging.ms.measurement_set import read_metadata

FREQUENCY_HZ = 134.375e6


@pytest.fixture(scope="module")
def hba(hba_set):
    return read_metadata(str(hba_set))


@pytest.fixture(scope="module")
def beams(hba):
    return StationBeams(hba.path)


def test_grid_has_axes_of_fits_image():
    grid = BeamGrid(0.0, 0.0, 4, 0.1, 0.2)
    assert grid.columns_l == pytest.approx([0.2, 0.1, 0, -0.1])
    assert grid.rows_m == pytest.approx([-0.4, -0.2, 0, 0.2])


def test_grid_covers_field_and_scales_with_frequency():
    low, high = (make_grid((0.0, 0.0), 0.07, 0.05, frequency_hz) for frequency_hz in (120e6, 240e6))
    for grid in (low, high):
        assert grid.nodes % 2 == 0
        assert grid.columns_l.min() == pytest.approx(-0.07)
        assert grid.rows_m.max() == pytest.approx(0.05)
    assert low.nodes == 20  # 2 * 0.07 * 300 * 120e6 / c = 16.8 steps, and the margin
    assert high.nodes == 36


@pytest.mark.parametrize("reach", [0.0, 0.7, 2.0, float("nan")])
def test_grid_refuses_impossible_fields(reach):
    with pytest.raises(BeamError, match="make a smaller image"):
        make_grid((0.0, 0.0), reach, reach, 150e6)


def test_beam_is_one_at_the_centre(beams):
    grid = make_grid((0.42624572, 0.57874697), 0.06, 0.06, FREQUENCY_HZ)
    power = beams.power(grid, 4871282393.0, FREQUENCY_HZ, equal_pair_weights(8))
    assert power[grid.nodes // 2, grid.nodes // 2] == pytest.approx(1, abs=1e-5)
    assert power.max() == pytest.approx(1, abs=1e-3)
    assert power[0, 0] < 0.01 < power[0, grid.nodes // 2]


def test_grid_suffices_for_splines(beams, hba):
    grid = make_grid(hba.phase_centre_rad, 0.07, 0.07, FREQUENCY_HZ)
    fine = BeamGrid(*hba.phase_centre_rad, 128, 0.07 / 63, 0.07 / 63)
    coarse, truth = (beams.power(g, hba.start_s, FREQUENCY_HZ, equal_pair_weights(8)) for g in (grid, fine))
    spline = RectBivariateSpline(grid.rows_m, grid.columns_l[::-1], coarse[:, ::-1], kx=5, ky=5)
    inner = np.s_[1:, 1:]  # the outermost row and column of the fine grid lie outside the coarse one
    assert np.abs(spline(fine.rows_m, fine.columns_l[::-1])[:, ::-1] - truth)[inner].max() < 1e-4


def test_orientation_agrees_with_everybeam_directions(beams, hba):
    grid = BeamGrid(*hba.phase_centre_rad, 16, 0.01, 0.01)
    jones = beams.jones(grid, hba.start_s, FREQUENCY_HZ)
    telescope = everybeam.load_telescope(hba.path, beam_normalisation_mode=everybeam.full)
    ra, dec = hba.phase_centre_rad
    north = telescope.station_response(hba.start_s, 2, FREQUENCY_HZ, ra, dec + np.arcsin(0.03))
    assert jones[2, 8 + 3, 8] == pytest.approx(north, abs=2e-4)
    east = telescope.station_response(hba.start_s, 2, FREQUENCY_HZ, ra + np.arctan2(0.03, np.cos(dec)), dec)
    assert jones[2, 8, 8 - 3] == pytest.approx(east, abs=2e-2)


def test_pair_beam_is_product_of_stations(beams, hba):
    grid = make_grid(hba.phase_centre_rad, 0.05, 0.05, FREQUENCY_HZ)
    weights = np.zeros((8, 8))
    weights[1, 4] = 3.0
    power = beams.power(grid, hba.start_s, FREQUENCY_HZ, weights)
    jones = beams.jones(grid, hba.start_s, FREQUENCY_HZ).astype(complex)
    by_hand = 0.5 * np.einsum("yxij,yxij->yx", jones[1], jones[4].conj()).real
    assert power == pytest.approx(by_hand, abs=1e-5)
    assert beams.power(grid, hba.start_s, FREQUENCY_HZ, weights.T) == pytest.approx(power)


@pytest.mark.parametrize("weights", [np.ones((3, 3)), np.zeros((8, 8)), np.full((8, 8), np.nan)])
def test_weights_of_wrong_shape_are_refused(beams, hba, weights):
    grid = make_grid(hba.phase_centre_rad, 0.05, 0.05, FREQUENCY_HZ)
    with pytest.raises(BeamError, match=r"expected \(8, 8\) and a positive sum"):
        beams.power(grid, hba.start_s, FREQUENCY_HZ, weights)


def test_unspecified_beam_is_assumed_corrected(beams):
    assert "assumed" in beams.applied.reference


def test_dishes_have_no_station_beams(dish_set):
    with pytest.raises(BeamError, match="EveryBeam cannot load its station beams: Currently the python bindings"):
        StationBeams(str(dish_set))


def test_equal_weights_count_each_pair_once():
    assert equal_pair_weights(3).tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    with pytest.raises(BeamError, match="1 station; an interferometer needs at least 2"):
        equal_pair_weights(1)


def test_coefficients_are_passed_to_everybeam(monkeypatch):
    monkeypatch.delenv("EVERYBEAM_DATADIR", raising=False)
    assert station_beam._everybeam() is everybeam
    assert find_coefficients() is not None
    assert station_beam.os.environ["EVERYBEAM_DATADIR"] == str(find_coefficients())


def test_missing_everybeam_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "everybeam":
            raise ImportError("No module named 'everybeam'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BeamError, match="install the Python package everybeam"):
        station_beam._everybeam()
