"""What came out of a run, in a few lines: products, quality, the slowest steps, the report."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lofarpipe.jobs import duration_text
from lofarpipe.programs.base import rank
from lofarpipe.support.utilities import printable

MOST_PRODUCTS = 8
MOST_STEPS = 3
# The numbers of quality.json that say at a glance whether an image is good.
NUMBERS = (
    *("rms", "measured_over_expected", "peak", "dynamic_range", "beam_major", "beam_minor", "source_count"),
    *("blank_fraction", "flagged_fraction"),
)


def summary(
    job_directory: Path, took: Sequence[tuple[str, float]], ok: bool, record: Mapping[str, object] | None = None
) -> list[str]:
    """Return what came out of a run; what is not there, or cannot be read, is left out.

    Parameters
    ----------
    took: the steps with their durations, s.
    ok: whether the run ended well; if not, only where to look further.
    record: what run.json says, if somebody knows it; it is long where there are many jobs.
    """
    lines: list[str] = []
    if ok:
        record = _read(job_directory / "run.json") if record is None else record
        quality = record.get("quality")
        lines += [*_products(record), *_quality(quality if isinstance(quality, dict) else {})]
    times = [f"{name} {duration_text(duration_s)}" for name, duration_s in sorted(took, key=_duration)[:MOST_STEPS]]
    lines += [f"slowest: {', '.join(times)}"] if ok and len(times) > 1 else []
    page = job_directory / "report.html"
    return [*lines, f"report: {page}"] if page.exists() else lines


def decimal_size_text(size_bytes: float) -> str:
    """Return a size as people read it, in units of 1000: ``12.3 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 999.5:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} TB"


def _read(path: Path) -> Mapping[str, object]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _products(record: Mapping[str, object]) -> list[str]:
    """Return the products, what is looked at first before the others."""
    entries = record.get("products")
    sizes: list[tuple[str, float]] = []
    own = _own_directories(record)
    for entry in sorted(entries if isinstance(entries, list) else [], key=lambda entry: _place(entry, own)):
        path, size_bytes = (entry.get("path"), entry.get("bytes")) if isinstance(entry, dict) else (None, None)
        if isinstance(path, str):
            sizes.append((printable(path), float(size_bytes) if isinstance(size_bytes, int | float) else math.nan))
    shown = sizes if len(sizes) <= MOST_PRODUCTS else sizes[: MOST_PRODUCTS - 1]
    lines = [f"product: {path}" + ("" if math.isnan(size) else f", {decimal_size_text(size)}") for path, size in shown]
    return [*lines, f"and {len(sizes) - len(shown)} more products"] if len(shown) < len(sizes) else lines


def _duration(step: tuple[str, float]) -> float:
    return -step[1]


def _own_directories(record: Mapping[str, object]) -> tuple[str, ...]:
    """Return where a run works, with a slash at the end; what it writes elsewhere is delivered."""
    run = record.get("run")
    found = [run.get(name) for name in ("job_directory", "working_directory")] if isinstance(run, dict) else []
    return tuple(f"{directory}/" for directory in found if isinstance(directory, str))


def _place(entry: object, own: tuple[str, ...]) -> int:
    """Return the place of an entry: delivered files, the image, other files, those of one channel, measurement sets."""
    facts = entry if isinstance(entry, dict) else {}
    path = str(facts.get("path"))
    if facts.get("kind") == "table":
        return sys.maxsize
    return rank(path) + 1 if path.startswith(own) or not own else 0


def _quality(facts: Mapping[str, object]) -> list[str]:
    numbers = []
    for name in NUMBERS:
        fact = facts.get(name)
        value, unit = (fact.get("value"), fact.get("unit")) if isinstance(fact, dict) else (None, None)
        if isinstance(value, int | float):
            numbers.append(f"{name.replace('_', ' ')} {_number_text(value, str(unit or ''))}")
    return [f"quality: {', '.join(numbers)}"] if numbers else []


def _number_text(value: float, unit: str) -> str:
    if unit.startswith("Jy"):
        from lofarpipe.support.utilities import flux_text

        return flux_text(value) + unit.removeprefix("Jy")
    return f"{value:.4g} {unit}".rstrip()
