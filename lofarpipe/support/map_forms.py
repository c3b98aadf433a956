"""The forms in which programs write the entries of mapfiles, each read many entries at a call of one pattern.

An entry that differs in a single blank is of no form, and is left to ``map_text``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

AT_ONCE = 2**16  # characters
AFTER_ENTRY = r"\s*(?:,\s*|(?=\]))"

#: The texts of an entry that differ from those of another, and one that is empty; or that one, all that follows.
Row = tuple[str, ...]
Made = tuple[list[Any], int]  # entries, and the number of values in them

# What a word stands for in the shape of a form: what is before, in and after the text that differs.
_FLAG = "(?:True|False)"
_WORDS = {
    "TEXT": ("'", r"[^'\\\n]*+", "'"),
    "LIST": ('"', r"[^\"\\\n]*+", '"'),
    "FLAGS": (r"\[", f"{_FLAG}(?:, {_FLAG})*", r"\]"),
    "FLAG": ("", _FLAG, ""),
}
_WORD = re.compile("|".join(_WORDS))


class Form:
    """One form of entries, as ``shape`` says to the letter; ``make`` makes them of their rows."""

    def __init__(self, shape: str, make: Callable[[list[Row], Callable[[str], str]], Made]) -> None:
        self.shape, self.make = shape, make
        entry = _WORD.sub(lambda word: "{}({}){}".format(*_WORDS[word.group()]), re.escape(shape))
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
