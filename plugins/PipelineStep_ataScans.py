"""Maps of the scans of ATA sessions, by the headers of their uvh5 files."""

from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.ata.maps import READING, reading_maps
from lofarpipe.imaging.ata.session import SessionOptions, find_sessions
from lofarpipe.programs.dp3 import find_strategy
from lofarpipe.support.parset import split_list

OUTPUTS = (*(f"{name}.mapfile" for name in READING), "strategy")
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(
    args,
    project,
    runs,
    outdir,
    mapfile_dir,
    filename,
    tunings,
    fluxcal,
    phasecal,
    target,
    fluxcal_scans,
    strategy,
    **kwargs,
):
    """Write the maps of sessions, and of the scans to read.

    Parameters
    ----------
    project, runs : str, text of a list
        Directory of the sessions, and patterns of their names.
    outdir : str
        Where the products go, in a directory for each session.
    mapfile_dir, filename : str
        Where the maps are written, and the stem of their names.
    tunings, fluxcal, phasecal, target, fluxcal_scans : str
        As the options of pipelines/ata.parset.
    strategy : str
        File of an AOFlagger strategy, or the name of one shipped with DP3.

    Returns
    -------
    dict
        The maps, and the path of the strategy.
    """
    sessions = find_sessions(project, split_list(runs))
    options = session_options(tunings, fluxcal, phasecal, target, fluxcal_scans)
    outputs = reading_maps(sessions, Path(outdir).absolute(), options, Path(mapfile_dir), filename)
    return {**outputs, "strategy": find_strategy(strategy)}


def session_options(tunings, fluxcal, phasecal, target, fluxcal_scans):
    """Return the options that choose fields, tunings and scans."""
    letters = tuple(name.lower() for name in split_list(tunings))
    if wrong := [name for name in letters if name not in ("a", "b", "c", "d")]:
        raise PipelineError(f"tunings: is {tunings}; letters from a to d are needed, and {wrong[0]!r} is none")
    return SessionOptions(
        fluxcal, phasecal, tuple(split_list(target)), tuple(split_list(fluxcal_scans)) or ("last",), letters
    )


def plugin_looks_at(project, **kwargs):
    """Return the directory whose files determine the maps."""
    return [project]
