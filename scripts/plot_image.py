#!/usr/bin/env python3
"""Draws a FITS image as PNG: grey scale from -4 to 16 rms, world coordinates, restoring beam and numbers."""

from __future__ import annotations

import argparse
import sys

from lofarpipe.imaging.quality.plot import plot_image
from lofarpipe.imaging.quality.sky_image import read_sky_image
from lofarpipe.imaging.scripts import as_number, exit_code

OUTPUTS = ("plot",)
SMALLEST_RMS = 1e-12


def main(image: str, outfile: str, rms: str = "") -> dict[str, str]:
    """Write ``outfile``, a PNG, and return its name as ``plot``.

    ``rms`` (Jy/beam) sets the grey scale; empty takes the value of measure_quality.py in the header, or, if it
    is missing, measures the middle of this image.
    """
    plot_image(read_sky_image(image), outfile, as_number("rms", rms, SMALLEST_RMS) if rms else None)
    return {"plot": outfile}


def command_line(argv: list[str]) -> int:
    """Run from a shell; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", help="FITS image")
    parser.add_argument("outfile", help="PNG to write")
    parser.add_argument("--rms", default="", help="noise for the grey scale, Jy/beam; default: from the header")
    keywords = vars(parser.parse_args(argv))
    return exit_code(lambda: print(main(**keywords)["plot"]))


if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:]))
