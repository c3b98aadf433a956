"""Maps of the averaged sets of ATA sessions that DP3 solves and corrects, with their tables."""

from pathlib import Path

from lofarpipe.imaging.ata.maps import SOLVING, solving_maps
from lofarpipe.support.data_map import DataMap

OUTPUTS = tuple(f"{name}.mapfile" for name in SOLVING)
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(args, sessions, averaged, mapfile_dir, filename, **kwargs):
    """Write the maps.

    Parameters
    ----------
    sessions, averaged : str
        Maps of the sessions, and of the averaged sets, without skipped ones.
    mapfile_dir, filename : str
        Where the maps are written, and the stem of their names.

    Returns
    -------
    dict
        The maps.
    """
    present = [product.file for product in DataMap.load(averaged).data if not product.skip]
    return solving_maps([product.file for product in DataMap.load(sessions).data], present, Path(mapfile_dir), filename)
