#!/usr/bin/env python3
"""What a cube costs: peak memory and processor time of convolving channel images into it, for sizes and channels.

benchmarks/cube_memory.py [--sizes 1024,2048] [--channels 4,36] [--blank] [--directory DIR]

Every cube is made in a separate process from synthetic images with different beams. A program that holds the whole
cube needs at least its size; the recorded one of the ASKAP beam imager (Arrakis 2.4.1, racs-tools 4.5.0, fitscube
2.11.0) held 3.0 times that: 2.1 GB and 26 s of CPU for 2048 x 2048 x 36. Ends with 1 where the memory is more than
six planes and 150 MB, or grows with the number of channels.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "helpers"))

PLANES, BASE_MB = 6, 150.0
RECORDED_CUBES = 3.0  # held in memory by the recorded program
GROWTH_PLANES, GROWTH_MB = 1.0, 8.0  # between the smallest and the largest number of channels; of small planes
MADE = """
import json, resource, sys
from lofarpipe.imaging.cubes.channel_cube import write_channel_cube
from lofarpipe.imaging.cubes.channels import find_common_beam
folder, *paths = sys.argv[1:]
common = find_common_beam(paths, None)
write_channel_cube(paths, common, f"{folder}/cube.fits", f"{folder}/weights.txt")
used = resource.getrusage(resource.RUSAGE_SELF)
# VmHWM begins with this program; ru_maxrss is at least the memory of the process that started it.
peak_kb = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"peak_mb": peak_kb / 1024, "cpu_s": used.ru_utime + used.ru_stime}))
"""


def write_images(folder: Path, size: int, channels: int, with_blanks: bool) -> list[str]:
    """Write noise with beams that shrink with frequency, and turn."""
    import numpy as np

    from channel_images import write_channel
    from lofarpipe.imaging.cubes.beams import Beam

    paths, rng = [], np.random.default_rng(1)
    for number in range(channels):
        plane = rng.normal(0, 1e-4, (size, size)).astype(np.float32)
        if with_blanks:
            plane[:9] = np.nan
        beam = Beam(15 - 2 * number / channels, 12 - 1.5 * number / channels, 30 + 5 * number / channels)
        path = folder / f"{number:04d}.fits"
        paths.append(str(write_channel(path, beam, 888e6 + 1e6 * number, plane=plane)))
    return paths


def measure(folder: Path, size: int, channels: int, with_blanks: bool) -> dict[str, float]:
    """Return peak memory and processor time of one cube."""
    paths = write_images(folder, size, channels, with_blanks)
    command = [sys.executable, "-c", MADE, str(folder), *paths]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def main(argv: list[str]) -> int:
    """Print one line per cube; return 1 if one exceeds the memory limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1024,2048", help="pixels along each side (%(default)s)")
    parser.add_argument("--channels", default="4,36", help="numbers of channels (%(default)s)")
    parser.add_argument("--blank", action="store_true", help="with blank pixels, whose mask is convolved too")
    parser.add_argument("--directory", default=None, help="where images and cubes are written")
    options = parser.parse_args(argv)
    failed = False
    print("  pixels channels  cube MB  peak MB  allowed  recorded  CPU s")
    for size in map(int, options.sizes.split(",")):
        plane_mb, peaks_mb = size * size * 4 / 2**20, []
        for channels in map(int, options.channels.split(",")):
            with tempfile.TemporaryDirectory(dir=options.directory) as folder:
                found = measure(Path(folder), size, channels, options.blank)
            cube_mb, allowed_mb = channels * plane_mb, PLANES * plane_mb + BASE_MB
            peaks_mb.append(found["peak_mb"])
            failed |= found["peak_mb"] > allowed_mb
            print(
                f"{size:8d} {channels:8d} {cube_mb:8.0f} {found['peak_mb']:8.0f} {allowed_mb:8.0f} "
                f"{RECORDED_CUBES * cube_mb:9.0f} {found['cpu_s']:6.1f}"
            )
        failed |= max(peaks_mb) - min(peaks_mb) > max(GROWTH_MB, GROWTH_PLANES * plane_mb)
    print(
        "more memory than promised"
        if failed
        else "memory as promised: six planes and 150 MB, for any number of channels"
    )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
