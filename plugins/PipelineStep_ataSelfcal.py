"""Maps of one self-calibration round of ATA targets, and whether another round follows."""

from pathlib import Path

from lofarpipe.imaging.ata.maps import write_session_maps
from lofarpipe.imaging.ata.selfcal import all_targets_stopped, round_rows
from lofarpipe.imaging.ata.session import load_session
from lofarpipe.programs.wsclean.imager import source_list
from lofarpipe.support.data_map import DataMap

COLUMNS = ("sets", "models", "solutions", "solved", "modes", "intervals")
OUTPUTS = (*(f"{name}.mapfile" for name in COLUMNS), "break")
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(args, sessions, averaged, calibrated, counter, most, mapfile_dir, filename, part="maps", **kwargs):
    """Write the maps of a round, or, as ``part = end``, tell whether the rounds of all targets have ended.

    Parameters
    ----------
    sessions, averaged, calibrated : str
        Maps of the sessions, and of averaged and calibrated sets, without skipped ones.
    counter, most : str
        Number of the round, and number of rounds; round 0 has no solve.

    Returns
    -------
    dict
        The maps, or ``break``.
    """
    described = [load_session(product.file, averaged) for product in DataMap.load(sessions).data]
    if part == "end":
        return {"break": all(all_targets_stopped(session, int(counter), int(most)) for session in described)}
    present = {product.file for product in DataMap.load(calibrated).data if not product.skip}
    rows = [row for one in described for row in round_rows(one, present, int(counter), int(most), source_list)]
    columns = {name: [row[place] for row in rows] for place, name in enumerate(COLUMNS)}
    return write_session_maps(Path(mapfile_dir), filename, columns)
