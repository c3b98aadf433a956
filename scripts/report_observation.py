#!/usr/bin/env python3
"""Write the observation report of an ATA session: observation.json, plots, and one page."""

from __future__ import annotations

import sys
from pathlib import Path

OUTPUTS = ("page",)


def main(
    session: str, sets_mapfile: str, job_directory: str, summary_mapfile: str = "", images_mapfile: str = ""
) -> dict[str, str]:
    """Return the page.

    Parameters
    ----------
    session, sets_mapfile: file of the session, and map of its averaged sets.
    job_directory: job directory of the run, whose report includes the page.
    summary_mapfile, images_mapfile: maps of calibration.json and of the images to show.
    """
    from lofarpipe.imaging.ata.observation import write_report
    from lofarpipe.imaging.ata.session import load_session

    del summary_mapfile, images_mapfile  # both stand where the session's products are
    described = load_session(session, sets_mapfile)
    run_file = Path(job_directory, f"{described.name.replace('/', '_')}.observation.json")
    return {"page": str(write_report(described, run_file))}


if __name__ == "__main__":
    from lofarpipe.imaging.scripts import exit_code

    sys.exit(exit_code(lambda: main(*sys.argv[1:])))
