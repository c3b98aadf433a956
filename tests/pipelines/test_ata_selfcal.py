"""Self-calibration of an ATA target with phase errors, by DP3 and WSClean: dynamic range and flux come back."""

import json
from dataclasses import dataclass
from pathlib import Path

import casacore.tables as ct
import numpy as np
import pytest

from ata_session import MORE_NAMES, NAMES, make_session
from lofarpipe.imaging.ata.averaged import facts_path, verify_averaged
from lofarpipe.imaging.ata.catalogue import find_sources
from lofarpipe.imaging.ata.session import SessionOptions, read_session
from lofarpipe.imaging.ata.uvh5 import read_scan
from lofarpipe.support.data_map import DataMap, DataProduct
from pipeline_runner import run_pipeline

pytestmark = [pytest.mark.usefixtures("programs"), pytest.mark.slow]

TARGET = "SWIFT_J1727"
TWO_SOURCES = ((1.0, 0, 0), (0.3, 280, 190))  # Jy, arcsec to the east and to the north
LIGHT_M_S = 299792458.0
NOISE_JY, ERRORS_DEG, DRIFT_DEG = 0.3, 35.0, 60.0  # of a visibility; rms over antennas, also of the drift


@dataclass(frozen=True)
class Errors:
    """Phases by antenna, degrees, that drift between two times."""

    offsets_deg: np.ndarray
    drifts_deg: np.ndarray
    start_s: float
    end_s: float

    def of_rows(self, first, second, times_s):
        part = ((times_s - self.start_s) / (self.end_s - self.start_s) - 0.5)[:, None]
        turns = self.offsets_deg + self.drifts_deg * part
        rows = np.arange(len(times_s))
        return np.exp(1j * np.radians(turns[rows, first] - turns[rows, second]))


def make_errors(scans, antennas: int, rng) -> Errors:
    start_s, end_s = ((jd - 2400000.5) * 86400 for jd in (scans[0].start_jd, scans[-1].end_jd))
    return Errors(rng.normal(0, ERRORS_DEG, antennas), rng.normal(0, DRIFT_DEG, antennas), start_s, end_s)


def write_target(ms: str, sources, errors: Errors, rng) -> None:
    """Write visibilities of sources with phase errors and noise."""
    with ct.table(f"{ms}::SPECTRAL_WINDOW", ack=False) as windows:
        waves_per_m = windows.getcell("CHAN_FREQ", 0) / LIGHT_M_S
    with ct.table(ms, readonly=False, ack=False) as rows:
        u, v = (rows.getcol("UVW")[:, place, None] * waves_per_m for place in (0, 1))
        data = np.zeros((*u.shape, 4), complex)
        for jy, east, north in sources:
            ell, m = np.radians(np.array([east, north]) / 3600)
            data += (jy * np.exp(2j * np.pi * (u * ell + v * m)))[:, :, None] * [1, 0, 0, 1]
        data *= errors.of_rows(*(rows.getcol(name) for name in ("ANTENNA1", "ANTENNA2", "TIME")))[:, None, None]
        noise = rng.normal(0, NOISE_JY, (2, *data.shape))
        rows.putcol("DATA", (data + noise[0] + 1j * noise[1]).astype(np.complex64))
        rows.putcol("FLAG", np.zeros(data.shape, bool))


def corrupted_session(here: Path, antennas, scans, slew_s: float, sources, seed: int = 1) -> Path:
    """Write a session whose target has calibrated sets with phase errors, and a parset; return its products."""
    made = make_session(here / "project", scans, antennas=antennas, tunings="b", slew_s=slew_s)
    described = read_session(made.directory, here / "out", SessionOptions(tunings=("b",)))
    rng, targets = np.random.default_rng(seed), described.scans_of("target")
    errors = make_errors(targets, len(antennas), rng)
    calibrated = []
    for scan in targets:
        averaged = Path(described.set_path(scan, "b", "_averaged"))
        notes = read_scan(Path(scan.folder), "b", averaged, facts_path(described.set_path(scan, "b")))
        write_target(str(averaged), sources, errors, rng)
        verify_averaged(str(averaged), notes, 1, 1)
        calibrated.append(described.set_path(scan, "b", "_calibrated"))
        ct.taql(f"select from {averaged} where ANTENNA1 != ANTENNA2 giving {calibrated[-1]} as plain")
    ct.msconcat(calibrated, f"{described.outdir}/{TARGET}_noauto_1GC.ms")
    write_parset(here, made.project, calibrated)
    return Path(described.outdir, "IMAGES", TARGET)


def write_parset(here: Path, project: Path, calibrated) -> None:
    """Write a parset of the last steps alone, with the maps of the others."""
    maps = {"calibrated": calibrated, "averaged": [path.replace("_calibrated", "_averaged") for path in calibrated]}
    for name, files in maps.items():
        DataMap([DataProduct("localhost", file, False) for file in files]).save(str(here / f"{name}.mapfile"))
    lines = [
        *("pipeline.base = ata.parset", f"! project = {project}", "! tunings = [b]", f"! outdir = {here}/out"),
        "pipeline.steps = [find_scans, find_targets, image_targets, selfcal]",
        f"image_targets.argument.sets_mapfile = {here}/averaged.mapfile",
        *(f"{step}.control.{name} = {here}/{name}.mapfile" for step in ("find_round", "end_round") for name in maps),
        f"image_round.argument.sets_mapfile = {here}/averaged.mapfile",
        f"image_round.argument.calibrated_mapfile = {here}/calibrated.mapfile",
    ]
    (here / "session.parset").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("antennas", "scans", "slew_s", "sources"),
    [
        pytest.param(NAMES | MORE_NAMES, 3 * ((TARGET, 8),), 600.0, TWO_SOURCES, id="12 antennas"),
        pytest.param(NAMES, ((TARGET, 10),), 40.0, ((1.5, 0, 0),), id="8 antennas in a snapshot"),
    ],
)
def test_dynamic_range_and_flux_come_back(tmp_path, antennas, scans, slew_s, sources):
    calibrators = (("3c286", 2), ("1733-130", 2))
    images = corrupted_session(tmp_path, antennas, (*calibrators, *scans, ("1733-130", 2)), slew_s, sources)
    done = run_pipeline(tmp_path, "session.parset", "-s", "selfcal_rounds=3")
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((images / "selfcal.json").read_text())
    best = record["rounds"][record["best_round"]]
    assert best["dynamic_range"] > 2 * record["rounds"][0]["dynamic_range"]
    found_jy = [source["flux_jy"] for source in find_sources(best["image"])[: len(sources)]]  # places may have moved
    assert found_jy[0] == pytest.approx(sources[0][0], rel=0.05)
    assert found_jy == pytest.approx([jy for jy, _, _ in sources], rel=0.1)
