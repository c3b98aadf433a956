"""Names of measurement sets: expansion of lists and patterns, and checks for mistakes."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from lofarpipe.support.parset import split_list
from lofarpipe.support.utilities import exists, files_of, is_file

AUTO = "auto"  # the only field of a set with data


def expand_inputs(list_text: str, cwd: str | Path) -> list[str]:
    """Return absolute paths for a list text such as ``[a.MS, /data/L*_SB*.MS]``, in the order given.

    Relative names start in ``cwd``, ``~`` is the home directory. A pattern is replaced by its matches, sorted; a
    pattern without matches, or that is itself the name of a file, is kept. Duplicates are kept.

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


def other_case_hint(path: str) -> str:
    """Return a name or pattern in the capitalisation of existing files; "" without a match."""
    folder, name = os.path.split(path)
    try:
        is_like = re.compile(fnmatch.translate(name), re.IGNORECASE).fullmatch
        matches = sorted(filter(is_like, os.listdir(folder)))  # noqa: PTH208 - these are texts
    except OSError:
        return ""
    if not matches:
        return ""
    if not set("*?[") & set(name):
        return f"; there is {folder}/{matches[0]}"
    (ending, theirs) = (os.path.splitext(one)[1] for one in (name, matches[0]))  # noqa: PTH122 - of a pattern
    spelling = f"{name.removesuffix(ending)}{theirs}" if ending.lower() == theirs.lower() else matches[0]
    return f"; capital letters differ: {matches[0]} is there, so write {folder}/{spelling}"


def named_sets(ms_input: str | list[str]) -> list[str]:
    """Return the measurement sets of a script's argument: a list, its text ``[a,b]``, a mapfile, or one set.

    Skipped entries of a mapfile are excluded.
    """
    if isinstance(ms_input, list):
        return [str(path) for path in ms_input]
    if is_file(ms_input):
        from lofarpipe.support.data_map import DataMap

        return [path for product in DataMap.load(ms_input).data if not product.skip for path in files_of(product.file)]
    return list(files_of(ms_input))


LONGEST_TEXT = 500  # characters of an option in a message
LONGEST_PATH, LONGEST_NAME = 4095, 255  # bytes, of Linux, and of ext4, XFS, Lustre and NFS
LONGEST_ENDING = ".average_dpppconcat.ms"  # longest suffix that pipeline steps append to the name of a set


def abridge(text: str) -> str:
    """Return a text, cut to a readable length."""
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."


def missing_comma_findings(paths: Sequence[str]) -> list[str]:
    """Return findings about several sets separated by blanks instead of commas."""
    return [
        f"data_input_filenames: '{abridge(path)}' has no comma between the names; "
        f"write [{abridge(', '.join(path.split()))}]"
        for path in paths
        if " " in path and not exists(path) and all(exists(part) for part in path.split())
    ]


def invalid_name_findings(paths: Sequence[str]) -> list[str]:
    """Return findings about texts that cannot be file names."""
    return [
        f"data_input_filenames: '{abridge(path)}' is too long for a name; several sets are a list: [a.MS, b.MS]"
        for path in paths
        if len(os.fsencode(path)) > LONGEST_PATH or max(map(len, os.fsencode(path).split(b"/"))) > LONGEST_NAME
    ]


def long_names(paths: Sequence[str]) -> list[str]:
    """Return findings about sets whose averaged set would have too long a name."""
    room = LONGEST_NAME - len(LONGEST_ENDING)
    return [
        f"data_input_filenames: {path}: its name has {size} bytes, and the averaged set is NAME{LONGEST_ENDING}; "
        f"file systems take {LONGEST_NAME}; rename it to {room} bytes at most, or give a link to it"
        for path in paths
        if (size := len(os.fsencode(Path(path).stem))) > room
    ]
