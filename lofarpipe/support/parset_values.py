"""The value of a parset's key: quotes, lists, truths, numbers. Every function takes time linear in its input.

Source: spec/lofarpipe.md, section 3.2.
"""

from __future__ import annotations

import re

from lofarpipe.errors import PipelineError

BLANKS = " \t"
QUOTES = "\"'"
CLOSING = {"(": ")", "[": "]", "{": "}"}

_LIST_MARK = re.compile("[\"',(\\[{]")
_QUOTE = re.compile("[\"']")
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|nan)")
_INTEGER = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|[0-9]+)")


class ParsetError(PipelineError, RuntimeError):
    """A parset that cannot be read, or a value that is not of the type asked for; of the C++ parset a RuntimeError."""


def after_quote(text: str, start: int, where: str = "") -> int:
    """Return the position after the quote that closes the one at ``start``."""
    end = text.find(text[start], start + 1)
    if end < 0:
        prefix = f"{where}: " if where else ""
        raise ParsetError(f"{prefix}quote {text[start]} is not closed in {shown(text)}")
    return end + 1


def shown(text: str) -> str:
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
        end = after_quote(text, mark.start())
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
            position = after_quote(text, mark.start())
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
            position = after_quote(text, mark.start())
            continue
        depth += 1 if mark.group() == opening else -1
        if depth == 0:
            return position
    raise ParsetError(f"bracket {opening} is not closed in {shown(text[start:])}")


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
    raise ParsetError(f"{shown(text)} is neither true nor false")


def integer(text: str) -> int:
    """Return a whole number, decimal or 0x.

    Raises
    ------
    ParsetError
        If any part of the text is not part of the number. Source: spec/lofarpipe.md, section 3.2 (getInt).
    """
    found = _INTEGER.fullmatch(text)
    if not found or len(text) > 100:  # beyond some thousand digits Python refuses with another error
        raise ParsetError(f"{shown(text)} is not a whole number")
    return int(text, 16 if "x" in text.lower() else 10)


def real(text: str) -> float:
    """Return a number.

    Raises
    ------
    ParsetError
        If any part of the text is not part of the number.
    """
    if not _REAL.fullmatch(text):
        raise ParsetError(f"{shown(text)} is not a number")
    return float(text)
