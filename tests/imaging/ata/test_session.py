"""Scans of a session by the headers of their files; findings and warnings."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from lofarpipe.imaging.ata.session import (
    SessionError,
    SessionOptions,
    choose_scans,
    elevation_findings,
    find_roles,
    find_sessions,
    load_session,
    parallactic_rad,
    read_session,
)
from lofarpipe.support.data_map import DataMap, DataProduct


def read(made, **options):
    return read_session(made.directory, Path("/out"), SessionOptions(**options))


def test_scans_are_sorted_without_old_fluxcal_scan(made):
    session = read(made)
    assert [scan.name for scan in session.scans] == made.folders[1:]
    assert session.left_out == ((made.folders[0], "an earlier scan of the flux calibrator, on older delays"),)
    assert (session.roles.fluxcal, session.roles.phasecal, session.roles.targets) == (
        "3c286",
        "1733-130",
        ("SWIFT_J1727",),
    )
    assert session.problems == ()
    assert len(session.scans[0].antennas) == 8


def test_session_survives_a_round_trip(made, tmp_path):
    session = read(made)
    session.write(tmp_path / "s.json")
    before = (tmp_path / "s.json").stat().st_mtime_ns
    session.write(tmp_path / "s.json")
    assert (tmp_path / "s.json").stat().st_mtime_ns == before
    assert load_session(tmp_path / "s.json") == session
    DataMap([DataProduct("h", "/a", False), DataProduct("h", "/b", True)]).save(str(tmp_path / "m"))
    assert load_session(tmp_path / "s.json", str(tmp_path / "m")).present == ("/a",)


@pytest.mark.parametrize(
    ("scans", "kept"), [(("all",), [0, 1]), (("last",), [1]), (("uvh5_60655_67394_00000000_3c286_0001",), [0])]
)
def test_fluxcal_scans_are_chosen(made, scans, kept):
    scans = tuple(made.folders[0] if name.startswith("uvh5") else name for name in scans)
    session = read(made, fluxcal_scans=scans)
    assert [scan.name for scan in session.scans_of("fluxcal")] == [made.folders[k] for k in kept]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"targets": ("SWIFT_J1728",)},
            "target: there is no field 'SWIFT_J1728'; there are: SWIFT_J1727; did you mean",
        ),
        ({"fluxcal": "3c48"}, "fluxcal: there is no field '3c48'; there are: 3c286, 1733-130, SWIFT_J1727"),
        ({"phasecal": "1733-131"}, "did you mean '1733-130'"),
        ({"fluxcal": "1733-130", "phasecal": "3c286"}, "flux calibrator '1733-130': is not in the scale"),
        ({"fluxcal_scans": ("nothing",)}, "fluxcal_scans: there is no scan 'nothing' of the flux calibrator"),
        ({"tunings": ("a",)}, r"holds no scans uvh5_\*/\{LoA\}"),
    ],
)
def test_wrong_options_are_refused(made, options, message):
    with pytest.raises(SessionError, match=message):
        read(made, **options)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (["a", "b"], "fluxcal: no field of a, b is in the flux scale; set fluxcal"),
        (["3C286", "3C48", "1733-130"], r"fluxcal: 2 fields \(3C286, 3C48\)"),
        (["3C286", "x"], "phasecal: no field of x is called after its position"),
        (["3C286", "1733-130"], "target: there is no field but the calibrators"),
    ],
)
def test_ambiguous_fields_are_refused(fields, message):
    with pytest.raises(SessionError, match=message):
        find_roles(fields, "auto", "auto", ["auto"])


def test_excluded_fields_have_a_reason(made):
    session = read(made, fluxcal_scans=("all",))
    other = dataclasses.replace(session.scans[0], field="3C48")
    used, left_out = choose_scans([*session.scans, other], session.roles, ["last"])
    assert other not in used
    assert left_out[-1][1] == "3C48 is no calibrator, and not in target"


def test_missing_and_spoiled_files_are_named(own):
    shutil.rmtree(own.files(2, "b")[1].parent)
    spoiled = own.files(3, "c")[0]
    spoiled.write_bytes(spoiled.read_bytes()[:5000])
    problems = read(own).problems
    assert problems[0] == f"{own.folders[2]}: the file of LoB.C0544 is missing; its channels are flagged"
    assert problems[1].startswith(f"{spoiled}: cannot be read: ")


def test_unreadable_scan_is_named_by_folder(own):
    for tuning in ("b", "c"):
        for path in own.files(3, tuning):
            path.write_bytes(b"nothing")
    scan = next(scan for scan in read(own).scans if scan.name == own.folders[3])
    assert (scan.field, scan.start_jd) == ("SWIFT_J1727", 0)
    assert elevation_findings([scan]) == ([], [])


def test_unbracketed_target_is_reported(own):
    shutil.rmtree(own.directory / own.folders[4])
    assert read(own).problems == (
        f"{own.folders[3]}: there is no scan of 1733-130 after it; gains are not interpolated",
    )


def test_source_below_the_horizon_is_found(made):
    scan = read(made).scans[0]
    below, low = elevation_findings([scan, dataclasses.replace(scan, direction_rad=(0.0, -1.4))])
    assert len(below) == 1
    assert "below the horizon" in below[0]
    assert low == []
    assert parallactic_rad(scan) == pytest.approx(1.06, abs=0.02)


def test_sessions_are_found_by_pattern(made):
    assert find_sessions(str(made.project), ["2024-*"]) == [made.directory]
    with pytest.raises(SessionError, match=r"runs: '2025-\*' matches no session"):
        find_sessions(str(made.project), ["2025-*"])
    with pytest.raises(SessionError, match="project: there is no directory /nowhere"):
        find_sessions("/nowhere", ["*"])
