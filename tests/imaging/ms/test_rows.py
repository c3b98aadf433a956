"""Time slots and row layout of made-up sets, changed one way after the other."""

from __future__ import annotations

import numpy as np
import pytest

from lofarpipe.imaging.ms import rows as set_rows
from lofarpipe.imaging.ms.measurement_set import read_metadata
from lofarpipe.imaging.ms.rows import RowLayout, TimeAxis, choose_field
from lofarpipe.imaging.ms.tables import MeasurementSetError
from small_sets import SetShape, add_field, change_column, keep_rows, make_set

SHAPE = SetShape(nantennas=5, ntimes=12)  # 15 rows a slot
SLOT = 15


@pytest.fixture
def path(tmp_path):
    return make_set(tmp_path / "a.MS", SHAPE)


def seen(path: str) -> tuple[TimeAxis, RowLayout]:
    metadata = read_metadata(path)
    return metadata.times, metadata.layout


@pytest.fixture(params=[True, False], ids=["small", "large"])
def _sizes(request, monkeypatch):
    """Read the set row by row, as a small one, and in small blocks, as a large one."""
    if not request.param:
        monkeypatch.setattr(set_rows, "ROWS_PER_READ", 37)
        monkeypatch.setattr(set_rows, "ROWS_PER_BLOCK", 37)


@pytest.mark.usefixtures("_sizes")
class TestLayouts:
    """Layouts must not depend on the way of reading."""

    def test_regular_set_has_regular_layout(self, path):
        times, layout = seen(path)
        assert (times.slots, times.step_s, times.grid_slots, times.gaps) == (12, 10.0, 12, 0)
        assert (times.exposure_s, times.offset_s, times.backward_row) == (pytest.approx(120), pytest.approx(0), -1)
        assert (layout.rows, layout.fewest_rows, layout.most_rows, layout.pairs) == (180, SLOT, SLOT, SLOT)
        assert layout.is_regular
        assert layout.antennas == (0, 1, 2, 3, 4)

    def test_missing_rows_make_layout_irregular(self, path):
        keep_rows(path, np.delete(np.arange(180), [20, 21, 100]))
        _, layout = seen(path)
        assert (layout.fewest_rows, layout.most_rows, layout.pairs, layout.repeated) == (13, 15, 15, 0)
        assert not layout.is_regular

    def test_equal_missing_rows_leave_layout_regular(self, path):
        keep_rows(path, np.setdiff1d(np.arange(180), np.arange(3, 180, SLOT)))
        _, layout = seen(path)
        assert (layout.fewest_rows, layout.most_rows) == (14, 14)
        assert layout.is_regular

    def test_changing_baselines_make_layout_irregular(self, path):
        """As many rows in every slot: DP3 would confuse the second half with the first."""
        keep_rows(path, [slot * SLOT + row for slot in range(12) for row in range(15) if row != (3 if slot < 6 else 7)])
        _, layout = seen(path)
        assert (layout.fewest_rows, layout.most_rows, layout.pairs) == (14, 14, 15)
        assert not layout.is_regular

    def test_duplicate_rows_are_counted(self, path):
        keep_rows(path, np.repeat(np.arange(180), 2))
        _, layout = seen(path)
        assert (layout.repeated, layout.most_rows, layout.pairs) == (180, 30, 15)
        assert not layout.is_regular

    def test_reordered_slot_makes_layout_irregular(self, path):
        rows = np.arange(180).reshape(12, SLOT)
        rows[7] = rows[7][::-1]
        keep_rows(path, rows.ravel())
        times, layout = seen(path)
        assert times.backward_row == -1
        assert (layout.fewest_rows, layout.most_rows, layout.repeated) == (15, 15, 0)
        assert not layout.is_regular

    @pytest.mark.parametrize("places", [(3, 4), (13, 2)])
    @pytest.mark.parametrize("rows_per_read", [1, 40, 1000])
    def test_exchanged_rows_make_layout_irregular(self, path, places, rows_per_read, monkeypatch):
        monkeypatch.setattr(set_rows, "ROWS_PER_READ", rows_per_read)
        rows = np.arange(180)
        rows[[10 * SLOT + place for place in places]] = [10 * SLOT + place for place in reversed(places)]
        keep_rows(path, rows)
        assert not seen(path)[1].is_regular

    def test_unordered_slots_are_detected(self, path):
        rows = np.arange(180).reshape(12, SLOT)
        keep_rows(path, rows[[0, 1, 2, 4, 3, *range(5, 12)]].ravel())
        times, layout = seen(path)
        assert times.backward_row == 4 * SLOT
        assert times.slots == 12
        assert not layout.is_regular

    def test_baseline_order_is_detected(self, path):
        keep_rows(path, np.arange(180).reshape(12, SLOT).T.ravel())
        times, layout = seen(path)
        assert (times.backward_row, times.slots, layout.fewest_rows, layout.repeated) == (12, 12, 15, 0)

    def test_gap_is_counted(self, path):
        keep_rows(path, [*range(4 * SLOT), *range(7 * SLOT, 180)])
        times, layout = seen(path)
        assert (times.slots, times.grid_slots, times.gaps, times.longest_gap_s) == (9, 12, 1, pytest.approx(40))
        assert times.exposure_s == pytest.approx(90)
        assert layout.is_regular

    def test_short_first_slot_is_detected(self, path):
        for column in ("INTERVAL", "EXPOSURE"):
            change_column(path, column, lambda values: np.where(np.arange(180) < SLOT, 5.0, values))
        times, _ = seen(path)
        assert (times.step_s, times.first_interval_s, times.exposure_s) == (10.0, 5.0, pytest.approx(115))

    def test_distant_snapshots_are_counted_as_gaps(self, path):
        change_column(path, "TIME", lambda values: values + np.repeat(np.arange(12) * 890.0, SLOT))
        times, _ = seen(path)
        assert (times.step_s, times.gaps, times.grid_slots) == (10.0, 11, 11 * 90 + 1)

    def test_halved_interval_is_detected(self, path):
        change_column(path, "INTERVAL", lambda values: values / 2)
        times, _ = seen(path)
        assert (times.step_s, times.first_interval_s, times.gaps) == (pytest.approx(10), 5.0, 0)

    def test_slots_off_the_grid_are_detected(self, path):
        change_column(path, "TIME", lambda values: values + np.where(np.arange(180) < 8 * SLOT, 0.0, 2.5))
        times, _ = seen(path)
        assert (times.offset_s, times.gaps) == (pytest.approx(2.5), 0)

    def test_missing_interval_is_replaced(self, path):
        change_column(path, "INTERVAL", np.zeros_like)
        change_column(path, "EXPOSURE", np.zeros_like)
        times, _ = seen(path)
        assert (times.step_s, times.first_interval_s, times.exposure_s) == (pytest.approx(10), 0.0, pytest.approx(120))


def test_single_slot_needs_interval(tmp_path):
    path = make_set(tmp_path / "a.MS", SetShape(nantennas=5, ntimes=1))
    change_column(path, "INTERVAL", np.zeros_like)
    with pytest.raises(MeasurementSetError, match=r"INTERVAL is 0\.0 s; a positive one is needed"):
        read_metadata(path)


def test_many_distinct_times_skip_comparison(path, monkeypatch):
    """With a time of its own for every row, no array of all baselines in all slots is made."""
    monkeypatch.setattr(set_rows, "MOST_CELLS", 10)
    change_column(path, "TIME", lambda values: values + np.arange(180) * 1e-3)
    _, layout = seen(path)
    assert (layout.most_rows, layout.repeated) == (1, 0)


class TestFields:
    def test_single_field_with_rows_is_chosen(self):
        assert choose_field("a.MS", ["target", "calibrator"], {1: 10}) == 1

    def test_several_fields_need_a_choice(self):
        with pytest.raises(MeasurementSetError) as caught:
            choose_field("a.MS", ["3C 286", "NGC 5194"], {0: 10, 1: 80})
        assert str(caught.value) == (
            "a.MS: holds 2 fields: 0 '3C 286' (10 rows), 1 'NGC 5194' (80 rows); choose one by number or name with the "
            "option field"
        )

    @pytest.mark.parametrize("wanted", ["1", "NGC 5194"])
    def test_field_is_chosen_by_number_or_name(self, wanted):
        assert choose_field("a.MS", ["3C 286", "NGC 5194"], {0: 10, 1: 80}, wanted) == 1

    @pytest.mark.parametrize("wanted", ["2", "NGC", "same"])
    def test_unknown_field_is_refused(self, wanted):
        with pytest.raises(MeasurementSetError, match=f"has no rows of a field '{wanted}'; it has 0 'same'"):
            choose_field("a.MS", ["same", "same", "unused"], {0: 10, 1: 80}, wanted)

    @pytest.mark.parametrize("stray", [-1, 2])
    def test_rows_of_unknown_field_are_refused(self, stray):
        with pytest.raises(MeasurementSetError, match=f"FIELD_ID of some rows is {stray}, and its FIELD table has 2"):
            choose_field("a.MS", ["a", "b"], {0: 10, stray: 1})

    def test_survey_covers_only_the_field(self, path):
        add_field(path, "other", dec_offset_rad=0.05)
        change_column(path, "FIELD_ID", lambda values: np.where(np.arange(180) < 4 * SLOT, 0, 1).astype(values.dtype))
        metadata = read_metadata(path, "other")
        assert (metadata.field_id, metadata.nfields, metadata.nrows, metadata.times.slots) == (1, 2, 8 * SLOT, 8)
        assert metadata.phase_centre_rad == pytest.approx((SHAPE.ra_rad, SHAPE.dec_rad + 0.05))
        assert metadata.start_s == pytest.approx(SHAPE.start_s + 40)
