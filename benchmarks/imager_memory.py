#!/usr/bin/env python3
"""The memory of the imager: VmHWM against its estimate, at two sizes of a set, and with the visibilities in files.

benchmarks/imager_memory.py [--slots 15,60] [--directory DIR]

Every run is a process of its own on a yardstick set of 62 stations and 20 channels. Prints the slope in bytes per
visibility, and the need of 8 h of 62 stations x 480 channels at 4 s; ends with 1 where a run took more than was
estimated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "helpers"))

PIXELS, CELL_ARCSEC, MAX_UV = 1024, 21.0, 1800.0
RUN = """
import json, sys
import numpy as np
from dataclasses import replace
from lofarpipe.imaging.imager.memory import estimate
from lofarpipe.imaging.imager.session import make_images
from lofarpipe.imaging.imager.settings import ImagerSettings
ms, name, in_files = sys.argv[1:4]
pixels, cell_arcsec, max_uv = int(sys.argv[4]), float(sys.argv[5]), float(sys.argv[6])
settings = ImagerSettings(
    name=name, sets=(ms,), size=(pixels, pixels), cell_rad=np.radians(cell_arcsec / 3600), channels_out=5, niter=100,
    weighting=("briggs", 0.0), max_uv_lambda=max_uv, auto_mask=5.0, auto_threshold=3.0, threads=2, majors=1, tiles=1,
    averaging_loss=0.0,
)
need = estimate(settings)
if in_files == "True":
    settings = replace(settings, memory_bytes=int((need.in_files + need.in_memory) / 2))
facts = make_images(settings, print)
peak_kb = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
estimated = need.in_files if in_files == "True" else need.in_memory
print(json.dumps({"peak_mb": peak_kb / 1024, "estimated_mb": estimated / 2**20, "visibilities": facts.visibilities}))
"""


def measure(ms: Path, folder: Path, in_files: bool) -> dict[str, float]:
    """Return peak memory, its estimate and the visibilities of one run."""
    words = [str(ms), str(folder / "image"), str(in_files), str(PIXELS), str(CELL_ARCSEC), str(MAX_UV)]
    done = subprocess.run([sys.executable, "-c", RUN, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row per run; return 1 if one exceeded its estimate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", default="15,60", help="of each of three blocks; default %(default)s")
    parser.add_argument("--stations", type=int, default=62)
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args(argv)
    from yardstick_set import Observation, write_set

    rows, within = [], True
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        for slots in map(int, options.slots.split(",")):
            ms = Path(folder) / f"{slots}.ms"
            write_set(ms, Observation(stations=options.stations, slots=slots), [])
            for in_files in (False, True):
                row = measure(ms, Path(folder), in_files)
                within &= row["peak_mb"] <= row["estimated_mb"]
                place = "files" if in_files else "memory"
                rows.append(row)
                print(
                    f"{slots:4d} slots, {row['visibilities'] / 1e6:6.2f} M visibilities in {place:6}: "
                    f"{row['peak_mb']:7.0f} MB, estimated {row['estimated_mb']:7.0f}",
                    flush=True,
                )
    for label, first, last in (("memory", rows[0], rows[-2]), ("files", rows[1], rows[-1])):
        more = last["visibilities"] - first["visibilities"]
        slope = (last["peak_mb"] - first["peak_mb"]) * 2**20 / more if more else 0.0
        print(
            f"in {label}: {slope:.1f} bytes per visibility; 10^9 of them, of 8 h at 480 channels: {slope:.1f} GB more"
        )
    print("within the estimate" if within else "more memory than estimated")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
