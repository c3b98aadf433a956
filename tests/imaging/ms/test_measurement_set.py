"""Measurement sets: recorded, synthetic and invalid ones."""

from __future__ import annotations

import shutil

import casacore.tables
import casacore.tables as ct
import numpy as np
import pytest

from lofarpipe.imaging.ms import survey
from lofarpipe.imaging.ms.measurement_set import (
    elevation_rad,
    read_metadata,
    sample_set,
    sample_visibilities,
    stokes_i_weight,
    usable_exposure_s,
)
from lofarpipe.imaging.ms.survey import unusable_reason
from lofarpipe.imaging.ms.tables import MeasurementSetError, visibility_columns
from small_sets import SetShape, make_set, set_flags


@pytest.fixture
def small_set(tmp_path):
    return make_set(tmp_path / "small.MS", SetShape())


def change_cell(path, subtable, column, row, value):
    with ct.table(f"{path}/{subtable}" if subtable else str(path), readonly=False, ack=False) as table:
        table.putcell(column, row, value)


def test_hba_set_has_expected_metadata(hba_set_generic):
    seen = read_metadata(str(hba_set_generic))
    assert (seen.telescope, seen.antenna_set, seen.has_lofar_beam) == ("LOFAR", "HBA_DUAL_INNER", True)
    assert seen.ref_frequency_hz == 134375000.0
    assert seen.channel_width_hz == 24414.0625
    assert seen.bandwidth_hz == 195312.5
    assert (len(seen.frequencies_hz), seen.correlations) == (8, ("XX", "XY", "YX", "YY"))
    assert (seen.nrows, seen.ntimes, len(seen.antenna_names)) == (168, 6, 8)
    assert seen.timestep_s == pytest.approx(10.0139008)
    assert seen.end_s - seen.start_s == pytest.approx(6 * 10.0139008)
    assert seen.dish_diameters_m[0] == pytest.approx(31.2625, abs=1e-4)
    assert np.degrees(elevation_rad(seen, [seen.start_s + 30])) == pytest.approx([66.06], abs=0.01)
    assert seen.name == hba_set_generic.name


def test_dish_set_has_expected_metadata(dish_set):
    seen = read_metadata(str(dish_set))
    assert (seen.telescope, seen.antenna_set, seen.has_lofar_beam) == ("MeerKAT", "", False)
    assert seen.frequencies_hz[0] == pytest.approx(856.313e6, abs=1e3)  # REF_FREQUENCY is 1284 MHz
    assert unusable_reason(str(dish_set)) == "every visibility is flagged"
    assert usable_exposure_s(seen, sample_set(seen, 10_000)) == 0


def test_recorded_set_has_expected_exposure(hba_set_generic):
    assert unusable_reason(str(hba_set_generic), "DATA") == ""
    metadata = read_metadata(str(hba_set_generic))
    usable_s = usable_exposure_s(metadata, sample_set(metadata, 10_000))
    assert usable_s == pytest.approx(6 * 10.0139008 * (1 - 0.30952), rel=1e-4)


def test_sample_has_evenly_spaced_slots(small_set):
    sample = sample_visibilities(small_set, max_rows=400)  # 78 rows a slot: 5 of 40 slots
    assert sample.slots == 5
    assert sample.fraction == pytest.approx(5 / 40)
    assert np.unique(np.diff(np.unique(sample.time_s))) == pytest.approx([80.0])
    assert len(sample.time_s) == 5 * 66  # autocorrelations are excluded
    assert (sample.antenna1 != sample.antenna2).all()


def test_small_set_is_sampled_entirely(small_set):
    sample = sample_visibilities(small_set)
    assert (sample.fraction, sample.slots, len(sample.time_s)) == (1.0, 40, 40 * 66)
    with ct.table(small_set, ack=False) as table:
        uvw = table.getcol("UVW")
    assert sample.uvw_m.shape == (40 * 66, 3)
    assert np.abs(sample.uvw_m).sum() == pytest.approx(np.abs(uvw).sum())


def test_sample_has_at_least_one_slot(small_set):
    assert sample_visibilities(small_set, max_rows=1).slots == 1


def test_sample_weights_are_stokes_i(tmp_path):
    path = make_set(tmp_path / "a.MS", SetShape(ntimes=2), weight=3.0)
    assert np.unique(sample_visibilities(path).weights) == pytest.approx([3.0])
    assert stokes_i_weight(np.array([[1.0, 9.0, 9.0, 3.0]])) == pytest.approx([1.0])
    assert stokes_i_weight(np.array([[5.0]])) == pytest.approx([5.0])
    assert stokes_i_weight(np.zeros((1, 4))) == pytest.approx([0.0])


def test_row_weights_replace_missing_channel_weights(tmp_path):
    path = make_set(tmp_path / "a.MS", SetShape(ntimes=2), weight=2.0, with_spectrum=False)
    sample = sample_visibilities(path)
    assert sample.weights.shape == sample.flags.shape
    assert np.unique(sample.weights) == pytest.approx([2.0])


def test_flags_combine_correlations_and_row(small_set):
    with ct.table(small_set, readonly=False, ack=False) as table:
        flags = np.zeros((table.nrows(), 8, 4), bool)
        flags[1, 2, 1] = True  # row 0 is an autocorrelation
        table.putcol("FLAG", flags)
        table.putcol("FLAG_ROW", np.arange(table.nrows()) == 2)
    sample = sample_visibilities(small_set)
    assert np.flatnonzero(sample.flags[0]).tolist() == [2]
    assert sample.flags[1].all()
    assert sample.flags.sum() == 9


def test_single_unflagged_row_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(survey, "ROWS_PER_READ", 100)
    path = make_set(tmp_path / "a.MS", SetShape())
    flags = np.ones((78 * 40, 8), bool)
    flags[0] = False  # an autocorrelation is no data
    set_flags(path, flags)
    assert unusable_reason(path) == "every visibility is flagged"
    flags[-2] = False  # the last cross-correlation
    set_flags(path, flags)
    assert unusable_reason(path) == ""


def test_usable_samples_are_unflagged_weighted_finite(tmp_path, monkeypatch):
    monkeypatch.setattr(survey, "FIRST_ROWS", 100)
    path = make_set(tmp_path / "a.MS", SetShape(), weight=0.0, with_data=True)
    assert unusable_reason(path, "DATA") == "every visibility is flagged, or of weight 0"
    with ct.table(path, readonly=False, ack=False) as table:
        table.putcol("WEIGHT_SPECTRUM", np.ones((1000, 8, 4), np.float32), 0, 1000)
        table.putcol("DATA", np.full((78 * 40, 8, 4), np.nan + 0j, np.complex64))
        assert unusable_reason(path) == ""
        assert unusable_reason(path, "DATA") == "every visibility is flagged, of weight 0, or not a finite number"
        cross = int(np.flatnonzero(table.getcol("ANTENNA1") != table.getcol("ANTENNA2"))[600])
        table.putcell("DATA", cross, np.zeros((8, 4), np.complex64))
    assert unusable_reason(path, "DATA") == ""


def test_made_sets_have_zeroed_data(tmp_path):
    for number in range(3):
        scratch = [np.full(5000, np.nan) for _ in range(50)]
        del scratch  # casacore gets its memory, and writes the contents to disk
        path = make_set(tmp_path / f"{number}.MS", SetShape(nantennas=8, ntimes=6), with_data=True)
        with ct.table(path, ack=False) as table:
            assert not table.getcol("DATA").any()


def test_visibility_columns_are_listed(tmp_path):
    for with_data, columns in ((True, ["DATA"]), (False, [])):
        path = make_set(tmp_path / f"{with_data}.MS", SetShape(ntimes=2), with_data=with_data)
        with ct.table(path, ack=False) as table:
            assert visibility_columns(table) == columns


def test_exposure_excludes_gaps(tmp_path):
    path = make_set(tmp_path / "a.MS", SetShape(ntimes=20))
    with ct.table(path, readonly=False, ack=False) as table:
        for slot in range(10, 20):
            for row in range(78):
                table.putcell("TIME", slot * 78 + row, table.getcell("TIME", slot * 78 + row) + 3600)
    metadata = read_metadata(path)
    assert (metadata.ntimes, metadata.times.slots, metadata.times.gaps) == (20 + 360, 20, 1)
    assert usable_exposure_s(metadata, sample_set(metadata, 10_000)) == pytest.approx(200.0)


class CountingTable:
    """A table that counts the rows read through it."""

    rows = 0

    def __init__(self, table):
        self._table = table

    def __getattr__(self, name):
        return getattr(self._table, name)

    def getcol(self, name, first=0, rows=-1, step=1):
        CountingTable.rows += rows if rows >= 0 else -(-(self._table.nrows() - first) // step)
        return self._table.getcol(name, first, rows, step)

    def getcell(self, name, row):
        CountingTable.rows += 1
        return self._table.getcell(name, row)


@pytest.fixture
def rows_read(monkeypatch):
    """Return a function that counts the rows a call reads, from all tables."""
    real = casacore.tables.table

    def count(call, *args):
        CountingTable.rows = 0
        with monkeypatch.context() as patch:
            patch.setattr(casacore.tables, "table", lambda *given, **named: CountingTable(real(*given, **named)))
            call(*args)
        return CountingTable.rows

    return count


def test_sampling_cost_is_bounded(tmp_path, rows_read):
    """10,000 and 1,000,000 rows: as many rows are sampled."""
    shape = {"nantennas": 44, "nchan": 1}  # 990 rows a slot
    few = make_set(tmp_path / "few.MS", SetShape(ntimes=10, **shape), with_uvw=False)
    many = make_set(tmp_path / "many.MS", SetShape(ntimes=1010, **shape), with_uvw=False)
    assert read_metadata(many).nrows == 999_900
    assert rows_read(read_metadata, few) < 50_000  # a set of so few rows is read row by row
    assert rows_read(read_metadata, many) < 50_000  # of 1010 slots a few columns of a row each, and some slots
    assert rows_read(sample_visibilities, many, 3000) == rows_read(sample_visibilities, few, 3000) < 40_000
    assert rows_read(unusable_reason, many) == 6 * survey.FIRST_ROWS  # the first read suffices


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (shutil.rmtree, "no such measurement set"),
        (lambda path: (shutil.rmtree(path), path.mkdir()), "has no table.dat"),
        (lambda path: (path / "table.dat").write_bytes(b"rubbish"), "cannot be opened as a table"),
        (lambda path: change_cell(path, "SPECTRAL_WINDOW", "CHAN_WIDTH", 0, np.zeros(8)), "channel width 0.0 Hz"),
    ],
    ids=["absent", "directory", "rubbish", "no-width"],
)
def test_unusable_sets_are_refused(small_set, spoil, problem):
    from pathlib import Path

    spoil(Path(small_set))
    with pytest.raises(MeasurementSetError, match=problem) as caught:
        read_metadata(small_set)
    assert small_set in str(caught.value)


def test_foreign_table_is_refused(small_set):
    with pytest.raises(MeasurementSetError, match="lacks ANTENNA1, ANTENNA2, ARRAY_ID, "):
        read_metadata(f"{small_set}/ANTENNA")


def test_empty_set_is_refused(small_set, tmp_path):
    empty = str(tmp_path / "empty.MS")
    with ct.table(small_set, ack=False) as table:
        table.query("rownr() < 0").copy(empty, deep=True).close()
    with pytest.raises(MeasurementSetError, match="has no rows"):
        read_metadata(empty)


def test_several_spectral_windows_are_refused(small_set):
    with ct.table(f"{small_set}/DATA_DESCRIPTION", readonly=False, ack=False) as table:
        table.addrows(1)
    with pytest.raises(MeasurementSetError, match="has 2 data descriptions"):
        read_metadata(small_set)


def test_unsupported_frame_is_refused(small_set):
    with ct.table(f"{small_set}/FIELD", readonly=False, ack=False) as table:
        table.putcolkeyword("PHASE_DIR", "MEASINFO", {"type": "direction", "Ref": "GALACTIC"})
    with pytest.raises(MeasurementSetError, match="frame GALACTIC"):
        read_metadata(small_set)


def test_set_of_autocorrelations_is_refused(small_set):
    with ct.table(small_set, readonly=False, ack=False) as table:
        table.putcol("ANTENNA2", table.getcol("ANTENNA1"))
    with pytest.raises(MeasurementSetError, match="no cross-correlations"):
        sample_visibilities(small_set)
    assert unusable_reason(small_set) == "every visibility is flagged"
