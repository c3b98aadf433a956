"""Common parts of figures: style, axes and beam of sky images, writing of files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle

# Any: matplotlib types every possible key.
STYLE: Any = {"font.size": 11, "axes.linewidth": 0.8, "font.family": "DejaVu Sans"}
BEAM_COLOUR, BLANK_COLOUR, GRID_COLOUR = "#c8102e", "#dfe6ee", "#3b6ea5"
SMALLEST_SHOWN_BEAM = 0.004  # fraction of the image width; smaller beams are enlarged, with a label


def save_figure(figure: Figure, outfile: str | Path, dpi: int) -> None:
    """Write a figure as PNG, which appears only when complete."""
    unfinished = Path(outfile).with_name(f".{Path(outfile).name}.part")
    try:
        figure.savefig(unfinished, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.12)
        unfinished.replace(outfile)
    finally:
        unfinished.unlink(missing_ok=True)


def label_sky(axes: Any) -> None:
    """Label axes with world coordinates, with ticks and a faint grid."""
    names = {"RA": "Right ascension (J2000)", "DEC": "Declination (J2000)"}
    for coordinate, ctype in zip(axes.coords, axes.wcs.wcs.ctype, strict=True):
        kind = ctype.partition("-")[0]
        coordinate.set_axislabel(names.get(kind, kind), minpad=0.7)
        coordinate.grid(color=GRID_COLOUR, alpha=0.25, linestyle="-", linewidth=0.6)
        coordinate.set_ticks(number=6)
        coordinate.display_minor_ticks(True)
    axes.coords[0].set_ticklabel(exclude_overlapping=True)


def draw_beam(axes: Any, width: int, beam_pixels: tuple[float, float], angle_deg: float) -> None:
    """Draw the restoring beam in the lower left corner, enlarged if too small.

    ``width`` is that of the image; ``beam_pixels`` are the major and the minor axis of the beam.
    """
    major, minor = beam_pixels
    enlarged = max(1, math.ceil(SMALLEST_SHOWN_BEAM * 4 * width / major))
    box = max(major * enlarged * 1.6, 0.05 * width)
    margin = 0.012 * width
    axes.add_patch(Rectangle((margin, margin), box, box, facecolor="white", edgecolor="black", linewidth=0.7, zorder=4))
    # Position angles run from north through east (left): counter-clockwise from the y axis.
    ellipse = Ellipse(
        (margin + box / 2, margin + box / 2),
        minor * enlarged,
        major * enlarged,
        angle=angle_deg,
        facecolor=BEAM_COLOUR,
        edgecolor="none",
        zorder=5,
    )
    axes.add_patch(ellipse)
    label = "beam" if enlarged == 1 else f"beam, {enlarged} x enlarged"
    plain = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
    axes.text(2 * margin + box, margin * 1.5, label, ha="left", va="bottom", fontsize=8.5, zorder=5, bbox=plain)
