"""Cost of spice_image beyond its jobs: CPU seconds of the engine per beam.

Usage: python benchmarks/spice.py [--beams N] [--repeat N] [--command 'spice_image']

WSClean is a stub that writes small images. CPU of all processes, of those that are jobs (by the journal), and of the
rest for each beam: the start of the program, checks, scheduling, journal, record and report. Medians.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "helpers"))

from array_feed_sets import make_beam_set  # noqa: E402

CHANNELS, PIXELS = 3, 48
STUB = """#!/bin/sh
case "$1" in
-version|--version) echo "WSClean version 3.1.1 (2022-06-01)"; exit 0;;
-help|--help) cat {help}; exit 0;;
esac
pol=I
while [ $# -gt 0 ]; do
  case "$1" in -name) name=$2;; -pol) pol=$2;; esac
  shift
done
letters=$(echo "$pol" | sed 's/\\(.\\)/\\1 /g')
for channel in {channels} MFS; do
  cp {here}/stub-$channel-I.fits "$name-$channel-psf.fits"
  for letter in $letters; do
    part=-$letter; [ ${{#pol}} = 1 ] && part=
    for kind in image dirty model residual; do
      cp {here}/stub-$channel-$letter.fits "$name-$channel$part-$kind.fits"
    done
  done
done
"""
ONE_VALUE = (
    *("abs-mem", "auto-mask", "auto-threshold", "beam-fitting-size", "channels-out", "data-column", "j", "mgain"),
    *(
        "minuv-l",
        "multiscale-scale-bias",
        "multiscale-scales",
        "name",
        "niter",
        "pol",
        "scale",
        "taper-gaussian",
        "temp-dir",
    ),
)
FLAGS = ("multiscale", "join-channels", "join-polarizations", "no-update-model-required", "squared-channel-joining")
HELP = "".join(f"-{name} <value>\n   An option.\n" for name in ONE_VALUE) + "-size <width> <height>\n-weight <mode>\n"
HELP += "".join(f"-{name}\n   A flag.\n" for name in FLAGS)
OPTIONS = ["--nchan", str(CHANNELS), "--size", str(PIXELS)]


class Site:
    """A folder with the sets of some beams, and a stub."""

    def __init__(self, here: Path, beams: int) -> None:
        self.here = here
        for beam in range(beams):
            make_beam_set(here / "in" / f"scienceData.beam{beam:02d}_averaged_cal.leakage.ms", beam, feeds=beams)
        for stokes, letter in enumerate("IQU", 1):
            for number in range(CHANNELS):
                self._write(f"{number:04d}-{letter}", 888e6 + 1e6 * number, stokes)
            self._write(f"MFS-{letter}", 889e6, stokes)
        (here / "help.txt").write_text(HELP)
        channels = " ".join(f"{number:04d}" for number in range(CHANNELS))
        self.stub = here / "wsclean"
        self.stub.write_text(STUB.format(help=here / "help.txt", here=here, channels=channels))
        self.stub.chmod(0o755)

    def _write(self, name: str, frequency_hz: float, stokes: int) -> None:
        header = fits.Header({"BUNIT": "JY/BEAM", "BMAJ": 15 / 3600, "BMIN": 12 / 3600, "BPA": 30.0})
        cell_deg = 2.5 / 3600
        axes = (("RA---SIN", 53.0, -cell_deg), ("DEC--SIN", -28.0, cell_deg), ("FREQ", frequency_hz, 1e6))
        for number, (kind, value, step) in enumerate((*axes, ("STOKES", float(stokes), 1.0)), 1):
            header[f"CTYPE{number}"], header[f"CRVAL{number}"], header[f"CDELT{number}"] = kind, value, step
            header[f"CRPIX{number}"] = PIXELS // 2 + 1.0 if number < 3 else 1.0
        pixels = np.random.default_rng(1).normal(scale=0.01, size=(1, 1, PIXELS, PIXELS)).astype(np.float32)
        fits.writeto(self.here / f"stub-{name}.fits", pixels, header)

    def run(self, command: list[str], beams: int) -> tuple[float, float]:
        """Return the CPU seconds of a run on the first beams, and of its jobs."""
        out = Path(tempfile.mkdtemp(dir=self.here))
        pattern = f"scienceData.beam0[0-{beams - 1}]_averaged_cal.leakage.ms"
        words = ["--num_beams", str(beams), "--ms_glob_pattern", pattern, "--local_wsclean", str(self.stub)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        argv = [*command, *OPTIONS, *words, "-q", str(self.here / "in"), str(out)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        subprocess.run(argv, cwd=self.here, env=environment, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        total_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        events = [json.loads(line) for path in out.glob("*/*/journal.jsonl") for line in path.read_text().splitlines()]
        return total_s, sum(event["cpu_s"] for event in events if event["event"] == "job_done")


def main() -> None:
    """Measure, and print one line per measurement."""
    reader = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    reader.add_argument("--beams", type=int, default=2, choices=range(1, 10))
    reader.add_argument("--repeat", type=int, default=3)
    reader.add_argument("--command", default=f"{sys.executable} -m lofarpipe.cli spice_image")
    options = reader.parse_args()
    command = shlex.split(options.command)
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        (here / "in").mkdir()
        site = Site(here, options.beams)
        site.run(command, options.beams)  # FixMS works on the sets once
        runs = [site.run(command, options.beams) for _ in range(options.repeat)]
        single = [site.run(command, 1) for _ in range(options.repeat)]
    total, jobs = (statistics.median(column) for column in zip(*runs, strict=True))
    alone = statistics.median(total_s - jobs_s for total_s, jobs_s in single)
    engine = statistics.median(total_s - jobs_s for total_s, jobs_s in runs)
    print(f"{options.beams} beams: {total:.2f} CPU s, of which jobs {jobs:.2f}")
    print(f"engine: {engine / options.beams:.2f} CPU s for each beam")
    if options.beams > 1:
        print(f"engine: {(engine - alone) / (options.beams - 1):.2f} CPU s for each further beam")


if __name__ == "__main__":
    main()
