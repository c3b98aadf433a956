"""The image pipeline on a simulated field: fluxes, positions and noise against the truth."""

import importlib.util
import json
import subprocess
import sys

import pytest

from lofarpipe.imaging.quality.comparison import check_image
from lofarpipe.imaging.simulation.sky import read_truth
from pipeline_runner import run_pipeline

SIZE = ["--nsubbands", "3", "--slots-per-block", "60", "--nsources", "6"]
OPTIONS = ["-s", "cellsize_highres_deg=0.0035", "-s", "maxlambda_highres=5000"]
OPTIONS += ["-s", f"make_source_list={importlib.util.find_spec('bdsf') is not None}"]

pytestmark = [pytest.mark.usefixtures("programs"), pytest.mark.slow]


@pytest.fixture(scope="module")
def field(tmp_path_factory, repository):
    """A field of six sources in three subbands and three time blocks, simulated and imaged with the default options."""
    here = tmp_path_factory.mktemp("field")
    simulate = repository / "scripts" / "simulate_observation.py"
    subprocess.run([sys.executable, str(simulate), "observation", *SIZE], cwd=here, check=True, capture_output=True)
    finished = run_pipeline(here, "image.parset", "-s", "data_input_filenames=[observation/*.MS]", *OPTIONS)
    assert finished.returncode == 0, finished.stderr
    return here


@pytest.fixture(scope="module")
def plan(field):
    return json.loads((field / "image" / "plan.json").read_text())


@pytest.fixture(scope="module")
def checked(field):
    root = field / "image" / "fullband-MFS-image"
    truth = read_truth(field / "observation" / "truth.json")
    return check_image(root.with_name(f"{root.name}-pb.fits"), truth, root.with_suffix(".fits"))


@pytest.fixture(scope="module")
def half_power_deg(plan):
    return plan["predicted_loss"]["half_fwhm"]["distance_deg"]


def test_every_source_is_measured(checked):
    assert len(checked.select_sources(10.0)) == 6


def test_fluxes_agree_inside_half_power(checked, half_power_deg):
    inside = checked.select_sources(half_power_deg)
    assert len(inside) >= 3
    assert [source.ratio for source in inside] == pytest.approx([1.0] * len(inside), abs=0.03)


def test_fluxes_agree_out_to_edge(checked):
    sources = checked.select_sources(10.0)
    assert [source.ratio for source in sources] == pytest.approx([1.0] * len(sources), abs=0.06)


def test_positions_agree_within_tenth_beam(checked):
    assert max(source.offset_beams for source in checked.select_sources(10.0)) < 0.1


def test_noise_is_thermal(field):
    quality = json.loads((field / "image" / "quality.json").read_text())
    assert quality["measured_over_expected"]["value"] == pytest.approx(1.0, abs=0.15)


def test_flags_and_time_come_from_recorded_sets(field):
    quality = json.loads((field / "image" / "quality.json").read_text())
    assert quality["flagged_fraction"]["value"] == pytest.approx(0.02, abs=0.01)
    assert quality["integration_time"]["value"] == pytest.approx(3 * 60 * 4.00556 * 0.98, rel=0.02)


def test_image_is_compared_with_truth(field):
    compared = json.loads((field / "image" / "comparison.json").read_text())
    assert compared["reference"] == str(field / "observation" / "truth.json")
    assert compared["summary"]["measured"] == 6
    assert compared["summary"]["median_ratio"] == pytest.approx(1.0, abs=0.03)
    assert 'id="comparison"' in (field / "image" / "report.html").read_text()


def test_time_blocks_become_separate_sets(field):
    assert len(list((field / "image").glob("*.average_dpppconcat.ms"))) == 3


def test_averaging_loss_stays_within_limit(plan):
    assert plan["quantities"]["freqstep"]["value"] > 1
    assert plan["quantities"]["timestep"]["value"] > 1
    assert plan["predicted_loss"]["image_edge"]["averaged"]["worst_angle"] <= 0.05


def test_source_list_holds_the_sources(field):
    pytest.importorskip("bdsf", reason="PyBDSF is not installed: pip install 'genericpipeline[catalogue]'")
    lines = (field / "image" / "fullband-MFS.skymodel").read_text().splitlines()
    assert sum("POINT" in line or "GAUSSIAN" in line for line in lines) >= 6
