"""Numbers and tables of the page as a person reads them."""

from __future__ import annotations

import pytest

from lofarpipe.report.html import tables as html_text
from lofarpipe.state.run_state import RunState


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0030413597, "Jy/beam", "3.041 mJy/beam"),
        (2e-8, "Jy/beam", "0.02 μJy/beam"),
        (-0.5, "Jy", "-500 mJy"),
        (0, "Jy", "0 Jy"),
        (143847656.25, "Hz", "143.8 MHz"),
        (2430.0, "", "2430"),
        (1234567.8, "", "1234568"),
        (0.000117, "", "0.000117"),
        (1178.4, "s", "19 min 38 s"),
        (12.0167, "s", "12.02 s"),
        (4, "channels", "4 channels"),
        ("2430 2430", "pixels", "2430 × 2430 pixels"),
        (None, "Jy", "–"),
        (float("nan"), "Jy", "nan Jy"),
        (True, "", "True"),
        (1.0, None, "1"),
    ],
)
def test_quantities_are_rounded_with_unit(value: object, unit: object, shown: str) -> None:
    assert html_text.quantity(value, unit) == shown


def test_moments_and_durations_have_text() -> None:
    assert html_text.moment(1_700_000_000.0) == "2023-11-14 22:13:20"
    assert html_text.moment(None) == html_text.duration(None) == html_text.percent(None) == "–"
    assert html_text.duration(65.0) == "1 min 5 s"
    assert html_text.percent(0.0268) == "2.68 %"


QUALITY = {
    "image": "/d/a.fits",
    "rms": {"value": 1e-3, "unit": "Jy/beam", "source": "measured"},
    "measured_over_expected": {"value": 1.25, "unit": "", "source": "s"},
    "dynamic_range": {"value": 1000.4, "unit": "", "source": "s"},
    "new_number": {"value": None},
    "broken": {"no": "value"},
    "versions": ["DP3 6.6"],
}


def test_quality_has_a_row_for_each_number() -> None:
    assert html_text.quality_rows(QUALITY)[0] == ("noise, central half", "1 mJy/beam", "measured")
    assert html_text.quality_rows(QUALITY)[-1] == ("new number", "–", "")
    assert len(html_text.quality_rows(QUALITY)) == 4


def test_key_numbers_summarise_quality() -> None:
    comparison = {"summary": {"median_ratio": 1.0234, "measured": 7}}
    assert html_text.key_numbers(QUALITY, comparison) == [
        ("noise", "1 mJy/beam", "1.25 × the expected thermal noise"),
        ("dynamic range", "1000", "peak over noise"),
        ("flux scale", "1.023", "measured / reference, 7 sources"),
    ]
    assert html_text.key_numbers({"rms": QUALITY["rms"]}, {}) == [("noise", "1 mJy/beam", "expected noise not known")]
    assert html_text.key_numbers({}, {}) == []


PLAN = {
    "summary": ["one", "two"],
    "warnings": ["careful"],
    "quantities": {
        "cellsize_deg": {"value": 0.002, "unit": "deg", "source": "option", "reason": "as asked for"},
        "freqstep_hz": {"value": 97656.25, "unit": "Hz", "source": "a", "reason": "b"},
        "input_timestep_s": {"value": 4.0, "unit": "s", "source": "a", "reason": "b"},
        "b_max_lambda": {"value": 5003.0, "unit": "wavelengths", "source": "a", "reason": "b"},
        "flagged_fraction": {"value": 0.02012, "unit": "", "source": "a", "reason": "b"},
        "time_blocks": {"value": 3, "unit": "", "source": "a", "reason": "b"},
        "odd": 3,
    },
    "predicted_loss": {
        "explanation": "what is lost",
        "edge": {"distance_deg": 2.0, "averaged": {"total": 0.03, "worst_angle": 0.04}, "input": {"total": 0.01}},
        "half": {"distance_deg": 1.0, "averaged": {"total": 0.01}, "input": {}, "added_by_averaging": 0.005},
        "broken": {"distance_deg": 1.0},
    },
}


def test_plan_tables_have_every_part() -> None:
    tables = html_text.plan_tables(PLAN)
    assert tables["summary"] == ["one", "two"]
    assert tables["warnings"] == ["careful"]
    assert tables["rows"] == [
        ("cellsize", "0.002 deg", "as asked for", "option"),
        ("freqstep", "97.66 kHz", "b", "a"),
        ("input timestep", "4 s", "b", "a"),
        ("b max", "5003 wavelengths", "b", "a"),
        ("flagged fraction", "2.012 %", "b", "a"),
        ("time blocks", "3", "b", "a"),
    ]
    assert tables["losses"] == [
        ("edge", "2 deg", "3.00 %", "1.00 %", "–", "4.00 %"),
        ("half", "1 deg", "1.00 %", "–", "0.50 %", "–"),
    ]


def test_unit_suffix_distinguishes_quantities() -> None:
    values = {"timestep": 3, "timestep_s": 12.0, "channels_out": 4}
    tables = html_text.plan_tables({"quantities": {name: {"value": value} for name, value in values.items()}})
    assert [row[:2] for row in tables["rows"]] == [("timestep", "3"), ("timestep s", "12 s"), ("channels out", "4")]


def test_predicted_losses_start_at_zero() -> None:
    assert html_text.predicted_losses(PLAN) == [(0.0, 0.0), (1.0, 0.01), (2.0, 0.03)]
    assert html_text.predicted_losses({}) == []


SOURCE = {"name": "s0", "distance_deg": 0.5, "flux_jy": 1.0, "measured_jy": 1.02, "ratio": 1.02, "ratio_error": 0.01}
SOURCE |= {"east_arcsec": 0.5, "north_arcsec": -0.2, "offset_arcsec": 0.54, "offset_beams": 0.01, "peak_loss": 0.012}
SOURCE |= {"signal_to_noise": 456.7, "widening": 1.001}
COMPARISON = {
    "reference": "/d/sky.model",
    "kind": "a sky model",
    "frequency_hz": 144e6,
    "summary": {"measured": 1, "median_ratio": 1.02, "ratio_scatter": 0.008, "median_offset_arcsec": 0.0549},
    "sources": [SOURCE, {"name": "gone", "distance_deg": 1.0, "flux_jy": 0.5}],
}


def test_comparison_lists_undetected_sources() -> None:
    tables = html_text.comparison_tables(COMPARISON, {"source_count": {"value": 12}})
    assert tables["frequency"] == "144 MHz"
    assert tables["summary"] == [
        ("islands in the image above 5 sigma", "12"),
        ("measured", "1"),
        ("measured / reference flux, median", "1.02"),
        ("measured / reference flux, scatter", "0.008"),
        ("median offset", "0.0549 arcsec"),
    ]
    assert tables["rows"] == [
        ("s0", "0.5 deg", "1 Jy", "1.02 Jy", "1.020", "0.54", "0.010", "457", "1.001", "1.20 %"),
        ("gone", "1 deg", "500 mJy", "–", "–", "–", "–", "–", "–", "–"),
    ]
    assert html_text.compared_sources(COMPARISON) == [SOURCE]


def test_record_tables_show_the_run_record() -> None:
    record = {
        "options": [{"name": "robust", "value": "0", "source": "p:3", "meaning": "weights"}],
        "configuration": {"values": [{"section": "remote", "key": "cores", "value": "", "source": "cfg:2"}]},
        "inputs": [{"path": "/d/a.MS", "kind": "table", "bytes": 12, "checksum": {"method": "sampled", "value": "ab"}}],
        "products": [{"path": "/d/a.fits", "kind": "file", "bytes": 99, "checksum": {"method": "full", "value": "cd"}},
                     {"path": "/d/b.fits", "kind": "file", "bytes": None, "checksum": None}],
    }  # fmt: skip
    tables = {title: (head, rows) for title, head, rows, _ in html_text.record_tables(record, {"/d/gone.MS": 2})}
    assert tables["options"] == (("option", "value", "from", "meaning"), [("robust", "0", "p:3", "weights")])
    assert tables["configuration"][1] == [("remote", "cores", "–", "cfg:2")]
    assert tables["inputs"][1] == [("/d/a.MS", "table", "12", "ab (sampled)")]
    assert tables["products"][1] == [("/d/a.fits", "file", "99", "cd"), ("/d/b.fits", "file", "–", "–")]
    assert [table.entries for table in html_text.record_tables(record, {"/d/gone.MS": 2})] == [1, 1, 1, 2, 1]


def test_long_file_table_is_cut() -> None:
    (table,) = html_text.record_tables({"inputs": [{"path": f"/d/{number}"} for number in range(1000)]}, {})
    assert table.entries == 1000
    assert [row[0] for row in table.rows] == [f"/d/{number}" for number in range(300)]


def test_versions_prefer_the_run_record() -> None:
    runner = {"name": "genericpipeline", "version": "0.1.0", "path": "/p"}
    record = {"software": {"runner": runner, "programs": [{"name": "DP3", "version": None, "path": "/b/DP3"}]}}
    expected = [("genericpipeline", "0.1.0", "/p"), ("DP3", "–", "/b/DP3")]
    assert html_text.versions(record, {}, RunState()) == expected
    state = RunState(facts={"version": "0.1.0"})
    assert html_text.versions({}, QUALITY, state) == [("genericpipeline", "0.1.0", "–"), ("DP3", "6.6", "–")]


@pytest.mark.parametrize("odd", [[], "text", 3, None, {"a": 1}, {"a": {}}, [1], [{"name": 3}]])
def test_malformed_entries_are_tolerated(odd: object) -> None:
    keys = ("quantities", "predicted_loss", "summary", "warnings", "sources", "options", "configuration", "software")
    keys += ("inputs", "products", "rms", "beam_major", "source_count", "versions")
    content = dict.fromkeys(keys, odd)
    html_text.plan_tables(content)
    html_text.predicted_losses(content)
    html_text.comparison_tables(content, content)
    html_text.compared_sources(content)
    html_text.record_tables(content, {})
    html_text.versions(content, content, RunState())
    html_text.key_numbers(content, content)
    html_text.quality_rows(content)
