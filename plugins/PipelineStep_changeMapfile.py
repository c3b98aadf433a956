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
        Path that is joined to each file, as that of a table in it.
    add_name : str
        Text that is then appended to each file.
    newname : str
        Name of the new map, in the directory of ``mapfile_in``.
    """
    changed = DataMap.load(mapfile_in)
    if not changed:
        return {}
    for product in changed.data:
        # Not pathlib: what is typed, //, is kept, and a join with nothing ends in a slash.
        joined = product.file if join_files is None else os.path.join(product.file, join_files)  # noqa: PTH118
        product.file = joined + add_name
    mapfile = str(Path(mapfile_in).parent / newname) if newname is not None else mapfile_in
    changed.save(mapfile)
    return {"mapfile": mapfile}
