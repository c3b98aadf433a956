"""Sets put together, and scans numbered."""

import casacore.tables as ct
import numpy as np
import pytest

from lofarpipe.imaging.ata.averaged import facts_path
from lofarpipe.imaging.ata.combine import (
    CombineError,
    combine_sets,
    copy_scan_numbers,
    fix_scans,
    number_scans,
    only_cross,
)
from lofarpipe.imaging.ata.uvh5 import read_scan


def test_field_changes_begin_scans():
    fields = np.array([0, 0, 1, 1, 0, 2, 2])
    assert number_scans(fields, np.arange(7.0), 1.0).tolist() == [0, 0, 1, 1, 2, 3, 3]


def test_gap_begins_a_scan_in_both_windows():
    times_s = np.array([0.0, 0, 1, 1, 5, 5, 4.5, 4.5])
    assert number_scans(np.zeros(8, int), times_s, 1.0).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert number_scans(np.zeros(0, int), np.zeros(0), 1.0).tolist() == []


@pytest.fixture(scope="module")
def sets(made, tmp_path_factory):
    place, scans = tmp_path_factory.mktemp("sets"), []
    for scan in (1, 2, 3):
        scans.append([str(place / f"{scan}_{t}.ms") for t in ("b", "c")])
        for ms, tuning in zip(scans[-1], ("b", "c"), strict=True):
            read_scan(made.directory / made.folders[scan], tuning, place / ms, facts_path(ms))
    return scans


def test_combined_set_has_fields_windows_and_all_rows(sets, tmp_path):
    target = tmp_path / "all.ms"
    combine_sets(sets, target)
    assert fix_scans(str(target)) == 2 * (6 + 10) * 36
    assert fix_scans(str(target)) == 0
    with ct.table(str(target), ack=False) as rows:
        times_s, windows, data = rows.getcol("TIME"), rows.getcol("DATA_DESC_ID"), rows.getcol("DATA")
        assert (np.diff(times_s) >= 0).all()
        assert windows[:72].tolist() == [0] * 36 + [1] * 36
        assert rows.getcol("FIELD_ID")[[0, -1]].tolist() == [0, 2]
        assert sorted(set(rows.getcol("SCAN_NUMBER"))) == [0, 1, 2]
        second = data[windows == 1]
    with ct.table(f"{target}::FIELD", ack=False) as fields:
        assert fields.getcol("NAME") == ["3c286", "1733-130", "SWIFT_J1727"]
    expected = np.concatenate([ct.table(one[1], ack=False).getcol("DATA") for one in sets])
    assert np.array_equal(second, expected)


def test_scan_numbers_are_copied_from_combined_set(sets, tmp_path):
    combine_sets(sets, tmp_path / "all.ms")
    fix_scans(str(tmp_path / "all.ms"))
    combine_sets(sets[1:2], tmp_path / "one.ms")
    copy_scan_numbers(str(tmp_path / "all.ms"), str(tmp_path / "one.ms"))
    with ct.table(str(tmp_path / "one.ms"), ack=False) as rows:
        assert set(rows.getcol("SCAN_NUMBER")) == {1}
    with pytest.raises(CombineError, match="has times that"):
        copy_scan_numbers(str(tmp_path / "one.ms"), str(tmp_path / "all.ms"))
    with pytest.raises(CombineError, match=r"still holds \d+ autocorrelations"):
        only_cross(str(tmp_path / "one.ms"))


def test_empty_list_of_sets_is_refused(tmp_path):
    with pytest.raises(CombineError, match="no input sets to combine"):
        combine_sets([[], []], tmp_path / "x.ms")
    with pytest.raises(CombineError, match=r"x\.ms: "):
        combine_sets([[str(tmp_path / "no.ms")]], tmp_path / "x.ms")
    assert not (tmp_path / "x.ms").exists()
