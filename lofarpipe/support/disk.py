"""Errors of disks: their recognition, free space, and remedies."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.support.dataclass import dataclass

GB, MB = 1e9, 1e6  # decimal
FULL_BYTES = 100e6  # a disk with less than this free is full ...
FULL_SHARE = 0.01  # ... or with less than this fraction of a small disk
# errno -> remedy, and meaning if its own text is unclear
ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "remove files, or ask for more",
    errno.EROFS: "ask who runs it, or choose another directory",
    errno.ESTALE: "the file system went away; mount it again",
    errno.ENOTCONN: "the file system went away; mount it again",
    errno.EIO: "the disk, or the way to it, is broken; look at the system's log",
    errno.EFBIG: "a limit on the size of files was met; see ulimit -f",
    errno.ENOENT: "somebody removed the directory, or a file system is not mounted",
    errno.EACCES: "check who may write there",
}
# Messages of programs and libraries; the last two, of cfitsio and WSClean, mean a full disk too.
_SIGNS = {
    **{os.strerror(number): number for number in ADVICE if number not in (errno.ENOENT, errno.EACCES)},
    "error writing to FITS file": errno.ENOSPC,
    "Error writing to temporary file": errno.ENOSPC,
}


@dataclass(frozen=True)
class Need:
    """Space that something is going to take."""

    place: Path  # a directory, which may not exist yet
    size_bytes: float
    content: str  # e.g. "the images"
    is_temporary: bool = False  # it is given back when the job ends
    is_given: bool = False  # stated by the step, not estimated


def trouble_in(lines: Iterable[str]) -> str:
    """Return the last line about a broken or full disk, with advice; "" without one."""
    error_numbers = [number for line in lines for sign, number in _SIGNS.items() if sign in line]
    return f"{os.strerror(error_numbers[-1])}; {ADVICE[error_numbers[-1]]}" if error_numbers else ""


def io_problem(err: OSError) -> str:
    """Format an error of a file operation as one line: file, problem, remedy."""
    path = Path(os.fsdecode(err.filename)) if err.filename else Path("a file of the run")
    room = f" ({room_text(path)})" if err.errno in (errno.ENOSPC, errno.EDQUOT) and path.is_absolute() else ""
    return f"{path}: {err.strerror or err}{room}; {ADVICE.get(err.errno or 0, 'check the directory')}"


def existing(path: Path) -> Path:
    """Return the path itself, or the nearest directory above it that exists."""
    return next((place for place in (path, *path.parents) if os.path.lexists(place)), Path("/"))


def free_bytes(path: Path) -> float:
    """Return the free space for ordinary users at a path, which may not exist yet.

    Raises
    ------
    OSError
        If the file system does not answer.
    """
    place = os.statvfs(existing(path))
    return place.f_bavail * place.f_frsize


def size_text(size_bytes: float) -> str:
    """Return a size for people: ``3.2 GB``, or ``12 MB`` below 1 GB."""
    return f"{size_bytes / GB:.3g} GB" if size_bytes >= GB else f"{size_bytes / MB:.3g} MB"


def room_text(path: Path) -> str:
    """Return how much is free where a path is, or would be, for people."""
    try:
        return f"{size_text(free_bytes(path))} free"
    except OSError as err:
        return f"which cannot be looked at: {err.strerror}"


def full_place(places: Iterable[Path]) -> str:
    """Return the first directory on a full or missing disk, with its free space; "" if none."""
    return next((text for place in dict.fromkeys(places) if (text := _fullness(place))), "")


def _fullness(place: Path) -> str:
    try:
        disk = os.statvfs(existing(place))
    except OSError as err:
        return f"{place} cannot be reached: {err.strerror}; {ADVICE.get(err.errno or 0, 'check the file system')}"
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    if free < min(FULL_BYTES, FULL_SHARE * total):
        return f"the disk of {place} is full: {size_text(free)} of {size_text(total)} are free"
    if disk.f_files and not disk.f_favail:
        return f"the disk of {place} has no inodes left; remove files"
    return ""


def make_directory(path: Path) -> None:
    """Create a directory of a run, and its parents.

    Raises
    ------
    PipelineError
        If it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise PipelineError(f"{path}: cannot be created: {err.strerror}; choose another place with -r") from err
