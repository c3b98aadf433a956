"""Tables and summary of a session from solutions as DP3 writes them, with known answers; and refusals."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from lofarpipe.imaging.ata import plots
from lofarpipe.imaging.ata.averaged import SetFacts, facts_path
from lofarpipe.imaging.ata.calibrators import CalibrationError, Tables, check_calibrators
from lofarpipe.imaging.ata.images import ImageError, bands_of
from lofarpipe.imaging.ata.session import SessionOptions, read_session
from lofarpipe.imaging.ata.solutions import make_bandpass, make_gains
from lofarpipe.imaging.ata.uvh5 import ReadingNotes
from lofarpipe.imaging.calibration.h5parm import complex_gains, gain_tables, read_h5parm, write_h5parm

HZ = 3.0e9 + 1e6 * np.arange(16)
OPTIONS = {"backend": "dp3", "reference_antenna": "2a", "interpolation": "linear", "warnings": ["said before"]}


def write_facts(session, scan, flagged=0.1) -> None:
    """Write the facts of an averaged set that is an empty directory, and the notes of its reading."""
    ms = Path(session.set_path(scan, "b", "_averaged"))
    ms.mkdir(parents=True)
    times_s = tuple(float(t) for t in scan.start_jd * 86400 + 10 * np.arange(4))
    places = tuple((float(place), 0.0, 0.0) for place in range(8))
    share = (flagged,) * 8
    facts = SetFacts(
        *(
            144,
            times_s,
            10.0,
            tuple(HZ.tolist()),
            1e6,
            scan.antennas,
            places,
            flagged,
            share,
            (flagged,) * 16,
            (10.0, 300.0),
        )
    )
    facts_path(ms).write_text(json.dumps(asdict(facts)))
    notes = ReadingNotes(
        scan.name, "b", scan.field, 32, 5e5, 8, 36, scan.antennas, (), 5, 2, {"C0352": ["5c"], "C0544": ["5b", "5c"]}
    )
    facts_path(session.set_path(scan, "b")).write_text(json.dumps(asdict(notes)))


@pytest.fixture
def session(made, tmp_path):
    described = read_session(made.directory, tmp_path, SessionOptions(tunings=("b",)))
    for scan in described.scans:
        write_facts(described, scan)
    return described


def write_solutions(session, delays_s, flux_jy=4.0) -> None:
    """Write gains of 0.03 with these delays; 5c has none; those of the phase calibrator are of a point of 1 Jy."""
    names = list(session.scans[0].antennas)
    for scan in session.scans:
        tables, axes = Tables(session), {"time": [1.0], "freq": HZ, "ant": names, "pol": ["XX", "YY"]}
        gains = 0.03 * np.exp(2j * np.pi * HZ[:, None, None] * delays_s[None, :, None]) * np.ones((1, 16, 8, 2))
        gains[:, :, names.index("5c")] = np.nan
        write_h5parm(
            Path(tables.solved(scan, "b", "bandpass")), gain_tables(gains, axes), dict.fromkeys(names, (0, 0, 0))
        )
        factor = np.sqrt(flux_jy) if scan.field == "1733-130" else 1.0
        one = np.full((1, 1, 8, 2), factor + 0j) * (1 + 0.01 * np.arange(8)[:, None] * (factor > 1))
        axes = {**axes, "freq": [float(HZ.mean())]}
        write_h5parm(Path(tables.solved(scan, "b", "gain")), gain_tables(one, axes), dict.fromkeys(names, (0, 0, 0)))


def test_solutions_reproduce_known_values(session, monkeypatch):
    delays_s = 1e-9 * np.array([5.0, -20, 0, 3, 8, 1, 2, 0])
    write_solutions(session, delays_s)
    assert any("9.5% polarised" in line for line in check_calibrators(session, (0.0, 0.0)))
    assert make_bandpass(session, ["2a"]) == {"reference_antenna": "2a", "reason": ""}
    summary = make_gains(session, OPTIONS)
    entry = summary["tunings"]["b"]
    expected = 4 * ((1 + 0.01 * np.arange(8)) ** 2).mean()
    assert entry["phasecal_jy"] == pytest.approx(expected, rel=1e-6)
    assert [entry["delays_ns"][name][0] for name in ("1a", "1c")] == pytest.approx([5.0, -20.0], abs=1e-3)
    assert entry["delays_ns"]["5c"] == [None, None]
    assert summary["flagged_antennas"] == ["5c"]
    assert "said before" in summary["problems"]
    assert any("antenna 5b: is 0 in LoB.C0544 of 4 scans" in line for line in summary["problems"])
    target = session.scans_of("target")[0]
    gains, _ = complex_gains(read_h5parm(Path(Tables(session).applied(target, "b"))))
    assert gains.shape == (4, 1, 8, 2)
    assert np.abs(gains[0, 0, 0, 0]) == pytest.approx(2 / np.sqrt(expected), rel=1e-6)
    monkeypatch.setattr(plots, "scan_closures_deg", lambda ms: np.full((56, 2), 2.0))
    assert len(plots.plot_solutions(session)) == 8


def test_polarised_model_is_written(session):
    warnings = check_calibrators(session, (0.095, 33.0))
    assert not any("9.5% polarised" in line for line in warnings)
    model = Path(Tables(session).model(session.scans_of("fluxcal")[0])).read_text().splitlines()[1].split(", ")
    assert np.hypot(float(model[5]), float(model[6])) == pytest.approx(0.095 * float(model[4]), rel=1e-4)


def test_large_delays_are_reported(session):
    write_solutions(session, 1e-9 * np.array([150.0, 0, 0, 0, 0, 0, 0, 0]))
    make_bandpass(session, ["2a"])
    assert any("the largest delay is 150.0 ns" in line for line in make_gains(session, OPTIONS)["problems"])


def test_calibrator_without_sets_is_refused(session):
    only_target = replace(session, present=(session.set_path(session.scans_of("target")[0], "b", "_averaged"),))
    with pytest.raises(CalibrationError, match="fluxcal: 3c286 has no scan that could be read"):
        check_calibrators(only_target, (0.0, 0.0))


def test_missing_gains_are_refused(session):
    write_solutions(session, np.full(8, np.nan))
    with pytest.raises(CalibrationError, match="LoB: DP3 found no gain of 3c286"):
        make_bandpass(session, ["2a"])


def test_missing_reference_antenna_is_refused(session):
    write_solutions(session, np.zeros(8))
    scan = session.scans_of("fluxcal")[0]
    path = Path(Tables(session).solved(scan, "b", "bandpass"))
    gains, axes = complex_gains(read_h5parm(path))
    gains[:, ::2] = np.nan
    write_h5parm(path, gain_tables(gains, axes), dict.fromkeys(axes["ant"], (0, 0, 0)))
    with pytest.raises(CalibrationError, match="reference_antenna: no antenna is solved in most channels"):
        make_bandpass(session, ["2a"])


def test_unsolvable_flux_is_refused(session):
    write_solutions(session, np.zeros(8), flux_jy=np.nan)
    make_bandpass(session, ["2a"])
    with pytest.raises(CalibrationError, match="LoB: the flux of 1733-130: too few antennas"):
        make_gains(session, OPTIONS)


def test_flagged_field_is_not_imaged(session):
    target = session.scans_of("target")[0]
    path = facts_path(session.set_path(target, "b", "_averaged"))
    path.write_text(path.read_text().replace('"flagged": 0.1', '"flagged": 1.0'))
    with pytest.raises(ImageError, match="SWIFT_J1727: all of its data are flagged"):
        bands_of(session, "SWIFT_J1727")
    assert bands_of(session, "3c286")[0].tunings == ("b",)
