"""Keywords of an observation, from the sets of an image."""

from __future__ import annotations

from pathlib import Path

import casacore.tables as ct
import pytest

from lofarpipe.imaging.ms.observation import covered_s, date_text, observation_keywords
from small_sets import START_S, SetShape, make_set

SMALL = SetShape(nantennas=3, ntimes=6, timestep_s=10.0)


def set_of(path: Path, observer: str = "A. Nonymous", field: str = "3C48", **changes: object) -> str:
    make_set(path, SetShape(**{**vars(SMALL), **changes}))  # type: ignore[arg-type]
    with ct.table(f"{path}/OBSERVATION", readonly=False, ack=False) as table:
        table.putcell("OBSERVER", 0, observer)
    with ct.table(f"{path}/FIELD", readonly=False, ack=False) as table:
        table.putcell("NAME", 0, field)
    return str(path)


def test_single_set_gives_keywords(tmp_path: Path) -> None:
    found = observation_keywords([set_of(tmp_path / "a.MS")])
    assert {key: value for key, (value, _) in found.items()} == {
        "TELESCOP": "LOFAR",
        "OBSERVER": "A. Nonymous",
        "OBJECT": "3C48",
        "DATE-OBS": "2017-04-27T08:53:25.000",  # 5e9 s of MJD are 57870 days and 32000 s
        "DATE-BEG": "2017-04-27T08:53:20.000",
        "DATE-END": "2017-04-27T08:54:20.000",
        "EXPTIME": 60.0,
    }


def test_several_sets_give_combined_keywords(tmp_path: Path) -> None:
    window = set_of(tmp_path / "b.MS", first_channel_hz=150e6)
    later = set_of(tmp_path / "c.MS", observer="B", field="", start_s=START_S + 600)
    found = observation_keywords([set_of(tmp_path / "a.MS"), window, later])
    assert found["OBSERVER"][0] == "A. Nonymous+B"
    assert found["OBJECT"][0] == "3C48"
    assert found["EXPTIME"][0] == 120
    assert found["DATE-END"][0] == "2017-04-27T09:04:20.000"


def test_sets_without_rows_give_no_keywords(tmp_path: Path) -> None:
    ct.default_ms(str(tmp_path / "a.MS")).close()
    assert observation_keywords([str(tmp_path / "a.MS"), str(tmp_path / "none.MS")]) == {}


def test_several_fields_give_no_object(tmp_path: Path) -> None:
    path = set_of(tmp_path / "a.MS")
    with ct.table(f"{path}/FIELD", readonly=False, ack=False) as table:
        table.addrows(1)
    assert "OBJECT" not in observation_keywords([path])


@pytest.mark.parametrize(
    ("spans", "total"), [([], 0), ([(0, 10), (5, 12)], 12), ([(20, 30), (0, 10)], 20), ([(0, 30), (5, 6)], 30)]
)
def test_overlapping_spans_count_once(spans: list[tuple[float, float]], total: float) -> None:
    assert covered_s(spans) == total


def test_impossible_time_becomes_epoch() -> None:
    assert date_text(1e300) == "1858-11-17T00:00:00"
