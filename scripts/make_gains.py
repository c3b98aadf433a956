#!/usr/bin/env python3
"""Make the gains of an ATA session on its flux scale, the flux of its phase calibrator, and calibration.json."""

from __future__ import annotations

import sys
from pathlib import Path

OUTPUTS = ("summary",)


def main(
    session: str,
    sets_mapfile: str,
    solved_mapfile: str,
    reference_antenna: str = "auto",
    interpolation: str = "linear",
    backend: str = "dp3",
) -> dict[str, str]:
    """Write G1, fluxscale, the gains of every scan, and plots; return ``calibration.json``.

    Parameters
    ----------
    session: its file.
    sets_mapfile, solved_mapfile: maps of the averaged sets, and of their solutions by DP3.
    reference_antenna: the user's choice.
    interpolation: of gains between scans of the phase calibrator: linear or nearest.
    backend: that solved, for the summary.

    Raises
    ------
    PipelineError
        If the flux of the phase calibrator cannot be determined.
    """
    from lofarpipe.imaging.ata.calibrators import Tables
    from lofarpipe.imaging.ata.plots import plot_solutions
    from lofarpipe.imaging.ata.session import load_session
    from lofarpipe.imaging.ata.solutions import make_gains

    described = load_session(session, sets_mapfile, solved_mapfile)
    warnings = Path(Tables(described).directory, "warnings.txt").read_text().splitlines()
    options = {"reference_antenna": reference_antenna, "interpolation": interpolation}
    options |= {"warnings": warnings, "backend": backend}
    summary = make_gains(described, options)
    for tuning, entry in summary["tunings"].items():
        flux = f"{entry['phasecal_jy']:.4f} +- {entry['phasecal_error_jy']:.4f} Jy"
        print(f"Lo{tuning.upper()}: {described.roles.phasecal} has {flux}")
    for line in summary["problems"]:
        print(f"WARNING: {line}")
    plot_solutions(described)
    return {"summary": str(Path(described.outdir, "calibration.json"))}


if __name__ == "__main__":
    from lofarpipe.imaging.scripts import exit_code

    sys.exit(exit_code(lambda: main(*sys.argv[1:])))
