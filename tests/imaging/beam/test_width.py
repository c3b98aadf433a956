"""Half-power widths of the array's beam."""

import dataclasses
import math

import numpy as np
import pytest

from lofarpipe.imaging.beam import width as beam
from lofarpipe.imaging.beam.station import BeamError, StationBeams, equal_pair_weights, make_grid
from lofarpipe.imaging.beam.width import (
    block_times_s,
    field_beam,
    formula_field_beam,
    half_power_extent,
    measure_field_beam,
)
from lofarpipe.imaging.ms.measurement_set import read_metadata

FREQUENCY_HZ = 134.375e6
TIME_S = 4871282420.0

# Half-power widths, deg, (mean, major, minor) of tNDPPP-generic.MS. Source: doc/spec/imaging.md, section 4.2.
MEASURED = {
    "CS001HBA0": (4.686, 5.000, 4.448),
    "CS002HBA0": (4.384, 4.684, 4.121),
    "CS002HBA1": (4.234, 4.687, 3.818),
    "CS004HBA1": (4.836, 5.308, 4.441),
    "RS106HBA": (4.710, 4.889, 4.599),
    "RS208HBA": (4.962, 5.160, 4.749),
    "RS305HBA": (4.551, 4.761, 4.370),
    "RS307HBA": (4.894, 5.384, 4.501),
}


@pytest.fixture(scope="module")
def hba(hba_set_generic):
    return read_metadata(str(hba_set_generic))


@pytest.fixture(scope="module")
def beams(hba):
    return StationBeams(hba.path)


@pytest.fixture(scope="module")
def grid(hba):
    return make_grid(hba.phase_centre_rad, 0.09, 0.09, FREQUENCY_HZ)


def widths_deg(power, grid):
    """Mean, largest and smallest diameter of the half-power contour, by cuts through the centre."""
    from scipy.interpolate import RectBivariateSpline

    spline = RectBivariateSpline(grid.rows_m, grid.columns_l[::-1], power[:, ::-1] / power.max(), kx=5, ky=5)
    radius = np.linspace(0, 0.07, 1401)
    angles = np.radians(np.arange(0, 360, 5))
    radii = [radius[np.argmax(spline.ev(radius * np.cos(a), radius * np.sin(a)) < 0.5)] for a in angles]
    diameters = np.degrees(np.add(radii[:36], radii[36:]))
    return diameters.mean(), diameters.max(), diameters.min()


@pytest.mark.parametrize("station", MEASURED)
def test_station_widths_equal_recorded_ones(station, hba, beams, grid):
    weights = np.zeros((8, 8))
    weights[(hba.antenna_names.index(station),) * 2] = 1.0
    assert widths_deg(beams.power(grid, TIME_S, FREQUENCY_HZ, weights), grid) == pytest.approx(
        MEASURED[station], rel=0.01
    )


def test_array_widths_equal_recorded_ones(beams, grid):
    mean_power = beams.power(grid, TIME_S, FREQUENCY_HZ, np.eye(8))
    assert widths_deg(mean_power, grid) == pytest.approx((4.636, 4.748, 4.524), rel=0.005)
    pairs = beams.power(grid, TIME_S, FREQUENCY_HZ, equal_pair_weights(8))
    assert widths_deg(pairs, grid) == pytest.approx((4.58, 4.70, 4.46), rel=0.005)


def test_beam_model_gives_measured_width(hba):
    found = field_beam([hba], FREQUENCY_HZ)
    assert found.source == "everybeam"
    assert 4.46 <= found.fwhm_x_deg <= 4.70
    assert 4.46 <= found.fwhm_y_deg <= 4.70
    assert "8 stations" in found.detail
    assert "134.375 MHz" in found.detail


def test_field_beam_scales_as_wavelength(hba, monkeypatch):
    monkeypatch.setattr(beam, "BEAM_TIMES", 1)
    low, high = (measure_field_beam(hba.path, [hba], f) for f in (120e6, 180e6))
    assert low.fwhm_x_deg / high.fwhm_x_deg == pytest.approx(1.5, rel=0.005)


def test_low_field_has_stretched_beam(hba):
    # The field of this set culminates at 70 deg; eight hours before, it was near the horizon.
    low = dataclasses.replace(hba, start_s=hba.start_s - 6 * 3600, end_s=hba.end_s - 6 * 3600)
    found = [measure_field_beam(hba.path, [block], FREQUENCY_HZ) for block in (low, hba)]
    widest = [max(one.fwhm_x_deg, one.fwhm_y_deg) for one in found]
    assert widest[0] > 1.3 * widest[1]


def test_seven_times_suffice_for_eight_hours(hba, monkeypatch):
    long = dataclasses.replace(hba, start_s=hba.start_s - 4 * 3600, end_s=hba.end_s + 4 * 3600)
    some = measure_field_beam(hba.path, [long], FREQUENCY_HZ)
    monkeypatch.setattr(beam, "BEAM_TIMES", 29)
    many = measure_field_beam(hba.path, [long], FREQUENCY_HZ)
    assert some.fwhm_x_deg == pytest.approx(many.fwhm_x_deg, rel=0.005)
    assert some.fwhm_y_deg == pytest.approx(many.fwhm_y_deg, rel=0.005)


def test_grid_grows_to_half_power(hba, monkeypatch):
    monkeypatch.setattr(beam, "BEAM_TIMES", 1)
    expected = measure_field_beam(hba.path, [hba], FREQUENCY_HZ)
    monkeypatch.setattr(beam, "FIRST_HALF_WIDTH_M", 100.0)
    grown = measure_field_beam(hba.path, [hba], FREQUENCY_HZ)
    assert grown.fwhm_x_deg == pytest.approx(expected.fwhm_x_deg, rel=1e-3)
    monkeypatch.setattr(beam, "MOST_DOUBLINGS", 1)
    with pytest.raises(BeamError, match="does not fall to half within 40 deg"):
        measure_field_beam(hba.path, [hba], FREQUENCY_HZ)


def test_extent_encloses_tilted_ellipse():
    # x along (1, 1) with half-power width 20, across 10: half the box is sqrt((10^2 + 5^2) / 2) = 7.906.
    y, x = np.mgrid[-20:21, -20:21].astype(float)
    along, across = (x + y) / math.sqrt(2), (x - y) / math.sqrt(2)
    power = 0.8 * np.exp(-4 * math.log(2) * ((along / 20) ** 2 + (across / 10) ** 2))
    assert half_power_extent(power, 1.0, 2.0) == pytest.approx((15.811, 31.623), rel=1e-3)


def test_beam_beyond_grid_has_no_extent():
    y, x = np.mgrid[-8:9, -8:9].astype(float)
    assert half_power_extent(np.exp(-(x**2) / 8), 1.0, 1.0) is None
    assert half_power_extent(np.exp(-((x - 6) ** 2 + y**2) / 12), 1.0, 1.0) is None


def test_times_avoid_gaps_between_blocks(hba):
    first = dataclasses.replace(hba, start_s=0.0, end_s=100.0)
    second = dataclasses.replace(hba, start_s=1000.0, end_s=1300.0)
    assert block_times_s([first, second], 4).tolist() == [50, 1050, 1150, 1250]
    assert block_times_s([first], 1).tolist() == [50]


@pytest.mark.parametrize(("count", "end_s"), [(0, 100.0), (3, 0.0)])
def test_non_positive_times_are_refused(hba, count, end_s):
    with pytest.raises(ValueError, match="all must be positive"):
        block_times_s([dataclasses.replace(hba, start_s=0.0, end_s=end_s)], count)


def test_formula_agrees_with_the_measured_beam(hba):
    measured, formula = field_beam([hba], FREQUENCY_HZ), formula_field_beam([hba], FREQUENCY_HZ)
    assert formula.source == "formula"
    assert formula.fwhm_x_deg == pytest.approx(measured.fwhm_x_deg, rel=0.06)
    assert formula.fwhm_y_deg == pytest.approx(measured.fwhm_y_deg, rel=0.06)
    assert "30.75 m" in formula.detail


def test_formula_stretches_only_the_vertical(hba):
    # Elevation 66.06 deg, parallactic angle 29.6 deg: by hand, width 4.531 deg; box sides sqrt of the mean of squares.
    across, along = 4.531, 4.531 / math.sin(math.radians(66.06))
    cosine, sine = math.cos(math.radians(29.6)), math.sin(math.radians(29.6))
    found = formula_field_beam([hba], FREQUENCY_HZ)
    assert found.fwhm_x_deg == pytest.approx(math.hypot(along * sine, across * cosine), rel=0.005)
    assert found.fwhm_y_deg == pytest.approx(math.hypot(along * cosine, across * sine), rel=0.005)


def test_dishes_have_a_round_beam_by_formula(dish_set):
    found = field_beam([read_metadata(str(dish_set))], 9e8)
    assert found.source == "formula"
    # by hand: 1.1 * 0.33310 m / 13.5 m = 0.027142 rad
    assert (found.fwhm_x_deg, found.fwhm_y_deg) == pytest.approx((1.555, 1.555), rel=1e-3)


def test_diameter_option_overrides_the_set(hba):
    found = field_beam([hba], FREQUENCY_HZ, dish_diameter_m=41.0)
    assert found.source == "formula"
    assert "41.05 m" in found.detail


def test_missing_diameter_is_refused(hba):
    bare = dataclasses.replace(hba, dish_diameters_m=np.zeros(8), has_lofar_beam=False)
    with pytest.raises(ValueError, match=r"station diameter is 0\.0 m"):
        field_beam([bare], FREQUENCY_HZ)
    one = dataclasses.replace(bare, dish_diameters_m=np.array([0.0] * 7 + [31.0]))
    assert "30.75 m" in field_beam([one], FREQUENCY_HZ).detail


def test_field_below_horizon_is_refused(hba):
    night = dataclasses.replace(hba, start_s=hba.start_s + 12 * 3600, end_s=hba.end_s + 12 * 3600, has_lofar_beam=False)
    southern = dataclasses.replace(night, phase_centre_rad=(0.4, -0.5))
    with pytest.raises(ValueError, match="it is not up all the time"):
        field_beam([southern], FREQUENCY_HZ)


def test_tiny_dish_is_refused(hba):
    with pytest.raises(BeamError, match="make a smaller image"):
        formula_field_beam([dataclasses.replace(hba, telescope="none")], FREQUENCY_HZ, 3.0)


def test_unbounded_formula_beam_is_refused(hba, monkeypatch):
    monkeypatch.setattr(beam, "half_power_extent", lambda *_: None)
    with pytest.raises(BeamError, match="the beam by formula does not fall to half"):
        formula_field_beam([hba], FREQUENCY_HZ)
