#!/usr/bin/env python3
"""Fidelity of an image: fluxes, positions, noise and averaging loss, compared with the truth.

benchmarks/image_fidelity.py [--directory demo]

Runs the demonstration unless the directory has one, and prints each number with its limit; exit code 1 if one is
missed. The loss is measured on a ring of noiseless sources at the image's edge, observed as the demonstration was:
dirty images of the data before and after the averaging that the plan decided.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lofarpipe.imaging.quality.comparison import FluxCheck, SourceCheck, check_image, table_text, worst_ratio
from lofarpipe.imaging.quality.sky_image import read_sky_image
from lofarpipe.imaging.simulation.observation import simulate
from lofarpipe.imaging.simulation.sky import Source, Truth, read_truth
from lofarpipe.programs.dp3 import predict_argv
from lofarpipe.programs.find import find, job_environment

REPOSITORY = Path(__file__).resolve().parents[1]
MAX_FLUX_ERROR_INSIDE, MAX_FLUX_ERROR_EDGE = 0.03, 0.06
MAX_OFFSET_BEAMS = 0.1
MAX_NOISE_ERROR = 0.15
MAX_PREDICTION_ERROR = 0.20
BRIGHT_SIGMA = 20.0
RING_SOURCES = 8
RING_MARGIN_PIXELS = 32
PADDING = 1.2


@dataclass(frozen=True)
class Figure:
    """One number and its upper limit."""

    what: str
    value: float
    most: float
    detail: str = ""

    @property
    def holds(self) -> bool:
        """Whether the number is within its limit; False for NaN."""
        return self.value <= self.most

    def __str__(self) -> str:
        verdict = "ok  " if self.holds else "MISS"
        return f"{verdict} {self.what:58} {self.value:8.4f}  at most {self.most:g}  {self.detail}"


def run(argv: Sequence[str | Path], log: Path) -> None:
    """Run a program with the environment of the pipeline's jobs, its words into a log; end if it fails."""
    with log.open("w") as words:
        finished = subprocess.run(
            [str(word) for word in argv],
            env=os.environ | job_environment(),
            cwd=log.parent,
            stdout=words,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if finished.returncode:
        sys.exit(f"{argv[0]} exited with {finished.returncode}; see {log}")


def demonstrate(directory: Path) -> Path:
    """Make the demonstration's image unless it exists; return the directory of its products."""
    field = directory / "field"
    if not (field / "quality.json").is_file():
        directory.mkdir(parents=True, exist_ok=True)
        run([sys.executable, REPOSITORY / "tools" / "demonstration.py", directory], directory / "demonstration.log")
    return field


def flux_figures(check: FluxCheck, half_fwhm_deg: float) -> list[Figure]:
    """Return the figures of fluxes and positions, of sources inside the beam's width and from there to the edge."""
    inside = check.select_sources(half_fwhm_deg, BRIGHT_SIGMA)
    everywhere = check.select_sources(math.inf, BRIGHT_SIGMA)
    outside = [one for one in everywhere if one not in inside]
    return [
        Figure("flux error inside the FWHM, worst", worst_ratio(inside), MAX_FLUX_ERROR_INSIDE, spread(inside)),
        Figure("flux error from there to the edge, worst", worst_ratio(outside), MAX_FLUX_ERROR_EDGE, spread(outside)),
        Figure("position error, beams, worst", max(one.offset_beams for one in everywhere), MAX_OFFSET_BEAMS),
    ]


def spread(checks: Sequence[SourceCheck]) -> str:
    """Return mean and scatter of measured over true flux, as text."""
    ratios = np.array([one.ratio for one in checks])
    return f"{len(ratios)} sources, ratio {np.nanmean(ratios):.4f} +- {np.nanstd(ratios):.4f}"


def noise_figure(quality: dict[str, Any]) -> Figure:
    """Return how far the image's noise is from the thermal expectation."""
    rms_jy, expected_jy = quality["rms"]["value"], quality["expected_thermal_noise"]["value"]
    detail = f"rms {rms_jy * 1e3:.3f} mJy, expected {expected_jy * 1e3:.3f} mJy"
    return Figure("noise off the thermal expectation", abs(rms_jy / expected_jy - 1), MAX_NOISE_ERROR, detail)


def ring_pixels(plan: dict[str, Any]) -> list[tuple[int, int]]:
    """Return places at the distance of the image's edge from its centre, in whole pixels to the west and north."""
    radius = number(plan, "image_edge_deg") / number(plan, "cellsize_deg")
    angles = (2 * math.pi * (place + 0.25) / RING_SOURCES for place in range(RING_SOURCES))
    return [(round(radius * math.cos(angle)), round(radius * math.sin(angle))) for angle in angles]


def number(plan: dict[str, Any], name: str) -> float:
    """Return a quantity of the plan."""
    return float(plan["quantities"][name]["value"])


def ring_sources(plan: dict[str, Any], truth: Truth) -> list[Source]:
    """Return sources of 1 Jy in the middle of the ring's pixels."""
    cell_rad = math.radians(number(plan, "cellsize_deg"))
    ra0, dec0 = truth.settings.phase_centre_rad
    sources = []
    for index, (west, north) in enumerate(ring_pixels(plan)):
        l_cosine, m_cosine = -west * cell_rad, north * cell_rad
        n_cosine = math.sqrt(1 - l_cosine**2 - m_cosine**2)
        dec = math.asin(m_cosine * math.cos(dec0) + n_cosine * math.sin(dec0))
        ra = ra0 + math.atan2(l_cosine, n_cosine * math.cos(dec0) - m_cosine * math.sin(dec0))
        sources.append(Source(f"ring{index}", math.degrees(ra) % 360, math.degrees(dec), 1.0, 0.0))
    return sources


def run_quietly(commands: Sequence[Sequence[str]]) -> None:
    """Run the simulation's commands, one after the other."""
    for argv in commands:
        subprocess.run(argv, env=os.environ | job_environment(), capture_output=True, check=True)


def average(sets: Sequence[str], output: Path, freqstep: int, timestep: int) -> None:
    """Average the sets of one time block into one, by the plan."""
    argv = [find("DP3"), f"msin=[{','.join(sets)}]", "msin.orderms=True", f"msout={output}", "msout.overwrite=True"]
    steps = ["steps=[avg]", "avg.type=averager", f"avg.freqstep={freqstep}", f"avg.timestep={timestep}"]
    run([*argv, *steps], output.with_suffix(".log"))


def dirty_values(name: Path, sets: Sequence[str | Path], plan: dict[str, Any]) -> np.ndarray:
    """Return the dirty image of sets at the ring's pixels, Jy/beam."""
    options = plan["options"]
    size = int(plan["quantities"]["image_size"]["value"].split()[0]) + 2 * RING_MARGIN_PIXELS
    argv = [find("wsclean"), "-name", name, "-size", size, size, "-scale", f"{number(plan, 'cellsize_deg')}deg"]
    argv += ["-weight", "briggs", options["robust"], "-padding", PADDING, "-niter", 0, "-use-wgridder"]
    argv += ["-minuv-l", options["minuv_lambda"], "-maxuv-l", options["maxuv_lambda"]]
    run([*argv, "-no-update-model-required", "-no-reorder", *sets], name.with_suffix(".log"))
    plane = read_sky_image(f"{name}-image.fits").plane
    return np.array([plane[size // 2 + north, size // 2 + west] for west, north in ring_pixels(plan)])


def edge_loss(directory: Path, truth: Truth, plan: dict[str, Any]) -> float:
    """Return the part of a peak at the image's edge that the plan's averaging takes, mean over position angles."""
    shutil.rmtree(directory, ignore_errors=True)
    settings = replace(truth.settings, noise_scale=0.0)
    ring = simulate(
        directory,
        settings,
        partial(predict_argv, str(find("DP3"))),
        run_quietly,
        beam=False,
        sources=ring_sources(plan, truth),
    )
    per_block = settings.nsubbands
    blocks = [ring.sets[first : first + per_block] for first in range(0, len(ring.sets), per_block)]
    averaged = [directory / f"averaged_{block}.MS" for block in range(len(blocks))]
    for sets, output in zip(blocks, averaged, strict=True):
        average(sets, output, int(number(plan, "freqstep")), int(number(plan, "timestep")))
    before = dirty_values(directory / "before", ring.sets, plan)
    after = dirty_values(directory / "after", averaged, plan)
    return float((before - after).mean() / before.mean())


def loss_figures(loss: float, plan: dict[str, Any]) -> list[Figure]:
    """Return the figures of the averaging loss, against the requested limit and the prediction."""
    predicted = plan["predicted_loss"]["image_edge"]["added_by_averaging"]
    detail = f"measured {loss:.4f}, predicted {predicted:.4f}"
    return [
        Figure("loss by averaging at the image's edge", loss, plan["options"]["max_peak_smearing"]),
        Figure("that loss off its prediction", abs(loss / predicted - 1), MAX_PREDICTION_ERROR, detail),
    ]


def measure(directory: Path) -> list[Figure]:
    """Run everything, print the table of sources, and return the figures."""
    field = demonstrate(directory)
    plan, quality = (json.loads((field / name).read_text()) for name in ("plan.json", "quality.json"))
    truth = read_truth(directory / "observation" / "truth.json")
    root = f"{field}/fullband-MFS-image"
    check = check_image(Path(f"{root}-pb.fits"), truth, Path(f"{root}.fits"))
    print(table_text(check))
    half_fwhm_deg = min(number(plan, "beam_fwhm_x_deg"), number(plan, "beam_fwhm_y_deg")) / 2
    loss = edge_loss(directory / "ring", truth, plan)
    return [*flux_figures(check, half_fwhm_deg), noise_figure(quality), *loss_figures(loss, plan)]


def main() -> int:
    """Print all figures; return 1 if one exceeds its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, default=Path("demo"), help="default %(default)s")
    figures = measure(parser.parse_args().directory.resolve())
    print(*figures, sep="\n")
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
