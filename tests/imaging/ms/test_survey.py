"""Surveys of synthetic sets, spoilt in many ways, and of recorded ones."""

from __future__ import annotations

import casacore.tables as ct
import numpy as np
import pytest

from lofarpipe.imaging.ms import survey
from lofarpipe.imaging.ms.copy import copy_reasons, copy_set
from lofarpipe.imaging.ms.inputs import check_sets
from lofarpipe.imaging.ms.measurement_set import sample_visibilities
from lofarpipe.imaging.ms.survey import SetSurvey, survey_set
from lofarpipe.imaging.ms.tables import MeasurementSetError
from small_sets import SetShape, change_column, count_reading, keep_rows, make_set, set_flags

SHAPE = SetShape(nantennas=5, ntimes=12, nchan=4)
CROSS = 12 * 10 * 4  # visibilities between different antennas


@pytest.fixture
def path(tmp_path):
    return make_set(tmp_path / "a.MS", SHAPE, with_data=True)


def touching(path, antenna):
    """Return which rows are of an antenna, shaped for a column of visibilities."""
    with ct.table(path, ack=False) as table:
        return ((table.getcol("ANTENNA1") == antenna) | (table.getcol("ANTENNA2") == antenna))[:, None, None]


def usability(path) -> dict[str, int]:
    found = survey_set(path, "DATA").usability
    names = ("flagged", "negative", "not_a_number", "without_weight", "not_finite")
    return {name: getattr(found, name) for name in names if getattr(found, name)} | {"usable": found.usable}


class TestUsability:
    def test_good_set_has_no_defects(self, path):
        assert usability(path) == {"usable": CROSS}
        assert survey_set(path).usability.antennas == (0, 1, 2, 3, 4)

    @pytest.mark.parametrize(
        ("factor", "name"),
        [(-1.0, "negative"), (np.nan, "not_a_number"), (np.inf, "not_a_number"), (0.0, "without_weight")],
    )
    def test_invalid_weights_of_antenna_are_counted(self, path, factor, name):
        of_third = touching(path, 2)
        change_column(path, "WEIGHT_SPECTRUM", lambda weights: np.where(of_third, weights * factor, weights))
        assert usability(path) == {name: 12 * 4 * 4, "usable": 12 * 6 * 4}
        assert survey_set(path).usability.antennas == (0, 1, 3, 4)

    def test_flags_precede_weights(self, path):
        set_flags(path, np.arange(180)[:, None] % 15 + np.zeros((1, 4)) == 1)  # baseline 0-1
        change_column(path, "WEIGHT_SPECTRUM", lambda weights: -weights)
        assert usability(path) == {"flagged": 12 * 4, "negative": 12 * 9 * 4, "usable": 0}

    def test_non_finite_values_are_counted(self, path):
        of_third = touching(path, 2)
        change_column(path, "DATA", lambda values: np.where(of_third, np.nan, values).astype(np.complex64))
        assert usability(path) == {"not_finite": 12 * 4 * 4, "usable": 12 * 6 * 4}
        assert survey_set(path).usability.usable == CROSS  # without a column

    def test_usable_baseline_lengths_are_found(self, path):
        with ct.table(path, ack=False) as table:
            lengths_m = np.hypot(*table.getcol("UVW")[:, :2].T)
            cross = table.getcol("ANTENNA1") != table.getcol("ANTENNA2")
        found = survey_set(path).usability
        assert (found.shortest_m, found.longest_m) == pytest.approx((lengths_m[cross].min(), lengths_m.max()))

    def test_flagged_set_has_no_usable_data(self, path):
        set_flags(path, np.ones((180, 4), bool))
        found = survey_set(path)
        assert (found.usability.antennas, found.usability.longest_m) == ((), 0.0)
        assert found.antennas == (0, 1, 2, 3, 4)  # antennas with rows

    def test_large_sets_are_sampled_in_whole_slots(self, path, monkeypatch):
        monkeypatch.setattr(survey, "SAMPLED_VISIBILITIES", 5 * 15 * 4)
        monkeypatch.setattr(survey, "SAMPLED_VALUES", 15 * 4)
        change_column(path, "DATA", lambda values: np.full_like(values, np.nan))
        found = survey_set(path, "DATA").usability
        assert (found.looked_at, found.not_finite) == (5 * 10 * 4, 10 * 4)


def spoil(path, column, place, value):
    """Put a value into a column at ``place``, an index of (row, chan, corr)."""

    def change(values):
        values[place if values.ndim == 3 else (place[0], *place[2:])] = value
        return values

    change_column(path, column, change)


SLOT_7 = slice(7 * 15, 8 * 15)


class TestEveryRow:
    """Weights outside the sampled slots, which DP3 would average as they are."""

    @pytest.fixture(autouse=True)
    def _few_sampled_slots(self, monkeypatch):
        monkeypatch.setattr(survey, "SAMPLED_VISIBILITIES", 2 * 15 * 4)  # the first and the last slot
        monkeypatch.setattr(survey, "WEIGHTS_PER_READ", 100)  # a few rows
        monkeypatch.setattr(survey, "SCANNED_WEIGHTS", 0)  # as for a large set

    @pytest.mark.parametrize("column", ["WEIGHT_SPECTRUM", "WEIGHT"])
    @pytest.mark.parametrize(
        ("correlation", "value", "name"),
        [
            (0, -1.0, "negative"),
            (3, np.nan, "not_a_number"),
            (0, np.inf, "not_a_number"),
            (0, 1e21, "not_a_number"),
            (slice(None), -np.inf, "negative"),
            (1, 0.0, "half_weighted"),
            (2, -0.0, "half_weighted"),
            (1, -1.0, "half_weighted"),
            (2, np.nan, "half_weighted"),
            (1, np.inf, "half_weighted"),
            (2, 1e-35, "half_weighted"),
            (1, 9e-4, "half_weighted"),
        ],
    )
    def test_full_scan_finds_single_odd_weight(self, tmp_path, column, correlation, value, name):
        path = make_set(tmp_path / "w.MS", SHAPE, with_data=True, with_spectrum=column == "WEIGHT_SPECTRUM")
        row = 7 * 15 + 1
        spoil(path, column, (row, slice(None), correlation), value)
        spoil(path, "DATA", (row, slice(None), slice(None)), 5.0)
        assert copy_reasons(survey_set(path)) == []
        whole = survey_set(path, every_row=True)
        names = ("negative", "not_a_number", "half_weighted")
        assert {one: getattr(whole.usability, one) for one in names} == {**dict.fromkeys(names, 0), name: 4}
        assert copy_set(path, f"{path}.copy") == copy_reasons(whole) != []
        with ct.table(f"{path}.copy", ack=False) as table:
            weights, flags, values = (table.getcell(name, row) for name in (column, "FLAG", "DATA"))
            assert table.getcol("FLAG").sum() == flags.sum()  # nothing else
        assert flags.all() == flags.any() == (name != "half_weighted")
        if name == "half_weighted":
            mended = np.arange(4) == correlation
            assert (weights == 1).all()
            assert (values == np.where(mended, 0, 5)).all()
        assert copy_reasons(survey_set(f"{path}.copy", every_row=True)) == []

    @pytest.mark.parametrize("value", [np.inf, np.nan, -1.0, 1e21])
    def test_full_scan_finds_odd_autocorrelation_weights(self, tmp_path, value):
        path = make_set(tmp_path / "w.MS", SHAPE, with_data=True)
        spoil(path, "WEIGHT_SPECTRUM", (SLOT_7.start, slice(None), slice(None)), value)
        assert survey_set(path, every_row=True).usability.odd_autocorrelations == 4
        assert "weights of 4 autocorrelations" in copy_set(path, f"{path}.copy")[0]
        with ct.table(f"{path}.copy", ack=False) as table:
            assert table.getcell("FLAG", SLOT_7.start).all()
            assert table.getcol("FLAG").sum() == 16
            assert not table.getcell("WEIGHT_SPECTRUM", SLOT_7.start).any()

    def test_full_scan_finds_single_bad_uvw(self, path):
        change_column(path, "UVW", lambda uvw_m: np.where((np.arange(180) == 7 * 15 + 1)[:, None], np.inf, uvw_m))
        assert survey_set(path).usability.not_a_number == 0
        assert survey_set(path, every_row=True).usability.not_a_number == 4

    def test_full_survey_agrees_with_sample(self, path, monkeypatch):
        sampled, whole = survey_set(path), survey_set(path, every_row=True)
        assert (sampled.every_row, whole.every_row) == (False, True)
        assert sampled.usability == whole.usability
        assert survey_set(path) is whole

    def test_small_set_is_scanned_entirely(self, path, monkeypatch):
        spoil(path, "WEIGHT_SPECTRUM", (SLOT_7, slice(None), 0), -1.0)
        monkeypatch.setattr(survey, "SCANNED_WEIGHTS", 180 * 16)
        assert survey_set(path).usability.negative == 10 * 4

    def test_highest_weight_covers_all_rows(self, path):
        spoil(path, "WEIGHT_SPECTRUM", (SLOT_7, slice(None), slice(None)), 30.0)
        assert survey_set(path, every_row=True).usability.highest_weight == 30.0

    def test_zero_weights_are_not_odd(self, path):
        spoil(path, "WEIGHT_SPECTRUM", (SLOT_7, slice(None), slice(None)), 0.0)
        found = survey_set(path, every_row=True)
        assert copy_reasons(found) == []
        assert found.usability.without_weight == 0  # the block was not read


@pytest.mark.parametrize("factor", [1e-35, 1e-16, 1e21, 1e35])
def test_extreme_weights_are_refused(path, factor):
    change_column(path, "WEIGHT_SPECTRUM", lambda weights: weights * np.float32(factor))
    assert findings(path) == [
        f"its weights are about {factor:.2g}, and sums of such weights overflow or underflow in WSClean; "
        f"multiply WEIGHT_SPECTRUM by the same number in all sets, such as {1 / factor:g}, so that they are between "
        "1e-15 and 1e+20"
    ]


@pytest.mark.parametrize("factor", [1e-12, 1e15])
def test_moderate_weights_pass(path, factor):
    change_column(path, "WEIGHT_SPECTRUM", lambda weights: weights * np.float32(factor))
    assert findings(path) == []


class TestTables:
    def test_good_set_has_no_defects(self, path):
        found = survey_set(path, "DATA")
        assert (found.visibility_columns, found.missing_columns, found.missing_subtables) == (("DATA",), (), ())
        assert (found.dangling_subtables, found.applied_beam.mode, found.phased_up) == ((), "", ())
        assert found.rising

    def test_falling_frequencies_are_detected(self, path):
        change_column(f"{path}/SPECTRAL_WINDOW", "CHAN_FREQ", lambda frequencies: frequencies[:, ::-1].copy())
        assert not survey_set(path).rising

    def test_missing_columns_and_subtables_are_detected(self, path):
        with ct.table(path, readonly=False, ack=False) as table:
            table.removekeyword("HISTORY")
            table.renamecol("DATA", "CORRECTED_DATA")
        found = survey_set(path)
        assert (found.missing_columns, found.missing_subtables) == (("DATA",), ("HISTORY",))

    def test_applied_beam_is_read(self, path):
        with ct.table(path, readonly=False, ack=False) as table:
            table.putcolkeyword("DATA", "LOFAR_APPLIED_BEAM_MODE", "Full")
            table.putcolkeyword("DATA", "LOFAR_APPLIED_BEAM_DIR", {"refer": "AZELGEO"})
        assert (survey_set(path, "DATA").applied_beam.mode, survey_set(path).applied_beam.mode) == ("Full", "")

    def test_baseline_dependent_averaging_is_refused(self, path):
        with ct.table(path, readonly=False, ack=False) as table:
            table.putkeyword("BDA_TIME_AXIS", f"Table: {path}/FIELD")
        with pytest.raises(MeasurementSetError, match="its time slots depend on the baseline"):
            survey_set(path)

    def test_recorded_sets_are_surveyed(self, hba_set, dish_set):
        found = survey_set(str(hba_set), "DATA")
        assert (found.phased_up, found.rising, found.layout.is_regular) == ((), True, True)
        assert survey_set(str(dish_set)).usability.usable == 0

    def test_superstation_is_detected(self, hba_set_generic, tmp_path):
        copy = f"{tmp_path}/copy.MS"
        with ct.table(str(hba_set_generic), ack=False) as table:
            table.copy(copy, deep=True).close()
        change_column(f"{copy}/ANTENNA", "NAME", lambda names: ["ST001", *names[1:]])
        assert survey_set(copy).phased_up == ("ST001",)


class TestMemory:
    def test_second_survey_reads_nothing(self, path, monkeypatch):
        first = survey_set(path)
        reading = count_reading(monkeypatch)
        assert survey_set(path) is first
        assert (reading.opened, reading.rows) == (0, 0)

    def test_modified_set_is_surveyed_again(self, path):
        before = survey_set(path)
        set_flags(path, np.ones((180, 4), bool))
        assert survey_set(path).usability != before.usability

    def test_modified_subtable_renews_survey(self, path):
        survey_set(path)
        change_column(f"{path}/SPECTRAL_WINDOW", "CHAN_FREQ", lambda frequencies: frequencies[:, ::-1].copy())
        assert not survey_set(path).rising


def test_survey_covers_one_field(path):
    found: SetSurvey = survey_set(path, "DATA", "auto")
    assert found.metadata.field_id == 0
    assert found.path == path


def test_highest_weight_includes_autocorrelations(path):
    spoil(path, "WEIGHT_SPECTRUM", (0, slice(None), slice(None)), 1e12)
    assert survey_set(path).usability.highest_weight == pytest.approx(1e12)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_invalid_first_interval_needs_a_copy(path, value):
    change_column(path, "INTERVAL", lambda all_s: np.where(np.arange(len(all_s)), all_s, value))
    assert "INTERVAL of the first row" in copy_reasons(survey_set(path))[0]


def test_invalid_exposure_is_replaced(path):
    change_column(path, "EXPOSURE", lambda all_s: np.where(np.arange(len(all_s)), all_s, np.inf))
    assert survey_set(path).times.exposure_s == pytest.approx(120.0)


@pytest.mark.parametrize(
    ("table", "column", "value", "what"),
    [
        ("", "ANTENNA2", 17, "ANTENNA1 or ANTENNA2 of some rows is 17, and its ANTENNA table has 5"),
        ("", "ANTENNA1", -1, "ANTENNA1 or ANTENNA2 of some rows is -1"),
        ("", "ANTENNA2", -1, "ANTENNA1 or ANTENNA2 of some rows is -1"),
        ("", "TIME", np.nan, "TIME of some rows is no number"),
        ("/FIELD", "PHASE_DIR", np.nan, "PHASE_DIR of field 0 is no number"),
        ("/ANTENNA", "POSITION", np.inf, "POSITION of antenna 0 is no number"),
        ("/POLARIZATION", "CORR_TYPE", 12, "its correlations are YY, XY, YX, YY, and DP3 takes"),
    ],
)
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_impossible_table_values_are_findings(path, table, column, value, what):
    def change(values):
        values[(..., 0) if column == "CORR_TYPE" else 0] = value
        return values

    change_column(f"{path}{table}", column, change)
    (finding,) = check_sets([path], "DATA")[1]
    assert what in finding


def test_set_of_autocorrelations_is_refused(path):
    keep_rows(path, np.arange(180).reshape(12, 15)[:, [0, 5, 9, 12, 14]].ravel())
    with pytest.raises(
        MeasurementSetError, match="has no cross-correlations, so there is nothing to image; leave it out"
    ):
        survey_set(path)


def test_rows_without_uvw_are_counted(path):
    of_third = touching(path, 2)[:, :, 0]
    change_column(path, "UVW", lambda uvw_m: np.where(of_third, np.nan, uvw_m))
    assert usability(path) == {"not_a_number": 12 * 4 * 4, "usable": 12 * 6 * 4}
    assert np.isfinite(survey_set(path).usability.longest_m)


def findings(path) -> list[str]:
    """Return the findings of one set, without its path."""
    return [line.removeprefix(f"{path}: ") for line in check_sets([path], "DATA", 30.0)[1]]


@pytest.mark.parametrize(("table", "columns"), [("SPECTRAL_WINDOW", ["NAME", "RESOLUTION"]), ("FIELD", ["SOURCE_ID"])])
def test_subtable_without_columns_is_refused(path, table, columns):
    with ct.table(f"{path}/{table}", readonly=False, ack=False) as subtable:
        subtable.removecols(columns)
    assert findings(path) == [
        f"its {table} subtable has no {', '.join(columns)}, and casacore does not open it without; "
        "copy it from another set of the observation"
    ]


def test_impossible_times_are_refused(path):
    for column in ("TIME", "TIME_CENTROID"):
        change_column(path, column, lambda times_s: times_s - times_s[0] + 5.0)
    assert "its times begin at MJD 0.000, which is implausible; TIME is MJD in seconds: correct the column" in findings(
        path
    )


def test_rows_without_uvw_are_flagged(path):
    of_third = touching(path, 2)[:, :, 0]
    change_column(path, "UVW", lambda uvw_m: np.where(of_third, np.nan, uvw_m))
    sample = sample_visibilities(path, 1000)
    missing = (sample.antenna1 == 2) | (sample.antenna2 == 2)
    assert np.isfinite(sample.uvw_m).all()
    assert (sample.flags == missing[:, None]).all()
    assert (sample.weights[missing] == 0).all()
    change_column(path, "UVW", lambda uvw_m: np.full_like(uvw_m, np.nan))
    assert survey.unusable_reason(path)
