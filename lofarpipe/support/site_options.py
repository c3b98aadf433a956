"""A section of pipeline.cfg -> frozen options; what is wrong with it is told all at once."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lofarpipe.errors import Finding, nearest

T = TypeVar("T")

BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
NEEDED = {
    "int": "an integer is needed",
    "float": "a number is needed",
    "bool": "yes or no is needed",
    "tuple[str, ...]": "words with all quotes closed are needed",
}


def read_section(kind: type[T], path: Path, name: str, section: Mapping[str, str]) -> tuple[T | None, list[Finding]]:
    """Return the options that a section says, None if they cannot be made; and what is wrong with it.

    Parameters
    ----------
    kind: a frozen dataclass; its fields are the keys, their types one of those of ``NEEDED`` or text. It may have two
        methods: ``faults`` returns what is needed instead of single values, by key; ``problems`` what is wrong with
        the values together.
    path, name: the file, and the section in it.
    """
    values, found = _read_values(kind, path, name, section)
    missing = [
        Finding(where(path, name), f"{key} is not set, and has to be")
        for key in _needed(kind)
        if key not in values and not section.get(key, "").strip()
    ]
    if found or missing:
        return None, found + missing
    options = kind(**values)
    problems: list[str] = getattr(options, "problems", list)()
    return options, [Finding(where(path, name), problem) for problem in problems]


def check_values(kind: type[T], path: Path, name: str, section: Mapping[str, str]) -> list[Finding]:
    """Return what is wrong with the single keys and values of a section that is not in use; it may be unfinished."""
    return _read_values(kind, path, name, section)[1]


def _read_values(
    kind: type[T], path: Path, name: str, section: Mapping[str, str]
) -> tuple[dict[str, Any], list[Finding]]:
    """Return the values of a section that can be read, and a finding for each key and value that is wrong."""
    types = {item.name: str(item.type) for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    found = unknown_keys(path, name, section, types)
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for key, text in section.items():
        if key in types and text.strip():
            try:
                values[key] = read_text(text.strip(), types[key])
            except ValueError as err:
                wrong[key] = str(err)
    if all(key in values for key in _needed(kind)):
        wrong |= getattr(kind(**values), "faults", dict)()
    found += [Finding(where(path, name, key), f"{key} is '{section[key]}'; {text}") for key, text in wrong.items()]
    return values, found


def _needed(kind: type[T]) -> list[str]:
    """Return the keys without which the options cannot be made."""
    fields: Iterable[dataclasses.Field[Any]] = dataclasses.fields(kind)  # type: ignore[arg-type]
    return [item.name for item in fields if item.default is dataclasses.MISSING]


def unknown_keys(path: Path, name: str, section: Mapping[str, str], known: Collection[str]) -> list[Finding]:
    """Return a finding for each key of a section that nothing would read."""
    return [
        Finding(where(path, name, key), f"[{name}] has no key '{key}'{nearest(key, known)}")
        for key in section
        if key not in known
    ]


def read_text(text: str, kind: str) -> object:
    """Return a value of a type by its name; numbers must not be negative.

    Raises
    ------
    ValueError
        If the text is no such value; the message says what is.
    """
    if kind == "str":
        return text
    try:
        if kind == "bool":
            return BOOLEANS[text.lower()]
        if kind == "tuple[str, ...]":
            return tuple(_words(text))
        number = int(text) if kind == "int" else float(text)
    except (KeyError, ValueError) as err:
        raise ValueError(NEEDED[kind]) from err
    if not 0 <= number < float("inf"):
        raise ValueError("it cannot be negative, or without end")
    return number


def _words(text: str) -> list[str]:
    """Return the items of ``[a, b]``, or words as a shell splits them."""
    if text.startswith("[") and text.endswith("]"):
        return [item.strip() for item in text[1:-1].split(",") if item.strip()]
    return shlex.split(text)


def where(path: Path, name: str, key: str = "") -> str:
    """Return ``file:line`` of a key, or of its section if it is not there."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return f"{path}: [{name}]"
    place, is_inside = 0, False
    for number, line in enumerate(lines, start=1):
        if line.startswith("["):
            is_inside = line.strip() == f"[{name}]"
            place = number if is_inside else place
        elif is_inside and key and line.replace(":", "=").partition("=")[0].strip().lower() == key:
            place = number
    return f"{path}:{place}" if place else f"{path}: [{name}]"
