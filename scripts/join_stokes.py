#!/usr/bin/env python3
"""Write one image in I, Q, U and V from separate runs for I and for Q, U, V."""

from __future__ import annotations

from pathlib import Path

from lofarpipe.imaging.scripts import as_boolean

OUTPUTS = ("image",)


def main(
    total: str,
    polarised: str,
    robust: str,
    root: str,
    recipe: str,  # noqa: ARG001 - the fingerprint of its settings: with others the job runs again
    run: str,
    keep_all: str = "False",
) -> dict[str, str]:
    """Write the image of the band at a robust value, and return its name.

    ``total`` and ``polarised`` are lists of the files that both runs wrote below ``root``; ``run`` is the job directory
    of the plan.

    Raises
    ------
    PipelineError
        If an image is missing, or an image of other settings exists and may not be overwritten.
    """
    from lofarpipe.programs.stokes_products import read_plan, write_band_image
    from lofarpipe.support.utilities import files_of

    kept = as_boolean("keep_all", keep_all)
    plan = read_plan(Path(run) / "plan.json")
    path = write_band_image(plan, float(robust), root, files_of(total), files_of(polarised), kept)
    return {"image": str(path)}
