#!/usr/bin/env python3
"""Simulate a LOFAR observation, make its image with the pipeline, and compare the image with the truth.

tools/demonstration.py DIRECTORY [--imager auto|own|wsclean]
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SEED = "1"


def run(*argv: str | Path) -> None:
    """Run one command; end with its exit code if it fails."""
    print(f"\n$ {shlex.join(map(str, argv))}", flush=True)
    finished = subprocess.run([str(word) for word in argv], check=False)
    if finished.returncode:
        sys.exit(finished.returncode)


def simulate(observation: Path) -> None:
    """Make the observation unless an earlier demonstration made it."""
    if (observation / "truth.json").is_file():
        print(f"{observation}: already there; remove it to simulate it again")
        return
    run(sys.executable, REPOSITORY / "scripts" / "simulate_observation.py", observation, "--seed", SEED)


def main(directory: Path, imager: str) -> None:
    """Simulate, image, compare."""
    directory.mkdir(parents=True, exist_ok=True)
    observation, field = directory / "observation", directory / "field"
    simulate(observation)
    run(
        BIN / "genericpipeline.py",
        REPOSITORY / "demo.parset",
        *("-c", "pipeline.cfg", "-j", field.name, "-r", directory, "-w", directory),
        *("-s", f"data_input_filenames=[{observation}/*.MS]"),
        *("-s", f"image_output_filenames=[{directory}/image.fits]"),
        *("-s", f"imager={imager}"),
    )
    root = field / "fullband-MFS-image"
    truth = observation / "truth.json"
    compare = REPOSITORY / "scripts" / "compare_with_truth.py"
    run(sys.executable, compare, f"{root}-pb.fits", truth, "--flat", f"{root}.fits")
    print_products(directory, field)


def print_products(directory: Path, field: Path) -> None:
    """Print the imager used, and the paths of the results."""
    products = {
        "report, all of it on one page": field / "report.html",
        "image, primary-beam corrected": directory / "image.fits",
        "image, flat noise": field / "fullband-MFS-image.fits",
        "primary beam": field / "fullband-MFS-primary-beam.fits",
        "picture": field / "fullband-MFS-image-pb.png",
        "uv coverage": field / "uv_coverage.png",
        "decisions and their reasons": field / "plan.json",
        "quality": field / "quality.json",
        "metadata for the archive": field / "images.metadata",
    }
    made_by = json.loads((field / "plan.json").read_text())["quantities"]["imager"]
    print(f"\nImager: {made_by['value']} ({made_by['reason']})")
    print("\nProducts:")
    for what, path in products.items():
        print(f"  {what:32} {path}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="where everything goes")
    parser.add_argument("--imager", default="auto", help="auto, own or wsclean (%(default)s)")
    options = parser.parse_args()
    main(options.directory, options.imager)
