"""Where the shipped pipelines, steps, plugins, scripts and configuration are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from lofarpipe.errors import PipelineError, nearest
from lofarpipe.support.utilities import is_file

PACKAGE = Path(__file__).resolve().parent


def share_directory() -> Path:
    """Return the directory that holds pipeline.parset, steps/, plugins/, scripts/ and cfg/.

    In an installed package that is lofarpipe/share; in a checkout it is the top of the checkout.
    """
    packaged = PACKAGE / "share"
    return packaged if packaged.is_dir() else PACKAGE.parent


def beside(files: Sequence[Path], kind: str) -> list[Path]:
    """Return the directories ``kind`` beside parsets, the last parset's first; the shipped one is not among them."""
    share = share_directory()
    return [path.parent / kind for path in reversed(files) if path.parent.resolve() != share]


def find_file(name: str, directories: Iterable[Path], what: str) -> Path:
    """Return the file ``name``: as typed, else the first of ``directories`` that has it.

    Raises
    ------
    PipelineError
        If there is no such file; it names every place that was looked at.
    """
    # os.path, for pathlib raises errors for the home of nobody, and for what is too long to be a name.
    looked = [Path(os.path.expanduser(name)), *(directory / name for directory in directories)]  # noqa: PTH111
    for path in looked:
        if is_file(path):
            return path.resolve()
    if os.path.isdir(looked[0]):  # noqa: PTH112
        raise PipelineError(f"{name}: is a directory, and no {what}; name a file")
    folders = sorted({path.parent.resolve() for path in looked})
    there = {path.name for folder in folders if os.path.isdir(folder) for path in folder.iterdir()}  # noqa: PTH112
    hint = nearest(Path(name).name, there)
    raise PipelineError(f"{name}: no such {what}{hint}; looked in {', '.join(map(str, folders))}")
