"""Descriptions of disk problems."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from lofarpipe.support import disk as module
from lofarpipe.support.disk import existing, free_bytes, full_place, io_problem, room_text, size_text, trouble_in


@pytest.mark.parametrize(
    ("line", "trouble"),
    [
        (
            "RuntimeError: write(): No space left on device",
            "No space left on device; free some space",
        ),
        ("x: Disk quota exceeded", "Disk quota exceeded; remove files, or ask for more"),
        ("FITS error status 106: error writing to FITS file", "No space left on device; free some space"),
        ("open: Read-only file system", "Read-only file system; ask who runs it, or"),
        ("cd: Stale file handle", "Stale file handle; the file system went away; mount it again"),
        ("Transport endpoint is not connected", "Transport endpoint is not connected; the file system went away"),
        ("No such file or directory: a.ms", ""),
        ("Permission denied", ""),
    ],
)
def test_log_shows_disk_trouble(line: str, trouble: str) -> None:
    assert trouble_in(["start", line, "end"]).startswith(trouble)
    assert bool(trouble_in([line])) == bool(trouble)


def test_last_trouble_counts() -> None:
    assert trouble_in(["Input/output error", "File too large"]).startswith(
        "File too large; a limit on the size of files"
    )


def test_file_error_names_cause(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "none" / "file").touch()
    assert io_problem(caught.value) == (
        f"{tmp_path}/none/file: No such file or directory; somebody removed the directory, or a file system is not "
        "mounted"
    )
    full = io_problem(OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "file")))
    assert full.startswith(f"{tmp_path}/file: No space left on device (")
    assert full.endswith("B free); free some space")


def test_error_without_file_is_described() -> None:
    assert io_problem(OSError(errno.ENOSPC, "No space")) == "a file of the run: No space; free some space"
    assert io_problem(OSError("odd")) == "a file of the run: odd; check the directory"
    assert io_problem(OSError(errno.EIO, "bad", b"/x")).startswith("/x: bad; the disk, or the way to it, is broken")


def test_nearest_existing_directory_is_found(tmp_path: Path) -> None:
    assert existing(tmp_path / "a" / "b") == tmp_path
    assert existing(tmp_path) == tmp_path
    assert existing(Path("a/b")) == Path()


def test_free_space_is_measured(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "none") > 0
    assert room_text(tmp_path).endswith("B free")


@pytest.mark.parametrize(("size_bytes", "text"), [(3.21e9, "3.21 GB"), (1e9, "1 GB"), (9.99e8, "999 MB"), (0, "0 MB")])
def test_size_is_formatted(size_bytes: float, text: str) -> None:
    assert size_text(size_bytes) == text


def disk(free: float, total: float, files: int = 10, free_files: int = 5) -> SimpleNamespace:
    return SimpleNamespace(
        f_bavail=int(free / 4096), f_blocks=int(total / 4096), f_frsize=4096, f_files=files, f_favail=free_files
    )


@pytest.mark.parametrize(
    ("free", "total", "is_full"),
    [(99e6, 1e12, True), (101e6, 1e12, False), (9e6, 1e9, True), (11e6, 1e9, False), (0, 1e6, True)],
)
def test_full_disk_is_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, total: float, is_full: bool
) -> None:
    monkeypatch.setattr(module.os, "statvfs", lambda _: disk(free, total))
    text = full_place([tmp_path])
    assert text.startswith(f"the disk of {tmp_path} is full: ") if is_full else not text


def test_missing_inodes_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "statvfs", lambda _: disk(1e12, 2e12, free_files=0))
    assert full_place([tmp_path]) == f"the disk of {tmp_path} has no inodes left; remove files"
    monkeypatch.setattr(module.os, "statvfs", lambda _: disk(1e12, 2e12, files=0, free_files=0))  # they are not counted
    assert full_place([tmp_path]) == ""


def test_stale_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(_: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(module.os, "statvfs", stale)
    assert (
        full_place([tmp_path])
        == f"{tmp_path} cannot be reached: Stale file handle; the file system went away; mount it again"
    )
    assert room_text(tmp_path) == "which cannot be looked at: Stale file handle"
