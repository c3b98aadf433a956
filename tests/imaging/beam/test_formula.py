"""Beam widths by formula."""

import math

import numpy as np
import pytest

from lofarpipe.imaging.beam.width import FormulaBeam, parallactic_angles_rad, station_fwhm_deg, station_kind

HALF_PI = math.pi / 2


def test_width_equals_hand_calculation():
    assert station_fwhm_deg(150e6, 30.8, 1.1) == pytest.approx(4.09, abs=0.01)  # deg: 1.1 * 1.9986 m / 30.8 m


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 30.0, 1.0), "frequency is 0.0 Hz"),
        ((150e6, 0.0, 1.0), "station diameter is 0.0 m"),
        ((150e6, -3.0, 1.0), "station diameter is -3.0 m"),
        ((150e6, float("nan"), 1.0), "station diameter is nan m"),
    ],
)
def test_impossible_stations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        station_fwhm_deg(*arguments)


@pytest.mark.parametrize(
    ("antenna_set", "frequency_hz", "diameter_m", "width_deg"),
    [  # widths of the ideal array factors at the zenith
        ("HBA_DUAL_INNER", 150e6, 31.26, 4.063),
        ("HBA_DUAL", 150e6, 41.05, 2.869),
        ("", 150e6, 56.5, 2.054),
        ("LBA_OUTER", 60e6, 87.0, 3.460),
        ("LBA_INNER", 60e6, 108.0, 9.60),
        ("LBA_SPARSE_EVEN", 60e6, 80.0, 4.59),
    ],
)
def test_widths_agree_with_ideal_stations(antenna_set, frequency_hz, diameter_m, width_deg):
    kind = station_kind("LOFAR", antenna_set, frequency_hz, diameter_m)
    assert station_fwhm_deg(frequency_hz, kind.diameter_m, kind.alpha) == pytest.approx(width_deg, rel=0.01)


def test_dish_diameter_comes_from_set():
    kind = station_kind("MeerKAT", "", 1.28e9, 13.5)
    assert (kind.diameter_m, kind.alpha) == (13.5, 1.1)
    assert "MeerKAT" in kind.name


def test_lofar_station_without_diameter_is_refused():
    kind = station_kind("LOFAR", "", 150e6, 0.0)
    with pytest.raises(ValueError, match=r"ANTENNA\.DISH_DIAMETER must be"):
        station_fwhm_deg(150e6, kind.diameter_m, kind.alpha)


def test_parallactic_angle_equals_hand_calculation():
    # On the meridian, south of the zenith, the zenith is due north; rising in the east it lies to the west of north.
    latitude, dec = math.radians(53), math.radians(30)
    transit = math.radians(90 - 53 + 30)
    assert parallactic_angles_rad(np.array([transit]), dec, latitude) == pytest.approx(0, abs=1e-6)
    # Hour angles of -+3 h, from the spherical triangle.
    side = math.asin(
        math.sin(latitude) * math.sin(dec) + math.cos(latitude) * math.cos(dec) * math.cos(math.radians(45))
    )
    angles = parallactic_angles_rad(np.array([side, transit, side]), dec, latitude)
    hour = math.radians(45)
    expected = math.atan2(math.sin(hour), math.tan(latitude) * math.cos(dec) - math.sin(dec) * math.cos(hour))
    assert angles == pytest.approx([-expected, 0, expected], abs=1e-6)


def test_gaussian_is_stretched_along_the_vertical():
    beam = FormulaBeam(0.08, np.array([math.pi / 6]), np.array([0.0]), "")
    along, across = (beam.power(np.array([l]), np.array([m]))[0, 0] for l, m in ((0.0, 0.08), (0.04, 0.0)))  # noqa: E741
    assert (along, across) == pytest.approx((0.5, 0.5))  # 1 / sin(30 deg) = 2
    turned = FormulaBeam(0.08, np.array([math.pi / 6]), np.array([HALF_PI]), "")
    assert turned.power(np.array([0.08]), np.array([0.0]))[0, 0] == pytest.approx(0.5)


def test_gaussian_is_averaged_over_times():
    both = FormulaBeam(0.08, np.array([HALF_PI, math.pi / 6]), np.zeros(2), "")
    l, m = np.array([0.0, 0.02]), np.array([0.03])  # noqa: E741
    single = [FormulaBeam(0.08, np.array([el]), np.zeros(1), "").power(l, m) for el in (HALF_PI, math.pi / 6)]
    assert both.power(l, m) == pytest.approx((single[0] + single[1]) / 2)
