#!/usr/bin/env python3
"""What a full-Stokes cube costs: memory, and time against a plain copy of the same bytes, for numbers of channels.

benchmarks/cube.py [--size 1024] [--channels 8,32] [--directory DIR]

Each cube is written from images of its channels, plane by plane, and read back, by a process of its own. Ends with 1
where the memory grows with the number of channels by more than a plane, or the time is more than 1.5 times that of a
copy of the images that is read back as well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
MOST_OF_A_COPY = 1.5
WRITE = """
import json, resource, sys, time
from pathlib import Path
from lofarpipe.imaging.cubes.stokes_cube import CubeChannel, write_stokes_cube
image, cube, number = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
entries = [{"index": n + 1, "frequency_hz": 9e8 + 2.5e6 * n} for n in range(number)]
began = time.monotonic()
write_stokes_cube(cube, [CubeChannel(entry, image, {}) for entry in entries], 2.5e6, None)
wall_s = time.monotonic() - began
"""
COPY = """
import hashlib, json, os, resource, sys, time
from pathlib import Path
image, copy, number = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
began = time.monotonic()
with copy.open("wb") as writer:
    for _ in range(number):
        with image.open("rb") as reader:
            while block := reader.read(1 << 23):
                writer.write(block)
    writer.flush()
    os.fsync(writer.fileno())
with copy.open("rb") as reader:
    while reader.read(1 << 23):
        pass
wall_s = time.monotonic() - began
"""
REPORT = """
# VmHWM begins with this program; ru_maxrss is at least the memory of the process that started it.
peak_kb = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"wall_s": wall_s, "cpu_s": usage.ru_utime + usage.ru_stime, "rss_mb": peak_kb * 1024 / 1e6}))
"""


def measure(code: str, *arguments: object) -> dict[str, float]:
    """Run code in a separate process, and return its resource usage."""
    command = [sys.executable, "-c", code + REPORT, *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    numbers: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return numbers


def make_image(path: Path, size: int) -> None:
    """Write the image of one channel."""
    import numpy as np
    from astropy.io import fits

    header = fits.Header({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CTYPE3": "STOKES", "CTYPE4": "FREQ"})
    header.update({"BMAJ": 0.002, "BMIN": 0.002, "BPA": 0.0, "RECIPE": "made", "CRVAL3": 1.0, "CDELT3": 1.0})
    pixels = np.random.default_rng(1).normal(size=(1, 4, size, size)).astype(np.float32)
    fits.PrimaryHDU(pixels, header).writeto(path)


def main() -> int:
    """Print one line per number of channels; return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="pixels (%(default)s)")
    parser.add_argument("--channels", default="8,32", help="numbers of channels (%(default)s)")
    parser.add_argument("--directory", default=None, help="where the files are written")
    given = parser.parse_args()
    numbers = [int(text) for text in given.channels.split(",")]
    with tempfile.TemporaryDirectory(dir=given.directory) as folder:
        image, found = Path(folder, "image.fits"), []
        make_image(image, given.size)
        for number in numbers:
            cube = measure(WRITE, image, Path(folder, "cube.fits"), number)
            copy = measure(COPY, image, Path(folder, "copy"), number)
            for name in ("cube.fits", "copy"):
                Path(folder, name).unlink()
            ratio = cube["wall_s"] / copy["wall_s"]
            found.append((cube["rss_mb"], ratio))
            size_gb = 16 * number * given.size**2 / 1e9
            print(
                f"{number} channels, {size_gb:.2f} GB: cube {cube['wall_s']:.1f} s wall, {cube['cpu_s']:.1f} s CPU, "
                f"{cube['rss_mb']:.0f} MB; copy {copy['wall_s']:.1f} s wall, {copy['cpu_s']:.1f} s CPU; {ratio:.2f}"
            )
    growth_mb = found[-1][0] - found[0][0]
    return int(growth_mb > 4 * given.size**2 / 1e6 or min(ratio for _, ratio in found) > MOST_OF_A_COPY)


if __name__ == "__main__":
    sys.exit(main())
