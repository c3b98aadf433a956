"""Paths named by a step, and fingerprints of the files."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lofarpipe.state.events import path_as_text
from lofarpipe.support.patterns import lazy_pattern

SMALL_BYTES = 1_000_000  # up to this size the content is hashed, so that a rewritten but equal map is unchanged
LONGEST_PATH = 4096  # bytes, PATH_MAX of Linux
SHORTEST_NAME = 3  # characters of a name without a slash to count as a prefix of file names
LONGEST_LISTING = 1000  # entries of a directory listed for every job
MOST_DIGESTS = 4096  # remembered by this process
# A file younger than the unit of its times may change again without a trace: 10 ms at most on Linux, and 2 s on some
# other file systems, whose times are whole seconds.
UNIT_NS, WHOLE_SECONDS_NS = 20_000_000, 2_500_000_000
_digests: dict[str, tuple[tuple[int, ...], str]] = {}  # path -> state of the file, digest of its content

_CONTENT = "sha256:"
_JOINS = lazy_pattern(r"[,\[\]'\"=]")  # delimiters of names in a text
_QUOTED = lazy_pattern(r"'([^'\n]*)'|\"([^\"\n]*)\"")
_PIECE = lazy_pattern(r"[^\s,\[\]'\"=]+")


def fingerprint(inputs: object) -> str:
    """Return the SHA-256 of ``inputs`` as canonical JSON.

    Raises
    ------
    TypeError, ValueError
        If ``inputs`` holds anything but text, finite numbers, booleans, None, lists, tuples, paths and dictionaries.
    """
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), allow_nan=False, default=path_as_text)
    return hashlib.sha256(text.encode()).hexdigest()


def stamp(path: str) -> str | None:
    """Return the fingerprint of a file or a casacore table; None if there is none.

    For a file: size and modification time, for small files also a hash of the content. For a table, such as a
    measurement set: size and newest time of table.dat and table.f* in it and its subtables, without locks.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - called for very many paths
        if stat.S_ISDIR(status.st_mode):
            return _table_stamp(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size <= SMALL_BYTES:
            return small_stamp(digest_of(path, status.st_size), status.st_mtime_ns)
    except (OSError, ValueError):  # missing, not readable, or not a valid path
        return None
    return f"{status.st_size}@{status.st_mtime_ns}"


def small_stamp(digest: str, mtime_ns: int) -> str:
    """Return the fingerprint of a small file: SHA-256 of its content and modification time."""
    return f"{_CONTENT}{digest[:32]}@{mtime_ns}"


def digest_of(path: str, size: int) -> str:
    """Return the SHA-256 of a small file of ``size`` bytes; it is not read again while its inode and times stay.

    The file is opened even then: a network file system asks its server for the times on opening only.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        now_ns, status = time.time_ns(), os.fstat(file)
        state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if path in _digests and _digests[path][0] == state:
            return _digests[path][1]
        content = _content(file, size)
    finally:
        os.close(file)
    digest = hashlib.sha256(content).hexdigest()
    if len(content) == status.st_size > 0 and _is_settled(status.st_ctime_ns, now_ns):
        if len(_digests) >= MOST_DIGESTS:
            _digests.clear()
        _digests[path] = state, digest
    return digest


def _content(file: int, size: int) -> bytes:
    """Read an open file of ``size`` bytes; several times as fast as a stream or a path object."""
    start = os.read(file, size) if size else b""
    if len(start) == size > 0:
        return start
    return start + b"".join(iter(lambda: os.read(file, SMALL_BYTES), b""))  # a file of /proc, or one that grows


def _is_settled(changed_ns: int, now_ns: int) -> bool:
    """Whether a change of a file from now on gets another time than ``changed_ns``."""
    unit_ns = UNIT_NS if changed_ns % 1_000_000_000 else WHOLE_SECONDS_NS
    return now_ns - changed_ns > unit_ns


def is_same(one: str | None, other: str | None) -> bool:
    """Whether two fingerprints mean equal content; for small files the time is ignored."""
    if one is None or other is None or not one.startswith(_CONTENT):
        return one == other
    return one.partition("@")[0] == other.partition("@")[0]


def _table_stamp(path: str) -> str | None:
    if not os.path.isfile(f"{path}/table.dat"):  # noqa: PTH113
        return None
    size = newest = 0
    folders = [path]
    for folder in folders:  # which grows
        parts = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(("table.dat", "table.f")):
                    parts.append(entry.stat())
                elif entry.is_dir():
                    folders.append(entry.path)
        if not parts:
            continue
        size += sum(part.st_size for part in parts)
        newest = max([newest, *(part.st_mtime_ns for part in parts)])
    return f"{size}@{newest}"


def texts(nested: object) -> Iterator[str]:
    """Yield every text in nested lists, tuples and dictionary values."""
    if isinstance(nested, str):
        yield nested
    elif isinstance(nested, Mapping):
        for value in nested.values():
            yield from texts(value)
    elif isinstance(nested, list | tuple):
        for value in nested:
            yield from texts(value)


def replace_text(nested: Any, text: str, placeholder: str) -> Any:
    """Replace a text by a placeholder in all texts of nested lists, tuples and dictionary values."""
    if not any(text in candidate for candidate in texts(nested)):
        return nested
    if isinstance(nested, str):
        return nested.replace(text, placeholder)
    if isinstance(nested, Mapping):
        return {key: replace_text(value, text, placeholder) for key, value in nested.items()}
    return type(nested)(replace_text(value, text, placeholder) for value in nested)


def named_paths(nested: object, workdir: Path) -> set[str]:
    """Return all candidate paths in the texts of ``nested``, as absolute paths.

    A text counts as a whole and in pieces (``-name=/a/b``, ``[/a.MS,/b.MS]``); list items may contain spaces.
    A name without a slash is relative to ``workdir``, where programs run.
    """
    names: set[str] = set()
    for text in set(texts(nested)):
        whole_texts = {text.strip()} if "/" in text else set()
        if whole_texts and " " in text:
            whole_texts.update(_paths_with_spaces(text))
        names.update(piece for piece in {*whole_texts, *_PIECE.findall(text)} if _may_be_path(piece))
    directory = str(workdir)
    return {_join_path(directory, name) for name in names}


def _paths_with_spaces(text: str) -> Iterator[str]:
    """Yield candidate paths with spaces in a text: after its first ``=``, quoted, or in a list."""
    values = [text.strip(), text.partition("=")[2].strip()]
    if "'" in text or '"' in text:
        values = ["".join(pair) for pair in _QUOTED.findall(text)]
    for value in values:
        if " " in value and "/" in value:
            is_list = value.startswith("[") and value.endswith("]")
            items = [item.strip() for item in value[1:-1].split(",")] if is_list else [value]
            yield from (item for item in items if " " in item and "/" in item)


def _join_path(directory: str, name: str) -> str:
    """Return ``str(Path(here) / name)``, ten times as fast for most names."""
    if "//" in name or "./" in name or name.endswith(("/", "/.")):
        return str(Path(directory) / name)
    return name if name.startswith("/") else f"{directory}/{name}"


def named_files(nested: object, workdir: Path) -> set[str]:
    """Return the names with a slash in the texts of ``nested``, as absolute paths."""
    names = {name.removeprefix("\0/") for name in named_paths(nested, Path("\0"))}
    return {_join_path(str(workdir), name) for name in names if "/" in name and not _JOINS.search(name)}


def _may_be_path(name: str) -> bool:
    if "\0" in name or "\n" in name or len(name.encode(errors="surrogateescape")) > LONGEST_PATH:
        return False
    if "/" in name:
        return name.strip("./") != ""
    return len(name) >= SHORTEST_NAME and any(letter.isalpha() for letter in name)


def names_starting_with(name: str, ordered: list[str]) -> Iterator[str]:
    """Yield the ``ordered`` texts that start with ``name``."""
    place = bisect_left(ordered, name)
    while place < len(ordered) and ordered[place].startswith(name):
        yield ordered[place]
        place += 1


def snapshot(names: Iterable[str], too_long: set[str] | None = None) -> dict[str, str]:
    """Return the fingerprint of every named file or table that exists.

    A name without a file may be a prefix of file names, such as WSClean's image name; those files then count,
    except in the ``too_long`` directories, which are slow to list; newly found long directories are added to the set.
    """
    listings: dict[str, list[str]] = {folder: [] for folder in too_long or ()}
    stamps_by_name = {}
    for name in names:
        mark = stamp(name)
        if mark is not None:
            stamps_by_name[name] = mark
        elif not os.path.isdir(name):  # noqa: PTH112
            folder = os.path.dirname(name)  # noqa: PTH120
            if folder not in listings:
                listings[folder] = _listing(folder)
                if too_long is not None and len(listings[folder]) > LONGEST_LISTING:
                    too_long.add(folder)
            stamps = ((path, stamp(path)) for path in names_starting_with(name, listings[folder]))
            stamps_by_name |= {path: mark for path, mark in stamps if mark is not None}
    return stamps_by_name


def _listing(folder: str) -> list[str]:
    try:
        return sorted(f"{folder}/{name}" for name in os.listdir(folder))  # noqa: PTH208
    except OSError:
        return []
