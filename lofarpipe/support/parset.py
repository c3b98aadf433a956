"""Parsets: ordered ``key = value`` text, with the file and line of every key, and the names that scripts call."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Self, TypeVar

from lofarpipe.errors import Finding, nearest
from lofarpipe.support import parset_text as parset_values
from lofarpipe.support.parset_text import (
    BLANKS,
    CHUNK,
    LONGEST_FILE,
    Entry,
    ParsetError,
    Record,
    Substitution,
    boolean,
    canonical,
    expand_environment,
    integer,
    lex,
    may_have_placeholders,
    placeholders,
    real,
    split_list,
    unquote,
    whole_lines,
)
from lofarpipe.support.patterns import lazy_pattern
from lofarpipe.support.utilities import uncollected, write_atomically

REPLACE = "pipeline.replace."
_DEFINES = ("!", REPLACE)  # how the keys of definitions start
_KEY_OF = itemgetter(0)
_LINE_BREAK = lazy_pattern("[\n\r\0]")
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


class MissingKeyError(ParsetError, KeyError):
    """The parset lacks the key."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show it with quotes around


class Value(str):
    """The raw text of a key, with the accessors that scripts written for the C++ parser call on it."""

    __slots__ = ()

    def get(self) -> str:
        """Return the raw text."""
        return str(self)

    def getString(self) -> str:  # noqa: N802 - a name of the C++ parset
        """Return the text without one level of quotes."""
        return unquote(self)

    def getStringVector(self) -> list[str]:  # noqa: N802
        """Return the elements of a list."""
        return split_list(self)

    def getBool(self) -> bool:  # noqa: N802
        """Return the truth of the text."""
        return parset_values.boolean(unquote(self))

    def getInt(self) -> int:  # noqa: N802
        """Return the whole number."""
        return parset_values.integer(unquote(self))

    def getFloat(self) -> float:  # noqa: N802
        """Return the number."""
        return parset_values.real(unquote(self))

    getDouble = getFloat  # noqa: N815


class Keys(list[str]):
    """Raw texts left of ``=``; called, as the keys of ``lofar.parameterset`` are, it gives the keys in byte order."""

    def __call__(self) -> list[str]:
        return sorted({key for key in self if not key.startswith("#")})


class Entries:
    """Ordered ``key = value`` text; knows the file and line of every key, but not its meaning.

    Keys keep the place where they first appeared; of duplicates the last value counts. ``keys`` lists the raw texts
    left of ``=`` in file order, comment lines included. ``oddities`` holds a Finding for each line that is legal, yet
    most likely a slip, and ``repeated`` one for each that gives a key of the same file another value.

    Raises
    ------
    ParsetError
        If ``filename`` cannot be read as a parset.

    Source: doc/spec/lofarpipe.md, sections 3.1 to 3.3 and 5.3.
    """

    def __init__(self, filename: str | os.PathLike[str] | None = None) -> None:
        self.keys = Keys()
        self.oddities: list[Finding] = []
        self.repeated: list[Finding] = []
        self._entries: dict[str, Record] = {}
        self._blocks: dict[str, list[str]] = {}  # first part -> keys, made at the first request
        if filename:
            self._adopt_text(read_lines(Path(filename)), str(filename))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Return the parset in a file."""
        return cls(path)

    @classmethod
    def parse(cls, text: str, file: str = "<text>") -> Self:
        """Return the parset in a text; ``file`` is the name that errors give it."""
        parset = cls()
        parset._adopt_text(whole_lines(text), file)
        return parset

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and canonical(key) in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, key: str) -> Value:
        return Value(self._record(key)[1])

    def __repr__(self) -> str:
        return f"<Parset of {len(self)} keys>"

    def entry(self, key: str) -> Entry:
        """Return a key's value with its file and line.

        Raises
        ------
        MissingKeyError
            If the key is missing; also a KeyError.
        """
        return Entry(*self._record(key))

    def _record(self, key: str) -> Record:
        try:
            return self._entries[canonical(key)]
        except KeyError:
            raise MissingKeyError(f"no key {key!r} in the parset{nearest(key, self)}") from None

    def entries(self) -> Iterator[Entry]:
        """Yield every entry, in order."""
        return (Entry(*record) for record in self._entries.values())

    def get(self, key: str, default: str | None = None) -> str | None:
        """Return the raw value of a key, or ``default``."""
        record = self._entries.get(canonical(key))
        return Value(record[1]) if record else default

    def set(self, key: str, value: str, file: str = "", line: int = 0, comment: str = "") -> None:
        """Set a raw value. An existing key keeps its position, and its comment unless a new one is given."""
        key = canonical(key)
        _refuse_line_breaks(key, value)
        if self._set_entry((key, value, file, line, comment)):
            self.keys.append(key)

    def _set_entry(self, record: Record) -> bool:
        """Set an entry with a normalised key; return whether the key is new."""
        existing = self._entries.get(record[0])
        if existing is None:
            self._blocks = {}
        elif not record[4]:
            record = (*record[:4], existing[4])
        self._entries[record[0]] = record
        return existing is None

    def _remove(self, keys: Iterable[str]) -> None:
        gone = {canonical(key) for key in keys}
        for key in gone:
            self._entries.pop(key, None)
        self._blocks = {}
        self.keys = Keys(name for name in self.keys if canonical(name) not in gone)

    def adopt(self, other: Entries) -> None:
        """Lay another parset over this one: existing keys keep their position, and get the other's value.

        A definition replaces the one of its name, ``! name`` or ``pipeline.replace.name``. New definitions are placed
        before the next definition of the other parset that exists here: a value laid over may use them, as it may in
        its own file. All other new keys come last.
        """
        keys_by_name = {name: record[0] for name, record in self._definitions().items()}
        added: list[str] = []
        added_before: dict[str, list[str]] = {}
        for record in other._entries.values():
            name = _defined_name(record[0])
            key = keys_by_name.get(name, record[0])
            is_new = self._set_entry(record if key == record[0] else (key, *record[1:]))
            if is_new:
                self.keys.append(key)
            if name and is_new:
                added.append(key)
            elif name and added:
                added_before[key], added = added, []
        if added_before:
            self._move(added_before)
        self.oddities += other.oddities
        self.repeated += other.repeated

    def _move(self, moves: dict[str, list[str]]) -> None:
        """Move lists of keys before another key."""
        moved = {key for keys in moves.values() for key in keys}
        order = [place for key in self._entries if key not in moved for place in (*moves.get(key, ()), key)]
        self._entries = {key: self._entries[key] for key in order}
        self._blocks = {}

    def subset(self, prefix: str) -> Self:
        """Return the keys below ``prefix.``, without the prefix, and with file and line of the full keys."""
        return self._renamed(f"{prefix}.", "")

    def _renamed(self, prefix: str, new_prefix: str) -> Self:
        """Return the entries with a key prefix, replaced by another one."""
        result = type(self)()
        for record in self._candidates(prefix):
            key = new_prefix + record[0].removeprefix(prefix)
            if record[0].startswith(prefix) and key:
                result.set(key, *record[1:])
        return result

    def _candidates(self, prefix: str) -> Iterable[Record]:
        """Return the candidate entries for a prefix, from the index of its first part."""
        block, dot, _ = prefix.partition(".")
        if not dot:
            return self._entries.values()
        if not self._blocks:
            for key in self._entries:
                self._blocks.setdefault(key.partition(".")[0], []).append(key)
        return [self._entries[key] for key in self._blocks.get(block, ())]

    def definitions(self) -> dict[str, Entry]:
        """Return the replacement variables by name, in the order of their first definitions."""
        return {name: Entry(*record) for name, record in self._definitions().items()}

    def _definitions(self) -> dict[str, Record]:
        names = ((_defined_name(key), record) for key, record in self._entries.items() if key.startswith(_DEFINES))
        return {name: record for name, record in names if name}

    def substituted(self) -> Self:
        """Return a copy with ``{{ name }}`` replaced in every value, and ``$NAME`` in the definitions.

        Raises
        ------
        ParsetError
            If a value grows beyond bounds.

        Source: doc/spec/lofarpipe.md, section 3.3.
        """
        substitution = Substitution({name: record[1] for name, record in self._definitions().items()})
        result = type(self)()
        result.keys, result.oddities, result._entries = Keys(self.keys), [*self.oddities], {**self._entries}
        result.repeated = [*self.repeated]
        for key, record in self._entries.items():
            value = record[1]
            if key.startswith(_DEFINES) and _defined_name(key):
                value = expand_environment(value)
            if may_have_placeholders(value):
                value = substitution.apply(value, Entry(*record).where)
            if value != record[1]:
                result._entries[key] = (key, value, *record[2:])
        return result

    def placeholders(self, key: str) -> list[str]:
        """Return the names used as ``{{ name }}`` in a value."""
        return placeholders(self._record(key)[1])

    def string(self, key: str) -> str:
        """Return a value without one level of quotes."""
        return self._convert(key, unquote)

    def vector(self, key: str) -> list[str]:
        """Return the elements of a list value, each without one level of quotes."""
        return self._convert(key, split_list)

    def boolean(self, key: str) -> bool:
        """Return the truth of a value, by its first letter."""
        return self._convert(key, lambda text: parset_values.boolean(unquote(text)))

    def integer(self, key: str) -> int:
        """Return an integer value."""
        return self._convert(key, lambda text: parset_values.integer(unquote(text)))

    def _convert(self, key: str, convert: Callable[[str], T]) -> T:
        """Return a converted value; an error names the key, its file and its line."""
        entry = self.entry(key)
        try:
            return convert(entry.value)
        except ParsetError as err:
            raise ParsetError(f"{entry.where}: {entry.key}: {err}") from err

    def _adopt_text(self, pieces: Iterable[str], file: str, prefix: str = "") -> None:
        with uncollected():
            records = [*chain.from_iterable(lex(pieces, file, self.oddities, self.keys))]
            is_first = not (prefix or self._entries)
            entries = dict(zip(map(_KEY_OF, records), records, strict=True)) if is_first else {}
            if is_first and len(entries) == len(records):  # no key occurs twice
                self._entries, self._blocks = entries, {}
            else:
                self._set_entries(records, prefix)
                self.repeated += _repeated(records)

    def _set_entries(self, batch: list[Record], prefix: str) -> None:
        for record in batch:
            key = canonical(prefix + record[0])
            _refuse_line_breaks(key, record[1])
            self._set_entry((key, *record[1:]))


def _repeated(records: Iterable[Record]) -> Iterator[Finding]:
    """Yield a finding for each entry that changes the value of an earlier one."""
    last: dict[str, Record] = {}
    for record in records:
        key, value = record[:2]
        previous = last.get(key)
        if previous is not None and previous[1] != value:
            problem = f"{key} is set again, to another value than in line {previous[3]}; the last one counts"
            yield Finding(Entry(*record).where, problem)
        last[key] = record


def _defined_name(key: str) -> str:
    """Return the variable defined by a key, or ``""``."""
    if key.startswith("!"):
        return key[1:].strip(BLANKS)
    return key.removeprefix(REPLACE).strip(BLANKS) if key.startswith(REPLACE) else ""


def _refuse_line_breaks(key: str, value: str) -> None:
    """Raise for a key or value that would change when written and read again."""
    if not key or _LINE_BREAK.search(key) or _LINE_BREAK.search(value):
        raise ParsetError(f"{key!r} = {value[:60]!r}: keys are not empty, and keys and values are one line")


def read_lines(path: Path) -> Iterator[str]:
    """Yield a parset file in pieces of whole lines; the lexer reports bytes that are not UTF-8 by line.

    A piece at a time: the text of a large parset takes as much memory as a quarter of its entries.
    """
    mark = "\ufeff"
    try:
        with path.open("rb") as stream:
            while content := stream.read(CHUNK):
                content += stream.readline(LONGEST_FILE)  # a line of this length is refused, as is a part of it
                yield content.decode("utf-8", errors="surrogateescape").removeprefix(mark)
                mark = ""
    except OSError as err:
        raise ParsetError(f"{path}: cannot be read: {err.strerror}") from err


class Parset(Entries):
    """A parset, with the methods that plugins and scripts call (doc/spec/lofarpipe.md, section 5.3).

    Raises
    ------
    ParsetError
        If a file is not a parset, or case-insensitive names are requested, which are not supported.
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
        """Set keys from words ``key=value``."""
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
        """Remove keys, if present."""
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
        """Return a value without one level of quotes; ``default`` for a missing key."""
        return self.string(key) if default is None or key in self else default

    def getStringVector(  # noqa: N802
        self, key: str, default: list[str] | bool | None = None, expandable: bool = False
    ) -> list[str]:
        """Return the elements of a list value; ``default`` for a missing key."""
        return self._elements(key, str, default, expandable)

    def getBool(self, key: str, default: bool | None = None) -> bool:  # noqa: N802
        """Return a boolean value; ``default`` for a missing key."""
        return self.boolean(key) if default is None or key in self else default

    def getInt(self, key: str, default: int | None = None) -> int:  # noqa: N802
        """Return an integer value; ``default`` for a missing key."""
        return self.integer(key) if default is None or key in self else default

    def getFloat(self, key: str, default: float | None = None) -> float:  # noqa: N802
        """Return a number; ``default`` for a missing key."""
        return self[key].getFloat() if default is None or key in self else default

    getDouble = getFloat  # noqa: N815

    def getBoolVector(  # noqa: N802
        self, key: str, default: list[bool] | bool | None = None, expandable: bool = False
    ) -> list[bool]:
        """Return the booleans in a list value; ``default`` for a missing key."""
        return self._elements(key, boolean, default, expandable)

    def getIntVector(  # noqa: N802
        self, key: str, default: list[int] | bool | None = None, expandable: bool = False
    ) -> list[int]:
        """Return the integers in a list value; ``default`` for a missing key."""
        return self._elements(key, integer, default, expandable)

    def getFloatVector(  # noqa: N802
        self, key: str, default: list[float] | bool | None = None, expandable: bool = False
    ) -> list[float]:
        """Return the numbers in a list value; ``default`` for a missing key."""
        return self._elements(key, real, default, expandable)

    getDoubleVector = getFloatVector  # noqa: N815

    def _elements(
        self, key: str, convert: Callable[[str], T], default: list[T] | bool | None, expandable: bool
    ) -> list[T]:
        """Return the elements of a list value; a boolean instead of a default decides whether ranges are expanded.

        Raises
        ------
        ParsetError
            If expansion of ranges or repetitions is requested, which is not supported.
        """
        if isinstance(default, list) and key not in self:
            return default
        texts = self.vector(key)
        if (expandable or default is True) and any(".." in text or "*" in text for text in texts):
            raise ParsetError(f"{key} is {self[key]}; ranges (a..b, n*a) are not expanded here, write all elements")
        return [convert(text) for text in texts]

    def fullModuleName(self, module: str) -> str:  # noqa: N802
        """Return the first key, in byte order, up to its component ``module``; "" without such a component.

        The last part of a key is no component. Source: doc/spec/lofarpipe.md, section 3.6.
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
    """Provide a patched copy of a parset file; it is removed afterwards if ``unlink``."""
    name = patch_parset(parset, values, output_dir)
    try:
        yield name
    finally:
        if unlink:
            Path(name).unlink(missing_ok=True)
