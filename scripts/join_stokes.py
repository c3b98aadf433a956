#!/usr/bin/env python3
"""Write one image in I, Q, U and V from separate runs for I and for Q, U, V."""

from __future__ import annotations

from lofarpipe.imaging.scripts import as_boolean

OUTPUTS = ("image",)


def main(total: str, polarised: str, robust: str, root: str, plan: str, keep_all: str = "False") -> dict[str, str]:
    """Write the image of the band at a robust value, and return its name.

    ``total`` and ``polarised`` are lists of the files that both runs wrote below ``root``.

    Raises
    ------
    PipelineError
        If an image is missing, or an image of other settings exists and may not be overwritten.
    """
    from lofarpipe.programs.stokes_products import read_plan, write_band_image
    from lofarpipe.support.utilities import files_of

    kept = as_boolean("keep_all", keep_all)
    path = write_band_image(read_plan(plan), float(robust), root, files_of(total), files_of(polarised), kept)
    return {"image": str(path)}
