"""Copies of sets that DP3 would not read, or average wrongly: as the set was before it was spoilt."""

from __future__ import annotations

import casacore.tables as ct
import numpy as np
import pytest

from lofarpipe.imaging.ms.copy import complete_rows, copy_first_slots, copy_reasons, copy_set, repeats_differ
from lofarpipe.imaging.ms.survey import survey_set
from lofarpipe.imaging.ms.tables import MeasurementSetError
from lofarpipe.imaging.plan.plan import plan_copies
from small_sets import SetShape, add_field, change_column, drop_column, keep_rows, make_set

SHAPE = SetShape(nantennas=5, ntimes=12, nchan=3)
SLOT, ROWS = 15, 180
COLUMNS = ("TIME", "ANTENNA1", "ANTENNA2", "UVW", "DATA", "FLAG", "WEIGHT_SPECTRUM", "INTERVAL", "FIELD_ID")


@pytest.fixture
def path(tmp_path):
    """A set in which every visibility is another one."""
    made = make_set(tmp_path / "a.MS", SHAPE, with_data=True)
    change_column(made, "DATA", lambda values: np.arange(values.size).reshape(values.shape).astype(np.complex64))
    return made


def columns(path) -> dict[str, np.ndarray]:
    with ct.table(path, ack=False) as table:
        return {name: table.getcol(name) for name in COLUMNS}


def copied(path, field="auto") -> dict[str, np.ndarray]:
    """Return the columns of a copy, after a check that the set itself is unchanged."""
    before = columns(path)
    copy_set(path, f"{path}.copy", field)
    for name, values in columns(path).items():
        assert np.array_equal(before[name], values, equal_nan=True)
    assert copy_reasons(survey_set(f"{path}.copy")) == []
    return columns(f"{path}.copy")


def assert_same(found, expected, *but):
    for name in set(COLUMNS) - set(but):
        assert np.allclose(found[name], expected[name], rtol=0, atol=1e-6), name


def why(path, field="auto"):
    return copy_reasons(survey_set(path, "DATA", field))


def test_good_set_needs_no_copy(path):
    assert why(path) == []


def test_unsorted_duplicate_rows_are_cleaned(path):
    expected = columns(path)
    keep_rows(path, np.random.default_rng(1).permutation(np.repeat(np.arange(ROWS), 2)))
    assert why(path) == [
        "its rows are not in the order of time: they are sorted",
        "180 rows repeat others: they are left out",
    ]
    assert_same(copied(path), expected)


def test_reordered_baselines_are_sorted(path):
    expected, rows = columns(path), np.arange(ROWS).reshape(12, SLOT)
    rows[7] = rows[7][::-1]
    keep_rows(path, rows.ravel())
    assert why(path) == ["the baselines are in another order in some slots: they are sorted"]
    assert_same(copied(path), expected)


def test_missing_rows_become_flagged_rows(path):
    """Their uvw is that of the slot before, turned on: DP3 averages uvw over flagged rows too."""
    expected, lost = columns(path), [3, 20, 21, 100, 179]
    keep_rows(path, np.delete(np.arange(ROWS), lost))
    assert why(path) == ["5 rows are missing in some of the slots: replaced by flagged ones"]
    found = copied(path)
    assert_same(found, expected, "DATA", "FLAG", "UVW")
    assert np.abs(found["UVW"] - expected["UVW"]).max() < 1e-3
    assert np.flatnonzero(found["FLAG"].all(axis=(1, 2))).tolist() == lost
    kept = np.delete(np.arange(ROWS), lost)
    assert np.array_equal(found["DATA"][kept], expected["DATA"][kept])
    with ct.table(f"{path}.copy", ack=False) as table:
        assert np.flatnonzero(table.getcol("FLAG_ROW")).tolist() == lost
        assert np.array_equal(table.getcol("TIME_CENTROID"), expected["TIME"])


def test_interval_of_first_slot_is_repaired(path):
    expected = columns(path)
    change_column(path, "INTERVAL", lambda values: np.where(np.arange(ROWS) < SLOT, 5.0, values))
    assert why(path) == ["INTERVAL of the first row is 5 s, and slots are 10 s apart: set to that in all rows"]
    assert_same(copied(path), expected)


def test_falling_frequencies_are_reversed(path):
    expected = columns(path)
    change_column(path, "WEIGHT_SPECTRUM", lambda values: values * np.array([1, 2, 3])[:, None])
    expected["WEIGHT_SPECTRUM"] = columns(path)["WEIGHT_SPECTRUM"]
    for name in ("DATA", "FLAG", "WEIGHT_SPECTRUM"):
        change_column(path, name, lambda values: values[:, ::-1].copy())
    change_column(f"{path}/SPECTRAL_WINDOW", "CHAN_FREQ", lambda values: values[:, ::-1].copy())
    change_column(f"{path}/SPECTRAL_WINDOW", "CHAN_WIDTH", lambda values: -values)
    assert why(path) == ["its frequencies do not rise: the channels are sorted"]
    assert_same(copied(path), expected)
    with ct.table(f"{path}.copy/SPECTRAL_WINDOW", ack=False) as window:
        assert window.getcol("CHAN_FREQ")[0] == pytest.approx(SHAPE.frequencies_hz)
        assert window.getcol("CHAN_WIDTH")[0] == pytest.approx([SHAPE.channel_width_hz] * 3)


@pytest.mark.parametrize("weight", [-2.0, np.nan])
@pytest.mark.parametrize("with_spectrum", [True, False])
def test_invalid_weights_become_flags(tmp_path, weight, with_spectrum):
    path = make_set(tmp_path / "b.MS", SHAPE, with_data=True, with_spectrum=with_spectrum)
    name = "WEIGHT_SPECTRUM" if with_spectrum else "WEIGHT"
    spoilt = np.arange(ROWS) % SLOT == 4
    shape = (-1, 1, 1) if with_spectrum else (-1, 1)
    change_column(path, name, lambda values: np.where(spoilt.reshape(shape), weight, values))
    assert why(path) == ["10.00% of its weights are negative, or they or UVW are not finite: these are flagged"]
    copy_set(path, f"{path}.copy")
    assert survey_set(f"{path}.copy").usability.usable == 12 * 9 * 3
    with ct.table(f"{path}.copy", ack=False) as table:
        assert np.array_equal(table.getcol("FLAG").all(axis=(1, 2)), spoilt)
        assert not table.getcol("FLAG")[~spoilt].any()


def test_single_field_is_copied(path):
    expected = {name: values[8 * SLOT :] for name, values in columns(path).items()}
    add_field(path, "target", dec_offset_rad=0.05)
    change_column(path, "FIELD_ID", lambda values: np.where(np.arange(ROWS) < 8 * SLOT, 0, 1).astype(values.dtype))
    assert why(path, "target") == ["its FIELD table has 2 rows: only field 1 is kept"]
    assert_same(copied(path, "target"), expected)
    metadata = survey_set(f"{path}.copy").metadata
    assert (metadata.nfields, metadata.phase_centre_rad) == (1, pytest.approx((SHAPE.ra_rad, SHAPE.dec_rad + 0.05)))


def test_missing_flag_category_is_added(path):
    drop_column(path, "FLAG_CATEGORY")
    assert why(path) == ["it has no FLAG_CATEGORY: an empty column is added"]
    copied(path)


def test_conflicting_duplicate_rows_are_detected(path):
    keep_rows(path, np.repeat(np.arange(ROWS), 2))
    assert not repeats_differ(survey_set(path), "DATA")
    change_column(path, "DATA", lambda values: values + (np.arange(len(values)) == 41)[:, None, None])
    assert repeats_differ(survey_set(path), "DATA")


def test_unwritable_copy_is_an_error(path, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MeasurementSetError, match="cannot be copied to"):
        copy_set(path, f"{tmp_path}/file/copy.MS")


def test_unfinished_copy_is_replaced(path):
    keep_rows(path, np.repeat(np.arange(ROWS), 2))
    for _ in range(2):
        copy_set(path, f"{path}.copy")
    assert survey_set(f"{path}.copy").layout.is_regular


def test_every_slot_gets_every_baseline():
    rows, filling = complete_rows(np.array([2.0, 1.0, 2.0, 3.0, 3.0, 2.0]), np.array([7, 7, 9, 9, 7, 9]))
    assert rows.tolist() == [1, 2, 0, 2, 4, 3]  # at 1: baseline 9 from the slot after
    assert filling.tolist() == [False, True, False, False, False, False]


def test_copies_have_unique_names(tmp_path):
    surveys = []
    for folder in ("one", "two", "three"):
        (tmp_path / folder).mkdir()
        path = make_set(tmp_path / folder / "a.MS", SHAPE, with_data=True)
        keep_rows(path, np.repeat(np.arange(ROWS), 2))
        surveys.append(survey_set(path))
    good = survey_set(make_set(tmp_path / "good.MS", SHAPE, with_data=True))
    copies = plan_copies([*surveys, good], "/copies")
    assert [copies[survey.path].path for survey in surveys] == ["/copies/a.MS", "/copies/1_a.MS", "/copies/2_a.MS"]
    assert good.path not in copies


def test_first_slots_of_field_are_copied(path):
    drop_column(path, "FLAG_CATEGORY")
    add_field(path, "target")
    change_column(path, "FIELD_ID", lambda values: np.where(np.arange(ROWS) < 8 * SLOT, 0, 1).astype(values.dtype))
    copy_first_slots(survey_set(path, field="target").metadata, f"{path}.slot")
    metadata = survey_set(f"{path}.slot").metadata
    assert "FLAG_CATEGORY" in metadata.columns  # EveryBeam needs it
    assert (metadata.nfields, metadata.nrows, metadata.times.slots) == (1, 2 * SLOT, 2)
    assert metadata.start_s == pytest.approx(SHAPE.start_s + 80)
