"""Surveys of measurement sets, kept in the user's cache for the next command that asks.

An entry is a small JSON file; its name is the digest of the question, and of the files of the set as they were. A set
that was written since has another digest, and nobody finds the old entry, which goes with the oldest.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lofarpipe.support.data_directories import user_cache

SCHEMA = 2  # to be raised when an entry's content, or what it means, changes
RECENT_S = 2.0  # files written so recently may be written again without another time of change
MOST_ENTRIES, OLDEST_S = 10_000, 30 * 86400.0


def fingerprint(path: str) -> str:
    """Return a text that differs once a file of a set was written, or replaced; "" if they cannot be looked at.

    Of the files of the main table and its subtables: name, size, times of change of content and inode, and the inode.
    """
    return _files_of(path)[0]


def _files_of(path: str) -> tuple[str, float]:
    """Return the fingerprint of a set, and when it was written last."""
    files, folders = list[tuple[str, int, int, int, int]](), [path]
    try:
        for folder in folders:  # which grows: of a multi-MS each part has subtables
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(("table.dat", "table.f")):
                        one = entry.stat()
                        files.append((entry.path, one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino))
                    elif entry.is_dir():
                        folders.append(entry.path)
    except OSError:
        return "", 0.0
    newest_ns = max((max(file[2], file[3]) for file in files), default=0)
    return (hashlib.sha256(repr(sorted(files)).encode()).hexdigest() if files else ""), newest_ns / 1e9


def read_entry(question: Iterable[object], files: str) -> dict[str, Any] | None:
    """Return the entry of a question about a set with the fingerprint ``files``; None for nothing."""
    with suppress(OSError, ValueError):
        entry = json.loads(_entry_path(question, files).read_bytes())
        if isinstance(entry, dict):
            return entry
    return None


def write_entry(question: Iterable[object], path: str, files: str, entry: Mapping[str, Any]) -> None:
    """Store the survey of the set at ``path``, whose fingerprint was ``files`` before.

    Nothing is stored of a set that was written meanwhile, or just before, nor where there is no place for it.
    """
    now, written_s = _files_of(path)
    if now != files or time.time() - written_s < RECENT_S:
        return
    with suppress(OSError):
        target = _entry_path(question, files)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = target.with_name(f"{target.name}.{os.getpid()}")
        try:
            unfinished.write_text(json.dumps(entry, default=_plain), encoding="utf-8")
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
        _prune(target.parent)


def _plain(value: Any) -> list[Any]:
    """Return an array, or a set, as JSON can hold it."""
    return value.tolist() if hasattr(value, "tolist") else sorted(value)


def _entry_path(question: Iterable[object], files: str) -> Path:
    cache = user_cache()
    if cache is None:
        raise FileNotFoundError("there is no directory for the user's cache")
    digest = hashlib.sha256(repr((SCHEMA, *question, files)).encode(errors="surrogateescape")).hexdigest()
    return cache / "surveys" / f"{digest[:32]}.json"


@functools.cache
def _prune(directory: Path) -> None:
    """Remove old entries, and the oldest of too many; once in a process."""
    with os.scandir(directory) as entries:
        ages = sorted((entry.stat().st_mtime, entry.path) for entry in entries)
    surplus = len(ages) - MOST_ENTRIES
    for number, (written_s, path) in enumerate(ages):
        if number < surplus or time.time() - written_s > OLDEST_S:
            with suppress(FileNotFoundError):  # another process was faster
                os.unlink(path)  # noqa: PTH108 - of a text
