"""The image pipeline on sets that DP3 refuses, or averages wrongly, as they are: the image is that of good ones."""

import json
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from pipeline_runner import run_pipeline
from small_sets import add_field, change_column, keep_rows

SIZE = {"nstations": 24, "nsubbands": 3, "nchannels": 4, "nblocks": 1, "slots-per-block": 60, "timestep-s": 10.013901}
SIZE |= {"span-s": 0, "nsources": 6, "noise-scale": 0.3}
SLOT, ROWS = 24 * 25 // 2, 60 * 24 * 25 // 2
SMALL = ["-s", "cellsize_highres_deg=0.01", "-s", "maxlambda_highres=1500", "-s", "niter=20000"]

pytestmark = [pytest.mark.usefixtures("programs"), pytest.mark.slow]


def spoil(paths):
    """Give each set two fields, and one fault of its own."""
    for path in paths:
        add_field(path, "other", dec_offset_rad=0.05)
        change_column(path, "FIELD_ID", lambda ids: np.where(np.arange(len(ids)) < 50 * SLOT, 0, 1).astype(ids.dtype))
    bad = np.arange(ROWS) % SLOT % 7 == 3  # of the first, bad data are marked by negative weights
    change_column(paths[0], "WEIGHT_SPECTRUM", lambda weights: np.where(bad[:, None, None], -weights, weights))
    change_column(paths[0], "DATA", lambda values: values + 50 * bad[:, None, None])
    keep_rows(paths[1], range(5 * SLOT, ROWS))  # the second began late
    lost = np.random.default_rng(1).choice(ROWS, 6 * SLOT, replace=False)
    keep_rows(paths[2], np.setdiff1d(np.arange(ROWS), lost))  # of the third, rows are missing


@pytest.fixture(scope="module")
def run(tmp_path_factory, repository):
    """The directory of a finished run, and its output."""
    here = tmp_path_factory.mktemp("irregular")
    words = [f"--{name}={value}" for name, value in SIZE.items()]
    simulate = [sys.executable, str(repository / "scripts" / "simulate_observation.py"), "sets", *words]
    subprocess.run(simulate, cwd=here, check=True, capture_output=True)
    spoil(sorted(map(str, here.glob("sets/*.MS"))))
    before = contents(here)
    done = run_pipeline(here, "image.parset", "-s", "data_input_filenames=[sets/*.MS]", "-s", "field=0", *SMALL)
    assert done.returncode == 0, done.stderr
    assert contents(here) == before
    return here, done.stderr + done.stdout


def contents(here):
    """Return the contents of the sets."""
    return {path: path.read_bytes() for path in here.glob("sets/*.MS/**/table.f*")}


def test_irregular_sets_reproduce_fluxes(run):
    sources = json.loads((run[0] / "image" / "comparison.json").read_text())["sources"]
    bright = [source for source in sources if source["ratio"] and source["ratio_error"] < 0.02]
    assert len(bright) >= 2
    assert [source["ratio"] for source in bright] == pytest.approx([1.0] * len(bright), abs=0.03)


def test_noise_agrees_with_expectation(run):
    quality = json.loads((run[0] / "image" / "quality.json").read_text())
    assert quality["measured_over_expected"]["value"] == pytest.approx(1.2, abs=0.3)


def test_integration_time_counts_usable_data(run):
    """50, 45 and 50 slots of 10.014 s; a seventh of the weights, nothing, and a tenth of the rows lost; 2 % flagged."""
    quality = json.loads((run[0] / "image" / "quality.json").read_text())
    expected_s = 10.013901 * np.mean([50 * 6 / 7, 45, 50 * 0.9]) * 0.98
    assert quality["integration_time"]["value"] == pytest.approx(expected_s, rel=0.02)
    assert (
        fits.getheader(run[0] / "image" / "fullband-MFS-image.fits")["XPOSURE"] == quality["integration_time"]["value"]
    )


def test_plan_reports_repairs(run):
    plan = json.loads((run[0] / "image" / "plan.json").read_text())
    quantities = plan["quantities"]
    assert (quantities["copied_sets"]["value"], quantities["averaged_sets"]["value"]) == (3, 2)
    said = " ".join(plan["warnings"])
    for what in ("are flagged", "rows are missing in some of the slots", "only field 0 is kept", "are averaged alone"):
        assert what in said
        assert what in run[1].replace("\n", " ")
