"""What all figures share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

# Any: matplotlib types every possible key.
STYLE: Any = {"font.size": 11, "axes.linewidth": 0.8, "font.family": "DejaVu Sans"}


def save_figure(figure: Figure, outfile: str | Path, dpi: int) -> None:
    """Write a figure as PNG under its name only when it is complete."""
    unfinished = Path(outfile).with_name(f".{Path(outfile).name}.part")
    try:
        figure.savefig(unfinished, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.12)
        unfinished.replace(outfile)
    finally:
        unfinished.unlink(missing_ok=True)
