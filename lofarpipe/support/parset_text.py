"""The text of a parset: lines to entries. Time and memory are proportional to the text.

What nearly every line is, ``key = value  # comment``, is read by one pattern, many lines at a call. Any other line,
one with an odd character included, is looked at mark by mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lofarpipe.errors import Finding
from lofarpipe.support.parset_values import BLANKS, QUOTES, ParsetError, after_quote, shown, unquote

LONGEST_FILE = 256 * 2**20  # bytes; a parset of 500 steps is 0.2 MB, generated ones reach 100 MB
LONGEST_LINE = 16 * 2**20  # characters; a list of 10^5 measurement sets is 10 MB
MOST_LINES = 2**22  # each takes memory, also where it is as short as '#'
MOST_KEYS = 2**20  # a key takes half a kilobyte, however short it is
CHUNK = 2**18  # characters, at least, that are looked at in one call

# C0 and C1 controls other than tab and newline, the Unicode line breaks, and bytes that were not UTF-8.
_ODD = "\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff"
_FORBIDDEN = re.compile(f"[{_ODD}]")
_LINE_MARK = re.compile("[\"'#=]")
# Matches everywhere, and tries nothing twice: the quantifiers are possessive.
_LINE = re.compile(
    rf"""[ \t]*+(?:
        (?P<key>(?:![ ])?[^ \t\n"'=\#!{_ODD}][^ \t\n"'=\#{_ODD}]*+)[ \t]*+=[ \t]*+
        (?P<value>(?:[^"'=\#\n{_ODD}]++|"[^"\n{_ODD}]*+"|'[^'\n{_ODD}]*+')*+)
        (?P<comment>\#[^\n{_ODD}]*+)?\r*+(?:\n|\Z)
      | (?P<other>[^\n]*+)(?:\n|\Z)
    )""",
    re.VERBOSE,
)
_TAIL = frozenset(BLANKS + "\\")  # what a value may end with that does not belong to it

#: key, value, file, line, comment: an Entry that is not made yet, which costs a quarter.
Record = tuple[str, str, str, int, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``key = value`` of a parset.

    ``value`` is the raw text, quotes included; ``comment`` is what follows ``##`` on the line, or ``""``.
    """

    key: str
    value: str
    file: str
    line: int
    comment: str = ""

    @property
    def where(self) -> str:
        """``file:line``; the file alone for a key that was set by a program."""
        return f"{self.file}:{self.line}" if self.line else self.file


def lex(text: str, file: str, oddities: list[Finding], lefts: list[str]) -> Iterator[Record]:
    """Yield the entries of a parset in file order, duplicates included.

    A line without ``=`` continues the value before it, with one blank between them unless it starts with a quote. Each
    unquoted ``=`` starts a new key, so that ``k = a=b`` gives an empty ``k``, and a key `` a`` that keeps its blank.
    Both are legal and most likely a slip: a finding is added to ``oddities``. The text left of the first ``=`` of each
    line that is not blank is added to ``lefts``, be it a comment.

    Raises
    ------
    ParsetError
        For an unbalanced quote, an empty key, a first line or a definition that has no ``=``, a control character,
        text that is not UTF-8, and a line or file over the limits.

    Source: spec/lofarpipe.md, section 3.1.
    """
    pending: Record | None = None  # the lines that follow may continue its value
    more = _Continuation()
    for line in _lines(text, file, lefts):
        before: list[Record] = []
        if isinstance(line, tuple):
            record = line
        elif len(line.parts) == 1:
            oddities.append(more.add(pending, line))
            continue
        else:
            *before, record = line.records()
        if pending is not None:
            yield more.end(pending) if more.pieces else pending
        if before:
            yield from before
            what = f"the second '=' ends {before[-1][0]!r} and starts the key {record[0]!r}; quote a value that has '='"
            oddities.append(Finding(f"{file}:{record[3]}", what))
        pending = record
    if pending is not None:
        yield more.end(pending)


def _lines(text: str, file: str, lefts: list[str]) -> Iterator[Record | _Line]:
    """Yield the lines that are neither blank nor comment: a record for an ordinary one."""
    if len(text) > LONGEST_FILE:
        raise ParsetError(f"{file}: more than {LONGEST_FILE} characters; that is no parset")
    if text.count("\n") > MOST_LINES:
        raise ParsetError(f"{file}: more than {MOST_LINES} lines; that is no parset")
    keys_left = MOST_KEYS
    for number, (key, value, comment, other) in _numbered(text):
        line: Record | _Line | None
        if key:
            keys_left -= 1
            lefts.append(key)
            value = _trimmed(value) if value[-1:] in _TAIL else value
            line = (key, value, file, number, _documented(comment) if comment else "")
        else:
            line = _other_line(other, file, number, lefts) if other else None
            if line is None:
                continue
            keys_left -= len(line.parts) - 1 or 1  # a continuation leaves a finding, which takes as much
        if keys_left < 0:
            raise ParsetError(f"{file}:{number}: more than {MOST_KEYS} keys; that is no parset")
        yield line


def _numbered(text: str) -> Iterator[tuple[int, tuple[str, str, str, str]]]:
    """Yield each line of a text: its number, and its key, value and comment if it is ordinary, or else all of it."""
    start, first = 0, 1
    while start <= len(text):
        end = text.find("\n", start + CHUNK)
        end = len(text) if end < 0 else end
        count = text.count("\n", start, end) + 1
        if end - start > LONGEST_LINE:  # which line is too long is found out line by line
            found = [("", "", "", line) for line in text[start:end].split("\n")]
        else:
            found = _LINE.findall(text, start, end)
        yield from zip(range(first, first + count), found, strict=False)  # the pattern matches once more at the end
        start, first = end + 1, first + count


def _trimmed(value: str) -> str:
    """Return a value without blanks at its end, and without the backslash that once marked a continued line."""
    value = value.rstrip(BLANKS)
    return value[:-1].rstrip(BLANKS) if value.endswith("\\") else value


def _documented(comment: str) -> str:
    """Return what a comment says to users: the text after ``##``."""
    return comment.partition("##")[2].strip()


# ---- lines that are not ordinary


@dataclass(frozen=True, slots=True)
class _Line:
    """One line: the texts between its unquoted ``=`` signs, and its comment."""

    file: str
    number: int
    parts: tuple[str, ...]
    comment: str

    @property
    def where(self) -> str:
        return f"{self.file}:{self.number}"

    def records(self) -> list[Record]:
        """Return the entries of a line that has ``=``; all but the last are empty."""
        keys = [unquote(part) for part in self.parts[:-1]]
        if not all(keys) or any(key.strip("! ") == "" for key in keys):
            raise ParsetError(f"{self.where}: no key before '='; expected 'key = value'")
        values = [""] * (len(keys) - 1) + [self.parts[-1]]
        pairs = zip(keys, values, strict=True)
        return [(key, value, self.file, self.number, self.comment) for key, value in pairs]


class _Continuation:
    """What lines add to the value of the entry before them; joined once, so that many take no longer than few."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.length = 0

    def add(self, pending: Record | None, line: _Line) -> Finding:
        """Add a line to the value of an entry, and return what to tell about it."""
        text = line.parts[0]
        if pending is None or text.startswith("!"):
            raise ParsetError(f"{line.where}: no '=' in {shown(text)}; expected 'key = value'")
        if not self.pieces:
            self.pieces, self.length = [pending[1]], len(pending[1])
        piece = text if not self.length or text[0] in QUOTES else f" {text}"
        self.pieces.append(piece)
        self.length += len(piece)
        if self.length > LONGEST_LINE:
            raise ParsetError(f"{line.where}: the value of {pending[0]!r} has more than {LONGEST_LINE} characters")
        return Finding(line.where, f"no '=' in {shown(text)}, so it continues the value of {pending[0]!r}")

    def end(self, pending: Record) -> Record:
        """Return the entry with all of its value, and begin anew."""
        if not self.pieces:
            return pending
        value, self.pieces = "".join(self.pieces), []
        return (pending[0], value, *pending[2:])


def _other_line(raw: str, file: str, number: int, lefts: list[str]) -> _Line | None:
    """Return what stands on a line; nothing if it is blank or a comment."""
    line = raw.strip(BLANKS + "\r")
    if not line:
        return None
    where = f"{file}:{number}"
    _refuse_odd_characters(line, where)
    parts, comment = _split_line(line, where)
    if left := line.partition("=")[0].rstrip(BLANKS):
        lefts.append(left)
    return _Line(file, number, tuple(parts), comment) if len(parts) > 1 or parts[0] else None


def _refuse_odd_characters(line: str, where: str) -> None:
    """Raise where a line is too long, or holds a character that no text editor shows."""
    if len(line) > LONGEST_LINE:
        raise ParsetError(f"{where}: line of {len(line)} characters; at most {LONGEST_LINE} are read")
    found = _FORBIDDEN.search(line)
    if not found:
        return
    code = ord(found.group())
    if code >= 0xDC80:
        raise ParsetError(f"{where}: byte 0x{code - 0xDC00:02x} is not UTF-8; save the file as UTF-8 text")
    raise ParsetError(f"{where}: control character U+{code:04X} at column {found.start() + 1}; remove it")


def _split_line(line: str, where: str) -> tuple[list[str], str]:
    """Return the texts between the unquoted ``=`` signs of a line, and the text after ``##``."""
    parts, start, position = [], 0, 0
    end, comment = len(line), ""
    while mark := _LINE_MARK.search(line, position):
        position = mark.end()
        if mark.group() in QUOTES:
            position = after_quote(line, mark.start(), where)
        elif mark.group() == "#":
            end, comment = mark.start(), _documented(line[mark.start() :])
            break
        else:
            parts.append(line[start : mark.start()].rstrip(BLANKS))
            start = position
    return [*parts, _trimmed(line[start:end].lstrip(BLANKS))], comment
