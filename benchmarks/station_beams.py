#!/usr/bin/env python3
"""The residual around a bright source at half power, with and without the beams of the single stations.

benchmarks/station_beams.py DIRECTORY [--flux 6] [--noise-scale 0.1] [--stations 62] [--slots 40]

Simulates a field with the beams of 62 stations (HBA_DUAL: remote ones have all their tiles, and narrower beams), a
source of 6 Jy at 2.1 degrees and four fainter ones, and images it by lofar-clean without and with -station-beams.
Prints the rms of the residual within 30 pixels of the source, and off the sources; ends with 1 where the beams of the
stations do not lower the former. About 5 CPU minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from imager import run

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

OFFSET_DEG, ANGLE_DEG = 2.1, 40.0
OTHERS = ((0.5, 100.0, 1.0), (1.0, 200.0, 0.5), (1.5, 300.0, 0.7), (1.2, 20.0, 0.3))  # deg, deg, Jy
SPECTRAL_INDEX = -0.7
PIXELS, CELL_ARCSEC = 1440, 12
NEAR_PIXELS = 30
IMAGE = ["-j", "2", "-size", str(PIXELS), str(PIXELS), "-scale", f"{CELL_ARCSEC}asec", "-weight", "briggs", "0"]
IMAGE += ["-minuv-l", "80", "-maxuv-l", "4000", "-channels-out", "5", "-join-channels"]
IMAGE += ["-niter", "100000", "-auto-mask", "5", "-auto-threshold", "3"]


def make_sets(directory: Path, options: argparse.Namespace) -> Sequence[str]:
    """Simulate the observation; return its sets."""
    from simulate_observation import run_programs

    from lofarpipe.imaging.simulation.observation import simulate
    from lofarpipe.imaging.simulation.sky import Source, offset_position
    from lofarpipe.imaging.simulation.stations import ObservationSettings
    from lofarpipe.programs.dp3 import predict_argv
    from lofarpipe.programs.find import find
    from lofarpipe.support.data_directories import set_data_directories

    set_data_directories()
    settings = ObservationSettings(
        nstations=options.stations, antenna_set="HBA_DUAL", nsubbands=5, nchannels=2, timestep_s=8.0,
        slots_per_block=options.slots, noise_scale=options.noise_scale,
        lowest_frequency_hz=130e6, highest_frequency_hz=158e6,
    )  # fmt: skip
    centre_deg = settings.right_ascension_deg, settings.declination_deg
    places = [(OFFSET_DEG, ANGLE_DEG, options.flux), *OTHERS]
    sources = [
        Source(f"s{number}", *offset_position(centre_deg, radius, angle), flux, SPECTRAL_INDEX)
        for number, (radius, angle, flux) in enumerate(places)
    ]
    prediction = partial(predict_argv, str(find("DP3")))
    return simulate(directory, settings, prediction, run_programs, True, sources).sets


def rms_near_and_off(name: Path) -> tuple[float, float, float]:
    """Return the rms of a residual around the bright source and far from it, Jy, and the source's peak."""
    from astropy.io import fits

    residual, image = (fits.getdata(f"{name}-MFS-{kind}.fits").squeeze() for kind in ("residual", "image"))
    east, north = np.sin(np.radians(ANGLE_DEG)), np.cos(np.radians(ANGLE_DEG))
    offset = np.sin(np.radians(OFFSET_DEG)) / np.radians(CELL_ARCSEC / 3600)
    y, x = np.mgrid[:PIXELS, :PIXELS]
    distance = np.hypot(y - PIXELS // 2 - offset * north, x - PIXELS // 2 + offset * east)
    off = 1.4826 * float(np.median(np.abs(residual - np.median(residual))))
    return float(residual[distance < NEAR_PIXELS].std()), off, float(image[distance < NEAR_PIXELS].max())


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate, image twice, print; return 1 if the beams of the stations do not help."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--flux", type=float, default=6.0, help="of the source, Jy (%(default)s)")
    parser.add_argument("--noise-scale", type=float, default=0.1, help="of the thermal noise (%(default)s)")
    parser.add_argument("--stations", type=int, default=62, help="number of stations (%(default)s)")
    parser.add_argument("--slots", type=int, default=40, help="time slots of each of three blocks (%(default)s)")
    options = parser.parse_args(argv)
    sets = make_sets(options.directory / "sets", options)
    program, near = str(Path(sys.executable).with_name("lofar-clean")), {}
    for label, more in (("mean beam", []), ("station beams", ["-station-beams", "1"])):
        name = options.directory / label.replace(" ", "_")
        cost = run([program, "-name", str(name), *IMAGE, *more, *sets], name.with_suffix(".log"))
        near[label], off, peak = rms_near_and_off(name)
        print(
            f"{label:14} peak {peak:.3f} Jy, rms within {NEAR_PIXELS} pixels {1e3 * near[label]:.2f} mJy, off sources "
            f"{1e3 * off:.2f} mJy; {cost['CPU seconds']:.0f} CPU s, {cost['memory, MB']:.0f} MB",
            flush=True,
        )
    return int(near["station beams"] >= near["mean beam"])


if __name__ == "__main__":
    sys.exit(main())
