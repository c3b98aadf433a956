"""The benchmark's own arithmetic: limits, the ring of sources, values from plan and quality."""

import math
import sys

import pytest

from loading import load_script
from lofarpipe.imaging.simulation.sky import Truth, separation_deg
from lofarpipe.imaging.simulation.stations import ObservationSettings

PLAN = {
    "quantities": {"image_edge_deg": {"value": 3.0}, "cellsize_deg": {"value": 0.003}},
    "predicted_loss": {"image_edge": {"added_by_averaging": 0.02}},
    "options": {"max_peak_smearing": 0.05},
}


@pytest.fixture(scope="module")
def fidelity():
    return load_script("image_fidelity")


def test_figure_holds_up_to_limit(fidelity):
    assert fidelity.Figure("x", 0.03, 0.03).holds
    assert not fidelity.Figure("x", 0.031, 0.03).holds
    assert not fidelity.Figure("x", math.nan, 0.03).holds
    assert str(fidelity.Figure("x", 1.0, 0.03)).startswith("MISS x ")


def test_ring_lies_at_edge(fidelity):
    truth = Truth(ObservationSettings(), (), (), False, {})
    distances = [
        separation_deg(truth.phase_centre_deg, (source.right_ascension_deg, source.declination_deg))
        for source in fidelity.ring_sources(PLAN, truth)
    ]
    # a SIN image: 3.0 deg in direction cosines is asin(3.0 deg in radians) = 3.0014 deg on the sky
    assert distances == pytest.approx([3.0014] * 8, abs=0.003)


def test_ring_sources_lie_in_measured_pixels(fidelity):
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---SIN", "DEC--SIN"], [218.0, 48.0]
    wcs.wcs.cdelt, wcs.wcs.crpix = [-0.003, 0.003], [1, 1]
    truth = Truth(ObservationSettings(), (), (), False, {})
    for source, place in zip(fidelity.ring_sources(PLAN, truth), fidelity.ring_pixels(PLAN), strict=True):
        pixel = wcs.wcs_world2pix(source.right_ascension_deg, source.declination_deg, 0)
        assert [float(value) for value in pixel] == pytest.approx(place, abs=1e-4)


def test_noise_and_loss_are_compared_with_expectations(fidelity):
    quality = {"rms": {"value": 1.1e-3}, "expected_thermal_noise": {"value": 1e-3}}
    assert fidelity.noise_figure(quality).value == pytest.approx(0.1)
    limit, prediction = fidelity.loss_figures(0.025, PLAN)
    assert (limit.value, limit.most) == (0.025, 0.05)
    assert prediction.value == pytest.approx(0.25)
    assert not prediction.holds


def test_failing_program_ends_benchmark(fidelity, tmp_path):
    with pytest.raises(SystemExit, match="exited with 3; see"):
        fidelity.run([sys.executable, "-c", "import sys; sys.exit(3)"], tmp_path / "log")
