"""Options of the imaging plan: accepted and refused values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.imaging.plan.options import CHOICES, RANGES, PlanError, PlanOptions, parse_options
from lofarpipe.pipeline.options import check_value


def test_texts_become_numbers():
    options = parse_options({"cellsize_highres_deg": " 0.00324 ", "robust": "-0.5", "averaging": "historical"})
    assert options == PlanOptions(cellsize_highres_deg=0.00324, robust=-0.5, averaging="historical")
    assert parse_options({}) == PlanOptions()


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("cellsize_highres_deg", "0", "cellsize_highres_deg: 0 is out of range; from 1e-06 to 1 is possible"),
        ("robust", "zero", "robust: 'zero' is not a number"),
        ("max_peak_smearing", "nan", "max_peak_smearing: nan is out of range"),
        ("smearing_criterion", "best", "smearing_criterion: 'best' is not one of peak, worst"),
        ("fieldsize_higres", "1.5", "no such option of the imaging plan; did you mean 'fieldsize_highres'?"),
        ("maxuv_lambda", "50", "minuv_lambda: must be smaller than maxuv_lambda"),
    ],
)
def test_wrong_options_are_named(name, text, problem):
    with pytest.raises(PlanError) as caught:
        parse_options({name: text})
    assert problem in str(caught.value)


def test_problems_are_collected():
    with pytest.raises(PlanError) as caught:
        parse_options({"robust": "x", "cellsize_highres_deg": "-1"})
    assert len(str(caught.value).splitlines()) == 2


@given(st.text(max_size=30))
def test_any_text_is_validated_or_refused(text):
    for name, (lowest, highest) in RANGES.items():
        if name in ("minuv_lambda", "maxuv_lambda"):
            continue
        try:
            value = getattr(parse_options({name: text}), name)
        except PlanError:
            continue
        assert lowest <= value <= highest


def test_defaults_are_in_range():
    for name, (lowest, highest) in RANGES.items():
        assert lowest <= getattr(PlanOptions(), name) <= highest
    for name, words in CHOICES.items():
        assert getattr(PlanOptions(), name) in words


@pytest.mark.parametrize(
    ("gridder", "stretch", "square"),
    [("auto", 1, True), ("auto", 1.2, False), ("idg", 1.2, True), ("wgridder", 1, False)],
)
def test_idg_needs_a_square(gridder, stretch, square):
    assert PlanOptions(gridder=gridder, y_axis_stretch=stretch).wants_square is square


@pytest.mark.parametrize(
    ("option", "name"),
    [
        *((name, name) for name in ("cellsize_highres_deg", "fieldsize_highres", "image_padding", "max_peak_smearing")),
        *(("station_diameter_m", "station_diameter_m"), ("axis_stretch", "y_axis_stretch")),
    ],
)
def test_plan_and_parset_domains_agree(option, name):
    text = (Path(__file__).parents[3] / "pipeline.parset").read_text()
    domain = re.search(rf"^! {option} .*## {{(.*)}}", text, re.MULTILINE)[1]
    highest = RANGES[name][1]
    check_value(str(highest), domain)
    for beyond in (highest * 1.01, -1.0):
        with pytest.raises(ValueError, match="is needed"):
            check_value(str(beyond), domain)
