"""Parsets: ordered ``key = value`` text, with the file and line of every key, and the names that scripts call."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from lofarpipe.support.parset_entries import Entries, MissingKeyError, Value, read_lines
from lofarpipe.support.parset_text import Entry
from lofarpipe.support.parset_values import ParsetError, boolean, split_list, unquote
from lofarpipe.support.utilities import write_atomically

__all__ = [
    "Entry",
    "MissingKeyError",
    "Parset",
    "ParsetError",
    "Value",
    "get_parset",
    "patch_parset",
    "patched_parset",
    "split_list",
    "unquote",
]

Filename = str | os.PathLike[str]


class Parset(Entries):
    """A parset, with the methods of the C++ parameter set that plugins and scripts call (spec/lofarpipe.md, 5.3)."""

    @classmethod
    def fromDict(cls, values: Mapping[str, object]) -> Self:  # noqa: N802 - this and the names below are historical
        """Return a parset with the text of every value."""
        parset = cls()
        for key, value in values.items():
            parset.add(key, value)
        return parset

    def keywords(self) -> list[str]:
        """Return every key, in byte order."""
        return sorted(self)

    def isDefined(self, key: str) -> bool:  # noqa: N802
        """Return whether the parset has a key."""
        return key in self

    def size(self) -> int:
        """Return the number of keys."""
        return len(self)

    def add(self, key: str, value: object) -> None:
        """Set a key to the text of a value."""
        self.set(key, str(value))

    def replace(self, key: str, value: object) -> None:
        """Set a key to the text of a value, whether or not it exists."""
        self.set(key, str(value))

    def remove(self, *keys: str) -> None:
        """Take keys out; nothing happens where there is none."""
        self._remove(keys)

    def adoptFile(self, filename: Filename, prefix: str = "") -> None:  # noqa: N802
        """Take over the keys of a file, each with ``prefix`` in front; they replace keys of the same name."""
        self._adopt_text(read_lines(Path(filename)), str(filename), prefix)

    def makeSubset(self, prefix: str, new_prefix: str | None = None) -> Self:  # noqa: N802
        """Return the keys that start with ``prefix``, with ``new_prefix`` in its place."""
        return self._renamed(prefix, new_prefix or "")

    def getString(self, key: str, default: str | None = None) -> str:  # noqa: N802
        """Return a value without one level of quotes; ``default`` where there is no such key."""
        return self.string(key) if default is None or key in self else default

    def getStringVector(self, key: str, default: list[str] | None = None) -> list[str]:  # noqa: N802
        """Return the elements of a list value; ``default`` where there is no such key."""
        return self.vector(key) if default is None or key in self else default

    def getBool(self, key: str, default: bool | None = None) -> bool:  # noqa: N802
        """Return the truth of a value; ``default`` where there is no such key."""
        return self.boolean(key) if default is None or key in self else default

    def getInt(self, key: str, default: int | None = None) -> int:  # noqa: N802
        """Return a whole number; ``default`` where there is no such key."""
        return self.integer(key) if default is None or key in self else default

    def getBoolVector(self, key: str, default: list[bool] | None = None) -> list[bool]:  # noqa: N802
        """Return the truths in a list value; ``default`` where there is no such key."""
        return [boolean(text) for text in self.vector(key)] if default is None or key in self else default

    def fullModuleName(self, module: str) -> str:  # noqa: N802
        """Return the first key, in byte order, up to its component ``module``; "" where no key has such a component.

        The last part of a key is no component. Source: spec/lofarpipe.md, section 3.6.
        """
        for key in self.keywords():
            parts = key.split(".")[:-1]
            if module in parts:
                return ".".join(parts[: parts.index(module) + 1])
        return ""

    def writeFile(self, filename: Filename) -> None:  # noqa: N802
        """Write ``key=value`` lines in byte order; the file appears when it is complete."""
        lines = [f"{key}={self[key]}\n" for key in self.keywords()]
        write_atomically(Path(filename), "".join(lines))


def get_parset(filename: Filename) -> Parset:
    """Return the parset in a file."""
    return Parset.read(filename)


def patch_parset(
    parset: Parset | Filename, values: Mapping[str, object], output_dir: str | os.PathLike[str] | None = None
) -> str:
    """Write a parset with some values replaced to a new file in ``output_dir``, and return its name."""
    patched = Parset()
    patched.adopt(parset if isinstance(parset, Parset) else Parset.read(parset))
    for key, value in values.items():
        patched.replace(key, value)
    handle, name = tempfile.mkstemp(suffix=".parset", dir=output_dir)
    os.close(handle)
    patched.writeFile(name)
    return name


@contextmanager
def patched_parset(
    parset: Parset | Filename,
    values: Mapping[str, object],
    output_dir: str | os.PathLike[str] | None = None,
    unlink: bool = True,
) -> Iterator[str]:
    """Name a file that holds a parset with some values replaced; it is removed in the end if ``unlink``."""
    name = patch_parset(parset, values, output_dir)
    try:
        yield name
    finally:
        if unlink:
            Path(name).unlink(missing_ok=True)
