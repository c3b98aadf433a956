"""TOML files with the line of each table and key, which the standard library's reader does not tell."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lofarpipe.errors import PipelineError

_HEADER = re.compile(r"\s*\[\[?\s*(?P<name>[^\[\]]+?)\s*\]\]?\s*(#.*)?")
_KEY = re.compile(r"\s*(?P<key>[\w.\"' -]+?)\s*=")
_NEEDS_QUOTES = re.compile(r"[,\[\](){}\"'\s]")


class TomlFile:
    """The tables of a TOML file, with their lines.

    Attributes
    ----------
    document: the tables, as ``tomllib`` gives them.

    Raises
    ------
    PipelineError
        If the file cannot be read, or is no TOML.
    """

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        try:
            text = path.read_text(encoding="utf-8-sig") if text is None else text
            self.document: Mapping[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as err:
            what, _, place = str(err).partition(" (at ")
            line = re.match(r"line (\d+)", place)
            where = f"{path}:{line[1]}" if line else str(path)
            raise PipelineError(f"{where}: not TOML: {what[:1].lower()}{what[1:]}") from err
        except (OSError, UnicodeDecodeError) as err:
            reason = err.strerror if isinstance(err, OSError) else "it is not UTF-8 text"
            raise PipelineError(f"{path}: cannot be read: {reason}") from err
        self._lines = _lines(text)

    def line(self, table: str, key: str = "", number: int = 0) -> int:
        """Return the line of a key, or of its table's header; 0 if it is not known, as within ``{ ... }``.

        ``number`` counts tables of one name, ``[[table]]``, from 0; the keys before all tables are in table "".
        """
        places = self._lines.get((table, number), {})
        return places.get(key, places.get("", 0))

    def where(self, table: str, key: str = "", number: int = 0) -> str:
        """Return ``file:line`` of a key, or the file alone."""
        line = self.line(table, key, number)
        return f"{self.path}:{line}" if line else str(self.path)


def _lines(text: str) -> dict[tuple[str, int], dict[str, int]]:
    """Return (header, how many of that name were before) -> key -> line; the key "" is the header itself."""
    current: dict[str, int] = {}
    found: dict[tuple[str, int], dict[str, int]] = {("", 0): current}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            name = re.sub(r"[\"'\s]", "", header["name"])
            place = sum(known == name for known, _ in found)
            current = found.setdefault((name, place), {"": number})
        elif key := _KEY.match(line):
            current.setdefault(re.sub(r"[\"'\s]", "", key["key"]), number)
    return found


def parset_value(value: object) -> str:
    """Return a value of TOML as a parset has it.

    Raises
    ------
    ValueError
        If a parset has no such values; the message says what is needed.
    """
    if isinstance(value, list):
        return f"[{', '.join(_quoted(parset_value(item)) for item in value)}]"
    if isinstance(value, str | bool | int | float):
        return str(value)
    raise ValueError(f"is {value}; text, a number, true, false, or a list of these is needed")


def _quoted(text: str) -> str:
    """Return an element of a list; one that would be read as several, or trimmed, between quotes."""
    if not _NEEDS_QUOTES.search(text):
        return text
    quote = "'" if '"' in text else '"'
    return f"{quote}{text}{quote}"
