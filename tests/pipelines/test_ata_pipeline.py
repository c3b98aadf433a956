"""The ATA pipeline on a tiny session: products, a kill, a failure, and sessions that cannot be calibrated."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import casacore.tables as ct
import numpy as np
import pytest

from ata_session import PHASECAL_JY, TARGET_JY, copied, make_session
from lofarpipe.imaging.calibration.h5parm import read_h5parm
from pipeline_runner import run_pipeline

pytestmark = [pytest.mark.usefixtures("programs"), pytest.mark.slow]

FIRST_STEPS = "pipeline.steps=[find_scans, read_uvh5, flag_average, verify]"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_session(tmp_path_factory.mktemp("ata") / "project")


def write_parset(here: Path, made, **options) -> None:
    given = {"project": made.project, "tunings": "[b]", "average_channels": "1", "outdir": here / "out", **options}
    lines = ["pipeline.base = ata.parset", *(f"! {key} = {value}" for key, value in given.items())]
    (here / "session.parset").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def session(made, tmp_path_factory):
    """The products of a run."""
    here = tmp_path_factory.mktemp("run")
    write_parset(here, made, reference_antenna="2a")
    done = run_pipeline(here, "session.parset")
    assert done.returncode == 0, done.stdout + done.stderr
    return here / "out" / made.name


def test_calibration_finds_phase_calibrator_flux(session, made):
    summary = json.loads((session / "calibration.json").read_text())
    entry = summary["tunings"]["b"]
    assert entry["phasecal_jy"] == pytest.approx(PHASECAL_JY, rel=0.01)
    assert 0 < entry["phasecal_error_jy"] < 0.02
    assert summary["reference_antenna"] == "2a"
    assert summary["scans_left_out"][0]["folder"] == made.folders[0]
    assert any("9.5% polarised" in line for line in summary["problems"])


def test_calibration_finds_the_simulated_delays(session, made):
    clock = read_h5parm(session / "caltables" / "3c286_b.K0.h5")["clock000"]
    names = clock.axes["ant"]
    found_ns = clock.arranged("ant", "pol")[0] * 1e9
    true_ns = made.delays_ns["b"]
    reference = names.index("2a")
    assert found_ns == pytest.approx(true_ns - true_ns[reference], abs=0.3)


def test_calibrated_target_flux_lacks_autocorrelations(session):
    with ct.table(str(session / "SWIFT_J1727_noauto_1GC.ms"), ack=False) as rows:
        assert (rows.getcol("ANTENNA1") != rows.getcol("ANTENNA2")).all()
        data, flags = rows.getcol("DATA"), rows.getcol("FLAG")
        assert set(rows.getcol("SCAN_NUMBER")) == {2}
    assert abs(data[~flags].reshape(-1, 4)[:, [0, 3]].mean()) == pytest.approx(TARGET_JY, rel=0.02)


def test_only_averaged_sets_remain(session, made):
    sets = sorted(path.name for path in session.glob("uvh5_*/*.ms"))
    assert len([name for name in sets if name.endswith("_averaged.ms")]) == 4
    assert not [name for name in sets if name.endswith("_b.ms")]


def test_images_and_fits_exist(session):
    flux, _ = map(float, (session / "IMAGES" / "1733-130" / "fitting_results.txt").read_text().split(","))
    assert flux == pytest.approx(PHASECAL_JY, rel=0.02)
    assert len(list((session / "IMAGES" / "SWIFT_J1727").glob("*_mask.fits"))) == 1
    assert len(list((session / "plots").glob("*.png"))) == 10


def test_self_calibration_is_not_worse(session):
    record = json.loads((session / "IMAGES" / "SWIFT_J1727" / "selfcal.json").read_text())
    assert record["stop_reason"]
    assert record["rounds"][record["best_round"]]["dynamic_range"] >= record["rounds"][0]["dynamic_range"]


def test_report_includes_observation_page(session):
    page = (session.parents[1] / "session" / "report.html").read_text()
    assert 'id="observation"' in page
    assert "uv coverage" in page
    fields = json.loads((session / "observation.json").read_text())["fields"]
    assert [entry["scans"] for entry in fields.values()] == [1, 2, 1]
    assert "plots/tracks.png" in (session / "report.html").read_text()


def test_failed_averaging_keeps_sets_and_resumes(made, tmp_path):
    write_parset(tmp_path, made)
    strategy = tmp_path / "bad.lua"
    strategy.write_text("nonsense(")
    failed = run_pipeline(tmp_path, "session.parset", "-s", FIRST_STEPS, "-s", f"strategy={strategy}")
    assert failed.returncode != 0
    assert len(list((tmp_path / "out").rglob("*_b.ms"))) == 4
    again = run_pipeline(tmp_path, "session.parset", "-s", FIRST_STEPS)
    assert again.returncode == 0, again.stdout + again.stderr
    assert list((tmp_path / "out").rglob("*_b.ms")) == []


def test_killed_run_is_resumed(made, tmp_path):
    write_parset(tmp_path, made)
    command = [sys.executable, "-m", "lofarpipe.cli", "session.parset", "-s", FIRST_STEPS]
    with subprocess.Popen(command, cwd=tmp_path, start_new_session=True, stdout=subprocess.DEVNULL) as running:
        until = time.monotonic() + 120
        while time.monotonic() < until and len(list((tmp_path / "out").rglob("*_b.ms"))) < 1:
            time.sleep(0.1)
        os.killpg(running.pid, signal.SIGKILL)
    done = run_pipeline(tmp_path, "session.parset", "-s", FIRST_STEPS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "out").rglob("*_averaged.ms"))) == 4
    assert list((tmp_path / "out").rglob("*_b.ms")) == []


def test_spoiled_file_ends_its_scan_alone(made, tmp_path):
    own = copied(made, tmp_path / "project")
    spoiled = own.files(3, "b")[1]
    spoiled.write_bytes(spoiled.read_bytes()[:9000])
    write_parset(tmp_path, own)
    done = run_pipeline(tmp_path, "session.parset", "-s", FIRST_STEPS)
    assert f"{spoiled}: cannot be read" in done.stdout + done.stderr
    assert len(list((tmp_path / "out").rglob("*_averaged.ms"))) == 3


def test_flagged_calibrator_is_refused_before_solving(made, tmp_path):
    import h5py

    own = copied(made, tmp_path / "project")
    for path in own.files(1, "b"):
        with h5py.File(path, "a") as file:
            file["Data/flags"][...] = np.ones(file["Data/flags"].shape, bool)
    write_parset(tmp_path, own)
    done = run_pipeline(tmp_path, "session.parset")
    assert done.returncode != 0
    text = done.stdout + done.stderr
    assert f"fluxcal: 3c286 has no unflagged data in LoB ({own.folders[1]}: 100% flagged)" in text
    assert "solve_bandpass" not in text
