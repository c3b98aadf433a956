"""DP3 on spoilt sets, with the arguments of the plan: the same results as for good sets, where possible."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import casacore.tables as ct
import numpy as np
import pytest

from dp3_runs import run_real
from lofarpipe.imaging.ms.copy import copy_set
from lofarpipe.imaging.ms.grouping import concat_groups, set_disagreements, time_blocks
from lofarpipe.imaging.ms.inputs import check_sets
from lofarpipe.imaging.ms.survey import survey_set
from lofarpipe.imaging.ms.uv_sample import rotate_uvw
from lofarpipe.imaging.plan.plan import plan_copies, weight_bits
from lofarpipe.programs.dp3 import adapt_keywords
from small_sets import SetShape, add_field, change_column, drop_column, keep_rows, make_set, set_flags

SLOTS, SLOT = 12, 15
ROWS = SLOTS * SLOT
SUBBANDS_HZ = (144e6, 146e6)
TIMESTEP = 2  # slots that become one, and channels


@dataclass(frozen=True)
class Averaged:
    """Values of averaged sets by (MHz, s since the start, antennas); ``sets`` is how many there are."""

    values: dict[tuple[float, ...], complex]
    sets: int


@pytest.fixture
def sets(tmp_path):
    """Two subbands in which every visibility is another one."""
    paths = []
    for number, first_hz in enumerate(SUBBANDS_HZ):
        shape = SetShape(nantennas=5, ntimes=SLOTS, nchan=4, first_channel_hz=first_hz)
        path = make_set(tmp_path / f"SB{number}.MS", shape, with_data=True)
        phases = np.random.default_rng(number).random((ROWS, 4, 4))
        change_column(path, "DATA", lambda values, phases=phases: np.exp(2j * np.pi * phases).astype(values.dtype))
        paths.append(path)
    return paths


@pytest.fixture
def average(dp3, tmp_path):
    """A function that runs DP3 on sets like the plan, and returns its output."""

    def run(paths, field="auto", timestep=TIMESTEP) -> Averaged:
        assert check_sets(paths, "DATA", 0.0, field)[1] == []
        surveys = [survey_set(path, "DATA", field) for path in paths]
        weights = {one.path: (one.usability.low_weight, one.usability.highest_weight) for one in surveys}
        copies = plan_copies(surveys, f"{tmp_path}/copies")
        for path, copy in copies.items():
            copy_set(path, copy.path, field)
        metadata = [survey.metadata for survey in surveys]
        assert set_disagreements(metadata) == []
        groups = concat_groups(time_blocks(metadata), copies)
        values = {}
        for number, group in enumerate(groups):
            names = [copies[one.path].path if one.path in copies else one.path for one in group]
            step_s = timestep * group[0].timestep_s
            keywords = {
                "msin": f"[{','.join(names)}]",
                "msin.orderms": "True",
                "msout": f"{tmp_path}/out{number}.MS",
                "msout.overwrite": "True",
                "msout.storagemanager": "Dysco",
                "msout.storagemanager.databitrate": "0",
                "msout.storagemanager.weightbitrate": str(weight_bits(group, step_s, weights)[0]),
                "steps": "[avg]",
                "avg.type": "average",
                "avg.timeresolution": repr(step_s),
                "avg.freqresolution": repr(2 * group[0].channel_width_hz),
            }
            code, log = run_real(dp3, tmp_path, adapt_keywords(keywords, 1))
            assert code == 0, log
            values |= unflagged(keywords["msout"])
        return Averaged(values, len(groups))

    return run


def unflagged(path) -> dict[tuple[float, ...], complex]:
    with ct.table(path, ack=False) as table, ct.table(f"{path}::SPECTRAL_WINDOW", ack=False) as window:
        data, flags = table.getcol("DATA")[..., 0], table.getcol("FLAG")[..., 0]
        flags |= table.getcol("WEIGHT_SPECTRUM")[..., 0] == 0  # so that WSClean would not see it
        antenna1, antenna2, times_s = (table.getcol(name) for name in ("ANTENNA1", "ANTENNA2", "TIME"))
        frequencies_mhz = window.getcol("CHAN_FREQ")[0] / 1e6
    return {
        (round(frequencies_mhz[channel], 3), round(times_s[row] - 5e9, 2), antenna1[row], antenna2[row]): data[
            row, channel
        ]
        for row, channel in np.argwhere(~flags)
    }


def assert_alike(found: Averaged, expected: Averaged, fewest: float = 1.0):
    """Assert that found values are as expected, and that at least this part is found."""
    assert set(found.values) <= set(expected.values)
    assert len(found.values) >= fewest * len(expected.values)
    keys = sorted(found.values)
    assert np.allclose([found.values[key] for key in keys], [expected.values[key] for key in keys], atol=1e-5)


def shuffle(path):
    keep_rows(path, np.random.default_rng(1).permutation(ROWS))


def repeat(path):
    keep_rows(path, np.repeat(np.arange(ROWS), 2))


def sort_by_baseline(path):
    keep_rows(path, np.arange(ROWS).reshape(SLOTS, SLOT).T.ravel())


def turn_one_slot(path):
    rows = np.arange(ROWS).reshape(SLOTS, SLOT)
    rows[5] = rows[5][::-1]
    keep_rows(path, rows.ravel())


def fall(path):
    for name in ("DATA", "FLAG", "WEIGHT_SPECTRUM"):
        change_column(path, name, lambda values: values[:, ::-1].copy())
    change_column(f"{path}/SPECTRAL_WINDOW", "CHAN_FREQ", lambda values: values[:, ::-1].copy())
    change_column(f"{path}/SPECTRAL_WINDOW", "CHAN_WIDTH", lambda values: -values)


def halve_first_interval(path):
    change_column(path, "INTERVAL", lambda values: np.where(np.arange(ROWS) < SLOT, values / 2, values))


def halve_every_interval(path):
    change_column(path, "INTERVAL", lambda values: values / 2)


def lose_intervals(path):
    change_column(path, "INTERVAL", np.zeros_like)


def lose_flag_category(path):
    drop_column(path, "FLAG_CATEGORY")


def lose_size_of_unused_antenna(path):
    with ct.table(f"{path}/ANTENNA", readonly=False, ack=False) as antennas:
        antennas.addrows(1)
        antennas.putcell("POSITION", 5, np.zeros(3))


def lose_reference_frequency(path):
    change_column(f"{path}/SPECTRAL_WINDOW", "REF_FREQUENCY", np.zeros_like)


def set_cross_hands(path, weight):
    """Give the cross hands of all visibilities of some slots another weight, and values that are wrong."""
    spoilt = (np.arange(ROWS) < 8 * SLOT)[:, None, None] & (np.arange(4) % 3 > 0)
    change_column(path, "WEIGHT_SPECTRUM", lambda values: np.where(spoilt, weight, values).astype(values.dtype))
    change_column(path, "DATA", lambda values: np.where(spoilt, 1e6, values).astype(values.dtype))


@pytest.mark.parametrize(
    "spoil",
    [
        lose_reference_frequency,
        *(functools.partial(set_cross_hands, weight=weight) for weight in (0.0, -1.0, np.nan, np.inf)),
        shuffle,
        repeat,
        sort_by_baseline,
        turn_one_slot,
        fall,
        halve_first_interval,
        halve_every_interval,
        lose_intervals,
        lose_flag_category,
        lose_size_of_unused_antenna,
    ],
)
def test_spoilt_subtable_does_not_change_average(sets, average, spoil):
    expected = average(sets)
    assert expected.sets == 1
    assert len(expected.values) == 2 * 2 * 6 * SLOT
    for path in sets:
        spoil(path)
    found = average(sets)
    assert found.sets == 1
    assert_alike(found, expected)


@pytest.mark.parametrize("weight", [-1.0, np.nan, -np.inf])
def test_invalid_weight_acts_as_flag(sets, average, weight):
    spoilt = np.arange(ROWS) % 7 == 0
    for path in sets:
        set_flags(path, np.repeat(spoilt[:, None], 4, axis=1))
    expected = average(sets)
    for path in sets:
        set_flags(path, np.zeros((ROWS, 4), bool))
        change_column(path, "WEIGHT_SPECTRUM", lambda values: np.where(spoilt[:, None, None], weight, values))
        change_column(path, "DATA", lambda values: values + 100 * spoilt[:, None, None])
    assert_alike(average(sets), expected)


@pytest.mark.parametrize("factor", [1e-4, 1e-2, 30.0, 3000.0, 1e6])
def test_unequal_weights_keep_every_set(sets, average, factor):
    expected = average(sets)
    change_column(sets[1], "WEIGHT_SPECTRUM", lambda values: values * np.float32(factor))
    assert_alike(average(sets), expected)


def test_missing_rows_are_averaged(sets, average):
    expected = average(sets)
    for number, path in enumerate(sets):
        lost = np.random.default_rng(number).choice(ROWS, 10, replace=False)
        keep_rows(path, np.setdiff1d(np.arange(ROWS), lost))
    found = average(sets, timestep=1)
    assert found.sets == 1
    assert len(found.values) == 2 * 2 * (ROWS - 10)
    averaged = average(sets)
    assert 0.98 < len(averaged.values) / len(expected.values) < 1  # of two slots one is there, but for one time


def test_late_antenna_is_averaged(sets, average):
    """As with the VLA: other baselines from the seventh slot on."""
    with ct.table(sets[0], ack=False) as table:
        of_last = (table.getcol("ANTENNA1") == 4) | (table.getcol("ANTENNA2") == 4)
    expected = average(sets)
    for path in sets:
        keep_rows(path, np.flatnonzero(~of_last | (np.arange(ROWS) >= 6 * SLOT)))
    found = average(sets)
    assert len(found.values) == 2 * 2 * (6 * SLOT - 3 * 5)
    assert_alike(found, expected, 0.8)


def test_sets_of_different_times_are_averaged(sets, average):
    expected = average(sets)
    keep_rows(sets[0], np.arange(4 * SLOT, ROWS))
    keep_rows(sets[1], np.arange(0, 8 * SLOT))
    found = average(sets)
    assert found.sets == 2
    assert len(found.values) == 2 * (4 + 4) * SLOT
    assert_alike(found, expected, 0.6)


def test_fitting_sets_are_averaged_together(sets, average, tmp_path):
    third = make_set(
        tmp_path / "SB2.MS", SetShape(nantennas=5, ntimes=SLOTS, nchan=4, first_channel_hz=148e6), with_data=True
    )
    keep_rows(sets[0], np.arange(SLOT, ROWS))
    assert average([*sets, third]).sets == 2


def test_slightly_shifted_sets_are_averaged(sets, average):
    expected = average(sets)
    change_column(sets[1], "TIME", lambda values: values + 0.3)
    found = average(sets)
    assert found.sets == 2
    assert len(found.values) == len(expected.values)


def test_common_gap_is_kept(sets, average):
    expected = average(sets)
    for path in sets:
        keep_rows(path, [*range(4 * SLOT), *range(8 * SLOT, ROWS)])
    found = average(sets)
    assert found.sets == 2
    assert_alike(found, expected, 4 / 6)


def test_uneven_time_slots_are_averaged(sets, average):
    for path in sets:
        change_column(path, "TIME", lambda values: values + np.repeat(np.linspace(0, 1, SLOTS) ** 2, SLOT))
    found = average(sets, timestep=1)
    assert found.sets == 2
    assert len(found.values) == 2 * 2 * ROWS


@pytest.mark.parametrize("slots", [1, 2])
def test_snapshots_are_averaged(sets, average, slots):
    """Dysco cannot store the weights of a single slot: DP3 would abort."""
    for path in sets:
        keep_rows(path, np.arange(slots * SLOT))
    found = average(sets)
    assert (found.sets, len(found.values)) == (1, 2 * 2 * SLOT)
    with ct.table(sets[0], ack=False) as table:
        first = table.getcol("DATA")[: slots * SLOT].reshape(slots, SLOT, 4, 4)[:, 1, :2, 0]
    time_s = math.floor(10 * slots / 2 * 100) / 100
    assert found.values[(144.012, time_s, 0, 1)] == pytest.approx(first.mean(), abs=1e-5)


def test_single_field_is_selected(sets, average):
    expected = average(sets)
    for path in sets:
        add_field(path, "target")
        change_column(path, "FIELD_ID", lambda values: np.where(np.arange(ROWS) < 8 * SLOT, 1, 0).astype(values.dtype))
    found = average(sets, "target")
    assert len(found.values) == 2 * 2 * 4 * SLOT
    assert_alike(found, expected, 0.6)


def test_input_stays_unchanged(sets, average):
    for path in sets:
        repeat(path)
    before = {path: path.read_bytes() for one in sets for path in Path(one).rglob("table.f*")}
    average(sets)
    assert {path: path.read_bytes() for path in before} == before


def test_distant_snapshots_keep_their_times(sets, average):
    """Slots of 10 s, 15 minutes apart, are no slots of 15 minutes."""
    for path in sets:
        keep_rows(path, np.arange(3 * SLOT))
        later_s = np.repeat(np.arange(3) * 890.0, SLOT)
        change_column(path, "TIME", lambda values, later_s=later_s: values + later_s)
        change_column(path, "UVW", lambda uvw_m, later_s=later_s: rotate_uvw(uvw_m, later_s, SetShape.dec_rad))
    found = average(sets, timestep=1)
    assert found.sets == 2
    assert sorted({time_s for _, time_s, *_ in found.values}) == [5.0, 905.0, 1805.0]
    assert len(found.values) == 2 * 2 * 3 * SLOT
