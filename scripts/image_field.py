#!/usr/bin/env python3
"""Make the images of a field of an ATA session: calibrators in rounds of cleaning, targets in rounds of masks."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

OUTPUTS = ("images",)
ROBUST = {"calibrator": "0", "target": "0.5"}


def main(session: str, field: str, ms: str, sets_mapfile: str, kind: str, cell_rule: str = "beam") -> dict[str, str]:
    """Write the images of every band, and return the list of the last ones.

    Parameters
    ----------
    session, sets_mapfile: file of the session, and map of its averaged sets.
    ms: calibrated visibilities of the field.
    kind: calibrator or target.
    cell_rule: beam or original.

    Raises
    ------
    PipelineError
        If all data are flagged, or WSClean fails.
    """
    from lofarpipe.imaging.ata.images import bands_of, image_directory
    from lofarpipe.imaging.ata.session import load_session

    described = load_session(session, sets_mapfile)
    images = []
    for band in bands_of(described, field):
        directory = image_directory(described, field, band)
        directory.mkdir(parents=True, exist_ok=True)
        images.append(_image_band(band, directory, field, ms, kind, cell_rule))
    return {"images": f"[{','.join(images)}]"}


def _image_band(band: object, directory: Path, field: str, ms: str, kind: str, cell_rule: str) -> str:
    from lofarpipe.imaging.ata import images

    assert isinstance(band, images.Band)  # noqa: S101 - for the types
    common = {"weight": f"briggs {ROBUST[kind]}", "pol": "I", "data-column": "DATA"}
    common |= {"spws": ",".join(map(str, band.windows))}
    imager = _imager([ms], common)
    plan = images.plan_image(band, cell_rule, directory, imager)
    root = images.image_root(directory, field, ROBUST[kind], plan.cell_arcsec)
    imager = _imager([ms], {**common, **plan.keywords})
    entry = {"cell_arcsec": plan.cell_arcsec, "cell_reason": plan.cell_reason, "size": plan.side}
    if kind == "calibrator":
        last, rounds = images.clean_rounds(root, imager)
    else:
        last, rounds = f"{root}_clean", images.mask_rounds(root, imager)
        images.correct_beam(f"{last}-image.fits", f"{last}-image-pb.fits")
    images.write_plan(directory, {**entry, "size_reason": plan.side_reason, "rounds": rounds})
    print(f"{field}: cells of {plan.cell_arcsec:g} arcsec ({plan.cell_reason}); {len(rounds)} rounds")
    return f"{last}-image.fits"


def _imager(sets: Sequence[str], common: Mapping[str, str]):  # type: ignore[no-untyped-def]
    from lofarpipe.programs.call import call_program

    def image(name: str, keywords: Mapping[str, str]) -> None:
        call_program(
            "wsclean", {**common, **keywords, "name": name}, ["-no-update-model-required", "-reorder", *sets]
        )  # several windows need -reorder

    return image


if __name__ == "__main__":
    from lofarpipe.imaging.scripts import exit_code

    sys.exit(exit_code(lambda: main(*sys.argv[1:])))
