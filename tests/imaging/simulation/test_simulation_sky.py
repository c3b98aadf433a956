"""Sources: where they are, how far apart, how they are written."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.imaging.simulation.sky import (
    Source,
    draw_sources,
    offset_position,
    separation_deg,
    skymodel_line,
    skymodel_text,
)

CENTRE_DEG = (218.0, 48.0)
FWHM_DEG = 4.2


def position(source):
    return source.right_ascension_deg, source.declination_deg


def test_flux_follows_the_power_law():
    source = Source("s", 0.0, 0.0, 2.0, -1.0)
    assert source.flux_at_jy(150e6) == 2.0
    assert source.flux_at_jy(75e6) == pytest.approx(4.0)


def test_offsets_equal_hand_calculation():
    assert offset_position((10.0, 0.0), 1.0, 90.0) == pytest.approx((11.0, 0.0))  # east: right ascension grows
    assert offset_position((10.0, 20.0), 1.0, 0.0) == pytest.approx((10.0, 21.0))
    assert offset_position((0.0, 0.0), 1.0, 270.0)[0] == pytest.approx(359.0)


def test_separations_equal_hand_calculation():
    assert separation_deg((0, 0), (90, 0)) == pytest.approx(90)
    assert separation_deg((10, 60), (12, 60)) == pytest.approx(1.0, abs=1e-4)  # 2 deg * cos(60 deg)
    assert separation_deg((0, 0), (1e-7, 0)) == pytest.approx(1e-7)


@given(ra=st.floats(0, 359.9), dec=st.floats(-80, 80), radius=st.floats(1e-3, 5), angle=st.floats(0, 360))
def test_offset_position_has_given_separation(ra, dec, radius, angle):
    assert separation_deg((ra, dec), offset_position((ra, dec), radius, angle)) == pytest.approx(radius, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_sources_are_isolated_and_reach_the_edge(seed):
    sources = draw_sources(seed, 12, CENTRE_DEG, FWHM_DEG)
    distances = [separation_deg(CENTRE_DEG, position(source)) for source in sources]
    assert distances[0] == pytest.approx(0.05 * FWHM_DEG, abs=1e-5)
    assert distances[-1] == pytest.approx(0.72 * FWHM_DEG, abs=1e-5)
    assert sum(distance < FWHM_DEG / 2 for distance in distances) >= 8
    apart = [separation_deg(position(a), position(b)) for a in sources for b in sources if a is not b]
    assert min(apart) >= 0.08 * FWHM_DEG
    for source, distance in zip(sources, distances, strict=True):
        beam = math.exp(-4 * math.log(2) * (distance / FWHM_DEG) ** 2)
        assert 0.3 <= source.flux_jy <= 5
        assert source.flux_jy * beam >= 0.6 - 1e-4


def test_seed_determines_the_sources():
    assert draw_sources(3, 5, CENTRE_DEG, FWHM_DEG) == draw_sources(3, 5, CENTRE_DEG, FWHM_DEG)
    assert draw_sources(3, 5, CENTRE_DEG, FWHM_DEG) != draw_sources(4, 5, CENTRE_DEG, FWHM_DEG)


def test_too_many_sources_are_refused():
    with pytest.raises(ValueError, match=r"sources cannot be kept 0.08 beam widths apart; ask for fewer"):
        draw_sources(1, 2000, CENTRE_DEG, FWHM_DEG)


def test_skymodel_line_has_makesourcedb_format():
    # 180.5 deg = 12 h 2 min; -0.5 deg has its sign although its degrees are 0
    line = skymodel_line(Source("s00", 180.5, -0.5, 1.25, -0.7))
    assert line == "s00, POINT, 12:02:00.000000, -00.30.00.00000, 1.25000, 0, 0, 0, 1.5e+08, [-0.7000]"


def test_seconds_are_rounded_before_splitting():
    line = skymodel_line(Source("s", 15 * (1 - 1e-13), 59.999999999999, 1, 0))
    assert ", 01:00:00.000000, +60.00.00.00000, " in line


@given(ra=st.floats(0, 359.999), dec=st.floats(-89, 89))
def test_written_positions_preserve_coordinates(ra, dec):
    fields = skymodel_line(Source("s", ra, dec, 1, 0)).split(", ")
    hours, minutes, seconds = map(float, fields[2].split(":"))
    sign, (degrees, arcminutes, arcseconds) = fields[3][0], fields[3][1:].split(".", 2)
    assert 15 * (hours + minutes / 60 + seconds / 3600) == pytest.approx(ra, abs=1e-8)
    size = float(degrees) + float(arcminutes) / 60 + float(arcseconds) / 3600
    assert (-size if sign == "-" else size) == pytest.approx(dec, abs=1e-8)


def test_skymodel_has_a_line_per_source():
    text = skymodel_text(draw_sources(1, 3, CENTRE_DEG, FWHM_DEG))
    lines = text.splitlines()
    assert lines[0].startswith("FORMAT = Name, Type, Ra, Dec, I, Q, U, V, ReferenceFrequency")
    assert [line.split(",")[0] for line in lines[1:]] == ["s00", "s01", "s02"]
