"""Map of a list of files, one entry per file."""

import re
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.ms.names import expand_inputs
from lofarpipe.pipeline.plugins import compare_names
from lofarpipe.support.data_map import DataMap, DataMapError, DataProduct, save_map
from lofarpipe.support.parset import split_list
from lofarpipe.support.utilities import FLAGS, exists, files_of, flag_findings, is_file

OUTPUTS = ("mapfile",)
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(args, hosts, files, mapfile_dir, filename, check_files_exist="False", check_ms_column="", **kwargs):
    """Write a map with one entry per file.

    Parameters
    ----------
    hosts : text of a list
        Hosts, given to the files in turn.
    files : text of a list
        Paths, or glob patterns such as ``/data/L*_SB*.MS``, relative to the current directory. A word without a
        slash that matches no file is kept as a value. Or the name of a map, for its files.
    mapfile_dir, filename : str
        Where the map is written.
    check_files_exist : {"True", "False", "1", "0"}
        Refuse a file that does not exist.
    check_ms_column : str
        Refuse a measurement set without this column; empty for no check.

    Returns
    -------
    dict
        ``mapfile``: the path of the map.
    """
    problems = plugin_check(args, check_files_exist=check_files_exist)
    if problems:
        raise PipelineError(problems[0])
    paths = _files_in_map(files) or _expanded(files)
    if not paths:
        raise PipelineError(f"files is '{files}'; at least one file is needed")
    if FLAGS[check_files_exist.upper()]:
        _refuse_missing(paths)
    if check_ms_column:
        _refuse_without_column(paths, check_ms_column)
    names = split_list(hosts) or ["localhost"]
    return save_map(
        [DataProduct(names[i % len(names)], path, False) for i, path in enumerate(paths)], mapfile_dir, filename
    )


def plugin_check(args, check_files_exist="False", **kwargs):
    """Return the problems of these arguments before the run; other arguments are ignored."""
    names = {"check_files_exist", "check_ms_column", "filename", "files", "hosts", "mapfile_dir"}
    unknown = [f"plugin addListMapfile: {problem}" for problem in compare_names(set(kwargs), names, set(), False)]
    return unknown + flag_findings("check_files_exist", check_files_exist)


def plugin_looks_at(files, **kwargs):
    """Return the directories of patterns, whose files determine the map."""
    names = [] if _files_in_map(files) else split_list(files)
    return [re.split(r"[*?\[]", name)[0].rpartition("/")[0] or "." for name in names if re.search(r"[*?\[]", name)]


def _files_in_map(name):
    """The files in a map; empty if there is no map of this name."""
    if name.startswith("[") or not is_file(name):
        return []
    try:
        products = DataMap.load(name).data
    except DataMapError:
        return []
    return [file for product in products for file in files_of(product.file)]


def _expanded(files):
    words = {str(Path.cwd() / name): name for name in split_list(files) if "/" not in name and not exists(name)}
    return [words.get(path, path) for path in expand_inputs(files, Path.cwd())]


def _refuse_missing(paths):
    missing = [path for path in paths if not exists(path)]
    if missing:
        raise PipelineError(f"{', '.join(missing)}: no such file; correct the list of files")


def _refuse_without_column(paths, column):
    from lofarpipe.imaging.ms.tables import opened_set

    for path in paths:
        with opened_set(path) as table:
            columns = table.colnames()
        if column not in columns:
            raise PipelineError(f"{path}: it has no column {column}; it has: {', '.join(sorted(columns))}")
