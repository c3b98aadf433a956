#!/usr/bin/env python3
"""Cost of the survey of measurement sets before a run: CPU seconds and memory, for a large set and small ones.

benchmarks/survey.py [--directory DIR] [--small 244]

The large set has 8 h of slots of 4 s, 60 stations and 16 channels; its columns of one value each take no room, and of
its visibilities only a sample is made (in a set of 200 slots), so that it is made in seconds.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
from lofarpipe.imaging.ms.survey import survey_set
from small_sets import SetShape, change_column, make_set

MAX_LARGE_CPU_S = 0.3
MAX_SMALL_CPU_S = 0.02
MAX_MEMORY_MB = 500


def cpu_s(paths: list[str], data_column: str) -> float:
    """Return the CPU seconds of a survey, the mean over the sets."""
    before = time.process_time()
    for path in paths:
        survey_set(path, data_column)
    return (time.process_time() - before) / len(paths)


def make_sampled(directory: Path) -> str:
    """Make a set just large enough to be sampled, with its own visibilities, flags and weights."""
    path = make_set(directory / "sampled.MS", SetShape(nantennas=60, ntimes=200, nchan=16), with_data=True)
    for column in ("DATA", "WEIGHT_SPECTRUM"):
        change_column(path, column, lambda values: np.ones_like(values))
    change_column(
        path, "FLAG", lambda values: np.random.default_rng(1).random(values.shape[0])[:, None, None] + values > 0.9
    )
    return path


def main() -> int:
    """Print the figures; return 1 if one exceeds its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", help="where the sets are made; a temporary directory by default")
    parser.add_argument("--small", type=int, default=244, help="number of small sets; default %(default)s")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as name:
        directory = Path(name)
        small = [
            make_set(directory / f"{number}.MS", SetShape(nantennas=8, ntimes=6), with_data=True)
            for number in range(given.small)
        ]
        cpu_s(small[:1], "DATA")  # to import modules before the measurement
        figures = [("a small set", cpu_s(small, "DATA"), "CPU s", MAX_SMALL_CPU_S)]
        large = make_set(
            directory / "large.MS", SetShape(nantennas=60, ntimes=7200, timestep_s=4, nchan=16), with_uvw=False
        )
        rows = cpu_s([large], "")
        figures.append(("13 million rows, and a sample", rows, "CPU s", MAX_LARGE_CPU_S))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        figures.append(("memory until then", memory, "MB", MAX_MEMORY_MB))
        figures.append(("a sample of visibilities", cpu_s([make_sampled(directory)], "DATA"), "CPU s", MAX_LARGE_CPU_S))
    for what, value, unit, limit in figures:
        print(f"{'ok  ' if value <= limit else 'MISS'} {what:32s} {value:9.3f} {unit:6s} limit {limit}")
    return 0 if all(value <= limit for _, value, _, limit in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
