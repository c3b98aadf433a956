#!/usr/bin/env python3
"""Put the averaged sets of an ATA session into one: a window for each tuning, a field for each source."""

from __future__ import annotations

import sys
from pathlib import Path

OUTPUTS = ("ms",)


def main(session: str, sets_mapfile: str) -> dict[str, str]:
    """Return the set, which is called after the first target.

    Parameters
    ----------
    session, sets_mapfile: file of the session, and map of the averaged sets.

    Raises
    ------
    PipelineError
        If there is nothing to put together.
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
