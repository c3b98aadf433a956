"""Parsets: ordered ``key = value`` text, with the file and line of every key, and the names that scripts call."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

from lofarpipe.support.parset_entries import Entries, MissingKeyError, Value, read_lines
from lofarpipe.support.parset_text import Entry, ParsetError, boolean, integer, real, split_list, unquote
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
T = TypeVar("T")


class Parset(Entries):
    """A parset, with the methods of the C++ parameter set that plugins and scripts call (spec/lofarpipe.md, 5.3).

    Raises
    ------
    ParsetError
        If a file cannot be read as a parset, or names are to be case-insensitive, which they are not here.
    """

    def __init__(
        self,
        filename: Filename | Mapping[str, object] | bool | None = None,
        caseInsensitive: bool = False,  # noqa: N803 - this and the names below are historical
    ) -> None:
        if caseInsensitive or filename is True:
            raise ParsetError("case-insensitive names are asked for; here names are as they are written")
        super().__init__(filename if isinstance(filename, str | os.PathLike) else None)
        if isinstance(filename, Mapping):
            self.adoptDict(filename)

    @classmethod
    def fromDict(cls, values: Mapping[str, object]) -> Self:  # noqa: N802
        """Return a parset with the text of every value."""
        return cls(values)

    def adoptDict(self, values: Mapping[str, object]) -> None:  # noqa: N802
        """Take over the text of every value."""
        for key, value in values.items():
            self.add(key, value)

    def adoptArgv(self, argv: Iterable[str]) -> None:  # noqa: N802
        """Take over the words that are ``key=value``."""
        for key, equals, value in (word.partition("=") for word in argv):
            if equals:
                self.add(key, value)

    def dict(self, removeQuotes: bool = False) -> dict[str, str]:  # noqa: N803
        """Return the keys with their texts, if wanted without quotes around them."""
        return {key: unquote(self[key]) if removeQuotes else str(self[key]) for key in self.keywords()}

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

    def clear(self) -> None:
        """Take all keys out."""
        self.remove(*self)

    def subtractSubset(self, prefix: str) -> None:  # noqa: N802
        """Take out the keys that start with ``prefix``."""
        self.remove(*(key for key in self if key.startswith(prefix)))

    def addStringVector(self, key: str, vector: Iterable[str]) -> None:  # noqa: N802
        """Set a key to a list of texts."""
        self.add(key, f"[ {', '.join(vector)} ]")

    def adoptFile(self, filename: Filename, prefix: str = "") -> None:  # noqa: N802
        """Take over the keys of a file, each with ``prefix`` in front; they replace keys of the same name."""
        self._adopt_text(read_lines(Path(filename)), str(filename), prefix)

    def makeSubset(self, prefix: str, new_prefix: str | None = None) -> Self:  # noqa: N802
        """Return the keys that start with ``prefix``, with ``new_prefix`` in its place."""
        return self._renamed(prefix, new_prefix or "")

    def getString(self, key: str, default: str | None = None) -> str:  # noqa: N802
        """Return a value without one level of quotes; ``default`` where there is no such key."""
        return self.string(key) if default is None or key in self else default

    def getStringVector(  # noqa: N802
        self, key: str, default: list[str] | bool | None = None, expandable: bool = False
    ) -> list[str]:
        """Return the elements of a list value; ``default`` where there is no such key."""
        return self._elements(key, str, default, expandable)

    def getBool(self, key: str, default: bool | None = None) -> bool:  # noqa: N802
        """Return the truth of a value; ``default`` where there is no such key."""
        return self.boolean(key) if default is None or key in self else default

    def getInt(self, key: str, default: int | None = None) -> int:  # noqa: N802
        """Return a whole number; ``default`` where there is no such key."""
        return self.integer(key) if default is None or key in self else default

    def getFloat(self, key: str, default: float | None = None) -> float:  # noqa: N802
        """Return a number; ``default`` where there is no such key."""
        return self[key].getFloat() if default is None or key in self else default

    getDouble = getFloat  # noqa: N815

    def getBoolVector(  # noqa: N802
        self, key: str, default: list[bool] | bool | None = None, expandable: bool = False
    ) -> list[bool]:
        """Return the truths in a list value; ``default`` where there is no such key."""
        return self._elements(key, boolean, default, expandable)

    def getIntVector(  # noqa: N802
        self, key: str, default: list[int] | bool | None = None, expandable: bool = False
    ) -> list[int]:
        """Return the whole numbers in a list value; ``default`` where there is no such key."""
        return self._elements(key, integer, default, expandable)

    def getFloatVector(  # noqa: N802
        self, key: str, default: list[float] | bool | None = None, expandable: bool = False
    ) -> list[float]:
        """Return the numbers in a list value; ``default`` where there is no such key."""
        return self._elements(key, real, default, expandable)

    getDoubleVector = getFloatVector  # noqa: N815

    def _elements(
        self, key: str, convert: Callable[[str], T], default: list[T] | bool | None, expandable: bool
    ) -> list[T]:
        """Return the elements of a list value; a truth instead of a default says whether ranges are expanded.

        Raises
        ------
        ParsetError
            If ranges or repetitions should be expanded, which is not done here.
        """
        if isinstance(default, list) and key not in self:
            return default
        texts = self.vector(key)
        if (expandable or default is True) and any(".." in text or "*" in text for text in texts):
            raise ParsetError(f"{key} is {self[key]}; ranges (a..b, n*a) are not expanded here, write all elements")
        return [convert(text) for text in texts]

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
