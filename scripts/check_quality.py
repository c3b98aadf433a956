#!/usr/bin/env python3
"""Check an image against limits of noise, sources and fluxes, with warnings or a failure."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lofarpipe.errors import WARNING, PipelineError
from lofarpipe.imaging.quality.gates import Gates, broken_gates, broken_gates_of_cubes
from lofarpipe.imaging.scripts import as_number, exit_code

OUTPUTS = ("broken",)


def main(
    quality_file: str,
    comparison_file: str = "",
    action: str = "warn",
    max_noise_ratio: str = "0",
    min_dynamic_range: str = "0",
    min_sources: str = "0",
    max_flagged_fraction: str = "0",
    max_blank_fraction: str = "0",
    max_flux_error: str = "0",
) -> dict[str, str]:
    """Return as ``broken`` how many limits the image does not keep; each is a warning. 0 is no limit.

    Raises
    ------
    PipelineError
        If ``action`` is ``fail`` and a limit is exceeded, or quality.json cannot be read.
    """
    limits = {
        "max_noise_ratio": max_noise_ratio,
        "min_dynamic_range": min_dynamic_range,
        "min_sources": min_sources,
        "max_flagged_fraction": max_flagged_fraction,
        "max_blank_fraction": max_blank_fraction,
        "max_flux_error": max_flux_error,
    }
    gates = Gates(**{name: as_number(name, value, 0) for name, value in limits.items()})
    quality = _read(Path(quality_file))
    comparison = _read(Path(comparison_file)) if comparison_file and Path(comparison_file).is_file() else {}
    broken = broken_gates_of_cubes(gates, quality) if "cubes" in quality else broken_gates(gates, quality, comparison)
    if broken and action == "fail":
        raise PipelineError(f"the image does not keep its limits: {'; '.join(broken)}")
    for text in broken:
        print(f"{WARNING}{text}")
    return {"broken": str(len(broken))}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise PipelineError(f"{path}: cannot be read ({err}); measure the image first") from err
    return content if isinstance(content, dict) else {}


def command_line(argv: list[str]) -> int:
    """Run from a shell; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("quality_file", help="quality.json of the image")
    parser.add_argument("--comparison-file", default="", help="comparison.json, if any")
    for name in Gates.__dataclass_fields__:
        parser.add_argument(f"--{name.replace('_', '-')}", default="0", help="0, the default, is no limit")
    keywords = vars(parser.parse_args(argv))
    return exit_code(lambda: print(main(action="fail", **keywords)["broken"]))


if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:]))
