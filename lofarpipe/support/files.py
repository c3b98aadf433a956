"""Files that are being written: until they are complete, under a hidden name that tells who writes them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

LONGEST_NAME = 200  # characters of 255, so that there is room for the rest
OLD_S = 86400.0  # nobody writes one of these for a day: one of another machine is left over
_NAME = re.compile(r"\..+\.(?P<host>[0-9a-f]{8})\.(?P<process>\d+)\.tmp")


def unfinished_name(path: Path) -> Path:
    """Return the name under which this process writes ``path`` until it is complete.

    It is ``.<name>.<host>.<process>.tmp``, beside the file.
    """
    return path.with_name(f".{path.name[:LONGEST_NAME]}.{_host()}.{os.getpid()}.tmp")


@contextlib.contextmanager
def unfinished_directory(path: Path) -> Iterator[Path]:
    """Yield a directory beside ``path`` in which it can be made; it is removed afterwards with all that is in it."""
    directory = unfinished_name(path)
    directory.mkdir()
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def remove_unfinished(directories: Iterable[Path]) -> list[Path]:
    """Remove what processes that were killed left in directories, not below them; return what was removed.

    What a living process of this machine writes, or in the last day one of another machine, stays.
    """
    left = [path for directory in directories for path in _unfinished(directory) if _is_left_over(path)]
    for path in left:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return left


def _unfinished(directory: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as entries:
        yield from (Path(entry.path) for entry in entries if _NAME.fullmatch(entry.name))


def _is_left_over(path: Path) -> bool:
    match = _NAME.fullmatch(path.name)
    if match is None:
        return False
    if match["host"] == _host():
        return not Path("/proc", match["process"]).exists()
    try:
        return path.stat().st_mtime < time.time() - OLD_S
    except FileNotFoundError:  # it got its name
        return False


def _host() -> str:
    return f"{zlib.crc32(os.uname().nodename.encode()):08x}"
