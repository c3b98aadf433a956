"""FixMS: directions and correlations of a beam of an array feed.

Numbers were recorded with PyPI's fixms 0.4.1 on made-up sets; where that is installed, whole sets are compared.
"""

import logging
import os
from pathlib import Path

import casacore.tables as ct
import numpy as np
import pytest

from array_feed_sets import SHAPE, make_beam_set
from lofarpipe.imaging.ms import fix_ms as module
from lofarpipe.imaging.ms.fix_ms import (
    beam_direction,
    correlation_matrix,
    findings,
    fix_ms,
    read_beam,
    receptor_angle,
    restore_ms,
)
from lofarpipe.imaging.ms.tables import MeasurementSetError
from small_sets import add_field, change_column, drop_column, keep_rows

# (ra, dec), offset, (new ra, new dec), rad.
DIRECTIONS = [
    ((0.9250245035569946, -0.4886921905584123), (0.008726646259971648, -0.004363323129985824), (0.9151179601837569, -0.4930350543252206)),  # noqa: E501
    ((3.141592653589793, -0.7853981633974483), (0.02356194490192345, 0.02356194490192345), (3.1090346622577343, -0.7615714635231957)),  # noqa: E501
    ((-2.576158170297311, -0.1290365469018489), (0.014450968147504491, 0.018477826322879455), (-2.5906978967868723, -0.11054712950661133)),  # noqa: E501
]  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return make_beam_set(tmp_path / "a.ms")


def column(path, name):
    with ct.table(path, ack=False) as table:
        return table.getcol(name)


def snapshot(path):
    """Everything that FixMS might change."""
    found = {name: column(path, name) for name in ("DATA", "WEIGHT", "SIGMA", "FLAG")}
    found |= {name: column(f"{path}/FIELD", name) for name in ("PHASE_DIR", "DELAY_DIR", "REFERENCE_DIR")}
    return found | {name: column(f"{path}/FEED", name) for name in ("BEAM_OFFSET", "RECEPTOR_ANGLE")}


def changed(before, after):
    return [name for name in before if not np.array_equal(before[name], after[name])]


@pytest.mark.parametrize(("centre", "offset", "expected"), DIRECTIONS)
def test_direction_equals_recorded_one(centre, offset, expected):
    assert beam_direction(centre, offset) == pytest.approx(expected, abs=2e-15)


@pytest.mark.parametrize("dec", [0.7, -1.55])
def test_northern_offset_changes_only_declination(dec):
    assert beam_direction((1.0, dec), (0.0, 0.01)) == pytest.approx((1.0, dec + 0.01), abs=1e-15)


def test_direction_crosses_the_pole():
    assert beam_direction((1.0, np.pi / 2 - 0.01), (0.0, 0.03)) == pytest.approx((1 - np.pi, np.pi / 2 - 0.02))


@pytest.mark.parametrize("angle_deg", [0.0, 45.0, -45.0, 90.0, 12.34])
def test_matrix_is_twice_rotation_of_both_receptors(angle_deg):
    angle = np.radians(angle_deg)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert correlation_matrix(angle) == pytest.approx(2 * np.kron(turn, turn), abs=1e-15)


def test_matrix_keeps_stokes_parameters_of_askap():
    receptor = np.radians(12.34)
    xx, xy, yx, yy = value = np.array([1 + 2j, 0.3 - 0.1j, -0.2 + 0.4j, 0.5 - 1j])
    new = correlation_matrix(receptor) @ value
    s, c = np.sin(2 * (np.pi / 4 - receptor)), np.cos(2 * (np.pi / 4 - receptor))
    stokes = (xx + yy, s * (xx - yy) + c * (xy + yx), -c * (xx - yy) + s * (xy + yx), -1j * (xy - yx))
    found = np.array([new[0] + new[3], new[0] - new[3], new[1] + new[2], -1j * (new[1] - new[2])]) / 2
    assert found == pytest.approx(np.array(stokes))


def test_pass_writes_directions_angles_and_column(path):
    before = snapshot(path)
    assert receptor_angle(path) == pytest.approx(75)
    assert fix_ms(path)[-2:] == ["CORRECTED_DATA", "FEED.RECEPTOR_ANGLE"]
    after = snapshot(path)
    assert changed(before, after) == ["PHASE_DIR", "DELAY_DIR", "REFERENCE_DIR", "BEAM_OFFSET", "RECEPTOR_ANGLE"]
    # Recorded with fixms 0.4.1 for this direction and offset.
    assert after["PHASE_DIR"][0, 0] == pytest.approx([0.9110424655157798, -0.5078492740964013], abs=2e-15)
    assert not after["BEAM_OFFSET"].any()
    assert np.degrees(after["RECEPTOR_ANGLE"][:6, 0]) == pytest.approx([15, 25, 35, 45, 55, 65])
    assert np.array_equal(column(f"{path}/FEED", "INSTRUMENT_RECEPTOR_ANGLE"), before["RECEPTOR_ANGLE"])
    expected = before["DATA"].astype(complex) @ correlation_matrix(np.radians(-30)).T
    assert column(path, "CORRECTED_DATA") == pytest.approx(expected, abs=1e-6)
    assert receptor_angle(path) == pytest.approx(75)


def test_second_pass_writes_nothing(path):
    fix_ms(path)
    before = {file: file.stat().st_mtime_ns for file in Path(path).rglob("*.f*")}
    assert fix_ms(path) == []
    assert {file: file.stat().st_mtime_ns for file in Path(path).rglob("*.f*")} == before


def test_restored_set_can_be_fixed_again(path):
    before = snapshot(path)
    fix_ms(path)
    fixed = snapshot(path)
    assert restore_ms(path) == ["FIELD.PHASE_DIR", "FIELD.DELAY_DIR", "FIELD.REFERENCE_DIR", "FEED.BEAM_OFFSET"]
    assert changed(before, snapshot(path)) == ["RECEPTOR_ANGLE"]
    fix_ms(path)
    assert changed(fixed, snapshot(path)) == []


def test_restoring_an_unfixed_set_is_refused(path):
    with pytest.raises(MeasurementSetError, match="has no FIELD_OLD and no FEED_OLD"):
        restore_ms(path)


@pytest.mark.parametrize(
    "place", ["_keep_copy", "_write_directions", "_write_column", "_write_angles", "correlation_matrix"]
)
def test_interrupted_pass_is_repeated(path, tmp_path, monkeypatch, place):
    whole = make_beam_set(tmp_path / "whole.ms")
    fix_ms(whole)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, place, interrupted)
        with pytest.raises(KeyboardInterrupt):
            fix_ms(path)
    assert fix_ms(path)
    assert changed(snapshot(whole), snapshot(path)) == []
    assert np.array_equal(column(path, "CORRECTED_DATA"), column(whole, "CORRECTED_DATA"))


def test_half_written_column_is_written_again(path, monkeypatch):
    calls = []

    def fail_later(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise MemoryError
        return turned(*arguments)

    turned = np.einsum
    with monkeypatch.context() as patch:
        patch.setattr(module, "ROTATED_PER_BLOCK", 40)
        patch.setattr(np, "einsum", fail_later)
        with pytest.raises(MeasurementSetError, match="asks for more memory"):
            fix_ms(path)
    assert "is only half written: FixMS was interrupted" in findings(path, skip=True)[0].what
    assert fix_ms(path) == ["CORRECTED_DATA", "FEED.RECEPTOR_ANGLE"]
    assert findings(path, skip=True) == []
    assert np.abs(column(path, "CORRECTED_DATA")).min() > 0


def test_second_column_has_the_same_rotation(path):
    fix_ms(path)
    assert fix_ms(path, "OTHER_DATA") == ["OTHER_DATA", "FEED.RECEPTOR_ANGLE"]
    assert np.array_equal(column(path, "OTHER_DATA"), column(path, "CORRECTED_DATA"))
    assert np.degrees(column(f"{path}/FEED", "RECEPTOR_ANGLE")[3, 0]) == pytest.approx(45)


def test_rows_are_rotated_in_bounded_blocks(path, monkeypatch):
    sizes = []

    def counting(*arguments):
        sizes.append(arguments[2].size)
        return turned(*arguments)

    turned = np.einsum
    monkeypatch.setattr(module, "ROTATED_PER_BLOCK", 20)
    monkeypatch.setattr(np, "einsum", counting)
    fix_ms(path)
    assert max(sizes) == 20 * 4
    assert sum(sizes) == column(path, "DATA").size


def test_row_around_first_time_gives_offset(path):
    with ct.table(f"{path}/FEED", readonly=False, ack=False) as feeds:  # one row of antenna 0 more, for later
        feeds.addrows(1)
        for name in feeds.colnames():
            if feeds.iscelldefined(name, 3):
                feeds.putcell(name, feeds.nrows() - 1, feeds.getcell(name, 3))
        feeds.putcell("TIME", 3, SHAPE.start_s + 1e5)
        feeds.putcell("BEAM_OFFSET", 3, np.zeros((2, 2)))
    fix_ms(path)
    assert column(f"{path}/FIELD", "PHASE_DIR")[0, 0] == pytest.approx([0.9110424655157798, -0.5078492740964013])


def test_last_feed_row_is_the_fallback(path):
    change_column(f"{path}/FEED", "TIME", lambda old: old + 1e6)
    fix_ms(path)
    assert column(f"{path}/FIELD", "PHASE_DIR")[0, 0] == pytest.approx([0.9110424655157798, -0.5078492740964013])


def test_set_without_autocorrelations_is_fixed(path):
    keep_rows(path, np.flatnonzero(column(path, "ANTENNA1") != column(path, "ANTENNA2")))
    fix_ms(path)
    assert column(f"{path}/FIELD", "PHASE_DIR")[0, 0] == pytest.approx([0.9110424655157798, -0.5078492740964013])


def test_field_without_rows_keeps_its_direction(path):
    add_field(path, "empty", 0.1)
    fix_ms(path)
    assert column(f"{path}/FIELD", "PHASE_DIR")[1, 0] == pytest.approx([SHAPE.ra_rad, SHAPE.dec_rad + 0.1])


def test_beam_is_named_by_feed_and_field(path):
    beam = read_beam(path)
    assert (beam.beam, beam.field, beam.channels) == (3, "CDFS_2_5", 4)
    add_field(path, "other")
    with pytest.raises(MeasurementSetError, match="has 2 fields; one per set is needed"):
        read_beam(path)


def spoil(path, table, name, value):
    change_column(f"{path}/{table}" if table else path, name, lambda old: np.full_like(old, value))


def add_foreign_column(path):
    with ct.table(path, readonly=False, ack=False) as table:
        table.addcols(ct.maketabdesc([ct.makearrcoldesc("CORRECTED_DATA", 0j, 2, valuetype="complex")]))


SPOILT = [
    (lambda path: change_column(f"{path}/ANTENNA", "MOUNT", lambda old: ["ALT-AZ"] * len(old)), "MOUNT is 'ALT-AZ'"),
    (lambda path: change_column(f"{path}/POLARIZATION", "CORR_TYPE", lambda old: old - 4), "are RR, RL, LR, LL"),
    (lambda path: change_column(path, "FEED1", lambda old: np.arange(len(old)) % 2), r"FEED1 has 2 numbers \(0, 1\)"),
    (lambda path: drop_column(path, "DATA"), "has no column DATA, of which FixMS makes CORRECTED_DATA"),
    (lambda path: spoil(path, "FEED", "FEED_ID", 1), "FEED has no row with FEED_ID 3, which"),
    (lambda path: spoil(path, "FEED", "ANTENNA_ID", 1), "FEED has no row with FEED_ID 3 for ANTENNA_ID 0"),
    (add_foreign_column, "a column CORRECTED_DATA that is not of FixMS .* set --skip_fix_ms .* --data_column"),
]  # fmt: skip


@pytest.mark.parametrize(("spoiling", "expected"), SPOILT)
def test_spoilt_set_is_a_finding_and_stays_unchanged(path, spoiling, expected):
    spoiling(path)
    with ct.table(path, ack=False) as table:
        columns = table.colnames()
    with pytest.raises(MeasurementSetError, match=expected):
        fix_ms(path)
    assert len(findings(path)) == 1
    assert not list(Path(path).glob("*_OLD"))
    with ct.table(path, ack=False) as table:
        assert table.colnames() == columns


def test_findings_are_collected(path):
    for spoiling, _ in SPOILT[:3]:
        spoiling(path)
    assert len(findings(path)) == 3


def test_good_set_has_no_findings(path):
    assert findings(path) == []


def test_missing_set_is_one_finding(tmp_path):
    (finding,) = findings(f"{tmp_path}/no.ms")
    assert finding.what == "no such measurement set"


def test_recorded_data_are_never_overwritten(path):
    assert "FixMS never writes DATA" in findings(path, "DATA")[0].what
    fix_ms(path)
    assert "FixMS never writes DATA" in findings(path, "DATA")[0].what


def test_protected_set_is_a_finding(path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda place, mode: not str(place).endswith("FEED"))
    assert "may not be written" in findings(path)[0].what


def test_skipped_set_needs_column_and_receptor(path):
    assert findings(path, "DATA", skip=True) == []
    assert "has no column CORRECTED_DATA" in findings(path, skip=True)[0].what
    spoil(path, "FEED", "FEED_ID", 1)
    assert "receptor angle is unknown" in findings(path, "DATA", skip=True)[0].what
    with pytest.raises(MeasurementSetError, match="receptor angle is unknown"):
        receptor_angle(path)


def test_angle_of_several_feeds_is_refused(path):
    change_column(path, "FEED1", lambda old: np.arange(len(old)) % 2)
    with pytest.raises(MeasurementSetError, match="one beam per set"):
        receptor_angle(path)


@pytest.mark.parametrize(("beam", "receptor_deg"), [(0, -45.0), (5, 12.34)])
def test_fixms_writes_the_same_set(tmp_path, beam, receptor_deg):
    directions = pytest.importorskip("fixms.fix_ms_dir", reason="fixms is not installed")
    correlations = pytest.importorskip("fixms.fix_ms_corrs", reason="fixms is not installed")
    ours, theirs = (make_beam_set(tmp_path / name, beam, receptor_deg) for name in ("ours.ms", "theirs.ms"))
    fix_ms(ours)
    logging.disable(logging.CRITICAL)
    try:
        directions.fix_ms_dir(theirs)
        correlations.fix_ms_corrs(Path(theirs))
    finally:
        logging.disable(logging.NOTSET)
    assert np.array_equal(column(ours, "CORRECTED_DATA"), column(theirs, "CORRECTED_DATA"))
    for table, name in (("FIELD", "PHASE_DIR"), ("FEED", "RECEPTOR_ANGLE"), ("FEED", "INSTRUMENT_RECEPTOR_ANGLE")):
        assert column(f"{ours}/{table}", name) == pytest.approx(column(f"{theirs}/{table}", name), abs=2e-15)
    assert not column(f"{theirs}/FEED", "BEAM_OFFSET").any()
    assert fix_ms(theirs) == []  # accepted unchanged
