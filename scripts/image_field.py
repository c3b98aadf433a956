#!/usr/bin/env python3
"""Make the images of a field of an ATA session: calibrators in rounds of cleaning, targets in rounds of masks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lofarpipe.imaging.ata.images import Band

OUTPUTS = ("images",)
ROBUST = {"calibrator": 0.0, "target": 0.5}


def main(
    session: str, field: str, ms: str, sets_mapfile: str, kind: str, cell_rule: str = "beam", masks: str = "threshold"
) -> dict[str, str]:
    """Write the images of every band, and return the list of the last band's images.

    Parameters
    ----------
    session, sets_mapfile: file of the session, and map of its averaged sets.
    ms: calibrated visibilities of the field.
    kind: calibrator or target.
    cell_rule: beam or original.
    masks: of targets, by a threshold of its own or by breizorro.

    Raises
    ------
    PipelineError
        If all data are flagged, or WSClean fails.
    """
    from lofarpipe.imaging.ata.images import bands_of, image_directory, remove_images
    from lofarpipe.imaging.ata.session import load_session

    described = load_session(session, sets_mapfile)
    images = []
    for band in bands_of(described, field):
        directory = image_directory(described, field, band)
        directory.mkdir(parents=True, exist_ok=True)
        remove_images(directory, field)
        images.append(_image_band(band, directory, field, ms, kind, (cell_rule, masks)))
    return {"images": f"[{','.join(images)}]"}


def _image_band(band: Band, directory: Path, field: str, ms: str, kind: str, options: tuple[str, str]) -> str:
    """Return the last image of a band."""
    from lofarpipe.imaging.ata import images
    from lofarpipe.programs.breizorro import write_breizorro_mask
    from lofarpipe.programs.wsclean.imager import field_imager

    imager = field_imager([ms], images.windows_of(ms, band), ROBUST[kind])
    cell_rule, masks = options
    plan = images.plan_image(band, cell_rule, directory, imager)
    root = images.image_root(directory, field, ROBUST[kind], plan.grid)
    if kind == "calibrator":
        made, rounds = images.clean_rounds(root, plan.grid, imager)
    else:
        write_mask = write_breizorro_mask if masks == "breizorro" else images.write_island_mask
        made, rounds = images.mask_rounds(root, plan.grid, imager, write_mask)
        images.correct_beam(made.image, made.corrected)
    images.write_plan(directory, plan.described(root, rounds))
    print(f"{field}: cells of {plan.grid.cell_arcsec:g} arcsec ({plan.cell_reason}); {len(rounds)} rounds")
    return made.image


if __name__ == "__main__":
    from lofarpipe.imaging.scripts import exit_code

    sys.exit(exit_code(lambda: main(*sys.argv[1:])))
