#!/usr/bin/env python3
"""Fit flux and position of the calibrator in the middle of images."""

from __future__ import annotations

import sys
from pathlib import Path

OUTPUTS = ("fits",)


def main(images: str) -> dict[str, str]:
    """Write fitting_results.txt and .json beside each image, and return the list of the latter.

    Raises
    ------
    PipelineError
        If an image has no source in the middle.
    """
    from lofarpipe.imaging.ata.images import fit_calibrator, write_fit
    from lofarpipe.support.utilities import files_of

    written = []
    for image in files_of(images):
        fit = fit_calibrator(image)
        write_fit(Path(image).parent, fit)
        written.append(str(Path(image).parent / "fitting_results.json"))
        systematic = fit.systematic_fraction * fit.flux_jy
        print(f"{fit.image}: {fit.flux_jy:.4f} +- {fit.error_jy:.4f} Jy (systematic {systematic:.2f})")
    return {"fits": f"[{','.join(written)}]"}


if __name__ == "__main__":
    from lofarpipe.imaging.scripts import exit_code

    sys.exit(exit_code(lambda: main(*sys.argv[1:])))
