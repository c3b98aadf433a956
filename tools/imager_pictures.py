#!/usr/bin/env python3
"""Draw the pictures of doc/imager.md: a PSF patch against the true response, and the residual of each major cycle.

tools/imager_pictures.py SET.ms FOLDER LOG [LOG ...]      logs of an imager, such as logs/wsclean_high_deep/000.log
"""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

from lofarpipe.imaging.imager.operators import Gridder
from lofarpipe.imaging.imager.settings import ImagerSettings
from lofarpipe.imaging.imager.visibilities import read_channels

SIDE, CELL_ASEC, HALF = 1500, 15, 48
PLACE = 0.1, 0.1  # of the image, in the corner tile
PEAK = re.compile(r"Initial peak: (-?[\d.e+-]+) (m?)Jy")
NOISE = re.compile(r"background noise: ([\d.e+-]+) (m?)Jy")


def settings_of(path: str) -> ImagerSettings:
    """Return the settings of the response: Briggs 0, one channel, no averaging."""
    return ImagerSettings(
        name="unused",
        sets=(path,),
        size=(SIDE, SIDE),
        cell_rad=math.radians(CELL_ASEC / 3600),
        weighting=("briggs", 0.0),
        max_uv_lambda=4000.0,
        min_uv_lambda=80.0,
        averaging_loss=0.0,
        threads=1,
    )


def draw_psf(path: str, folder: Path) -> None:
    """Draw the response to a source in a corner, and the errors of two patches."""
    settings = settings_of(path)
    channels = read_channels(settings)
    gridder = Gridder.for_channels(channels, settings.size, settings.cell_rad, 1)
    y, x = (round(part * SIDE) for part in PLACE)
    truth, model = np.zeros((2, SIDE, SIDE), np.float32)
    model[y, x] = 1
    gridder.dirty(channels[0], gridder.predict(channels[0], model, 1e-5), 1e-5, truth)
    box = np.s_[y - HALF : y + HALF + 1, x - HALF : x + HALF + 1]
    truth = truth[box] / truth[y, x]
    tile, centre = (_patch(gridder, channels[0], place) for place in ((y, x), (SIDE / 2, SIDE / 2)))
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
    for axis, (title, plane, limit) in zip(
        axes,
        (
            ("true response", truth, 0.1),
            ("patch of the tile - true", tile - truth, 0.02),
            ("patch of the centre - true", centre - truth, 0.02),
        ),
        strict=True,
    ):
        shown = axis.imshow(plane, cmap="RdBu_r", vmin=-limit, vmax=limit, origin="lower")
        axis.set_title(f"{title}\nlargest {abs(plane).max():.4f}", fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
        figure.colorbar(shown, ax=axis, shrink=0.8)
    figure.savefig(folder / "imager_psf.png", dpi=80)


def _patch(gridder: Gridder, channel: object, place: tuple[float, float]) -> np.ndarray:
    size = 8 * HALF
    patch = gridder.local_psf(channel, place, size, 1e-5)
    middle = patch[size // 2 - HALF : size // 2 + HALF + 1, size // 2 - HALF : size // 2 + HALF + 1]
    return middle / middle[HALF, HALF]


def draw_residuals(logs: list[Path], folder: Path) -> None:
    """Draw peak and noise of the residual at the start of each major cycle."""
    figure, axis = plt.subplots(figsize=(5, 3.2), layout="constrained")
    for log, colour in zip(logs, ("C0", "C1", "C2"), strict=False):
        text = log.read_text(errors="replace")
        name = "lofar-clean" if "lofar-clean " in text else "WSClean"
        for pattern, style in ((PEAK, "o-"), (NOISE, "s--")):
            values = [abs(float(number)) * (1 if milli else 1000) for number, milli in pattern.findall(text)]
            label = f"{name}, {'peak' if pattern is PEAK else 'noise'}"
            axis.semilogy(range(1, len(values) + 1), values, style, color=colour, label=label)
    axis.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    axis.set_xlabel("major cycle, at its start")
    axis.set_ylabel("mJy per beam")
    axis.legend(fontsize=8)
    figure.savefig(folder / "imager_residual.png", dpi=80)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set")
    parser.add_argument("folder", type=Path)
    parser.add_argument("logs", nargs="+", type=Path)
    given = parser.parse_args()
    draw_residuals(given.logs, given.folder)
    draw_psf(given.set, given.folder)
