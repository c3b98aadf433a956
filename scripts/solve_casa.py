#!/usr/bin/env python3
"""Solve the calibrators of an ATA session with CASA: delays, phases, bandpass, gains, flux scale."""

from __future__ import annotations

import sys
from pathlib import Path

OUTPUTS = ("solved", "bandpass")


def main(
    session: str,
    sets_mapfile: str,
    reference_antenna: str = "auto",
    reference_antennas: str = "[]",
    polarisation: str = "[]",
    casa_python: str = "",
) -> dict[str, str]:
    """Keep CASA's tables beside the H5parm files; return the solutions of all scans and of the bandpass.

    Parameters
    ----------
    session, sets_mapfile: file of the session, and map of the averaged sets.
    reference_antenna, reference_antennas: the requested antenna or auto, and its substitutes.
    polarisation: of the flux calibrator: fraction and position angle, degrees; [] takes it as unpolarised.
    casa_python: the Python with casatasks; "" for the current one.

    Raises
    ------
    PipelineError
        If casatasks is not installed, or a task fails.
    """
    from lofarpipe.imaging.ata import casa
    from lofarpipe.imaging.ata.calibrators import Tables, polarisation_of
    from lofarpipe.imaging.ata.session import AUTO, load_session
    from lofarpipe.programs.casa import find_casa, run_tasks
    from lofarpipe.support.parset import split_list
    from lofarpipe.support.utilities import list_text

    python, described = find_casa(casa_python), load_session(session, sets_mapfile)
    asked = [name for name in (reference_antenna, *split_list(reference_antennas)) if name != AUTO]
    references, sets, tasks = casa.preferred_antennas(described, asked), casa.calibrator_sets(described), []
    for one in sets:
        casa.write_set(one)
        tasks += casa.solving_tasks(one, references, polarisation_of(polarisation))
    results = run_tasks(python, tasks, Path(Tables(described).directory, "casa"))
    for (name, keywords), result in zip(tasks, results, strict=True):
        if name == "fluxscale":
            flux = result[keywords["transfer"]]["0"]
            print(f"{Path(keywords['fluxtable']).name}: {flux['fluxd'][0]:.4f} +- {flux['fluxdErr'][0]:.4f} Jy")
    solved = [path for one in sets for path in casa.export_solutions(one)]
    for one in sets:
        casa.remove_calibrator_set(one)
    bandpass = [path for path in solved if path.endswith(".bandpass.h5")]
    return {"solved": list_text(solved), "bandpass": list_text(bandpass)}


if __name__ == "__main__":
    from lofarpipe.imaging.scripts import exit_code

    sys.exit(exit_code(lambda: main(*sys.argv[1:])))
