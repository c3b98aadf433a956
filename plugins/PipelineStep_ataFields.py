"""Maps of the fields of ATA sessions: session, name, and calibrated visibilities."""

from pathlib import Path

from lofarpipe.imaging.ata.maps import FIELDS, field_maps
from lofarpipe.support.data_map import DataMap
from lofarpipe.support.parset import split_list

OUTPUTS = tuple(f"{name}.mapfile" for name in FIELDS)
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(args, sessions, kinds, mapfile_dir, filename, **kwargs):
    """Write the maps of the fields of some ``kinds``: fluxcal, phasecal, target.

    Returns
    -------
    dict
        The maps.
    """
    paths = [product.file for product in DataMap.load(sessions).data]
    return field_maps(paths, split_list(kinds), Path(mapfile_dir), filename)
