"""The measurement sets that a user names: paths and patterns to a list of absolute paths. Reads no set."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from lofarpipe.support.data_map import DataMap
from lofarpipe.support.parset import split_list
from lofarpipe.support.utilities import exists, files_of, is_file

AUTO = "auto"  # stands for the only field of a set that has data


def expand_inputs(list_text: str, cwd: str | Path) -> list[str]:
    """Return absolute paths for a list text such as ``[a.MS, /data/L*_SB*.MS]``, in the order given.

    Relative names start in ``cwd``, ``~`` is the home directory. A pattern becomes the paths that it matches, sorted;
    one that matches nothing, or that exists under just this name, stays as it is. A path that is named twice is
    returned twice.

    Raises
    ------
    ParsetError
        If a quote or bracket is not closed.
    """
    paths: list[str] = []
    for name in split_list(list_text):
        if name:
            home = os.path.expanduser(name.rstrip("/") or "/")  # noqa: PTH111 - Path raises for an unknown user
            path = str(Path(cwd, home))
            matches = [path] if exists(path) else sorted(glob.glob(path))  # noqa: PTH207 - it is absolute
            paths += matches or [path]
    return paths


def named_sets(ms_input: str | list[str]) -> list[str]:
    """Return the measurement sets that a script was given: a list, its text ``[a,b]``, a mapfile, or one set.

    Entries of a mapfile that are to be skipped are left out.
    """
    if isinstance(ms_input, list):
        return [str(path) for path in ms_input]
    if is_file(ms_input):
        return [path for product in DataMap.load(ms_input).data if not product.skip for path in files_of(product.file)]
    return list(files_of(ms_input))
