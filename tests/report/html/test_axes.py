"""Coordinates and fluxes around a sky image."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from astropy.wcs import WCS

from lofarpipe.report.html import axes as html_axes
from lofarpipe.report.html.markup import Html

# 0.99 degrees wide, around 0h, 0 degrees: 100 pixels of 0.0099 deg, of which pairs are averaged.
PICTURE: dict[str, Any] = {"width": 50, "height": 50, "factor": 2, "reference_pixel": (50.5, 50.5), "is_sin": True}
PICTURE |= {"reference_deg": (0.0, 0.0), "increment_deg": (-0.0099, 0.0099), "unit": "JY/BEAM", "noise_jy": 1e-3}
PICTURE |= {"softening_jy": 2e-3, "lowest": -math.asinh(2), "highest": math.asinh(500)}

DOWN = [582 / 3564, 1182 / 3564, 1 / 2, 2382 / 3564, 2982 / 3564]  # -1200, -600, 0, 600, 1200 from 1782 arcsec


@pytest.mark.parametrize("place", [(1, 1), (50.5, 50.5), (100, 37)])
def test_coordinates_are_those_of_astropy(place: tuple[float, float]) -> None:
    picture = PICTURE | {"reference_deg": (218.0, 85.0), "increment_deg": (-0.1, 0.1)}
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---SIN", "DEC--SIN"], picture["reference_deg"]
    wcs.wcs.crpix, wcs.wcs.cdelt = picture["reference_pixel"], picture["increment_deg"]
    found = html_axes.sky_at(picture, *place)
    assert found is not None
    ra, dec = wcs.wcs_pix2world(*place, 1)
    assert (found[0] % 360, found[1]) == pytest.approx((float(ra), float(dec)), abs=1e-9)


def test_there_is_nothing_beyond_the_sphere() -> None:
    picture = PICTURE | {"increment_deg": (-2.0, 2.0)}  # the edges are 100 degrees away, along the plane
    assert html_axes.sky_at(picture, 1, 1) is None
    assert html_axes.edge_ticks(picture) == ([], [])


def test_ticks_of_a_small_field() -> None:
    across, down = html_axes.edge_ticks(PICTURE)
    # 0.99 deg = 237.6 s of time: a tick each minute; the edges are 118.8 s from the middle. East is left.
    assert [label for _, label in across] == ["00h01m", "00h00m", "23h59m"]
    assert [place for place, _ in across] == pytest.approx([58.8 / 237.6, 1 / 2, 178.8 / 237.6], abs=1e-4)
    # 3564 arcsec / 7 = 509: every 10 arcmin; from the top, 1782 arcsec, down.
    assert [label for _, label in down] == ["+00°20′", "+00°10′", "+00°00′", "−00°10′", "−00°20′"]
    assert [place for place, _ in down] == pytest.approx(DOWN, abs=1e-4)


def test_the_edges_are_those_of_the_square_around_a_picture() -> None:
    across, down = html_axes.edge_ticks(PICTURE | {"height": 25, "reference_pixel": (50.5, 25.5)})
    assert [place for place, _ in down] == pytest.approx(DOWN, abs=1e-4)
    assert "00h00m" in [label for _, label in across]


def test_right_ascension_goes_on_beyond_24_hours() -> None:
    assert html_axes.unwrapped([86390.0, None, 10.0, 86399.0]) == [86390.0, None, 86410.0, 86399.0]


def test_crossings_are_between_the_samples() -> None:
    # 0 at the first sample; 15 in the middle of the second of three pieces; 30 is the end, where nothing follows.
    assert html_axes.crossings([0.0, 10.0, 20.0, 30.0], 15) == [(0.0, 0), (0.5, 15)]
    assert html_axes.crossings([20.0, 0.0], 5) == [(0.0, 20), (0.25, 15), (0.5, 10), (0.75, 5)]
    assert html_axes.crossings([None, 3.0, 3.0, None], 1) == []


def test_labels_keep_their_distance() -> None:
    across, _ = html_axes.edge_ticks(PICTURE | {"reference_deg": (0.0, -89.5)})  # the pole is at the edge
    places = [place for place, label in across if label]
    assert 0 < len(places) < len(across)
    assert all(after - before >= html_axes.RA_EDGE.least_gap for before, after in itertools.pairwise(places))
    assert max(places) <= html_axes.RA_EDGE.last


@pytest.mark.parametrize(
    ("value", "step", "text"), [(50400, 3600, "14h"), (52200, 600, "14h30m"), (52205, 5, "14h30m05s")]
)
def test_labels_are_as_long_as_they_need_to_be(value: int, step: int, text: str) -> None:
    assert html_axes.sexagesimal(value, step, "hms") == text


def test_declinations_have_signs() -> None:
    assert html_axes.declination(-1800, 600) == "−00°30′"
    assert html_axes.declination(172800, 3600) == "+48°"


@pytest.mark.parametrize(
    ("noise_jy", "unit"), [(0.1, ("Jy/beam", 1)), (3e-3, ("mJy/beam", 1e3)), (20e-6, ("μJy/beam", 1e6))]
)
def test_unit_fits_sixteen_times_the_noise(noise_jy: float, unit: tuple[str, float]) -> None:
    assert html_axes.unit_of(PICTURE | {"noise_jy": noise_jy}) == unit
    assert html_axes.unit_of(PICTURE | {"noise_jy": noise_jy, "unit": "K"}) == ("K", 1)


def test_scales_begin_and_end_where_the_greys_do() -> None:
    # The bare picture from -2 to 500 times the softening, with the script from -4 rms, to the same or to 16 rms.
    assert html_axes.scales(PICTURE) == [
        ("picture", pytest.approx(-4e-3), pytest.approx(1.0), 2e-3),
        ("asinh", -4e-3, pytest.approx(1.0), 2e-3),
        ("linear", -4e-3, 16e-3, None),
    ]


def test_fluxes_of_a_linear_scale() -> None:
    assert html_axes.flux_ticks(-4.0, 16.0, None) == [
        (0.0, pytest.approx(0.2)), (5.0, pytest.approx(0.45)), (10.0, pytest.approx(0.7)), (15.0, pytest.approx(0.95))
    ]  # fmt: skip


def test_fluxes_of_an_asinh_scale() -> None:
    ticks = dict(html_axes.flux_ticks(-4.0, 1000.0, 2.0))
    # By hand: asinh(-2) = -1.4436, asinh(500) = 6.9078, asinh(50) = 4.6053.
    assert ticks[100.0] == pytest.approx((4.6053 + 1.4436) / (6.9078 + 1.4436), abs=1e-4)
    assert ticks[0.0] == pytest.approx(1.4436 / 8.3514, abs=1e-4)
    assert ticks[1000.0] == pytest.approx(1.0)
    places = sorted(ticks.values())
    assert all(after - before >= html_axes.FLUX_GAP for before, after in itertools.pairwise(places))


def test_image_of_noise_alone_has_fluxes() -> None:
    assert 0.0 in dict(html_axes.flux_ticks(-0.5, 0.6, 2.0))


def test_frame_shows_the_scale_of_the_picture_and_keeps_the_others() -> None:
    text = html_axes.framed("flat", PICTURE, Html("<b>window</b>"))
    assert "<b>window</b>" in text
    assert text.count(" hidden") == 2
    assert '<svg class="scale" data-scale="picture" role="img"' in text
    assert '<span class="unit">mJy/beam</span>' in text
    assert ">23h59m</text>" in text


def test_frame_has_no_coordinates_where_the_projection_is_not_known() -> None:
    text = html_axes.framed("flat", PICTURE | {"is_sin": False, "unit": "<K>"}, Html(""))
    assert 'aria-label="declination, J2000"></svg>' in text
    assert '<span class="unit">&lt;K&gt;</span>' in text
