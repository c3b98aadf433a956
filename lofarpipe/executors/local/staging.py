"""Directories of one job: for its temporary files, and for outputs until they are complete."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.jobs import Job, Staged
from lofarpipe.support.disk import io_problem

MARKER = ".temporary-directory-of-a-job"
REPLACED = ".replaced"  # where outputs of an earlier run go before they are removed
# The disk is waited for where that costs no more than this: it takes no signals, and other jobs wait as well.
SYNC_FILES = 20
SYNC_BYTES = 20e6


def directories_of(job: Job) -> list[Path]:
    """Return the directories that are made before the job, and removed after it."""
    return [*([job.tempdir] if job.tempdir else []), *([job.staged.directory] if job.staged else [])]


def make_directories(job: Job) -> None:
    """Make the directories of a job; one that an earlier try left is emptied.

    Raises
    ------
    PipelineError
        If one exists and was not made for a job, so that nobody's files are removed; or if it cannot be made.
    """
    for directory in directories_of(job):
        if (directory / MARKER).exists():
            remove_directory(directory)
        try:
            # One without a file may be left of a try that was killed just here.
            with contextlib.suppress(OSError):
                directory.rmdir()
            directory.mkdir(parents=True)
            (directory / MARKER).touch()
        except FileExistsError as err:
            raise PipelineError(
                f"temporary directory {directory} exists already, and it is removed after the job; "
                "move it away, or choose a name that is not in use"
            ) from err
        except OSError as err:
            raise PipelineError(f"temporary directory {directory} cannot be made: {io_problem(err)}") from err


def remove_directories(job: Job) -> None:
    """Remove the directories of a job; what cannot be removed stays."""
    for directory in directories_of(job):
        remove_directory(directory)


def remove_directory(directory: Path) -> None:
    """Remove a directory, the marker last: whoever finds what was left of it knows whose it is."""
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            if path.name != MARKER:
                _remove(path)
    # Anything but the marker that is left keeps it, so that a later try can go on.
    with contextlib.suppress(OSError):
        if [path.name for path in directory.iterdir()] == [MARKER]:
            (directory / MARKER).unlink()
            directory.rmdir()


def _remove(path: Path) -> None:
    if _is_directory(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def unwritten(staged: Staged) -> str:
    """Return what a program that ended with 0 was to write, if it wrote nothing at all; "" if it did its work."""
    return staged.expected if staged.expected and not _outputs(staged) else ""


def _outputs(staged: Staged) -> list[str]:
    return sorted({path.name for path in staged.directory.iterdir()} - {MARKER, REPLACED})


def commit(staged: Staged) -> list[str]:
    """Give complete outputs their names, and return these: everything in the stage is moved to where it belongs.

    A file takes the place of one of its name in one step. A directory, such as a measurement set, cannot: what is
    there is moved into the stage first, and goes with it.

    Raises
    ------
    PipelineError
        If one cannot be moved. Those before it have their names; each is complete.
    """
    try:
        names = _outputs(staged)
        _sync(staged.directory)
        for name in names:
            _put(staged.directory / name, staged.destination / name, staged.directory / REPLACED / name)
        _sync_directory(staged.destination)
        return [str(staged.destination / name) for name in names]
    except OSError as err:
        raise PipelineError(
            f"its outputs are complete, and could not be moved from {staged.directory} to {staged.destination}: "
            f"{io_problem(err)}"
        ) from err


def _put(source: Path, target: Path, replaced: Path) -> None:
    """Move an output to its place; what was there is put back if that fails."""
    if not os.path.lexists(target) or not (_is_directory(target) or _is_directory(source)):
        source.replace(target)
        return
    replaced.parent.mkdir(exist_ok=True)
    target.rename(replaced)
    try:
        source.rename(target)
    except OSError:
        replaced.rename(target)
        raise


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _sync(directory: Path) -> None:
    """Wait until few or small files are on the disk; the kernel writes large ones out as they grow."""
    files = []
    total = 0
    for path, size in _files(directory):
        files.append(path)
        total += size
        if len(files) > SYNC_FILES or total > SYNC_BYTES:
            return
    for path in files:
        _sync_directory(path)


def _files(directory: Path) -> Iterator[tuple[str, int]]:
    for root, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(root, name)  # noqa: PTH118 - of many names
            yield path, os.lstat(path).st_size


def _sync_directory(path: str | Path) -> None:
    """Wait for a file or a directory; links and what cannot be opened are passed over."""
    with contextlib.suppress(PermissionError, FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
