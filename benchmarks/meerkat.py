#!/usr/bin/env python3
"""Cost of meerkat.parset beyond DP3 and WSClean: CPU seconds of one run, by step.

benchmarks/meerkat.py [--size 1024] [--channels 8] [--antennas 40] [--times 48] [--directory DIR]

A wrapper on PATH notes the CPU seconds of each DP3 and WSClean, which are those of the same commands by hand; all else
that the run takes, with the engine, the checks, the smoothing, the cubes and the report, is ours. Ends with 1 where the
whole run takes more than 1.03 times the programs. What is ours grows with jobs and pixels, and hardly with rows: of a
small run it is a larger part.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

from overhead import RUNNER, measure

from lofarpipe.programs.find import find

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "helpers"))
MAX_RATIO = 1.03
PROGRAMS = ("wsclean", "DP3")
WRAPPER = """#!/bin/sh
"{program}" "$@"
code=$?
times >>"{costs}"
exit $code
"""
FIELD = """pipeline.base = meerkat.parset
! vis                 = {here}/field.ms
! outdir              = {here}/out
! imsize              = {size}
! cell_arcsec         = 5
! frequency_range_mhz = 900~{highest_mhz}
! channel_width_mhz   = 10
! mfs_range_mhz       = 900~{highest_mhz}
! mfs_robust          = [0.0]
! mfs_channels_out    = 4
! common_beam_arcsec  = auto
! jobs_at_once        = 2
! scratch_dir         = {here}/scratch
"""
CONFIG = """[DEFAULT]
runtime_directory = {here}/runs
working_directory = {here}/runs
"""


def make_field(here: Path, size: int, channels: int, antennas: int, times: int) -> None:
    """Write a set of one window, five input channels to an output channel, and a field parset."""
    from band_sets import BandShape, make_band_set

    make_band_set(here / "field.ms", BandShape(windows=((900.0, 5 * channels, 2.0),), nantennas=antennas, ntimes=times))
    (here / "field.parset").write_text(FIELD.format(here=here, size=size, highest_mhz=900 + 10 * channels))
    (here / "site.cfg").write_text(CONFIG.format(here=here))
    for name in ("runs", "scratch"):
        (here / name).mkdir()


def wrap_programs(here: Path) -> Path:
    """Put wrappers of DP3 and WSClean first on PATH; return the file of their costs."""
    folder, costs = here / "wrappers", here / "costs"
    folder.mkdir()
    for name in PROGRAMS:
        wrapper = folder / name
        wrapper.write_text(WRAPPER.format(program=find(name), costs=costs.with_suffix(f".{name}")))
        wrapper.chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return costs


def noted_cpu_s(costs: Path) -> float:
    """Return the CPU seconds of the children of shells: the second of two lines that each wrote to a file."""
    lines = costs.read_text().splitlines()[1::2] if costs.is_file() else []
    return sum(60 * float(m) + float(s) for line in lines for m, s in re.findall(r"(\d+)m([\d.]+)s", line))


def step_cpu_s(journal: Path) -> Counter[str]:
    """Return the CPU seconds of the jobs of each step, programs and all."""
    steps: Counter[str] = Counter()
    for line in journal.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "job_done":
            steps[event["step"]] += event["cpu_s"] or 0.0
    return steps


def main() -> int:
    """Print the costs; return 1 if the limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="pixels (%(default)s)")
    parser.add_argument("--channels", type=int, default=8, help="output channels (%(default)s)")
    parser.add_argument("--antennas", type=int, default=40, help="of the set (%(default)s)")
    parser.add_argument("--times", type=int, default=48, help="of the set (%(default)s)")
    parser.add_argument("--directory", default=None, help="where the files are written")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as folder:
        here = Path(folder)
        make_field(here, given.size, given.channels, given.antennas, given.times)
        costs = wrap_programs(here)
        whole = measure([RUNNER, "field.parset", "-c", "site.cfg"], here).cpu_s
        programs = {name: noted_cpu_s(costs.with_suffix(f".{name}")) for name in PROGRAMS}
        steps = step_cpu_s(here / "runs" / "field" / "journal.jsonl")
    theirs = sum(programs.values())
    print(f"{given.size} pixels, {given.channels} channels, {given.antennas} antennas, {given.times} times: CPU s")
    print(f"  whole run {whole:.1f}; " + ", ".join(f"{name} {cpu_s:.1f}" for name, cpu_s in programs.items()))
    print(f"  ours {whole - theirs:.1f}, of which outside of jobs {whole - sum(steps.values()):.1f}")
    print("  jobs: " + ", ".join(f"{name} {cpu_s:.1f}" for name, cpu_s in steps.items()))
    print(f"  {whole / theirs:.3f} of the programs (limit {MAX_RATIO})")
    return int(whole > MAX_RATIO * theirs)


if __name__ == "__main__":
    sys.exit(main())
