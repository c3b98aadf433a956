#!/usr/bin/env python3
"""Measure the cost of DP3 and WSClean per visibility and pixel, to estimate the cost of a real field.

benchmarks/real_field.py [--directory DIRECTORY]

Sets of noise are averaged and gridded in two sizes; the slope between the two is the cost, without that of the start.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
from lofarpipe.programs.find import find, job_environment
from small_sets import SetShape, make_set

# A field of LOFAR: 8 h in slots of 4 s, 60 stations, 244 subbands of 16 channels.
HOURS, SLOT_S, STATIONS, SUBBANDS, CHANNELS = 8, 4, 60, 244, 16
AVERAGED = 8 * 2  # averaging factors in channels and times: the plan's for such a field
SLOTS = (12, 48)
SIDES = (2048, 4096)
FIELD_SIDE = 6000  # pixels: 1.5 beam widths in cells of 7.5 arcsec
MAJOR_CYCLES = 8
PASSES = 2 * MAJOR_CYCLES + 2  # gridding and predicting for each, the PSF and the first image


def cpu_s(*argv: str | Path) -> float:
    """Run a command, and return its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | job_environment()
    subprocess.run([str(word) for word in argv], env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def size_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def average(raw: Path, out: Path, nchan: int = 8, ntimes: int = 2) -> float:
    """Average a set as the pipeline does; return the CPU seconds."""
    words = [f"msin={raw}", f"msout={out}", "msout.overwrite=true", "msout.storagemanager=Dysco", "steps=[avg]"]
    words += ["msout.storagemanager.databitrate=0", "numthreads=1"]
    return cpu_s(find("DP3"), *words, "avg.type=average", f"avg.freqstep={nchan}", f"avg.timestep={ntimes}")


def grid(ms: Path, root: Path, side: int) -> float:
    """Make a dirty image and its PSF; return the CPU seconds."""
    options = ["-j", "1", "-no-update-model-required", "-use-wgridder", "-weight", "briggs", "0", "-make-psf-only"]
    return cpu_s(find("wsclean"), *options, "-size", str(side), str(side), "-scale", "7.5asec", "-name", root, ms)


def main() -> int:
    """Print the slopes, and the cost of the field."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--directory", type=Path, help="for the sets, 0.5 GB; default: a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as made:
        here = Path(made)
        visibilities, seconds, raw_bytes, small_bytes, gridding = [], [], [], [], []
        for slots in SLOTS:
            shape = SetShape(nantennas=STATIONS, ntimes=slots, nchan=CHANNELS)
            raw = Path(make_set(here / f"{slots}.MS", shape, with_data=True))
            averaged = here / f"{slots}.ms"
            visibilities.append(STATIONS * (STATIONS - 1) / 2 * slots * CHANNELS)
            seconds.append(average(raw, averaged))
            raw_bytes.append(size_bytes(raw))
            small_bytes.append(size_bytes(averaged))
            gridding.append(grid(raw, here / "a", SIDES[0]))
        more = grid(here / f"{SLOTS[0]}.MS", here / "a", SIDES[1]) - gridding[0]
        per_pixel = more / (SIDES[1] ** 2 - SIDES[0] ** 2)

    def slope(values: list[float]) -> float:
        return float(np.diff(values)[0] / np.diff(visibilities)[0])

    of_averaged = slope(gridding)  # per visibility of the averaged set
    total = STATIONS * (STATIONS - 1) / 2 * HOURS * 3600 / SLOT_S * CHANNELS * SUBBANDS
    print(f"DP3: {slope(seconds) * 1e6:.2f} CPU s for a million visibilities of four correlations")
    print(f"sets: {slope(raw_bytes):.1f} bytes for each as recorded here, {slope(small_bytes) * AVERAGED:.1f} averaged")
    print(f"WSClean: {of_averaged * 1e6:.2f} CPU s for a million visibilities and pass")
    print(f"WSClean: {per_pixel * 1e6:.2f} CPU s for a million pixels and pass")
    dp3_h = slope(seconds) * total / 3600
    passes_h = PASSES * (of_averaged * total / AVERAGED + per_pixel * FIELD_SIDE**2) / 3600
    raw_tb = slope(raw_bytes) * total / 1e12
    print(f"{HOURS} h, {SUBBANDS} subbands: {total:.3g} visibilities, {raw_tb:.2f} TB uncompressed")
    print(f"averaging {dp3_h:.1f} CPU h; {PASSES} passes of imaging {passes_h:.1f} CPU h")
    print(f"averaged sets {slope(small_bytes) * total / 1e9:.0f} GB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
