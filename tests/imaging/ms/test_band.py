"""Measurement sets with several spectral windows: columns, feeds, fields and flags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import casacore.tables as ct
import numpy as np
import pytest

from band_sets import BandShape, make_band_set
from lofarpipe.imaging.ms.band import (
    base_name,
    count_visibilities,
    empty_reason,
    read_band,
    sampled_uv,
)
from lofarpipe.imaging.ms.tables import MeasurementSetError
from small_sets import change_column


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("/data/cosmos.ms", "cosmos"),
        ("fields.mms/", "fields"),
        ("1587911796_sdp_l0.4k.J1000+0212.mms", "1587911796_sdp_l0.4k.J1000+0212"),
        ("plain", "plain"),
        ("a.ms.ms", "a.ms"),
    ],
)
def test_base_name_drops_one_suffix(path: str, base: str) -> None:
    assert base_name(path) == base


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = BandShape(flagged=((0, 1), (1, 3)), history="applycal parang=True")
    return make_band_set(tmp_path_factory.mktemp("band") / "cosmos.ms", shape)


def test_band_has_metadata_of_all_windows(made: Path) -> None:
    band = read_band(str(made))
    assert band.base == "cosmos"
    assert band.data_column == "CORRECTED_DATA"
    assert (band.feeds, band.receptors, band.parallactic) == ("linear", ("X", "Y"), "corrected")
    assert [window.rows for window in band.windows] == [45 * 6, 45 * 6]  # without autocorrelations
    assert band.windows[1].frequencies_hz[0] == pytest.approx(965e6)
    assert np.hypot(*sampled_uv(band)).max() > 1000


def test_flagged_channels_are_counted(made: Path) -> None:
    band = read_band(str(made))
    every, some = ([counts.usable for counts in count_visibilities(band, most)] for most in (0, 80))
    assert every[0].tolist() == [270, 0, 270, 270]
    assert every[1].tolist() == [270, 270, 270, 0]
    assert [(count > 0).tolist() for count in some] == [(count > 0).tolist() for count in every]
    assert empty_reason(band) == ""


def test_flagged_rows_count_as_flagged(made: Path, tmp_path: Path) -> None:
    copy = make_band_set(tmp_path / "a.ms", BandShape(ntimes=1))
    change_column(str(copy), "FLAG_ROW", np.ones_like)
    band = read_band(str(copy))
    assert empty_reason(band) == "every visibility is flagged"
    assert not any(counts.usable.any() for counts in count_visibilities(band))


def for_channels(value: complex, correlations: slice = slice(None)) -> Callable[[Any], Any]:
    """Return a change of the first two channels of both windows."""

    def change(cells: Any) -> Any:
        cells[:, :2, correlations] = value
        return cells

    return change


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("CORRECTED_DATA", for_channels(np.nan)),
        ("CORRECTED_DATA", for_channels(np.inf, slice(1, 2))),
        ("CORRECTED_DATA", for_channels(0)),
        ("WEIGHT_SPECTRUM", for_channels(0)),
        ("WEIGHT_SPECTRUM", for_channels(np.nan)),
    ],
)
def test_unusable_visibilities_do_not_count(tmp_path: Path, column: str, change: Callable[[Any], Any]) -> None:
    path = make_band_set(tmp_path / "a.ms", BandShape(ntimes=1))
    change_column(str(path), column, change)
    band = read_band(str(path))
    counts = count_visibilities(band)
    assert [count.usable.tolist() for count in counts] == [[0, 0, 45, 45]] * 2
    is_weight = [column, str(change(np.ones((1, 2, 4), complex))[0, 0, 0])] == ["WEIGHT_SPECTRUM", "(nan+0j)"]
    assert [count.unweighted.tolist() for count in counts] == [[45 * is_weight, 45 * is_weight, 0, 0]] * 2
    assert empty_reason(band) == ""
    assert "has weight 0, or is NaN, infinite or 0 in CORRECTED_DATA" in empty_reason(band, 900e6, 920e6)


def test_data_column_is_chosen(tmp_path: Path) -> None:
    path = make_band_set(tmp_path / "a.ms", BandShape(corrected=False, ntimes=1))
    assert read_band(str(path)).data_column == "DATA"
    with pytest.raises(MeasurementSetError, match="has no column CORRECTED_DATA of visibilities; it has DATA"):
        read_band(str(path), "CORRECTED_DATA")


def test_column_without_cells_is_ignored(tmp_path: Path) -> None:
    path = make_band_set(tmp_path / "a.ms", BandShape(corrected=False, ntimes=1))
    with ct.table(str(path), readonly=False, ack=False) as table:
        table.addcols(ct.maketabdesc([ct.makearrcoldesc("CORRECTED_DATA", 0j, ndim=2, valuetype="complex")]))
    assert read_band(str(path)).data_column == "DATA"


def test_missing_correlations_are_named(tmp_path: Path) -> None:
    path = make_band_set(tmp_path / "a.ms", BandShape(correlations=(9, 12), ntimes=1))
    with pytest.raises(MeasurementSetError, match="has the correlations XX YY; images in I, Q, U and V need"):
        read_band(str(path))


def test_circular_feeds_are_recognised(tmp_path: Path) -> None:
    path = make_band_set(tmp_path / "a.ms", BandShape(correlations=(5, 6, 7, 8), ntimes=1))
    band = read_band(str(path))
    assert (band.feeds, band.receptors, band.parallactic) == ("circular", ("R", "L"), "not recorded")


def test_field_must_be_chosen(tmp_path: Path) -> None:
    path = make_band_set(tmp_path / "a.ms", BandShape(fields=("COSMOS", "XMM"), ntimes=2))
    with pytest.raises(MeasurementSetError, match="holds 2 fields"):
        read_band(str(path))
    band = read_band(str(path), field="XMM")
    assert (band.field_id, band.field_name, band.nfields, band.windows[0].rows) == (1, "XMM", 2, 45)


def test_field_without_cross_correlations_is_refused(tmp_path: Path) -> None:
    shape = BandShape(ntimes=1, nantennas=1)  # only autocorrelations
    path = make_band_set(tmp_path / "a.ms", replace(shape))
    with pytest.raises(MeasurementSetError, match="no cross-correlations"):
        read_band(str(path))
