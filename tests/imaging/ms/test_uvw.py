"""Baseline coordinates compared with LOFAR's own; wrong ones are findings."""

import re
from dataclasses import replace

import casacore.tables as ct
import numpy as np
import pytest

from lofarpipe.imaging.ms.inputs import check_sets
from lofarpipe.imaging.ms.survey import survey_set
from lofarpipe.imaging.ms.uvw import itrf_to_j2000, station_uvw_m, uvw_axes
from small_sets import SetShape, change_column, make_set, pairs, set_flags


@pytest.mark.parametrize("name", ["tNDPPP-generic.MS.tgz", "tDDECal.in_MS.tgz"])
def test_uvw_equals_recorded_sets_to_millimetre(shared_set, name):
    path = str(shared_set(name))
    with ct.table(path, ack=False) as table, ct.table(f"{path}/ANTENNA", ack=False) as antennas:
        with ct.table(f"{path}/FIELD", ack=False) as field:
            centre_rad = tuple(field.getcell("PHASE_DIR", 0)[0])
        positions_m = antennas.getcol("POSITION")
        times_s, slots = np.unique(table.getcol("TIME"), return_inverse=True)
        uvw_m = station_uvw_m(times_s, positions_m, positions_m[0], centre_rad)
        ours = uvw_m[slots, table.getcol("ANTENNA2")] - uvw_m[slots, table.getcol("ANTENNA1")]
        assert np.abs(table.getcol("UVW")).max() > 20e3  # a baseline of tens of kilometres is among them
        assert np.abs(ours - table.getcol("UVW")).max() < 1e-3


def test_axes_at_origin_are_cartesian():
    assert uvw_axes((0.0, 0.0)) == pytest.approx(np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]))


def test_axes_are_orthonormal():
    axes = uvw_axes((1.2, 0.7))
    assert axes @ axes.T == pytest.approx(np.eye(3))


def test_conversion_preserves_lengths_and_rotates():
    reference_m = np.array([3826577.0, 461022.9, 5064892.8])
    now, later = (itrf_to_j2000(time_s, reference_m, (3.8, 0.8)) for time_s in (5e9, 5e9 + 86164.0905 / 2))
    # Lengths to 1e-4: the conversion includes aberration.
    assert now.T @ now == pytest.approx(np.eye(3), abs=3e-4)
    # Half a sidereal day later everything across the axis has turned round, but for aberration and precession.
    assert later[:2, :2] == pytest.approx(-now[:2, :2], abs=1e-2)
    assert later[2, 2] == pytest.approx(now[2, 2], abs=1e-2)


SHAPE = SetShape(nantennas=6, ntimes=12, nchan=2)
SECOND_HALF = np.arange(12 * 21) >= 6 * 21


def rows_of(antenna: int) -> np.ndarray:
    """Whether the baselines of all slots have this antenna."""
    antenna1, antenna2 = pairs(SHAPE)
    return np.tile((antenna1 == antenna) | (antenna2 == antenna), SHAPE.ntimes)[:, None]


@pytest.fixture
def path(tmp_path):
    return make_set(tmp_path / "a.MS", SHAPE, with_data=True)


def findings(*paths):
    return check_sets(paths, "DATA")[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda uvw_m: uvw_m,
        lambda uvw_m: -uvw_m,  # sets with either sign exist
        lambda uvw_m: np.where(rows_of(2), 0.0, uvw_m),  # an absent antenna
        lambda uvw_m: uvw_m * 1.01,
    ],
)
def test_computed_uvw_is_accepted(path, change):
    change_column(path, "UVW", change)
    assert findings(path) == []


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda uvw_m: uvw_m * 0, 60),
        (lambda uvw_m: uvw_m / 2, 60),
        (lambda uvw_m: uvw_m * 1.05, 60),
        (lambda uvw_m: np.where(rows_of(2), uvw_m / 2, uvw_m), 20),
        (lambda uvw_m: np.where(rows_of(2), -uvw_m, uvw_m), 20),
        (lambda uvw_m: np.where(SECOND_HALF[:, None], uvw_m / 2, uvw_m), 30),
        (lambda uvw_m: uvw_m[:, [1, 0, 2]], 60),
        (lambda uvw_m: uvw_m * [1, 1, -1], 60),
    ],
)
def test_wrong_uvw_is_finding(path, change, wrong):
    change_column(path, "UVW", change)
    (line,) = findings(path)
    assert f"UVW of {wrong} of 60 rows compared do not follow" in line


@pytest.mark.parametrize(
    ("table", "column", "change"),
    [
        ("", "TIME", lambda time_s: time_s + 3600.0),
        ("/FIELD", "PHASE_DIR", lambda centre_rad: centre_rad + np.radians([0.0, 3.0])),
        ("/ANTENNA", "POSITION", lambda xyz_m: xyz_m[::-1].copy()),
    ],
)
def test_tables_of_another_observation_are_findings(path, table, column, change):
    change_column(f"{path}{table}", column, change)
    (line,) = findings(path)
    assert "do not follow from ANTENNA.POSITION, TIME and FIELD.PHASE_DIR" in line


def test_finding_has_both_coordinates_and_remedy(path, tmp_path):
    other = make_set(tmp_path / "b.MS", replace(SHAPE, first_channel_hz=146e6), with_data=True)
    for one in (path, other):
        change_column(one, "UVW", lambda uvw_m: uvw_m / 2)
    (line,) = findings(path, other)
    match = re.search(r"of (\S+) - (\S+) at MJD 57870\.\d{5} is \((.*)\) m, and \((.*)\) m is computed", line)
    recorded_m, computed_m = (np.array([float(value) for value in match[number].split(",")]) for number in (3, 4))
    assert 2 * recorded_m == pytest.approx(computed_m, rel=0.02, abs=40)
    assert "chgcentre -f" in line
    assert "(and 1 other: b.MS)" in line


def test_flagged_rows_are_not_compared(path):
    change_column(path, "UVW", lambda uvw_m: np.where(SECOND_HALF[:, None], 7.0, uvw_m))
    set_flags(path, np.repeat(SECOND_HALF[:, None], 2, axis=1))
    assert findings(path) == []


def test_comparison_without_rows_has_no_problem(path):
    set_flags(path, np.ones((252, 2), bool))
    assert survey_set(path).uvw_problem == ""
