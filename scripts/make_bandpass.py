#!/usr/bin/env python3
"""Make delays, phases and bandpass of an ATA session of DP3's solutions of the flux calibrator."""

from __future__ import annotations

import sys

OUTPUTS = ("summary",)


def main(
    session: str,
    sets_mapfile: str,
    solved_mapfile: str,
    reference_antenna: str = "auto",
    reference_antennas: str = "[]",
) -> dict[str, str]:
    """Write G0, K0 and B0 of every tuning, and return the file with the reference antenna.

    Parameters
    ----------
    session: its file.
    sets_mapfile, solved_mapfile: maps of the averaged sets, and of their solutions by DP3.
    reference_antenna, reference_antennas: the requested antenna or auto, and its substitutes.

    Raises
    ------
    PipelineError
        If no antenna can be the reference.
    """
    from lofarpipe.imaging.ata.calibrators import bandpass_summary_path
    from lofarpipe.imaging.ata.session import AUTO, load_session
    from lofarpipe.imaging.ata.solutions import make_bandpass
    from lofarpipe.support.parset import split_list

    described = load_session(session, sets_mapfile, solved_mapfile)
    asked = [name for name in (reference_antenna, *split_list(reference_antennas)) if name != AUTO]
    summary = make_bandpass(described, asked)
    print(f"reference antenna: {summary['reference_antenna']}")
    if summary["reason"]:
        print(f"WARNING: reference_antenna: {summary['reason']}")
    return {"summary": str(bandpass_summary_path(described))}


if __name__ == "__main__":
    from lofarpipe.imaging.scripts import exit_code

    sys.exit(exit_code(lambda: main(*sys.argv[1:])))
