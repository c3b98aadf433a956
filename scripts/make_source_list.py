#!/usr/bin/env python3
"""Makes a source list of an image with PyBDSF, in the text format that makesourcedb, DP3 and WSClean read."""

from __future__ import annotations

import argparse
import sys

from lofarpipe.imaging.quality.catalogue import FindingOptions, write_source_list
from lofarpipe.imaging.scripts import as_boolean, as_number, exit_code, pair

OUTPUTS = ("source_list", "number")
NEEDS = {"bdsf": "pip install 'genericpipeline[catalogue]', or set make_source_list = False"}


def main(
    image: str,
    image_flat: str,
    outfile: str,
    threshisl: str = "4",
    threshpix: str = "5",
    rmsbox: str = "(60,20)",
    rmsbox_bright: str = "(35,7)",
    adaptive_rmsbox: str = "True",
    adaptive_thresh: str = "150",
    cores: str = "1",
) -> dict[str, str]:
    """Write ``outfile``; returns its name as ``source_list`` and the ``number`` of sources.

    Sources are detected in ``image_flat`` (flat noise) and measured in ``image`` (corrected for the primary beam).
    """
    options = FindingOptions(
        threshold_island=as_number("threshisl", threshisl, 0),
        threshold_peak=as_number("threshpix", threshpix, 0),
        rms_box=pair("rmsbox", rmsbox),
        rms_box_bright=pair("rmsbox_bright", rmsbox_bright),
        adaptive_rms_box=as_boolean("adaptive_rmsbox", adaptive_rmsbox),
        adaptive_threshold=as_number("adaptive_thresh", adaptive_thresh, 0),
    )
    sources = write_source_list(image, image_flat, outfile, options, int(as_number("cores", cores, 1)))
    return {"source_list": outfile, "number": str(sources)}


def command_line(argv: list[str]) -> int:
    """Run from a shell; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", help="image corrected for the primary beam")
    parser.add_argument("image_flat", help="the same with flat noise; without one, the same file")
    parser.add_argument("outfile", help="source list to write")
    parser.add_argument("--threshisl", default="4", help="island threshold, rms; default %(default)s")
    parser.add_argument("--threshpix", default="5", help="peak threshold, rms; default %(default)s")
    parser.add_argument("--rmsbox", default="(60,20)", help="box and step for the rms, pixels; default %(default)s")
    parser.add_argument("--cores", default="1")
    keywords = vars(parser.parse_args(argv))
    return exit_code(lambda: print("{source_list}: {number} sources".format(**main(**keywords))))


if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:]))
