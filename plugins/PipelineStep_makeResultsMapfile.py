"""Map of the same file names in another directory."""

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
    """Write a map of the files' names in another directory; no outputs for an empty map.

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
    """Return the outputs of ``plugin_main`` without creating the directory."""
    problems = plugin_check(args, **kwargs)
    if problems:
        raise PipelineError(problems[0])
    return plugin_main(args, **{**kwargs, "make_target_dir": "False"})


def plugin_check(args, make_target_dir="False", **kwargs):
    """Return the problems of the arguments before the run."""
    return flag_findings("make_target_dir", make_target_dir)


def _moved(file, target_dir, new_suffix, mapfile):
    name = file.rpartition("/")[2]
    if not name:
        raise PipelineError(f"{mapfile}: '{file}' ends in no name; take the slash off its end")
    moved = os.path.join(target_dir, name)  # noqa: PTH118 - keeps // as typed
    return os.path.splitext(moved)[0] + new_suffix if new_suffix is not None else moved  # noqa: PTH122


def _make(directory):
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise PipelineError(f"target_dir {directory}: cannot be made: {err.strerror}") from err
