"""Map of a list of files: one entry for each."""

import re
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.input_sets import expand_inputs
from lofarpipe.support.data_map import DataMap, DataMapError, DataProduct
from lofarpipe.support.parset import split_list
from lofarpipe.support.utilities import exists, files_of, is_file

OUTPUTS = ("mapfile",)
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(args, hosts, files, mapfile_dir, filename, check_files_exist="False", check_ms_column=""):
    """Write a map with one entry for each file.

    Parameters
    ----------
    hosts : text of a list
        Hosts, given to the files in turn.
    files : text of a list
        Paths, or patterns such as ``/data/L*_SB*.MS``; relative ones start in the current directory. Or the name of
        a map: the files in it.
    mapfile_dir, filename : str
        Where the map is written.
    check_files_exist : {"True", "False"}
        Refuse a file that does not exist.
    check_ms_column : str
        Refuse a measurement set without this column; empty for no check.

    Returns
    -------
    dict
        ``mapfile``: the path of the map.
    """
    paths = _files_in_map(files) or expand_inputs(files, Path.cwd())
    if not paths:
        raise PipelineError(f"files is '{files}'; at least one file is needed")
    if check_files_exist == "True":
        _refuse_missing(paths)
    if check_ms_column:
        _refuse_without_column(paths, check_ms_column)
    names = split_list(hosts) or ["localhost"]
    mapfile = Path(mapfile_dir) / filename
    products = [DataProduct(names[i % len(names)], path, False) for i, path in enumerate(paths)]
    DataMap(products).save(str(mapfile))
    return {"mapfile": str(mapfile)}


def plugin_looks_at(files, **kwargs):
    """Return the directories in which the files decide what the map is: those of patterns."""
    names = [] if _files_in_map(files) else split_list(files)
    return [re.split(r"[*?\[]", name)[0].rpartition("/")[0] or "." for name in names if re.search(r"[*?\[]", name)]


def _files_in_map(name):
    """The files in a map, or none if there is no map of this name."""
    if name.startswith("[") or not is_file(name):
        return []
    try:
        products = DataMap.load(name).data
    except DataMapError:
        return []
    return [file for product in products for file in files_of(product.file)]


def _refuse_missing(paths):
    missing = [path for path in paths if not exists(path)]
    if missing:
        raise PipelineError(f"{', '.join(missing)}: no such file; correct the list of files")


def _refuse_without_column(paths, column):
    from lofarpipe.imaging.measurement_set import read_metadata

    for path in paths:
        columns = read_metadata(path).columns
        if column not in columns:
            raise PipelineError(f"{path}: it has no column {column}; it has: {', '.join(sorted(columns))}")
