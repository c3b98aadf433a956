"""A scan as a measurement set: joined, cleaned, complete."""

import shutil

import casacore.tables as ct
import numpy as np
import pytest

from lofarpipe.imaging.ata.averaged import (
    AveragingError,
    facts_path,
    load_facts,
    measure_facts,
    remove_set,
    verify_averaged,
)
from lofarpipe.imaging.ata.plots import scan_closures_deg
from lofarpipe.imaging.ata.session import SessionError
from lofarpipe.imaging.ata.uvh5 import bad_values, load_notes, read_scan, scratch_copy


def converted(made, tmp_path, scan=1, tuning="b"):
    ms = tmp_path / "sets" / "x.ms"
    notes = read_scan(made.directory / made.folders[scan], tuning, ms, facts_path(ms))
    return ms, notes


def test_nodes_are_joined_and_antennas_renumbered(made, tmp_path):
    ms, notes = converted(made, tmp_path)
    assert load_notes(facts_path(ms)) == notes
    assert (notes.channels, notes.times, notes.baselines, notes.missing_nodes) == (16, 8, 36, ())
    assert notes.silent == {"C0352": [], "C0544": ["5b"]}
    assert notes.dead == set()
    with ct.table(f"{ms}::ANTENNA", ack=False) as antennas, ct.table(str(ms), ack=False) as rows:
        assert antennas.getcol("NAME") == list(notes.antennas)
        assert (rows.getcol("ANTENNA1") <= rows.getcol("ANTENNA2")).all()
        assert (rows.getcol("WEIGHT_SPECTRUM") == 1).all()
        assert np.abs(rows.getcol("DATA")).max() < 10
        flags = rows.getcol("FLAG")
    place = notes.antennas.index("5b")
    facts = measure_facts(str(ms))
    assert facts.flagged_by_antenna[place] == pytest.approx(0.5, abs=0.01)
    assert flags[:, :8].sum() == 1
    assert notes.bad_values == 2
    with ct.table(f"{ms}::SPECTRAL_WINDOW", ack=False) as windows, ct.table(f"{ms}::OBSERVATION", ack=False) as seen:
        assert windows.getcol("NAME") == ["LoB"]
        assert np.diff(seen.getcell("TIME_RANGE", 0)) == pytest.approx(40.0)
    assert (ms.parent / "telinfo.toml").is_file()


def test_missing_node_becomes_flagged_channels(own, tmp_path):
    shutil.rmtree(own.files(1, "b")[0].parent)
    ms, notes = converted(own, tmp_path)
    assert (notes.missing_nodes, notes.channels) == ((352,), 16)
    assert measure_facts(str(ms)).flagged_by_channel[:8] == (1.0,) * 8
    assert measure_facts(str(ms)).frequencies_hz[0] == pytest.approx(3.0e9)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:4000]), "cannot be read"),
        (lambda path: shutil.copy(path.parents[1] / "LoB.C0352" / path.name, path), "has channels that .* has too"),
    ],
)
def test_inconsistent_file_is_named(own, tmp_path, spoil, message):
    path = own.files(1, "b")[1]
    spoil(path)
    with pytest.raises(SessionError, match=message) as caught:
        converted(own, tmp_path)
    assert "LoB.C0" in str(caught.value)
    assert not (tmp_path / "sets").exists()


def test_folder_without_files_is_refused(made, tmp_path):
    with pytest.raises(SessionError, match=r"holds no files LoA\.C\*"):
        converted(made, tmp_path, tuning="a")


def test_copy_is_compared_and_removed(made, tmp_path, monkeypatch):
    folder = made.directory / made.folders[1]
    with scratch_copy(folder, "b", str(tmp_path)) as place:
        assert len(list(place.rglob("*.uvh5"))) == 2
        ms = tmp_path / "x.ms"
        notes = read_scan(place, "b", ms, facts_path(ms), siblings=folder.parent)
        assert notes.folder == folder.name
    assert not place.exists()
    monkeypatch.setattr("filecmp.cmp", lambda *_, **__: False)
    with pytest.raises(SessionError, match="differs from"), scratch_copy(folder, "b", str(tmp_path)):
        pass


def test_values_above_hundred_medians_are_bad():
    values = np.ones((4, 5, 1), np.complex64)
    values[1, 2], values[2, 3], values[3, 3], values[0, 0] = 101, np.nan, 99, 0
    assert np.argwhere(bad_values(values, np.zeros(4, bool))).tolist() == [[1, 2, 0], [2, 3, 0]]


def test_complete_set_is_verified(made, tmp_path):
    ms, notes = converted(made, tmp_path)
    facts = verify_averaged(str(ms), notes, 1, 1)
    assert load_facts(str(ms)) == facts
    assert (facts.rows, facts.is_usable) == (8 * 36, True)


def test_closure_phases_of_a_point_are_noise(made, tmp_path):
    ms, _ = converted(made, tmp_path)
    phases = scan_closures_deg(str(ms))
    assert phases.shape == (56, 2)
    assert np.sqrt(np.nanmean(phases**2)) < 5


def test_incomplete_set_is_refused(made, tmp_path):
    ms, notes = converted(made, tmp_path)
    with pytest.raises(AveragingError, match="8 integrations, and 4 are expected; 16 channels, and 4 are expected"):
        verify_averaged(str(ms), notes, 4, 2)
    with ct.table(str(ms), readonly=False, ack=False) as rows:
        values = rows.getcol("DATA")
        values[0] = np.nan
        rows.putcol("DATA", values)
    with pytest.raises(AveragingError, match="unflagged visibilities are no numbers"):
        verify_averaged(str(ms), notes, 1, 1)
    with pytest.raises(AveragingError, match=r"no\.ms: cannot be read"):
        measure_facts(str(tmp_path / "no.ms"))


def test_set_is_removed_once(tmp_path):
    (tmp_path / "a.ms").mkdir()
    assert remove_set(tmp_path / "a.ms")
    assert not remove_set(tmp_path / "a.ms")
    assert list(tmp_path.iterdir()) == []
