"""The tables of the page: plan, quality, comparison and record as rows of text, as far as files of any content go."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import Any, NamedTuple

from lofarpipe.jobs import duration_text
from lofarpipe.state.run_state import RunState

Table = list[tuple[str, ...]]

NAMES = {
    "rms": "noise, central half",
    "rms_whole_image": "noise, whole image",
    "rms_field_median": "noise, median over tiles",
    "peak": "peak, flat noise",
    "peak_true_sky": "peak, primary-beam corrected",
    "dynamic_range": "dynamic range",
    "beam_major": "restoring beam, major axis",
    "beam_minor": "restoring beam, minor axis",
    "beam_position_angle": "restoring beam, position angle",
    "frequency": "frequency",
    "bandwidth": "bandwidth",
    "blank_fraction": "blank part",
    "source_count": "sources",
    "flagged_fraction": "flagged part of the data",
    "integration_time": "unflagged integration time",
    "expected_thermal_noise": "expected thermal noise",
    "expected_survey_noise": "noise of the survey, scaled",
    "measured_over_expected": "noise, measured over expected",
}
SUMMARY_NAMES = {
    "expected_above_5_sigma": "expected above 5 sigma",
    "median_ratio": "measured / reference flux, median",
    "ratio_scatter": "measured / reference flux, scatter",
    "median_widening": "width / restoring beam, median",
}
UNITS = {"_hz": "Hz", "_deg": "deg", "_arcsec": "arcsec", "_lambda": "wavelengths", "_s": "s", "_jy": "Jy", "_m": "m"}
PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "μ"))
PREFIXED_UNITS = ("Jy/beam", "Jy", "Hz")
EMPTY = "–"
MOST_FILES = 300  # of the inputs, and of the products: run.json has all
REMOVED = "removed, for no later step needs them"
OPTION_COLUMNS = ("name", "value", "source", "meaning")


def is_number(value: object) -> bool:
    """Whether a value is a finite number, and not a boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def quantity(value: object, unit: object = "") -> str:
    """Format a number with its unit, such as ``3.04 mJy/beam``; text is unchanged, None is a dash."""
    unit = unit if isinstance(unit, str) else ""
    if value is None:
        return EMPTY
    if not isinstance(value, int | float) or not is_number(value):
        text = str(value).replace(" ", " × ") if unit == "pixels" else value  # width and height
        return f"{text} {unit}".strip()
    if unit == "s" and abs(value) >= 60:
        return duration_text(value)
    if unit in PREFIXED_UNITS and value:
        factor, prefix = next((pair for pair in PREFIXES if abs(value) >= pair[0]), PREFIXES[-1])
        return f"{digits(value / factor)} {prefix}{unit}"
    return f"{digits(value)} {unit}".strip()


def digits(value: float) -> str:
    """Return a number with four significant digits; whole numbers entirely, without an exponent where it is long."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:.0f}"
    text = f"{value:.4g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e9 else text


def moment(time_s: float | None) -> str:
    """Return a time as date and time of day, UTC."""
    return EMPTY if time_s is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time_s))


def duration(seconds: float | None) -> str:
    """Return a duration in words; a dash where it is not known."""
    return EMPTY if seconds is None else duration_text(seconds if seconds > 0.0 else 0.0)


def fact_value(quality: Mapping[str, Any], name: str) -> float | None:
    """Return a number of quality.json, or None."""
    entry = quality.get(name)
    value = entry.get("value") if isinstance(entry, dict) else None
    return float(value) if isinstance(value, int | float) and is_number(value) else None


def quality_rows(quality: Mapping[str, Any]) -> Table:
    """Return name, value with unit, and source of each number."""
    return [
        (
            NAMES.get(name) or name_and_unit(name)[0],
            valued(name, entry["value"], entry.get("unit")),
            str(entry.get("source", "")),
        )
        for name, entry in quality.items()
        if isinstance(entry, dict) and "value" in entry
    ]


def key_numbers(quality: Mapping[str, Any], comparison: Mapping[str, Any]) -> Table:
    """Return the headline numbers: name, value, remark."""
    tiles: Table = []
    rms, ratio = fact_value(quality, "rms"), fact_value(quality, "measured_over_expected")
    if rms is not None:
        remark = f"{ratio:.2f} × the expected thermal noise" if ratio is not None else "expected noise not known"
        tiles.append(("noise", quantity(rms, "Jy/beam"), remark))
    for name, key, unit, remark in (
        ("dynamic range", "dynamic_range", "", "peak over noise"),
        ("sources", "source_count", "", "islands above 5 × the local noise"),
        ("integration", "integration_time", "s", "unflagged"),
    ):
        if (value := fact_value(quality, key)) is not None:
            tiles.append((name, digits(round(value)) if unit == "" else quantity(value, unit), remark))
    major, minor = fact_value(quality, "beam_major"), fact_value(quality, "beam_minor")
    if major is not None and minor is not None:
        tiles.append(("resolution", f"{major:.1f}″ × {minor:.1f}″", "restoring beam"))
    summary = comparison.get("summary")
    median = summary.get("median_ratio") if isinstance(summary, dict) else None
    if isinstance(summary, dict) and isinstance(median, int | float):
        tiles.append(("flux scale", f"{median:.3f}", f"measured / reference, {summary.get('measured')} sources"))
    return tiles


def plan_tables(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary, the quantities (name, value, why, from), losses and warnings of a plan; {} without one."""
    quantities, losses = (
        part if isinstance(part := plan.get(key), dict) else {} for key in ("quantities", "predicted_loss")
    )
    if not quantities:
        return {}
    words = Counter(name_and_unit(name)[0] for name in quantities)
    rows = []
    for name, entry in quantities.items():
        if isinstance(entry, dict):
            title = name_and_unit(name)[0]
            if words[title] > 1:  # with its unit if the name is ambiguous
                title = name.replace("_", " ")
            value = valued(name, entry.get("value"), entry.get("unit"))
            rows.append((title, value, str(entry.get("reason", "")), str(entry.get("source", ""))))
    return {
        "summary": [str(line) for line in _list(plan.get("summary"))],
        "warnings": [str(line) for line in _list(plan.get("warnings"))],
        "rows": rows,
        "losses": [row for place, loss in losses.items() if isinstance(loss, dict) and (row := _loss_row(place, loss))],
        "explanation": str(losses.get("explanation", "")),
    }


def name_and_unit(name: str) -> tuple[str, str]:
    """Split a quantity's name into words and the unit at its end; "" without a unit."""
    suffix = next((suffix for suffix in UNITS if name.endswith(suffix)), "")
    return name.removesuffix(suffix).replace("_", " "), UNITS.get(suffix, "")


def valued(name: str, value: object, unit: object = "") -> str:
    """Return the value of a quantity with its unit, or else with that in its name; a part of 1 in per cent."""
    if name.endswith("_fraction") and not unit and isinstance(value, int | float):
        return quantity(value * 100, "%")
    return quantity(value, unit or name_and_unit(name)[1])


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _loss_row(place: str, loss: Mapping[str, Any]) -> tuple[str, ...]:
    """Return place, distance, and the losses there: in all, in the input already, added, at the worst angle."""
    averaged, in_input = loss.get("averaged"), loss.get("input")
    if not isinstance(averaged, dict) or not isinstance(in_input, dict):
        return ()
    numbers = (
        averaged.get("total"),
        in_input.get("total"),
        loss.get("added_by_averaging"),
        averaged.get("worst_angle"),
    )
    return (place.replace("_", " "), quantity(loss.get("distance_deg"), "deg"), *map(percent, numbers))


def percent(value: object) -> str:
    """Return a part of 1 in per cent."""
    return f"{value:.2%}".replace("%", " %") if isinstance(value, int | float) and is_number(value) else EMPTY


def predicted_losses(plan: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return distance (degrees) and lost part of the peak, outwards; nothing is lost at the centre."""
    losses = plan.get("predicted_loss")
    losses_by_distance = {0.0: 0.0}
    for loss in losses.values() if isinstance(losses, dict) else ():
        averaged = loss.get("averaged") if isinstance(loss, dict) else None
        total = averaged.get("total") if isinstance(averaged, dict) else None
        if isinstance(loss, dict) and is_number(loss.get("distance_deg")) and is_number(total):
            losses_by_distance[float(loss["distance_deg"])] = float(total or 0)
    return sorted(losses_by_distance.items()) if len(losses_by_distance) > 1 else []


def compared_sources(comparison: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the matched sources of a comparison with all their numbers."""
    needed = ("distance_deg", "ratio", "ratio_error", "east_arcsec", "north_arcsec")
    return [
        source
        for source in _list(comparison.get("sources"))
        if isinstance(source, dict) and all(is_number(source.get(key)) for key in needed)
    ]


def comparison_tables(comparison: Mapping[str, Any], quality: Mapping[str, Any]) -> dict[str, Any]:
    """Return the comparison with a reference: its origin, its summary, and a row for each source."""
    sources = [source for source in _list(comparison.get("sources")) if isinstance(source, dict)]
    summary = comparison.get("summary")
    if not sources or not isinstance(summary, dict):
        return {}
    counted = fact_value(quality, "source_count")
    return {
        "reference": str(comparison.get("reference", "")),
        "kind": str(comparison.get("kind", "")),
        "frequency": quantity(comparison.get("frequency_hz"), "Hz"),
        "summary": [
            *([("islands in the image above 5 sigma", quantity(counted))] if counted is not None else []),
            *((SUMMARY_NAMES.get(key) or name_and_unit(key)[0], valued(key, value)) for key, value in summary.items()),
        ],
        "rows": [_source_row(source) for source in sources],
    }


def _source_row(source: Mapping[str, Any]) -> tuple[str, ...]:
    """Return name, distance, reference and measured flux, ratio, offset, signal to noise, width and peak loss."""
    fluxes = (quantity(source.get("flux_jy"), "Jy"), quantity(source.get("measured_jy"), "Jy"))
    numbers = [source.get(key) for key in ("ratio", "offset_arcsec", "offset_beams", "signal_to_noise", "widening")]
    formats = (".3f", ".2f", ".3f", ".0f", ".3f")
    texts = [f"{value:{form}}" if is_number(value) else EMPTY for value, form in zip(numbers, formats, strict=True)]
    distance = quantity(source.get("distance_deg"), "deg")
    return (str(source.get("name", "")), distance, *fluxes, *texts, percent(source.get("peak_loss")))


class RecordTable(NamedTuple):
    """A part of run.json: number of ``entries``, and the ``rows`` shown."""

    title: str
    head: tuple[str, ...]
    rows: Table
    entries: int


def record_tables(record: Mapping[str, Any], removed: Mapping[str, int]) -> list[RecordTable]:
    """Return options, configuration, inputs, products and removed outputs from run.json."""
    configuration = record.get("configuration")
    values = configuration.get("values") if isinstance(configuration, dict) else None
    files = ("path", "kind", "bytes", "sha256")
    tables: tuple[tuple[str, tuple[str, ...], Table], ...] = (
        ("options", ("option", "value", "from", "meaning"), _columns(record.get("options"), *OPTION_COLUMNS)),
        ("configuration", ("section", "key", "value", "from"), _columns(values, "section", "key", "value", "source")),
        ("inputs", files, _files(record.get("inputs"))),
        ("products", files, _files(record.get("products"))),
        (REMOVED, ("path", "bytes"), [(path, quantity(size)) for path, size in islice(removed.items(), MOST_FILES)]),
    )
    counts = {name: len(_list(record.get(name))) for name in ("inputs", "products")} | {REMOVED: len(removed)}
    return [RecordTable(*table, max(len(table[2]), counts.get(table[0], 0))) for table in tables if table[2]]


def _columns(entries: object, *names: str) -> Table:
    """Return the named parts of each entry of a list."""
    return [tuple(_cell(entry.get(name)) for name in names) for entry in _list(entries) if isinstance(entry, dict)]


def _files(entries: object) -> Table:
    """Return path, kind, size and checksum of the first files."""
    rows: Table = []
    for entry in _list(entries)[:MOST_FILES]:
        if isinstance(entry, dict):
            checksum = entry["checksum"] if isinstance(entry.get("checksum"), dict) else {}
            method = checksum.get("method")  # method, unless the checksum covers everything
            mark = _cell(checksum.get("value")) + (f" ({method})" if method not in (None, "full") else "")
            rows.append((_cell(entry.get("path")), _cell(entry.get("kind")), quantity(entry.get("bytes")), mark))
    return rows


def _cell(value: object) -> str:
    return EMPTY if value is None or value == "" else str(value)


def versions(record: Mapping[str, Any], quality: Mapping[str, Any], state: RunState) -> Table:
    """Return program, version and path, as the record has them, or else the quality numbers or the journal."""
    software = record.get("software")
    software = software if isinstance(software, dict) else {}
    rows = _columns([software.get("runner"), *_list(software.get("programs"))], "name", "version", "path")
    if not rows:
        runner_line = f"genericpipeline {state.facts.get('version', '')}".strip()
        lines = dict.fromkeys([runner_line, *(str(line) for line in _list(quality.get("versions")))])
        rows = [(name, version or EMPTY, EMPTY) for line in lines for name, _, version in [line.partition(" ")]]
    return rows
