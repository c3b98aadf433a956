"""Removal of intermediate outputs that no later step needs."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lofarpipe.state.events import FilesRemoved, JobAdopted, step_of
from lofarpipe.state.former_outputs import remove
from lofarpipe.state.work import Work

if TYPE_CHECKING:
    from lofarpipe.state.journal import Stream

ALL, PRODUCTS, IMAGES = "all", "products", "images"
KEEP = (ALL, PRODUCTS, IMAGES)
#: Rarely used images of an imager; each word stands for the files ``*-<word>.fits``.
PLANES = ("psf", "dirty", "model", "residual")
EVERYTHING = "*"
NOTHING = "none"

Patterns = Mapping[str, Sequence[str]]  # step -> patterns of its outputs


def patterns_of(intermediate: Mapping[str, Patterns], keep: str) -> dict[str, list[str]]:
    """Return step -> patterns of the outputs removed for a value of ``keep``.

    Parameters
    ----------
    intermediate: patterns of each step for ``products``, and the additional ones for ``images``.
    """
    patterns_by_step: dict[str, list[str]] = {}
    for level in KEEP[1 : KEEP.index(keep) + 1]:
        for step, patterns in intermediate.get(level, {}).items():
            patterns_by_step.setdefault(step, []).extend(patterns)
    return patterns_by_step


def removable(work: Work, patterns: Patterns) -> list[str]:
    """Return existing outputs of this run that match a pattern of their step."""
    return [
        path
        for path, job in sorted(work.owners.items())
        if (step_patterns := patterns.get(step_of(job).partition("@")[0]))
        and any(_matches(path, pattern) for pattern in step_patterns)
        and os.path.lexists(path)
        and not isinstance(work.last_job(job), JobAdopted)
    ]


def _matches(path: str, pattern: str) -> bool:
    if pattern in PLANES:
        return path.endswith(f"-{pattern}.fits")
    return pattern == EVERYTHING or fnmatch.fnmatchcase(path, pattern)


def pattern_problem(patterns: Iterable[str]) -> str:
    """Return the error text for patterns that can match nothing; "" if all can match."""
    words = (EVERYTHING, NOTHING, *PLANES)
    odd = [one for one in patterns if one not in words and not {*"/*?["} & {*one} and ".output." not in one]
    return f"{', '.join(odd)}: {EVERYTHING}, {', '.join(PLANES)}, or a path with wildcards is needed" if odd else ""


def remove_files(stream: Stream, paths: Sequence[str]) -> int:
    """Remove unneeded files and tables; return their total size in bytes.

    The journal is written first: an unrecorded removal would make the next run produce the file again.

    Raises
    ------
    PipelineError
        If one cannot be removed.
    """
    sizes = {path: size_of(path) for path in paths}
    if sizes:
        stream.emit(FilesRemoved(sizes))
    for path in sizes:
        remove(path)
    return sum(sizes.values())


def size_of(path: str) -> int:
    """Return the size of a file, or of all files in a directory, in bytes; links are not followed."""
    try:
        if os.path.islink(path) or not os.path.isdir(path):  # noqa: PTH112, PTH114 - of very many paths
            return os.lstat(path).st_size
        return sum(one.lstat().st_size for one in Path(path).rglob("*") if one.is_symlink() or one.is_file())
    except OSError:
        return 0
