"""Scratch directories of jobs on a node: marked with their run, verified copies of products, removal when dead."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from lofarpipe.errors import PipelineError
from lofarpipe.state.lock import Holder, RunLock
from lofarpipe.state.slots import is_in_queue
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.disk import free_bytes, io_problem, size_text
from lofarpipe.support.utilities import write_atomically

MARKER = "scratch-owner.json"
LOCK = "scratch-owner"
PREFIX = "genericpipeline-"
CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class Marker:
    """The run, step and job of a scratch directory; ``kept`` is the reason why it outlived the job."""

    run: str  # job directory of the run
    step: str
    job: str
    kept: str = ""

    @classmethod
    def read(cls, directory: Path) -> Marker | None:
        """Return the marker of a directory; None if it has none."""
        try:
            content = json.loads((directory / MARKER).read_text(encoding="utf-8"))
            return cls(**{name: str(content[name]) for name in asdict(cls("", "", ""))})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, directory: Path) -> None:
        """Write the marker into a directory."""
        write_atomically(directory / MARKER, json.dumps(asdict(self)) + "\n")

    def mark(self, directory: Path) -> None:
        """Write the marker and this process, which removes the directory after the job, into a directory."""
        self.write(directory)
        (directory / LOCK).write_text(json.dumps(asdict(Holder.current(self.run))), encoding="utf-8")


class Scratch:
    """The scratch directory of a running job; removed at its end unless ``keep`` was called.

    The job's lock has a heartbeat, so that the directory is not mistaken for that of a dead job.

    Raises
    ------
    PipelineError
        If the directory cannot be created, or the disk has less free space than the job needs.
    """

    def __init__(self, root: Path, marker: Marker, needed_bytes: float = 0.0) -> None:
        self.marker = marker
        self.path = root / f"{PREFIX}{marker.step}-{marker.job}-{secrets.token_hex(4)}"
        try:
            root.mkdir(parents=True, exist_ok=True)
            if (free := free_bytes(root)) < needed_bytes:
                raise PipelineError(
                    f"scratch_dir: {root} has {size_text(free)} free, and the data of this job take "
                    f"{size_text(needed_bytes)}; make room, set fewer channels_per_job, or name another directory"
                )
            self.path.mkdir()
        except OSError as err:
            raise PipelineError(f"scratch_dir: {io_problem(err)}") from err
        marker.write(self.path)
        self._lock = RunLock(self.path / LOCK)
        self._is_kept = False

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if not self._is_kept:
            shutil.rmtree(self.path, ignore_errors=True)

    def keep_directory(self, reason: str) -> None:
        """Keep the directory after the job, because its products exist nowhere else."""
        self._is_kept = True
        with contextlib.suppress(OSError):  # on a full disk the directory is kept without the reason
            Marker(**{**asdict(self.marker), "kept": reason}).write(self.path)


@dataclass(frozen=True)
class Residue:
    """A scratch directory on disk: size, marker, and whether its job is running."""

    path: Path
    size_bytes: int
    marker: Marker
    is_alive: bool


def find_residues(root: Path, run: str) -> Iterator[Residue]:
    """Yield the directories in ``root`` with a marker of this run: scratch of its scripts and of its programs."""
    for path in sorted(file.parent for file in root.glob(f"*/{MARKER}")):
        marker = Marker.read(path)
        if marker is not None and marker.run == run and not path.is_symlink():
            yield Residue(path, directory_bytes(path), marker, _is_alive(path))


def _is_alive(directory: Path) -> bool:
    """Whether a live job holds the lock of a scratch directory."""
    try:
        RunLock(directory / LOCK, is_queued=is_in_queue).release()
    except PipelineError:
        return True
    return False


def remove_residue(residue: Residue) -> str:
    """Remove the directory of a dead job; return the problem, or ""."""
    try:
        lock = RunLock(residue.path / LOCK)
    except PipelineError as err:
        return str(err)
    try:
        shutil.rmtree(residue.path)
    except OSError as err:
        return io_problem(err)
    finally:
        lock.release()
    return ""


def directory_bytes(path: Path) -> int:
    """Return the size of all files below a directory, in bytes; files that vanish meanwhile do not count."""
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(directory, name).lstat().st_size
    return total


# ------------------------------------------------------------------------------------------------ copies with proof
def copy_verified(source: Path, target: Path) -> str:
    """Copy a file, verify the copy, and rename it to its target; return the SHA-256.

    Raises
    ------
    PipelineError
        If the copy cannot be written, or differs from the source; the source is intact, and no partial copy is left.
    """
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as reader, part.open("xb") as writer:
            digest = _copy(reader, writer)
        copied_digest = file_digest(part)
        if copied_digest != digest or part.stat().st_size != source.stat().st_size:
            raise PipelineError(f"{target}: the copy of {source} differs from it; the disk may be broken")
        part.replace(target)
    except OSError as err:
        named_error = OSError(err.errno, err.strerror, str(target))
        raise PipelineError(io_problem(named_error)) from err
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return digest


def _copy(reader: BinaryIO, writer: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := reader.read(CHUNK_BYTES):
        digest.update(chunk)
        writer.write(chunk)
    writer.flush()
    os.fsync(writer.fileno())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
