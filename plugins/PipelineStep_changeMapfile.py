"""Other names for the files of a map. Source: doc/spec/lofarpipe.md, section 5.4."""

import os
from pathlib import Path

from lofarpipe.support.data_map import DataMap

OUTPUTS = ("mapfile",)
DRY_RUN_WRITES = ("mapfile_in",)


def plugin_main(args, mapfile_in, join_files=None, add_name="", newname=None, **kwargs):
    """Change each file name of a map and return the map's path as ``mapfile``; an empty map gives no output.

    Parameters
    ----------
    mapfile_in : str
        The map. It is overwritten unless ``newname`` is given.
    join_files : str
        Path to join to each file, such as a table's name.
    add_name : str
        Text to append to each file afterwards.
    newname : str
        Name of the new map, in the directory of ``mapfile_in``.
    """
    changed = DataMap.load(mapfile_in)
    if not changed:
        return {}
    for product in changed.data:
        # Not pathlib, which drops // and the final slash of an empty join.
        joined = product.file if join_files is None else os.path.join(product.file, join_files)  # noqa: PTH118
        product.file = joined + add_name
    mapfile = str(Path(mapfile_in).parent / newname) if newname is not None else mapfile_in
    changed.save(mapfile)
    return {"mapfile": mapfile}
