"""Quality limits of an image (noise, sources, fluxes), checked with quality.json and comparison.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from lofarpipe.support.dataclass import dataclass


@dataclass(frozen=True)
class Gates:
    """Limits; 0: none.

    Attributes
    ----------
    max_noise_ratio: noise over the expected thermal noise.
    min_dynamic_range: peak over noise.
    min_sources: detected sources.
    max_flagged_fraction, max_blank_fraction: of flagged data, and of blank pixels.
    max_flux_error: difference from 1 of the median of measured over reference flux.
    """

    max_noise_ratio: float = 0.0
    min_dynamic_range: float = 0.0
    min_sources: float = 0.0
    max_flagged_fraction: float = 0.0
    max_blank_fraction: float = 0.0
    max_flux_error: float = 0.0


#: Gate -> the entry of quality.json.
QUALITY_NAMES = {
    "max_noise_ratio": "measured_over_expected",
    "min_dynamic_range": "dynamic_range",
    "min_sources": "source_count",
    "max_flagged_fraction": "flagged_fraction",
    "max_blank_fraction": "blank_fraction",
}


def broken_gates(gates: Gates, quality: Mapping[str, Any], comparison: Mapping[str, Any]) -> list[str]:
    """Return messages about violated limits, and limits on unknown quantities."""
    return list(_broken(gates, quality, comparison))


def broken_gates_of_cubes(gates: Gates, content: Mapping[str, Any]) -> list[str]:
    """As `broken_gates`, for quality.json of meerkat.parset: full-band images, and blank channels of cubes."""
    broken = []
    for name, numbers in content["images"].items():
        quality = {"dynamic_range": {"value": numbers["dynamic_range"]}}
        found = _broken(Gates(min_dynamic_range=gates.min_dynamic_range), quality, {})
        broken += [f"{name}: {text}" for text in found]
    for robust, numbers in content["cubes"].items():
        quality = {"blank_fraction": {"value": len(numbers["blank"]) / numbers["channels"]}}
        found = _broken(Gates(max_blank_fraction=gates.max_blank_fraction), quality, {})
        broken += [f"cube at robust {robust}: {text}" for text in found]
    return broken


def _broken(gates: Gates, quality: Mapping[str, Any], comparison: Mapping[str, Any]) -> Iterator[str]:
    for name in (item.name for item in fields(Gates)):
        limit = getattr(gates, name)
        if not limit:
            continue
        measured, value = _measured(name, quality, comparison)
        if value is None:
            yield f"{measured} is not known, and {name} = {limit:g}; measure it, or set {name} = 0"
        elif value > limit and name.startswith("max"):
            yield f"{measured} is {value:.4g}, above {name} = {limit:g}"
        elif value < limit and name.startswith("min"):
            yield f"{measured} is {value:.4g}, below {name} = {limit:g}"


def _measured(name: str, quality: Mapping[str, Any], comparison: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return name and value of a limited quantity; None if unknown."""
    if name == "max_flux_error":
        summary = comparison.get("summary")
        ratio = summary.get("median_ratio") if isinstance(summary, dict) else None
        return "the error of the flux scale", abs(ratio - 1) if isinstance(ratio, int | float) else None
    entry = quality.get(QUALITY_NAMES[name])
    value = entry.get("value") if isinstance(entry, dict) else None
    return QUALITY_NAMES[name], float(value) if isinstance(value, int | float) else None
