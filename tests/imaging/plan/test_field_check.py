"""Whether the options of an image fit the sets."""

from __future__ import annotations

import numpy as np
import pytest

from lofarpipe.imaging.ms.survey import survey_set
from lofarpipe.imaging.plan.checks import cell_warning, size_finding, uv_range_finding
from lofarpipe.imaging.plan.losses import AveragingWish
from small_sets import SetShape, make_set, set_flags

SHAPE = SetShape(nantennas=5, ntimes=4, first_channel_hz=150e6)


@pytest.fixture
def survey(tmp_path):
    return survey_set(make_set(tmp_path / "a.MS", SHAPE))


def lambdas(survey):
    """Shortest and longest baseline in wavelengths; at 150 MHz one has 1.998616 m."""
    return survey.usability.shortest_m / 1.998616, survey.usability.longest_m / 1.998616


def test_uv_range_with_baselines_passes(survey):
    shortest, longest = lambdas(survey)
    assert uv_range_finding([survey], 0, shortest * 1.01) == ""
    assert uv_range_finding([survey], longest * 0.99, 1e9) == ""


def test_too_short_baselines_are_found(survey):
    finding = uv_range_finding([survey], lambdas(survey)[1] * 1.01, 1e9)
    assert finding.startswith("minlambda_highres: is ")
    assert "nothing could be imaged; make it smaller" in finding


def test_too_long_baselines_are_found(survey):
    assert uv_range_finding([survey], 0, lambdas(survey)[0] * 0.99).startswith("maxlambda_highres: is ")


def test_too_wide_cells_are_found(survey):
    longest = lambdas(survey)[1] * survey.metadata.frequencies_hz.max() / 150e6
    widest_deg = np.degrees(1 / (2 * longest))
    assert cell_warning([survey], widest_deg * 0.99, 1e9) == ""
    assert cell_warning([survey], widest_deg * 1.99, longest / 2) == ""
    warning = cell_warning([survey], widest_deg * 1.01, 1e9)
    assert warning.startswith("cellsize_highres_deg is ")
    assert f"the longest baseline ({longest:.0f} wavelengths)" in warning
    assert cell_warning([], 1.0, 1e9) == ""


def test_flagged_set_has_no_findings(tmp_path):
    path = make_set(tmp_path / "flagged.MS", SHAPE)
    set_flags(path, np.ones((4 * 15, 8), bool))
    assert uv_range_finding([survey_set(path)], 1e9, 2e9) == ""


def test_image_size_is_bounded_by_sky(survey):
    """A beam of 31 m at 150 MHz is 4.0 deg wide; pixels are steps of direction cosines, at most 0.7 on each side."""
    assert size_finding([survey], AveragingWish(fieldsize_highres=15), 0.01) == ""
    finding = size_finding([survey], AveragingWish(fieldsize_highres=21), 0.01)
    assert finding.startswith("fieldsize_highres: with 21 times the width of the beam the image is about 8")
    assert "less than 80 deg of the sky" in finding
