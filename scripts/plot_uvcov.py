#!/usr/bin/env python3
"""Draws the uv coverage of measurement sets: flagged fraction over the uv plane, and by uv distance."""

from __future__ import annotations

import argparse
import sys

from lofarpipe.imaging.ms.uv_coverage import plot_uv_coverage, read_uv_coverage
from lofarpipe.imaging.scripts import as_number, exit_code
from lofarpipe.support.utilities import files_of

OUTPUTS = ("plot",)


def main(
    ms_input: str, outfile: str, minuv_lambda: str = "", maxuv_lambda: str = "", field: str = "auto"
) -> dict[str, str]:
    """Write ``outfile``, a PNG, and return its name as ``plot``.

    ``ms_input`` is one measurement set or a list text; the last two are the imaged uv range, which is drawn
    large. An empty text or 0 is no limit. ``field`` is the number or name of the imaged field.
    """
    minuv_klambda = as_number("minuv_lambda", minuv_lambda or "0", 0) / 1e3
    maxuv_klambda = as_number("maxuv_lambda", maxuv_lambda or "0", 0) / 1e3
    plot_uv_coverage(read_uv_coverage(files_of(ms_input), field), outfile, minuv_klambda, maxuv_klambda)
    return {"plot": outfile}


def command_line(argv: list[str]) -> int:
    """Run from a shell; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outfile", help="PNG to write")
    parser.add_argument("ms_input", nargs="+", help="measurement sets")
    parser.add_argument("--minuv-lambda", default="", help="shortest baseline imaged, wavelengths")
    parser.add_argument("--maxuv-lambda", default="", help="longest baseline imaged, wavelengths")
    keywords = vars(parser.parse_args(argv))
    return exit_code(lambda: print(main(**keywords | {"ms_input": str(keywords["ms_input"])})["plot"]))


if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:]))
