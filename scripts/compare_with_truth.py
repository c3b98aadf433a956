#!/usr/bin/env python3
"""Compare an image with the simulated truth: a table of fluxes and positions, and the rms.

compare_with_truth.py IMAGE_PB TRUTH [--flat FLAT_IMAGE]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lofarpipe.errors import PipelineError

OUTPUTS = ("table", "rms_jy")


def main(image: str, truth: str, flat: str = "", table: str = "") -> Mapping[str, str]:
    """Return the comparison as text (``table``) and the rms (``rms_jy``); ``table`` names a file to write it to.

    Raises
    ------
    PipelineError
        If an image or the truth cannot be read.
    """
    from lofarpipe.imaging.quality.comparison import check_image, table_text
    from lofarpipe.imaging.simulation.sky import read_truth
    from lofarpipe.support.utilities import write_atomically

    check = check_image(Path(image), read_truth(Path(truth)), Path(flat) if flat else None)
    text = table_text(check)
    if table:
        write_atomically(Path(table), text + "\n")
    return {"table": text, "rms_jy": f"{check.rms_jy:.6g}"}


def read_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description="Compare an image with the simulated truth.")
    parser.add_argument("image", help="FITS image, corrected for the primary beam")
    parser.add_argument("truth", help="truth.json of the simulated observation")
    parser.add_argument("--flat", default="", help="the image before the correction, in which the noise is measured")
    return parser.parse_args(argv)


if __name__ == "__main__":
    arguments = read_arguments()
    try:
        compared = main(arguments.image, arguments.truth, arguments.flat)
    except PipelineError as error:
        sys.exit(f"compare_with_truth.py: {error}")
    print(compared["table"])
