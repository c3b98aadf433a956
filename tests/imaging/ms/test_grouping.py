"""Which sets belong together."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from lofarpipe.imaging.ms.grouping import (
    angle_between_rad,
    concat_groups,
    frequency_groups,
    set_disagreements,
    sort_by_frequency,
    time_blocks,
)
from lofarpipe.imaging.ms.measurement_set import SetMetadata
from lofarpipe.imaging.ms.rows import RowLayout, TimeAxis
from lofarpipe.imaging.ms.tables import MeasurementSetError


def described(path="a.MS", ref_hz=144e6, start_s=0.0, length_s=600.0, **changes):
    metadata = SetMetadata(
        path=path,
        telescope="LOFAR",
        antenna_set="HBA_DUAL",
        frequencies_hz=ref_hz + 24e3 * np.arange(8),
        channel_width_hz=24e3,
        ref_frequency_hz=ref_hz,
        phase_centre_rad=(1.0, 0.5),
        antenna_names=("CS001HBA0", "CS002HBA0"),
        antenna_positions_m=np.ones((2, 3)),
        dish_diameters_m=np.full(2, 31.0),
        start_s=start_s,
        end_s=start_s + length_s,
        timestep_s=10.0,
        ntimes=round(length_s / 10),
        nrows=100,
        correlations=("XX", "XY", "YX", "YY"),
        has_lofar_beam=True,
        columns=frozenset({"DATA"}),
        times=TimeAxis(start_s + 5, start_s + length_s - 5, round(length_s / 10), 10.0, 10.0, length_s, 0, 10.0, 0.0),
        layout=RowLayout(100, 1, 1, 1, 0, True, "ab", "ab", (0, 1)),
    )
    return replace(metadata, **changes)


def paths(groups):
    return [[one.path for one in group] for group in groups]


SETS = [
    described("b1", 146e6, 0.0),
    described("a2", 144e6, 600.0),
    described("a1", 144e6, 0.0),
    described("b2", 146e6, 600.0),
]


def test_subbands_are_sorted_by_frequency():
    assert paths(frequency_groups(SETS)) == [["a2", "a1"], ["b1", "b2"]]
    assert [one.path for one in sort_by_frequency(SETS)] == ["a2", "a1", "b1", "b2"]


def test_subbands_ignore_fractions_of_hertz():
    assert len(frequency_groups([described("a", 144e6), described("b", 144e6 + 0.4)])) == 1


def test_time_blocks_are_sorted_by_time():
    assert paths(time_blocks(SETS)) == [["a1", "b1"], ["a2", "b2"]]


def test_overlapping_sets_share_a_time_block():
    sets = [described("a", 144e6, 0.0), described("b", 146e6, 300.0), described("c", 148e6, 895.0)]
    assert paths(time_blocks(sets)) == [["a", "b"], ["c"]]


def test_simultaneous_repeated_subband_is_refused():
    with pytest.raises(
        MeasurementSetError, match=r"again.MS: covers the same time and frequency \(144.000000 MHz\) as"
    ):
        time_blocks([described(), described("again.MS")])


def test_adjacent_subbands_do_not_overlap():
    assert len(time_blocks([described("a", 144e6), described("b", 144e6 + 8 * 24e3)])) == 1
    assert len(time_blocks([described("a", 144e6), described("b", 144e6 + 4 * 24e3, start_s=600.0)])) == 2


@pytest.mark.parametrize("shared_channels", [1, 4, 7])
def test_overlapping_channels_are_refused(shared_channels):
    higher = described("b.MS", 144e6 + (8 - shared_channels) * 24e3)
    with pytest.raises(MeasurementSetError, match=r"b.MS: its channels from 144.\d+ MHz overlap with those of a.MS"):
        time_blocks([higher, described()])


def test_interleaved_channels_do_not_overlap():
    outer = described("outer.MS", frequencies_hz=np.array([144e6, 144.024e6, 148e6, 148.024e6]))
    inner = described("inner.MS", 146e6, frequencies_hz=146e6 + 24e3 * np.arange(2))
    assert len(time_blocks([outer, inner])) == 1
    touching = described("inner.MS", 146e6, frequencies_hz=148e6 + 24e3 * np.arange(1, 3))
    with pytest.raises(MeasurementSetError, match=r"overlap with those of outer\.MS"):
        time_blocks([outer, touching])


def test_different_telescope_is_reported_alone():
    other = described("b.MS", telescope="MeerKAT", timestep_s=8.0, antenna_names=("m000",))
    (line,) = set_disagreements([described(), other])
    assert line == "b.MS: is of MeerKAT, a.MS of LOFAR; image them in runs of their own"


def test_equal_sets_agree():
    assert set_disagreements(SETS) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"phase_centre_rad": (1.0, 0.5 + math.radians(1 / 3600))}, "phase centre is 1.0 arcsec from that of a.MS"),
        ({"frequencies_hz": 144e6 + 24e3 * np.arange(4)}, "has 4 channels of 24.000 kHz, a.MS has 8 of 24.000 kHz"),
        ({"channel_width_hz": 48e3}, "has 8 channels of 48.000 kHz"),
        ({"timestep_s": 5.0}, "has time slots of 5.0000 s, a.MS of 10.0000 s"),
        ({"correlations": ("XX", "YY")}, "has correlations"),
        ({"antenna_names": ("CS001HBA0",)}, "has 1 antennas, other than the 2 of a.MS"),
        ({"antenna_names": ("CS002HBA0", "CS001HBA0")}, "has the antennas of a.MS in another order"),
        ({"antenna_positions_m": np.array([[1, 1, 1], [1, 1, 11]])}, "CS001HBA0 is 5.0 m from where it is in a.MS"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_disagreement_is_named(changes, problem):
    (line,) = set_disagreements([described(), described("b.MS", 146e6, **changes)])
    assert line.startswith("b.MS: ")
    assert problem in line


def test_common_shift_and_antennas_without_data_are_no_disagreement():
    shifted = described("b.MS", 146e6, antenna_positions_m=np.full((2, 3), 9.0))
    alone = RowLayout(100, 1, 1, 1, 0, True, "ab", "ab", ())
    empty = described("c.MS", 148e6, antenna_positions_m=np.array([[1, 1, 1], [np.nan, 1, 1]]), layout=alone)
    assert set_disagreements([described(), shifted, empty]) == []


def test_angles_between_directions_are_correct():
    assert angle_between_rad((1.0, 0.0), (1.25, 0.0)) == pytest.approx(0.25)
    assert angle_between_rad((0.3, math.pi / 2), (2.0, math.pi / 2)) == pytest.approx(0, abs=1e-12)
    assert angle_between_rad((0.0, 0.0), (math.pi, 0.0)) == pytest.approx(math.pi)


def test_odd_set_is_named():
    sets = [
        described("odd.MS", timestep_s=5.0),
        *(described(f"{number}.MS", 146e6 + number * 1e6) for number in range(3)),
    ]
    (line,) = set_disagreements(sets)
    assert line == "odd.MS: has time slots of 5.0000 s, 0.MS of 10.0000 s; average all sets alike"


class TestConcatGroups:
    """Which sets DP3 reads at once."""

    @staticmethod
    def made(path, hz, *, layout=None, **times):
        one = described(path, hz)
        changed = replace(one.times, **times)
        return replace(one, times=changed, layout=replace(one.layout, **(layout or {})))

    @pytest.mark.parametrize(
        "changes",
        [
            {"first_s": 6.0},
            {"last_s": 585.0},
            {"first_s": 5.3, "last_s": 595.3},
            {"first_interval_s": 10.001},
            {"gaps": 1, "slots": 50},
            {"offset_s": 0.02},
            {"layout": {"digest": "other"}},
        ],
        ids=str,
    )
    def test_different_set_forms_own_group(self, changes):
        sets = [self.made("a", 144e6), self.made("b", 146e6, **changes), self.made("c", 148e6)]
        assert paths(concat_groups([sets])) == [["a", "c"], ["b"]]

    def test_sets_with_gaps_form_own_groups(self):
        sets = [self.made(name, hz, gaps=1) for name, hz in (("a", 144e6), ("b", 146e6))]
        assert paths(concat_groups([sets])) == [["a"], ["b"]]

    def test_copied_sets_join_the_group(self):
        irregular = {"digest": "xy", "same_order": False}
        sets = [self.made("a", 144e6), self.made("b", 146e6, first_interval_s=5.0, layout=irregular)]
        assert paths(concat_groups([sets], {"b"})) == [["a", "b"]]
        assert paths(concat_groups([sets])) == [["a"], ["b"]]

    def test_time_blocks_are_not_merged(self):
        blocks = time_blocks(SETS)
        assert paths(concat_groups(blocks)) == [["a1", "b1"], ["a2", "b2"]]
