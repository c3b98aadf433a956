#!/usr/bin/env python3
"""Whether fluxes hold at the frequency in the header, over the full HBA band: on simulated fields, each with its truth.

benchmarks/flux_over_band.py [--directory flux_over_band]

A field is observed in 16 subbands from 120 to 168 MHz, and imaged from all, from the lowest five and the highest,
and from the lowest and the highest alone. Fluxes of sources above 100 sigma, of an index near the one used, are
compared with the truth at the header's frequency; exit code 1 if one misses its limit. About 4 CPU minutes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from image_fidelity import Figure, spread

from lofarpipe.imaging.beam.spectral import DEFAULT_INDEX
from lofarpipe.imaging.quality.comparison import SourceCheck, check_image, table_text, worst_ratio
from lofarpipe.imaging.quality.sky_image import SkyImage, read_sky_image
from lofarpipe.imaging.simulation.sky import Truth, read_truth

REPOSITORY = Path(__file__).resolve().parents[1]
BANDS = {"even": range(16), "uneven": (0, 1, 2, 3, 4, 15), "far_apart": (0, 15)}
OBSERVATION = ["--nstations=24", "--nsubbands=16", "--nchannels=2", "--slots-per-block=60", "--timestep-s=10.013901"]
OBSERVATION += ["--nblocks=1", "--span-s=0", "--nsources=10", "--noise-scale=0.05"]
OBSERVATION += ["--lowest-frequency-hz=120.2e6", "--highest-frequency-hz=167.8e6"]
IMAGE = ["cellsize_highres_deg=0.007", "maxlambda_highres=1500"]
MAX_ERROR_INSIDE, MAX_ERROR_OUTSIDE = 0.015, 0.025
HALF_POWER, LOWEST_POWER = 0.5, 0.2
INDEX_TOLERANCE = 0.2
BRIGHT_SIGMA = 100.0  # below, noise and sidelobes change fluxes by more than a per cent, two subbands alone most of all


def run(directory: Path, *argv: str | Path) -> None:
    """Run a program in a directory; end with its exit code if it fails."""
    finished = subprocess.run([sys.executable, *map(str, argv)], cwd=directory, stdout=subprocess.DEVNULL, check=False)
    if finished.returncode:
        sys.exit(finished.returncode)


def make_image(directory: Path, band: str, sets: Sequence[str]) -> Path:
    """Image some sets unless it was done before; returns the root of the image's names."""
    if not (directory / band / "quality.json").is_file():
        options = [f"data_input_filenames=[{','.join(sets)}]", *IMAGE]
        given = [word for option in options for word in ("-s", option)]
        run(directory, "-m", "lofarpipe.cli", REPOSITORY / "image.parset", "-j", band, *given)
    return directory / band / "fullband-MFS"


def power_at(beam: SkyImage, source: SourceCheck) -> float:
    """Return the primary beam at a source."""
    place = (source.source.right_ascension_deg, source.source.declination_deg)
    column, row = (round(float(value)) for value in beam.celestial.wcs_world2pix(*place, 0))
    height, width = beam.plane.shape
    return float(beam.plane[row, column]) if 0 <= row < height and 0 <= column < width else 0.0


def band_figures(band: str, root: Path, truth: Truth) -> list[Figure]:
    """Return the worst errors of the fluxes inside the half-power width and from there to a beam of 0.2."""
    check = check_image(Path(f"{root}-image-pb.fits"), truth, Path(f"{root}-image.fits"))
    print(f"\n{band}\n{table_text(check)}")
    beam = read_sky_image(f"{root}-primary-beam.fits")
    bright = [one for one in check.sources if one.signal_to_noise >= BRIGHT_SIGMA]
    alike = [one for one in bright if abs(one.source.spectral_index - DEFAULT_INDEX) <= INDEX_TOLERANCE]
    inside = [one for one in alike if power_at(beam, one) >= HALF_POWER]
    outside = [one for one in alike if LOWEST_POWER <= power_at(beam, one) < HALF_POWER]
    return [
        Figure(f"{band}: flux error inside the FWHM, worst", worst_ratio(inside), MAX_ERROR_INSIDE, spread(inside)),
        Figure(f"{band}: from there to a beam of 0.2, worst", worst_ratio(outside), MAX_ERROR_OUTSIDE, spread(outside)),
    ]


def main() -> int:
    """Print all figures; return 1 if one exceeds its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, default=Path("flux_over_band"), help="default %(default)s")
    directory = parser.parse_args().directory.resolve()
    observation = directory / "observation"
    if not (observation / "truth.json").is_file():
        directory.mkdir(parents=True, exist_ok=True)
        run(directory, REPOSITORY / "scripts" / "simulate_observation.py", observation, *OBSERVATION)
    truth = read_truth(observation / "truth.json")
    figures = []
    for band, numbers in BANDS.items():
        root = make_image(directory, band, [truth.sets[number] for number in numbers])
        figures += band_figures(band, root, truth)
    print("", *figures, sep="\n")
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
