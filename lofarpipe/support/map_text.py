"""The text of a mapfile: a Python list of dicts or tuples, parsed and never evaluated.

Time and memory are proportional to the text: the usual forms are read many entries at a call, anything else
token by token. ``ast.literal_eval``, which needs a hundred times the memory of its text, reads only short texts with
uncommon forms: comments, numbers in odd notations, texts in several pieces.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lofarpipe.support.lofarexceptions import DataMapError, MapFileError, MapNameError, MapSyntaxError
from lofarpipe.support.patterns import lazy_pattern
from lofarpipe.support.utilities import literal

AT_ONCE = 2**16  # characters
AFTER_ENTRY = r"\s*(?:,\s*|(?=\]))"
#: The varying texts of an entry and an empty text; or an empty text and the rest of the map.
Row = tuple[str, ...]
Made = tuple[list[Any], int]  # entries, and the number of values in them
# Word of a form's shape -> patterns before, of and after the varying text.
_FLAG = "(?:True|False)"
_FORM_WORDS = {
    "TEXT": ("'", r"[^'\\\n]*+", "'"),
    "LIST": ('"', r"[^\"\\\n]*+", '"'),
    "FLAGS": (r"\[", f"{_FLAG}(?:, {_FLAG})*", r"\]"),
    "FLAG": ("", _FLAG, ""),
}
_WORD = lazy_pattern("|".join(_FORM_WORDS))
LONGEST_FILE = 256 * 2**20  # bytes; a map of a million measurement sets is 0.1 GB
MOST_VALUES = 2**23  # texts, flags, lists and entries; an entry of the usual kind counts as 4
DEEPEST = 20  # brackets within each other; maps of lists have 3
LONGEST_UNUSUAL = 2**20  # characters; limit of a text for ast.literal_eval
# Raw control characters, and Unicode's line breaks: whoever writes a map escapes them.
_FORBIDDEN = lazy_pattern("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")
_START, _END = lazy_pattern(r"\s*\["), lazy_pattern(r"\s*\]\s*\Z")
_SEPARATOR, _BLANKS = lazy_pattern(AFTER_ENTRY), lazy_pattern(r"\s*")
_TEXT = r"""(?:'([^'\\\n]*+)'|"([^"\\\n]*+)")"""
_PLAIN_TEXTS = lazy_pattern(r"\['[^'\\\n]*+'(?:, '[^'\\\n]*+')*\]")
_TEXTS = lazy_pattern(rf"\s*\[(?:\s*{_TEXT}\s*(?:,|(?=\])))*\]")
_ONE_TEXT = lazy_pattern(_TEXT)
_TOKEN = lazy_pattern(
    r"""\s*(?:
        u?(?P<quote>'(?P<single>(?:[^'\\\n]++|\\[^\n])*)'|"(?P<double>(?:[^"\\\n]++|\\[^\n])*)")(?!\s*['"])
        |(?P<mark>[][(){}:,])
        |(?P<word>True|False|None)(?!\w)
        |(?P<integer>[+-]?(?:0|[1-9][0-9]{0,99}))(?![\w.])
        |(?P<real>[+-]?[0-9]{1,99}\.[0-9]{0,99}(?:[eE][+-]?[0-9]{1,9})?)(?![\w.])
    )""",
    re.VERBOSE | re.ASCII,
)
_WORDS = {"True": True, "False": False, "None": None}


class Form:
    """One form of entries, exactly of ``shape``; ``make`` builds entries from rows of texts."""

    def __init__(self, shape: str, make: Callable[[list[Row], Callable[[str], str]], Made]) -> None:
        self.shape, self.make = shape, make
        entry = _WORD.sub(lambda word: "{}({}){}".format(*_FORM_WORDS[word.group()]), re.escape(shape))
        self._row = re.compile(f"{entry}{AFTER_ENTRY}|(.+)", re.DOTALL)

    def rows(self, text: str, position: int) -> tuple[list[Row], int]:
        """Return the rows of the entries that begin here, a bounded number, and the place where they end."""
        end = min(position + AT_ONCE, len(text))
        rows = self._row.findall(text, position, end)
        if rows and rows[-1][-1]:
            end -= len(rows.pop()[-1])
        return rows, end


def _dicts(rows: list[Row], same: Callable[[str], str]) -> Made:
    entries = [{"host": same(host), "file": file, "skip": skip == "True"} for host, file, skip, _ in rows]
    return entries, 4 * len(entries)


def _tuples(rows: list[Row], same: Callable[[str], str]) -> Made:
    entries = [(same(host), file, skip == "True") for host, file, skip, _ in rows]
    return entries, 4 * len(entries)


def _multi(rows: list[Row], same: Callable[[str], str]) -> Made:
    entries, values = [], 0
    for host, skip, file, text, _ in rows:
        flags = [flag == "True" for flag in text.split(", ")]
        entries.append({"host": same(host), "skip": skip == "True", "file": file, "file_skip": flags})
        values += 5 + len(flags)
    return entries, values


FORMS = (
    Form("{'host': TEXT, 'file': TEXT, 'skip': FLAG}", _dicts),
    Form("(TEXT, TEXT, FLAG)", _tuples),
    Form("{'host': TEXT,  'skip': FLAG, 'file': LIST, 'file_skip' : FLAGS}", _multi),  # blanks as they always were
)


class _UnusualError(ValueError):
    """The text is in none of the usual forms of maps."""


def read_entries(path: Path) -> list[Any]:
    """Return the entries of a mapfile, unchanged dicts or tuples.

    Raises
    ------
    DataMapError
        If the file cannot be read (an OSError too), is no list (a SyntaxError or NameError too, if that is Python's
        error for the text), or is over a limit of this module.
    """
    text = _read_text(path)
    try:
        return parse_entries(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as err:
        message = f"{path}: not a mapfile: {err}; expected a list of {{'host', 'file', 'skip'}}"
        raise _error_class(text)(message) from err


def _error_class(text: str) -> type[DataMapError]:
    """Return Python's error for a text that is not a map, by which plugins recognise a list of names."""
    if len(text) > LONGEST_UNUSUAL:
        return MapSyntaxError
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return MapSyntaxError
    return MapNameError if any(isinstance(node, ast.Name) for node in ast.walk(tree)) else DataMapError


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            size = min(os.fstat(stream.fileno()).st_size, LONGEST_FILE)
            content = stream.read(size + 1)  # memory is taken for as much as may be read
            if len(content) > size:
                content += stream.read(LONGEST_FILE + 1 - len(content))
    except OSError as err:
        raise MapFileError(f"{path}: mapfile cannot be read: {err.strerror}", err) from err
    if len(content) > LONGEST_FILE:
        raise DataMapError(f"{path}: not a mapfile: more than {LONGEST_FILE} bytes; split it")
    return content.decode("utf-8", errors="surrogateescape")


def parse_entries(text: str) -> list[Any]:
    """Return the elements of a list literal of dicts and tuples.

    Raises
    ------
    ValueError, SyntaxError, TypeError, MemoryError, RecursionError
        If the text is not such a list; the last four come from ``ast.literal_eval``.
    """
    match = None if text.isprintable() else _FORBIDDEN.search(text)  # the question takes half of the time
    if match:
        raise ValueError(f"control character U+{ord(match.group()):04X} at character {match.start() + 1}")
    try:
        return _Reader(text).entries()
    except _UnusualError:
        if len(text) > LONGEST_UNUSUAL:
            raise
    entries = literal(text.strip())
    if not isinstance(entries, list):
        raise ValueError(f"found {type(entries).__name__}")
    return entries


class _Reader:
    """Goes through a text once; knows where it is, and how many values it may still make."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.values_left = MOST_VALUES
        self.hosts: dict[str, str] = {}  # all entries of a host share one string

    def entries(self) -> list[Any]:
        """Return the elements of a text that is one list."""
        self._skip(_START)
        self._skip(_BLANKS)
        entries: list[Any] = []
        while not _END.match(self.text, self.position):
            if usual := self._read_usual_form():
                entries += usual
            else:
                entries.append(self._entry())
                self._skip(_SEPARATOR)
        return entries

    def _read_usual_form(self) -> list[Any]:
        """Return the entries of a usual form from here; empty for another form."""
        for form in FORMS:
            rows, end = form.rows(self.text, self.position)
            if rows:
                self.position = end
                entries, values = form.make(rows, self._interned)
                self._count(values)
                return entries
        return []

    def _interned(self, host: str) -> str:
        return self.hosts.setdefault(host, host)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.position)
        if match is None:
            raise self._syntax_error()
        self.position = match.end()

    def _syntax_error(self) -> _UnusualError:
        excerpt = self.text[self.position : self.position + 20]
        return _UnusualError(f"found {excerpt!r} at character {self.position + 1}")

    def _count(self, values: int) -> None:
        self.values_left -= values
        if self.values_left < 0:
            raise ValueError(f"more than {MOST_VALUES} values; split it")

    def _entry(self) -> Any:
        """Return the element that begins here."""
        start, entry = self.position, self._value(self._token(), 1)
        if not isinstance(entry, dict | tuple):
            self.position = start
            raise self._syntax_error()
        return entry

    def _value(self, token: re.Match[str], depth: int) -> Any:
        """Return the value that begins with a token."""
        self._count(1)
        kind = token.lastgroup
        if kind == "quote":
            return _text(token)
        if kind == "mark":
            if depth > DEEPEST:
                raise ValueError(f"more than {DEEPEST} brackets within each other")
            return self._collection(token, depth)
        if kind == "word":
            return _WORDS[token["word"]]
        return int(token["integer"]) if kind == "integer" else float(token["real"])

    def _token(self) -> re.Match[str]:
        token = _TOKEN.match(self.text, self.position)
        if token is None:
            raise self._syntax_error()
        self.position = token.end()
        return token

    def _collection(self, opening: re.Match[str], depth: int) -> Any:
        if opening["mark"] == "[":
            return self._texts(opening.end() - 1) or self._items("]", depth)[0]
        if opening["mark"] == "{":
            return self._pairs(depth)
        if opening["mark"] == "(":
            items, has_comma = self._items(")", depth)
            if len(items) != 1 or has_comma:  # otherwise they are brackets around a value
                return tuple(items)
        raise self._syntax_error()

    def _texts(self, start: int) -> list[str]:
        """Return the list of texts at this bracket; empty for any other list."""
        match = _TEXTS.match(self.text, start)
        if match is None:
            return []
        texts = _texts_in(match.group())
        self._count(len(texts))
        if texts:
            self.position = match.end()
        return texts

    def _items(self, closing: str, depth: int) -> tuple[list[Any], bool]:
        """Return the values up to a closing bracket, and whether a comma stands before it."""
        items: list[Any] = []
        while (token := self._token())["mark"] != closing:
            items.append(self._value(token, depth + 1))
            if not self._skip_comma(closing):
                return items, False
        return items, bool(items)

    def _pairs(self, depth: int) -> dict[str, Any]:
        pairs: dict[str, Any] = {}
        while (key := self._token())["mark"] != "}":
            if key.lastgroup != "quote" or self._token()["mark"] != ":":
                raise self._syntax_error()
            pairs[_text(key)] = self._value(self._token(), depth + 1)
            if not self._skip_comma("}"):
                break
        return pairs

    def _skip_comma(self, closing: str) -> bool:
        """Go past a comma, or past the closing bracket; return whether it was a comma."""
        mark = self._token()["mark"]
        if mark not in (",", closing):
            raise self._syntax_error()
        return mark == ","


def _text(token: re.Match[str]) -> str:
    """Return the text of a token in quotes; only where it has a backslash does it take more than cutting."""
    text = token["double"] if token["single"] is None else token["single"]
    return str(literal(token["quote"])) if "\\" in text else text


def list_literal_texts(text: str) -> list[str] | None:
    """Return the elements of a list literal of texts without a backslash, or None for any other text.

    A list as Python writes it is split at its separators; others are read text by text.
    """
    if _PLAIN_TEXTS.fullmatch(text):
        return text[2:-2].split("', '")
    return _texts_in(text) if _TEXTS.fullmatch(text) else None


def _texts_in(text: str) -> list[str]:
    return [single or double for single, double in _ONE_TEXT.findall(text)]
