#!/usr/bin/env python3
"""Combine the calibrated sets of a field of an ATA session, without autocorrelations."""

from __future__ import annotations

import sys
from pathlib import Path

OUTPUTS = ("calibrated",)


def main(session: str, field: str, ms: str, combined_mapfile: str, sets_mapfile: str) -> dict[str, str]:
    """Write ``ms``: all tunings and scans of a field, numbered as in the combined set.

    Parameters
    ----------
    session: file of the session.
    combined_mapfile, sets_mapfile: maps of combined and calibrated sets; skipped ones are left out.

    Raises
    ------
    PipelineError
        If the field has no data, or autocorrelations remain.
    """
    from lofarpipe.imaging.ata.calibrators import CALIBRATED
    from lofarpipe.imaging.ata.combine import combine_sets, copy_scan_numbers, only_cross
    from lofarpipe.imaging.ata.maps import combined_set
    from lofarpipe.imaging.ata.session import load_session
    from lofarpipe.support.data_map import DataMap

    described = load_session(session)
    present = {product.file for product in DataMap.load(sets_mapfile).data if not product.skip}
    scans = [
        [path for t in described.tunings if (path := described.set_path(scan, t, CALIBRATED)) in present]
        for scan in described.scans
        if scan.field == field
    ]
    combine_sets(scans, Path(ms))
    combined = {product.file for product in DataMap.load(combined_mapfile).data}
    copy_scan_numbers(next(path for path in combined if path == combined_set(described)), ms)
    only_cross(ms)
    return {"calibrated": ms}


if __name__ == "__main__":
    from lofarpipe.imaging.scripts import exit_code

    sys.exit(exit_code(lambda: main(*sys.argv[1:])))
