"""Where the files of a map go: the same names in another directory."""

import os
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.support.data_map import DataMap, save_map
from lofarpipe.support.utilities import FLAGS, flag_findings

OUTPUTS = ("mapfile",)
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(
    args, mapfile_in, target_dir, mapfile_dir, filename, make_target_dir="False", new_suffix=None, **kwargs
):
    """Write a map of the names that files would have in another directory; an empty map gives no output.

    Parameters
    ----------
    mapfile_in : str
        Map of the files.
    target_dir : str
        The other directory.
    mapfile_dir, filename : str
        Where the new map is written.
    make_target_dir : {"True", "False", "1", "0"}
        Whether the directory is made.
    new_suffix : str
        Replaces the last extension of each name, if it is given.

    Returns
    -------
    dict
        ``mapfile``: the path of the new map.
    """
    problems = plugin_check(args, make_target_dir=make_target_dir)
    if problems:
        raise PipelineError(problems[0])
    moved = DataMap.load(mapfile_in)
    for product in moved.data:
        product.file = _moved(product.file, target_dir, new_suffix, mapfile_in)
    if FLAGS[make_target_dir.upper()]:
        _make(Path(target_dir))
    if not moved:
        return {}
    return save_map(moved, mapfile_dir, filename)


def plugin_dry_run(args, **kwargs):
    """Return what ``plugin_main`` gives, and make no directory."""
    problems = plugin_check(args, **kwargs)
    if problems:
        raise PipelineError(problems[0])
    return plugin_main(args, **{**kwargs, "make_target_dir": "False"})


def plugin_check(args, make_target_dir="False", **kwargs):
    """Return what can be said against the arguments before anything runs."""
    return flag_findings("make_target_dir", make_target_dir)


def _moved(file, target_dir, new_suffix, mapfile):
    name = file.rpartition("/")[2]
    if not name:
        raise PipelineError(f"{mapfile}: '{file}' ends in no name; take the slash off its end")
    moved = os.path.join(target_dir, name)  # noqa: PTH118 - what is typed, //, is kept
    return os.path.splitext(moved)[0] + new_suffix if new_suffix is not None else moved  # noqa: PTH122


def _make(directory):
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise PipelineError(f"target_dir {directory}: cannot be made: {err.strerror}") from err
