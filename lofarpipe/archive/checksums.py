"""Checksums of files and casacore tables, at a cost that does not grow with their size.

Up to a limit everything is read (``full``). Beyond it only the first and the last MiB of each file are (``sampled``):
that detects other data, but not every changed byte.

``full``, file: its SHA-256. ``full``, table: the SHA-256 of the output of ``sha256sum`` for its files in byte order of
their names below the table, locks left out::

    cd L1.MS; find * -type f ! -name table.lock | LC_ALL=C sort | xargs sha256sum | sha256sum

``sampled``: the SHA-256 of the lines ``<SHA-256 of the samples>  <bytes>  <name>``, one per file.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lofarpipe.state.fingerprints import SMALL_BYTES, digest_of, small_stamp, stamp

Entry = dict[str, Any]

FULL, SAMPLED = "full", "sampled"
SAMPLE_BYTES = 1 << 20
BLOCK_BYTES = 1 << 20
LOCK = "table.lock"  # casacore writes it when a table is only read


def describe_files(
    paths: Iterable[str],
    limit_bytes: int,
    earlier_entries: Mapping[str, Entry] | None = None,
    prefer: Mapping[str, str] | None = None,
) -> list[Entry]:
    """Return one entry per file or table: path, kind, bytes, files, stamp, checksum.

    Parameters
    ----------
    paths: other paths than files and tables are skipped.
    limit_bytes: total size of files read entirely, the smallest first; larger ones are sampled.
    earlier_entries: path -> entry of an earlier run, reused if size and times are unchanged.
    prefer: path -> method, for comparison with earlier entries.
    """
    digests: dict[str, str] = {}  # of small files, already read for their stamps
    measured = {path: _measured(path, digests) for path in dict.fromkeys(paths)}
    earlier = earlier_entries or {}
    bare = {path: _unchanged_entry(entry, earlier.get(path)) for path, entry in measured.items() if entry is not None}
    budget_bytes = limit_bytes
    entries: dict[str, Entry] = {}
    for path, entry in sorted(bare.items(), key=lambda item: int(item[1]["bytes"])):
        method = (prefer or {}).get(path) or (FULL if entry["bytes"] <= budget_bytes else SAMPLED)
        budget_bytes -= entry["bytes"]
        if "checksum" in entry and entry["checksum"]["method"] in (method, FULL):
            entries[path] = entry
        else:
            value = digests.get(path) if method == FULL else None
            checksum = {"algorithm": "sha256", "method": method, "value": value or checksum_of(path, method)}
            entries[path] = {**entry, "checksum": checksum}
    return [entries[path] for path in bare]


def _unchanged_entry(entry: Entry, earlier: Entry | None) -> Entry:
    """Return an earlier run's record of a file, if it has not changed since."""
    return entry if earlier is None or earlier.get("stamp") != entry["stamp"] else earlier


def _measured(path: str, digests: dict[str, str]) -> Entry | None:
    """Return the entry of a file or table without its checksum; None for other or unreadable paths."""
    try:
        status = os.stat(path)  # noqa: PTH116 - of very many paths
        if stat.S_ISREG(status.st_mode) and status.st_size <= SMALL_BYTES:
            digests[path] = digest_of(path, status.st_size)
            mark = small_stamp(digests[path], status.st_mtime_ns)
            return {"path": path, "kind": "file", "bytes": status.st_size, "files": 1, "stamp": mark}
    except (OSError, ValueError):  # missing, unreadable, or not a path
        return None
    large = stamp(path)
    return _measured_large(path, large) if large is not None and os.access(path, os.R_OK) else None


def _measured_large(path: str, mark: str) -> Entry:
    status = os.stat(path)  # noqa: PTH116 - of very many paths
    if not stat.S_ISDIR(status.st_mode):
        return {"path": path, "kind": "file", "bytes": status.st_size, "files": 1, "stamp": mark}
    sizes = [file.stat().st_size for file, _ in files_in(path)]
    return {"path": path, "kind": "table", "bytes": sum(sizes), "files": len(sizes), "stamp": mark}


def files_in(path: str) -> list[tuple[Path, str]]:
    """Return the files of a table with their names below it, in byte order of these; of a file itself, with its own."""
    top = Path(path)
    if not top.is_dir():
        return [(top, top.name)]
    paths = [(Path(folder, name), name) for folder, _, names in os.walk(top) for name in names if name != LOCK]
    named_paths = [(file, str(file.relative_to(top))) for file, _ in paths]
    return sorted(named_paths, key=lambda pair: os.fsencode(pair[1]))


def checksum_of(path: str, method: str) -> str:
    """Return the checksum of a file or table by one of the methods.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    if method == FULL and not os.path.isdir(path):  # noqa: PTH112 - of very many paths
        return _digest(path, _read_blocks)
    total = hashlib.sha256()
    for file, name in files_in(path):
        size = "" if method == FULL else f"{file.stat().st_size}  "
        digest = _digest(file, _read_blocks if method == FULL else _head_and_tail)
        total.update(os.fsencode(f"{digest}  {size}{name}\n"))
    return total.hexdigest()


def _digest(path: str | Path, read: Callable[[int], Iterable[bytes]]) -> str:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        digest = hashlib.sha256()
        for block in read(file):
            digest.update(block)
        return digest.hexdigest()
    finally:
        os.close(file)


def _read_blocks(file: int) -> Iterable[bytes]:
    # Read with a buffer of the file's size: there may be very many small files.
    remaining_bytes = os.fstat(file).st_size
    while block := os.read(file, min(BLOCK_BYTES, remaining_bytes) if remaining_bytes > 0 else BLOCK_BYTES):
        yield block
        remaining_bytes -= len(block)
        if remaining_bytes == 0:
            return


def _head_and_tail(file: int) -> Iterable[bytes]:
    """Yield the first MiB, and the last MiB without overlap."""
    size = os.fstat(file).st_size
    yield os.pread(file, SAMPLE_BYTES, 0)
    if size > SAMPLE_BYTES:
        start = max(SAMPLE_BYTES, size - SAMPLE_BYTES)
        yield os.pread(file, size - start, start)
