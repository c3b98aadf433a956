"""The text of a parset: lines to entries. Time and memory are proportional to the text.

Nearly every line, ``key = value  # comment`` or a part of that, is read by one pattern, many lines at a call.
Other lines, such as those with an unusual character, are parsed character by character.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import compress, repeat

from lofarpipe.errors import Finding, PipelineError
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.patterns import lazy_pattern

BLANKS = " \t"
QUOTES = "\"'"
CLOSING = {"(": ")", "[": "]", "{": "}"}
_LIST_MARK = lazy_pattern("[\"',(\\[{]")
_QUOTE = lazy_pattern("[\"']")
_ESCAPED = lazy_pattern(r"[\x00-\x1f\"'\\%#$,(){}\[\]]|^ | $")
_CODE = lazy_pattern("%([0-9A-F]{2})")
_REAL = lazy_pattern(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|nan)")
_INTEGER = lazy_pattern(r"[+-]?(0[xX][0-9a-fA-F]+|[0-9]+)")
LONGEST_FILE = 256 * 2**20  # bytes; a parset of 500 steps is 0.2 MB, generated ones reach 100 MB
LONGEST_LINE = 16 * 2**20  # characters; a list of 10^5 measurement sets is 10 MB
MOST_LINES = 2**22  # each takes memory, also where it is as short as '#'
MOST_KEYS = 2**20  # a key takes half a kilobyte, however short it is
CHUNK = 2**16  # shortest text parsed in one call, characters
# C0 and C1 controls other than tab and newline, the Unicode line breaks, and bytes that were not UTF-8.
_ODD = "\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff"
_FORBIDDEN = lazy_pattern(f"[{_ODD}]")
_LINE_MARK = lazy_pattern("[\"'#=]")
_ASCII = "\t\n" + "".join(map(chr, range(0x20, 0x7F)))  # without unusual characters
#: key, value, file, line, comment: the raw form of an Entry, at a quarter of its cost.
Record = tuple[str, str, str, int, str]
#: Key, value and comment of an ordinary line; or the whole line, if it is not ordinary.
Row = tuple[str, str, str, str]
# A definition that names two others, each of which names two others ... doubles with each line: bounded, not unrolled.
LONGEST_VALUE = 16 * 2**20  # characters; as long as a line may be
MOST_WORK = 512 * 2**20  # characters handled for one parset
_PLACEHOLDER = lazy_pattern(r"\{\{ (?=([^{}]{1,200}?) \}\})")
_ENVIRONMENT = lazy_pattern(r"\$(?:(\w{1,200})|\{([^{}]{1,200})\})", re.ASCII)


class ParsetError(PipelineError, RuntimeError):
    """Unreadable parset, or value of another type than requested; a RuntimeError in the C++ parset."""


def after_quote(text: str, start: int, where: str = "") -> int:
    """Return the position after the closing quote of the one at ``start``."""
    end = text.find(text[start], start + 1)
    if end < 0:
        prefix = f"{where}: " if where else ""
        raise ParsetError(f"{prefix}quote {text[start]} is not closed in {quoted(text)}")
    return end + 1


def quoted(text: str) -> str:
    """Return a text as an error message quotes it."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def unquote(text: str) -> str:
    """Return a text without one level of every quoted region: ``'"a"b'`` gives ``ab``, ``"'x'"`` gives ``'x'``.

    Raises
    ------
    ParsetError
        If a quote is not closed.

    Source: doc/spec/lofarpipe.md, section 3.2 (getString).
    """
    pieces, start = [], 0
    while mark := _QUOTE.search(text, start):
        end = after_quote(text, mark.start())
        pieces += [text[start : mark.start()], text[mark.end() : end - 1]]
        start = end
    return "".join([*pieces, text[start:]])


def split_list(text: str) -> list[str]:
    """Return the elements of ``[a, b]``, trimmed and unquoted; any other non-empty text is one element.

    Commas within quotes, (), [] and {} are not separators. A trailing comma adds an empty element.

    Raises
    ------
    ParsetError
        If a quote or bracket is not closed.

    Source: doc/spec/lofarpipe.md, section 3.2 (getStringVector).
    """
    text = text.strip(BLANKS)
    if not (text.startswith("[") and text.endswith("]") and len(text) > 1):
        return [unquote(text)] if text else []
    inner = text[1:-1].strip(BLANKS)
    return [unquote(part.strip(BLANKS)) for part in _top_level(inner)] if inner else []


def escaped(text: str) -> str:
    """Escape a list element: characters special in lists become ``%`` and their code.

    Those are quotes, brackets, commas, the marks of references and comments, control characters and ``%`` itself;
    ``unescaped`` reads it.
    """
    return _ESCAPED.sub(lambda match: f"%{ord(match[0]):02X}", text)


def unescaped(text: str) -> str:
    """Undo ``escaped``."""
    return _CODE.sub(lambda match: chr(int(match[1], 16)), text)


def _top_level(text: str) -> list[str]:
    """Return the texts between the commas that stand outside quotes and brackets."""
    parts, start, position = [], 0, 0
    while mark := _LIST_MARK.search(text, position):
        position = mark.end()
        if mark.group() == ",":
            parts.append(text[start : mark.start()])
            start = position
        elif mark.group() in QUOTES:
            position = after_quote(text, mark.start())
        else:
            position = _after_bracket(text, mark.start())
    return [*parts, text[start:]]


def _after_bracket(text: str, start: int) -> int:
    """Return the position after the closing bracket of the one at ``start``; other kinds of bracket are plain text."""
    opening, closing = text[start], CLOSING[text[start]]
    marks = re.compile(f"[\"'{re.escape(opening + closing)}]")
    depth, position = 0, start
    while mark := marks.search(text, position):
        position = mark.end()
        if mark.group() in QUOTES:
            position = after_quote(text, mark.start())
            continue
        depth += 1 if mark.group() == opening else -1
        if depth == 0:
            return position
    raise ParsetError(f"bracket {opening} is not closed in {quoted(text[start:])}")


def boolean(text: str) -> bool:
    """Return the truth of a text by its first letter: t T 1 y Y, or f F 0 n N.

    Raises
    ------
    ParsetError
        For any other first letter. Source: doc/spec/lofarpipe.md, section 3.2 (getBool).
    """
    letter = text[:1]
    if letter and letter in "tT1yY":
        return True
    if letter and letter in "fF0nN":
        return False
    raise ParsetError(f"{quoted(text)} is neither true nor false")


def integer(text: str) -> int:
    """Return a whole number, decimal or 0x.

    Raises
    ------
    ParsetError
        If any part of the text is not part of the number. Source: doc/spec/lofarpipe.md, section 3.2 (getInt).
    """
    match = _INTEGER.fullmatch(text)
    if not match or len(text) > 100:  # Python refuses more than some thousand digits with another error
        raise ParsetError(f"{quoted(text)} is not a whole number")
    return int(text, 16 if "x" in text.lower() else 10)


def real(text: str) -> float:
    """Return a number.

    Raises
    ------
    ParsetError
        If any part of the text is not part of the number.
    """
    if not _REAL.fullmatch(text):
        raise ParsetError(f"{quoted(text)} is not a number")
    return float(text)


def _ascii_but(characters: str) -> str:
    return "[" + "".join(re.escape(character) for character in _ASCII if character not in characters) + "]"


def _any_except(characters: str) -> str:
    return f"[^{re.escape(characters)}{_ODD}]"


def _line_pattern(but: Callable[[str], str]) -> re.Pattern[str]:
    """Return a pattern for a line that tries no alternative twice.

    The quantifiers of characters are possessive. Those of groups are not, for with choices in a group that goes wrong
    before Python 3.11.5; quoted and plain text begin with different characters, so they need not be.
    """
    quoted = "|".join(quote + but(quote + "\n") + "*+" + quote for quote in QUOTES)
    in_key, in_text, in_comment = but(" \t\n\"'=#"), but("\n\"'=#"), but("\n")
    return re.compile(
        rf"""[ \t]*+(?:
            (?:
                (?P<key>(?:![ ])?(?!!){in_key}++)[ \t]*+=[ \t]*+
                (?P<value>{in_text}*+(?:(?:{quoted}){in_text}*+)*)
            )?
            (?P<comment>\#{in_comment}*+)?\r*+(?:\n|\Z)
          | (?P<other>[^\n]*+)(?:\n|\Z)
        )""",
        re.VERBOSE,
    )


# A set of allowed characters is faster than a set of excluded ones.
_LINE, _ASCII_LINE = _line_pattern(_any_except), _line_pattern(_ascii_but)


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``key = value`` of a parset.

    ``value`` is the raw text, quotes included; ``comment`` is the text after ``##`` on the line, or ``""``.
    """

    key: str
    value: str
    file: str
    line: int
    comment: str = ""

    @property
    def where(self) -> str:
        """``file:line``; the file alone for a key set by a program."""
        return f"{self.file}:{self.line}" if self.line else self.file


def lex(pieces: Iterable[str], file: str, oddities: list[Finding], lefts: list[str]) -> Iterator[list[Record]]:
    """Yield the entries of a parset in file order, duplicates included, many at a time.

    ``pieces`` are the text, each of whole lines. A line without ``=`` continues the value before it, with one blank
    between them unless it starts with a quote. Each unquoted ``=`` starts a new key, so that ``k = a=b`` gives an empty
    ``k``, and a key `` a`` that keeps its blank. Both are legal and most likely a slip: a finding is added to
    ``oddities``. The text left of the first ``=`` of each line that is not blank, be it a comment, is added to
    ``lefts``.

    Raises
    ------
    ParsetError
        For an unbalanced quote, an empty key, a first line or a definition that has no ``=``, a control character,
        text that is not UTF-8, and a line or file over the limits.

    Source: doc/spec/lofarpipe.md, section 3.1.
    """
    batch: list[Record] = []  # the lines that follow may continue the value of its last entry
    more = _Continuation()
    for item in _counted(pieces, file, lefts):
        if isinstance(item, _Line) and len(item.parts) == 1:
            oddities.append(more.add(batch, item))
            continue
        if batch:
            yield more.end(batch)
        batch = item.records() if isinstance(item, _Line) else item
        if isinstance(item, _Line) and len(batch) > 1:
            key, last = batch[-2][0], batch[-1][0]
            problem = f"the second '=' ends {key!r} and starts the key {last!r}; quote a value that has '='"
            oddities.append(Finding(item.where, problem))
    if batch:
        yield more.end(batch)


def whole_lines(text: str) -> Iterator[str]:
    """Yield a text in pieces that end with a line."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + CHUNK) + 1 or len(text)
        yield text[start:end]
        start = end


def _counted(pieces: Iterable[str], file: str, lefts: list[str]) -> Iterator[list[Record] | _Line]:
    """Yield the lines with content, without blank and comment lines; refuse too many."""
    keys_left = MOST_KEYS
    for item in _lines(pieces, file, lefts):
        # A continuation adds a finding, which takes as much memory as a key.
        keys = len(item) if isinstance(item, list) else len(item.parts) - 1 or 1
        if keys > keys_left:
            number = item[keys_left][3] if isinstance(item, list) else item.number
            raise ParsetError(f"{file}:{number}: more than {MOST_KEYS} keys; that is no parset")
        keys_left -= keys
        yield item


def _lines(pieces: Iterable[str], file: str, lefts: list[str]) -> Iterator[list[Record] | _Line]:
    first, length = 1, 0
    for text in pieces:
        length += len(text)
        if length > LONGEST_FILE:
            raise ParsetError(f"{file}: more than {LONGEST_FILE} characters; that is no parset")
        piece = _Piece(text, file, first)
        first += piece.lines
        if first - 1 > MOST_LINES:
            raise ParsetError(f"{file}: more than {MOST_LINES} lines; that is no parset")
        yield from piece.entries(lefts)


class _Piece:
    """Whole lines of a file, as columns; ``first`` is the number of the first line."""

    def __init__(self, text: str, file: str, first: int) -> None:
        self.keys, values, self.comments, self.others = zip(*_rows(text), strict=True)
        self.file, self.first, self.lines = file, first, len(self.keys)
        self.values = tuple(map(_trimmed, values) if "\\" in text else map(str.rstrip, values, repeat(BLANKS)))
        self.is_documented = "##" in text

    def entries(self, lefts: list[str]) -> Iterator[list[Record] | _Line]:
        """Yield runs of entries, and between them the lines that are not ordinary."""
        start = 0
        for place in [place for place, other in enumerate(self.others) if other] if any(self.others) else ():
            if place > start and (records := self._records(slice(start, place), lefts)):
                yield records
            if line := _other_line(self.others[place], self.file, self.first + place, lefts):
                yield line
            start = place + 1
        if records := self._records(slice(start, self.lines), lefts):
            yield records

    def _records(self, lines: slice, lefts: list[str]) -> list[Record]:
        """Return the entries in a run of ordinary, comment and blank lines."""
        keys, comments = self.keys[lines], self.comments[lines]
        numbers = range(self.first + lines.start, self.first + lines.stop)
        documented = map(_documented, comments) if self.is_documented else repeat("")
        records = zip(keys, self.values[lines], repeat(self.file), numbers, documented, strict=False)
        if all(keys):
            lefts += keys
            return list(records)
        lefts += [key_text for key_text in map(_text_before_equals, keys, comments) if key_text]
        return list(compress(records, keys))


def _rows(text: str) -> list[Row]:
    """Return the parts of each line."""
    if len(text) <= LONGEST_LINE:
        rows = (_ASCII_LINE if text.isascii() else _LINE).findall(text)
        return rows[:-1]  # the pattern matches once more at the end
    lines = text.split("\n")  # to report the line that is too long
    return [("", "", "", line) for line in (lines if lines[-1] else lines[:-1])]


def _text_before_equals(key: str, comment: str) -> str:
    """Return the text left of the first ``=`` of a line with this key, or with only this comment."""
    return key or comment.partition("=")[0].rstrip(BLANKS)


def canonical(key: str) -> str:
    """Return a key as it is stored: a definition as ``! name``, however many blanks were typed."""
    return f"! {key[1:].strip(BLANKS)}" if key.startswith("!") else key


def _trimmed(value: str) -> str:
    """Return a value without blanks at its end, and without the backslash that once marked a continued line."""
    value = value.rstrip(BLANKS)
    return value[:-1].rstrip(BLANKS) if value.endswith("\\") else value


def _documented(comment: str) -> str:
    """Return the part of a comment for users: the text after ``##``."""
    return comment.partition("##")[2].strip()


# ---- lines that are not ordinary


@dataclass(frozen=True, slots=True)
class _Line:
    """One line, split at unquoted ``=`` signs, and its comment."""

    file: str
    number: int
    parts: tuple[str, ...]
    comment: str

    @property
    def where(self) -> str:
        return f"{self.file}:{self.number}"

    def records(self) -> list[Record]:
        """Return the entries of a line with ``=``; all but the last are empty."""
        keys = [canonical(unquote(part)) for part in self.parts[:-1]]
        if keys[0] and keys[1:] == [""]:
            raise ParsetError(f"{self.where}: has '=='; write one '=': {keys[0]} = {self.parts[-1]}")
        if not all(keys) or any(key.strip("! ") == "" for key in keys):
            raise ParsetError(f"{self.where}: no key before '='; expected 'key = value'")
        values = [""] * (len(keys) - 1) + [self.parts[-1]]
        pairs = zip(keys, values, strict=True)
        return [(key, value, self.file, self.number, self.comment) for key, value in pairs]


def _probable_format(text: str) -> str:
    """Return the probable other format of a file with this first line; "" if none is likely."""
    kinds = (("{", "JSON"), ("[", "TOML or a configuration"), ("<", "XML"), ("#!", "a script"), ("import ", "Python"))
    kind = next((kind for start, kind in kinds if text.startswith(start)), "")
    return f"; this looks like {kind}: name a parset, such as image.parset" if kind else ""


class _Continuation:
    """Continuation lines of the value of the last entry; joined once, so that the time is linear."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.length = 0

    def add(self, batch: list[Record], line: _Line) -> Finding:
        """Add a line to the value of the last entry, and return a notice about it."""
        text = line.parts[0]
        if not batch or text.startswith("!"):
            raise ParsetError(f"{line.where}: no '=' in {quoted(text)}; expected 'key = value'{_probable_format(text)}")
        key, value, *_ = batch[-1]
        if not self.pieces:
            self.pieces, self.length = [value], len(value)
        piece = text if not self.length or text[0] in QUOTES else f" {text}"
        self.pieces.append(piece)
        self.length += len(piece)
        if self.length > LONGEST_LINE:
            raise ParsetError(f"{line.where}: the value of {key!r} has more than {LONGEST_LINE} characters")
        problem = f"no '=' in {quoted(text)}, so it continues the value of {key!r}; write all of it on one line"
        return Finding(line.where, problem)

    def end(self, batch: list[Record]) -> list[Record]:
        """Return the entries, the last one with its complete value, and reset."""
        if self.pieces:
            batch[-1] = (batch[-1][0], "".join(self.pieces), *batch[-1][2:])
            self.pieces = []
        return batch


def _other_line(raw: str, file: str, number: int, lefts: list[str]) -> _Line | None:
    """Return the content of a line; empty for a blank or comment line."""
    line = raw.strip(BLANKS + "\r")
    if not line:
        return None
    where = f"{file}:{number}"
    _refuse_odd_characters(line, where)
    parts, comment = _split_line(line, where)
    if key_text := line.partition("=")[0].rstrip(BLANKS):
        lefts.append(key_text)
    return _Line(file, number, tuple(parts), comment) if len(parts) > 1 or parts[0] else None


def _refuse_odd_characters(line: str, where: str) -> None:
    """Raise if a line is too long, or holds an invisible character."""
    if len(line) > LONGEST_LINE:
        raise ParsetError(f"{where}: line of {len(line)} characters; at most {LONGEST_LINE} are read")
    match = _FORBIDDEN.search(line)
    if not match:
        return
    code = ord(match.group())
    if code >= 0xDC80:
        raise ParsetError(f"{where}: byte 0x{code - 0xDC00:02x} is not UTF-8; save the file as UTF-8 text")
    problem = f"control character U+{code:04X} at column {match.start() + 1}; remove it"
    raise ParsetError(f"{where}: {problem}{'' if code else ', or save the file as UTF-8 text if it is UTF-16'}")


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


def may_have_placeholders(text: str) -> bool:
    """Return whether it is worth while to look for ``{{ name }}`` in a text."""
    return "{{ " in text


def placeholders(text: str) -> list[str]:
    """Return the names used as ``{{ name }}``, exactly one blank on each side, in order of first use."""
    if "{{ " not in text:
        return []
    return list(dict.fromkeys(match.group(1) for match in _PLACEHOLDER.finditer(text)))


def expand_environment(text: str) -> str:
    """Return a text with ``$NAME`` and ``${NAME}`` replaced; an undefined one stays as it is, and so does ``~``."""
    return _ENVIRONMENT.sub(lambda match: os.environ.get(match.group(1) or match.group(2), match.group()), text)


class Substitution:
    """The definitions of one parset, in order, and the remaining work limit of their expansion."""

    def __init__(self, definitions: Mapping[str, str]) -> None:
        self._values = {name: expand_environment(value) for name, value in definitions.items()}
        self._rank = {name: rank for rank, name in enumerate(self._values)}
        self._work_left = MOST_WORK

    def apply(self, text: str, where: str) -> str:
        """Return a text after one pass over the definitions, the last one first.

        Placeholders of later definitions inside an earlier one therefore remain.

        Raises
        ------
        ParsetError
            If the text grows beyond ``LONGEST_VALUE``.

        Source: doc/spec/lofarpipe.md, section 3.3.
        """
        rank = len(self._rank)
        while (name := self._last_used_before(rank, text)) is not None:
            rank = self._rank[name]
            text = self._replaced(name, text, where)
        return text

    def _last_used_before(self, rank: int, text: str) -> str | None:
        """Return the last-defined name in a text, among those defined before ``rank``."""
        if not may_have_placeholders(text):
            return None
        names = (name for name in self._names(text) if self._rank[name] < rank)
        return max(names, key=self._rank.__getitem__, default=None)

    def _names(self, text: str) -> Iterator[str]:
        return (name for name in placeholders(text) if name in self._rank)

    def _replaced(self, name: str, text: str, where: str) -> str:
        """Return a text with one variable replaced; refuse it if it would grow beyond the limit."""
        token, value = f"{{{{ {name} }}}}", self._values[name]
        length = len(text) + text.count(token) * (len(value) - len(token))
        self._work_left -= length + len(text)
        if length > LONGEST_VALUE or self._work_left < 0:
            raise ParsetError(f"{where}: replacing {token} gives more than {LONGEST_VALUE} characters; look for a loop")
        return text.replace(token, value)
