"""Calibrators solved by CASA: its tasks, its tables as gains, and the real ones where casatasks is installed."""

import importlib.util
import json
import os
from pathlib import Path

import casacore.tables as ct
import numpy as np
import pytest

from ata_session import PHASECAL_JY
from loading import load_script
from lofarpipe.imaging.ata.averaged import facts_path, verify_averaged
from lofarpipe.imaging.ata.calibrators import CalibrationError, check_calibrators
from lofarpipe.imaging.ata.casa import (
    bandpass_gains,
    calibrator_sets,
    preferred_antennas,
    read_scan_gains,
    solving_tasks,
    write_set,
)
from lofarpipe.imaging.ata.session import SessionOptions, read_session
from lofarpipe.imaging.ata.solutions import make_bandpass, make_gains
from lofarpipe.imaging.ata.uvh5 import read_scan

CASA_PYTHON = os.environ.get("CASA_PYTHON", "")
HZ = 3.0e9 + 1e6 * np.arange(8)


def write_caltable(path: Path, values: np.ndarray, frequencies_hz, scans=(0,), flagged=()) -> str:
    """Write a table as CASA has it: a row for each scan and antenna, in falling order of antennas."""
    rows = [(scan, antenna) for scan in scans for antenna in reversed(range(values.shape[1]))]
    name = "CPARAM" if np.iscomplexobj(values) else "FPARAM"
    columns = [
        ct.makescacoldesc("ANTENNA1", 0),
        ct.makescacoldesc("SCAN_NUMBER", 0),
        ct.makearrcoldesc(name, values.dtype.type(0), ndim=2, valuetype="complex" if name == "CPARAM" else "float"),
        ct.makearrcoldesc("FLAG", False, ndim=2),
    ]
    with ct.table(str(path), ct.maketabdesc(columns), nrow=len(rows), ack=False) as table:
        for row, (scan, antenna) in enumerate(rows):
            table.putcell("ANTENNA1", row, antenna)
            table.putcell("SCAN_NUMBER", row, scan)
            table.putcell(name, row, values[scans.index(scan), antenna])
            table.putcell("FLAG", row, np.full(values.shape[2:], (scan, antenna) in flagged))
    hz = ct.makearrcoldesc("CHAN_FREQ", 0.0, ndim=1)
    with ct.table(f"{path}/SPECTRAL_WINDOW", ct.maketabdesc([hz]), nrow=1, ack=False) as windows:
        windows.putcell("CHAN_FREQ", 0, np.asarray(frequencies_hz))
    text = ct.makescacoldesc("NAME", "")
    with ct.table(f"{path}/ANTENNA", ct.maketabdesc([text]), nrow=values.shape[1], ack=False) as antennas:
        antennas.putcol("NAME", [f"a{k}" for k in range(values.shape[1])])
    return str(path)


def test_caltables_become_gains(tmp_path):
    delays_ns = np.array([[[[5.0, -3.0]], [[0.0, 2.0]]]], np.float32)  # scan, ant, chan, pol
    phases = np.exp(1j * np.array([[[[0.3, 0.1]], [[0.0, -0.2]]]])).astype(np.complex64)
    band = np.full((1, 2, 8, 2), 0.03 + 0j, np.complex64)
    middle_hz = HZ.mean()
    gains, hz = bandpass_gains(
        write_caltable(tmp_path / "K0", delays_ns, [middle_hz]),
        write_caltable(tmp_path / "G0", phases, [middle_hz]),
        write_caltable(tmp_path / "B0", band, HZ, flagged=[(0, 1)]),
    )
    assert hz == pytest.approx(HZ)
    expected = 0.03 * np.exp(1j * (0.3 + 2 * np.pi * 5e-9 * (HZ - middle_hz)))
    assert gains[0, 0] == pytest.approx(expected, rel=1e-5)
    assert np.isnan(gains[1]).all()


def test_gains_have_scan_numbers(tmp_path):
    values = np.arange(1, 9).reshape(2, 2, 1, 2).astype(np.complex64)
    numbers, gains = read_scan_gains(write_caltable(tmp_path / "G1", values, [3e9], (0, 2), flagged=[(2, 0)]))
    assert numbers == [0, 2]
    assert gains[0].real.tolist() == [[1, 2], [3, 4]]
    assert np.isnan(gains[1, 0]).all()
    assert gains[1, 1].real.tolist() == [7, 8]


@pytest.fixture(scope="module")
def session(made, tmp_path_factory):
    """A session whose averaged sets are the full ones of the calibrators."""
    described = read_session(made.directory, tmp_path_factory.mktemp("casa"), SessionOptions(tunings=("b",)))
    for scan in [*described.scans_of("fluxcal"), *described.scans_of("phasecal")]:
        ms = Path(described.set_path(scan, "b", "_averaged"))
        notes = read_scan(Path(scan.folder), "b", ms, facts_path(described.set_path(scan, "b")))
        verify_averaged(str(ms), notes, 1, 1)
    check_calibrators(described, (0.0, 0.0))
    path = Path(described.outdir, "session.json")
    described.write(path)
    return described, path


def test_tasks_solve_delays_first(session):
    (one,) = calibrator_sets(session[0])
    write_set(one)
    references = preferred_antennas(session[0], ["2a", "9z"])
    assert references[0] == "2a"
    assert sorted(references) == sorted(session[0].scans[0].antennas)
    tasks = solving_tasks(one, references, (0.095, 33.0))
    assert [name for name, _ in tasks] == ["setjy", "setjy", "gaincal", "gaincal", "bandpass", "gaincal", "fluxscale"]
    assert tasks[1][1]["scan"] == "0"
    jy, q, u, _ = tasks[1][1]["fluxdensity"]
    assert np.hypot(q, u) == pytest.approx(0.095 * jy)
    assert tasks[2][1]["gaintype"] == "K"
    assert tasks[2][1]["refant"].startswith("2,")
    assert tasks[5][1]["caltable"].endswith("caltables/3c286_b.G1")


def test_calibrator_without_data_is_refused(session, made):
    from dataclasses import replace

    only_flux = replace(session[0], present=(session[0].set_path(session[0].scans[0], "b", "_averaged"),))
    with pytest.raises(CalibrationError, match="LoB: a calibrator has no unflagged data"):
        calibrator_sets(only_flux)


@pytest.mark.skipif(
    not CASA_PYTHON and importlib.util.find_spec("casatasks") is None,
    reason="casatasks, of the extra casa, is not installed, and CASA_PYTHON names no Python that has it",
)
def test_casa_finds_flux_and_delays(session, made, tmp_path):
    from lofarpipe.imaging.ata.session import load_session
    from lofarpipe.support.data_map import DataMap, DataProduct

    described, path = session
    sets = [described.set_path(scan, "b", "_averaged") for scan in described.scans if scan.field != "SWIFT_J1727"]
    DataMap([DataProduct("localhost", ms, False) for ms in sets]).save(str(tmp_path / "sets"))
    found = load_script("solve_casa").main(str(path), str(tmp_path / "sets"), "2a", casa_python=CASA_PYTHON)
    DataMap([DataProduct("localhost", found["solved"], False)]).save(str(tmp_path / "solved"))
    described = load_session(path, str(tmp_path / "sets"), str(tmp_path / "solved"))
    make_bandpass(described, ["2a"])
    options = {"backend": "casa", "reference_antenna": "2a", "interpolation": "linear", "warnings": []}
    entry = make_gains(described, options)["tunings"]["b"]
    assert abs(entry["phasecal_jy"] - PHASECAL_JY) < 4 * entry["phasecal_error_jy"] < 0.04 * PHASECAL_JY
    reference = described.scans[0].antennas.index("2a")
    for place, name in enumerate(described.scans[0].antennas):
        if name != "5b":  # half of its band is dead
            expected = made.delays_ns["b"][place] - made.delays_ns["b"][reference]
            assert entry["delays_ns"][name] == pytest.approx(expected.tolist(), abs=0.5)
    assert json.loads(Path(described.outdir, "calibration.json").read_text())["backend"] == "casa"
    assert Path(described.outdir, "caltables", "3c286_b.fluxscale").is_dir()
    assert not Path(described.outdir, "caltables", "casa", "calibrators_b.ms").exists()
