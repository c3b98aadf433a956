#!/usr/bin/env python3
"""Refuse an ATA session without calibrator data, and write the calibrators' sky models."""

from __future__ import annotations

import sys
from pathlib import Path

OUTPUTS = ("warnings",)


def main(session: str, sets_mapfile: str, polarisation: str = "[]") -> dict[str, str]:
    """Return the file of warnings, one a line.

    Parameters
    ----------
    session, sets_mapfile: file of the session, and map of the averaged sets.
    polarisation: of the flux calibrator: fraction and position angle, degrees; [] takes it as unpolarised.

    Raises
    ------
    PipelineError
        If a calibrator has no scan or no unflagged data.
    """
    from lofarpipe.imaging.ata.calibrators import Tables, check_calibrators, polarisation_of
    from lofarpipe.imaging.ata.session import load_session
    from lofarpipe.support.utilities import write_atomically

    described = load_session(session, sets_mapfile)
    warnings = check_calibrators(described, polarisation_of(polarisation))
    for line in warnings:
        print(f"WARNING: {line}")
    path = Path(Tables(described).directory, "warnings.txt")
    write_atomically(path, "".join(f"{line}\n" for line in warnings))
    return {"warnings": str(path)}


if __name__ == "__main__":
    from lofarpipe.imaging.scripts import exit_code

    sys.exit(exit_code(lambda: main(*sys.argv[1:])))
