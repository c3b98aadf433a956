"""The text of a parset: lines to entries, quotes, lists. Every function takes time linear in its input."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lofarpipe.errors import Finding, PipelineError

LONGEST_FILE = 256 * 2**20  # bytes; a parset of 500 steps is 0.2 MB, generated ones reach 100 MB
LONGEST_LINE = 16 * 2**20  # characters; a list of 10^5 measurement sets is 10 MB
MOST_LINES = 2**22  # each takes memory, also where it is as short as '#'
MOST_KEYS = 2**20  # a key takes half a kilobyte, however short it is
BLANKS = " \t"
QUOTES = "\"'"
CLOSING = {"(": ")", "[": "]", "{": "}"}

# C0 and C1 controls other than tab and newline, the Unicode line breaks, and bytes that were not UTF-8.
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LINE_MARK = re.compile("[\"'#=]")
_LIST_MARK = re.compile("[\"',(\\[{]")
_QUOTE = re.compile("[\"']")
_INTEGER = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|[0-9]+)")


class ParsetError(PipelineError):
    """A parset that cannot be read, or a value that is not of the type asked for."""


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


@dataclass(frozen=True, slots=True)
class _Line:
    """One line that is not blank: the texts between its unquoted ``=`` signs, and its comment."""

    where: str
    number: int
    parts: tuple[str, ...]
    comment: str


def lex(text: str, file: str, oddities: list[Finding]) -> Iterator[Entry]:
    """Yield the entries of a parset in file order, duplicates included.

    A line without ``=`` continues the value before it, with one blank between them unless it starts with a quote. Each
    unquoted ``=`` starts a new key, so that ``k = a=b`` gives an empty ``k``, and a key `` a`` that keeps its blank.
    Both are legal and most likely a slip: a finding is added to ``oddities``.

    Raises
    ------
    ParsetError
        For an unbalanced quote, an empty key, a first line or a definition that has no ``=``, a control character,
        text that is not UTF-8, and a line or file over the limits.

    Source: spec/lofarpipe.md, section 3.1.
    """
    pending: _Pending | None = None
    keys_left = MOST_KEYS
    for line in _lines(text, file):
        keys_left -= len(line.parts) - 1 or 1  # a continuation leaves a finding, which takes as much
        if keys_left < 0:
            raise ParsetError(f"{line.where}: more than {MOST_KEYS} keys; that is no parset")
        if len(line.parts) == 1:
            oddities.append(_continue(pending, line))
            continue
        if pending:
            yield pending.entry()
        *before, last = _entries(line, file)
        yield from before
        pending = _Pending(last)
        if before:
            what = f"the second '=' ends {before[-1].key!r} and starts the key {last.key!r}; quote a value that has '='"
            oddities.append(Finding(line.where, what))
    if pending:
        yield pending.entry()


class _Pending:
    """An entry whose value may go on; the pieces are joined once, so that many take no longer than few."""

    def __init__(self, first: Entry) -> None:
        self.first = first
        self.pieces = [first.value]
        self.length = len(first.value)

    def add(self, text: str) -> None:
        blank = " " if self.length and text[0] not in QUOTES else ""
        self.pieces.append(blank + text)
        self.length += len(blank + text)

    def entry(self) -> Entry:
        return replace(self.first, value="".join(self.pieces)) if len(self.pieces) > 1 else self.first


def _lines(text: str, file: str) -> Iterator[_Line]:
    """Yield the lines that are neither blank nor comment."""
    if len(text) > LONGEST_FILE:
        raise ParsetError(f"{file}: more than {LONGEST_FILE} characters; that is no parset")
    if text.count("\n") > MOST_LINES:
        raise ParsetError(f"{file}: more than {MOST_LINES} lines; that is no parset")
    for number, raw in enumerate(text.split("\n"), start=1):
        where = f"{file}:{number}"
        line = raw.strip(BLANKS + "\r")
        if not line:
            continue
        _refuse_odd_characters(line, where)
        parts, comment = _split_line(line, where)
        if len(parts) > 1 or parts[0]:
            yield _Line(where, number, tuple(parts), comment)


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
            position = _after_quote(line, mark.start(), where)
        elif mark.group() == "#":
            end, comment = mark.start(), line[mark.start() :].partition("##")[2].strip()
            break
        else:
            parts.append(line[start : mark.start()].rstrip(BLANKS))
            start = position
    last = line[start:end].strip(BLANKS)
    if last.endswith("\\"):  # once marked a continued line
        last = last[:-1].rstrip(BLANKS)
    return [*parts, last], comment


def _after_quote(text: str, start: int, where: str = "") -> int:
    """Return the position after the quote that closes the one at ``start``."""
    end = text.find(text[start], start + 1)
    if end < 0:
        prefix = f"{where}: " if where else ""
        raise ParsetError(f"{prefix}quote {text[start]} is not closed in {_shown(text)}")
    return end + 1


def _entries(line: _Line, file: str) -> list[Entry]:
    """Return the entries of a line; all but the last are empty."""
    keys = [unquote(part) for part in line.parts[:-1]]
    if not all(keys) or any(key.strip("! ") == "" for key in keys):
        raise ParsetError(f"{line.where}: no key before '='; expected 'key = value'")
    values = [""] * (len(keys) - 1) + [line.parts[-1]]
    pairs = zip(keys, values, strict=True)
    return [Entry(key, value, file, line.number, line.comment) for key, value in pairs]


def _continue(pending: _Pending | None, line: _Line) -> Finding:
    """Add a line to the value before it, and return what to tell about it."""
    text = line.parts[0]
    if pending is None or text.startswith("!"):
        raise ParsetError(f"{line.where}: no '=' in {_shown(text)}; expected 'key = value'")
    pending.add(text)
    key = pending.first.key
    if pending.length > LONGEST_LINE:
        raise ParsetError(f"{line.where}: the value of {key!r} has more than {LONGEST_LINE} characters")
    return Finding(line.where, f"no '=' in {_shown(text)}, so it continues the value of {key!r}")


def _shown(text: str) -> str:
    """Return a text as an error message quotes it."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def unquote(text: str) -> str:
    """Return a text without one level of every quoted region: ``'"a"b'`` gives ``ab``, ``"'x'"`` gives ``'x'``.

    Raises
    ------
    ParsetError
        If a quote is not closed.

    Source: spec/lofarpipe.md, section 3.2 (getString).
    """
    pieces, start = [], 0
    while mark := _QUOTE.search(text, start):
        end = _after_quote(text, mark.start())
        pieces += [text[start : mark.start()], text[mark.end() : end - 1]]
        start = end
    return "".join([*pieces, text[start:]])


def split_list(text: str) -> list[str]:
    """Return the elements of ``[a, b]``, each trimmed and unquoted; any other text that is not empty is one element.

    Commas within quotes, (), [] and {} separate nothing. A trailing comma gives a last element that is empty.

    Raises
    ------
    ParsetError
        If a quote or bracket is not closed.

    Source: spec/lofarpipe.md, section 3.2 (getStringVector).
    """
    text = text.strip(BLANKS)
    if not (text.startswith("[") and text.endswith("]") and len(text) > 1):
        return [unquote(text)] if text else []
    inner = text[1:-1].strip(BLANKS)
    return [unquote(part.strip(BLANKS)) for part in _top_level(inner)] if inner else []


def _top_level(text: str) -> list[str]:
    """Return the texts between the commas that stand outside quotes and brackets."""
    parts, start, position = [], 0, 0
    while mark := _LIST_MARK.search(text, position):
        position = mark.end()
        if mark.group() == ",":
            parts.append(text[start : mark.start()])
            start = position
        elif mark.group() in QUOTES:
            position = _after_quote(text, mark.start())
        else:
            position = _after_bracket(text, mark.start())
    return [*parts, text[start:]]


def _after_bracket(text: str, start: int) -> int:
    """Return the position after the bracket that closes the one at ``start``; other kinds of bracket are plain text."""
    opening, closing = text[start], CLOSING[text[start]]
    marks = re.compile(f"[\"'{re.escape(opening + closing)}]")
    depth, position = 0, start
    while mark := marks.search(text, position):
        position = mark.end()
        if mark.group() in QUOTES:
            position = _after_quote(text, mark.start())
            continue
        depth += 1 if mark.group() == opening else -1
        if depth == 0:
            return position
    raise ParsetError(f"bracket {opening} is not closed in {_shown(text[start:])}")


def boolean(text: str) -> bool:
    """Return the truth of a text by its first letter: t T 1 y Y, or f F 0 n N.

    Raises
    ------
    ParsetError
        For any other first letter. Source: spec/lofarpipe.md, section 3.2 (getBool).
    """
    letter = text[:1]
    if letter and letter in "tT1yY":
        return True
    if letter and letter in "fF0nN":
        return False
    raise ParsetError(f"{_shown(text)} is neither true nor false")


def integer(text: str) -> int:
    """Return a whole number, decimal or 0x.

    Raises
    ------
    ParsetError
        If any part of the text is not part of the number. Source: spec/lofarpipe.md, section 3.2 (getInt).
    """
    found = _INTEGER.fullmatch(text)
    if not found or len(text) > 100:  # beyond some thousand digits Python refuses with another error
        raise ParsetError(f"{_shown(text)} is not a whole number")
    return int(text, 16 if "x" in text.lower() else 10)
