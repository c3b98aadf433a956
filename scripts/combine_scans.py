#!/usr/bin/env python3
"""Combine the averaged sets of an ATA session: one window per tuning, one field per source."""

from __future__ import annotations

import sys
from pathlib import Path

OUTPUTS = ("ms",)


def main(session: str, sets_mapfile: str) -> dict[str, str]:
    """Return the combined set, named after the first target.

    Parameters
    ----------
    session, sets_mapfile: file of the session, and map of the averaged sets.

    Raises
    ------
    PipelineError
        If there are no sets to combine.
    """
    from lofarpipe.imaging.ata.calibrators import AVERAGED, present_sets
    from lofarpipe.imaging.ata.combine import combine_sets
    from lofarpipe.imaging.ata.maps import combined_set
    from lofarpipe.imaging.ata.session import load_session

    described = load_session(session, sets_mapfile)
    present = present_sets(described)
    scans = [
        [described.set_path(scan, tuning, AVERAGED) for one, tuning in present if one is scan]
        for scan in described.scans
    ]
    target = combined_set(described)
    combine_sets(scans, Path(target))
    return {"ms": target}


if __name__ == "__main__":
    from lofarpipe.imaging.scripts import exit_code

    sys.exit(exit_code(lambda: main(*sys.argv[1:])))
