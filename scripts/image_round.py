#!/usr/bin/env python3
"""Image a target of an ATA session with the solutions of a round of self-calibration, and record the round."""

from __future__ import annotations

import sys

OUTPUTS = ("records",)


def main(
    session: str,
    field: str,
    sets_mapfile: str,
    calibrated_mapfile: str,
    counter: str,
    most: str,
    solved_mapfile: str = "",
    images_mapfile: str = "",
) -> dict[str, str]:
    """Write the image of a round beside the target's, and selfcal.json; return the list of the latter.

    Parameters
    ----------
    session, field: file of the session, and the target.
    sets_mapfile, calibrated_mapfile: maps of averaged and calibrated sets.
    solved_mapfile, images_mapfile: maps of the sets of the round, and of the images of the target.
    counter: number of the round; 0 is the target before self-calibration.
    most: rounds, round 0 included.

    Raises
    ------
    PipelineError
        If WSClean fails.
    """
    from lofarpipe.imaging.ata.selfcal import image_round
    from lofarpipe.imaging.ata.session import load_session
    from lofarpipe.programs.wsclean.imager import field_imager
    from lofarpipe.support.data_map import DataMap

    del solved_mapfile, images_mapfile  # each round has its own set names, so new sets show in the maps
    described = load_session(session, sets_mapfile)
    present = {product.file for product in DataMap.load(calibrated_mapfile).data if not product.skip}
    recorded = image_round(
        *(described, field, int(counter), int(most), present),
        lambda sets: field_imager(sets, (), 0.5, with_sources=True),
    )
    for rounds in recorded.values():
        last = rounds[-1]
        print(f"{field}, round {last.number}: peak {last.peak_jy:.4f} Jy, dynamic range {last.dynamic_range:.0f}")
    return {"records": f"[{','.join(recorded)}]"}


if __name__ == "__main__":
    from lofarpipe.imaging.scripts import exit_code

    sys.exit(exit_code(lambda: main(*sys.argv[1:])))
