"""The arguments of a WSClean job, whichever way a parset gives them: keywords, or flags among the positionals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from lofarpipe.programs.argv import PATHS
from lofarpipe.support.utilities import files_of

# What a flag may be set to as a keyword: given, or not given.
BOOLEANS = {"True": True, "true": True, "False": False, "false": False}

_FLAG = re.compile(r"--?([A-Za-z][\w-]*)")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def flag_name(argument: str) -> str:
    """Return the option that an argument is, without its dashes; empty for a value or a file."""
    match = _FLAG.fullmatch(argument)
    return match[1] if match else ""


def words(key: str, value: str) -> list[str]:
    """Return the words of a keyword's value, of which a list text has one for each element, and a path one."""
    if key in PATHS:
        return [value] if value else []
    listed = value.startswith("[") and value.endswith("]")
    return [part for text in (files_of(value) if listed else [value]) for part in text.split()]


def given_options(keywords: Mapping[str, str], positionals: Sequence[str]) -> dict[str, list[str]]:
    """Return option -> the words after it; those of the last flag may be measurement sets.

    A keyword that is True has none, and one that is False is not given, among the positionals either.
    """
    options = {key: words(key, value) for key, value in keywords.items() if value not in BOOLEANS}
    options |= {key: [] for key, value in keywords.items() if BOOLEANS.get(value)}
    current: list[str] = []
    for argument in positionals:
        name = flag_name(argument)
        if name:
            current = options[name] = []
        else:
            current.append(argument)
    return {name: given for name, given in options.items() if BOOLEANS.get(keywords.get(name, ""), True)}


def without_flags(positionals: Iterable[str], valued: Iterable[str], single: Iterable[str]) -> list[str]:
    """Return the positionals without the flags ``single``, and without the flags ``valued`` and the word after each."""
    valued, single = set(valued), set(single)
    kept: list[str] = []
    skip_next = False
    for argument in positionals:
        if skip_next:
            skip_next = False
        elif flag_name(argument) in valued:
            skip_next = True
        elif flag_name(argument) not in single:
            kept.append(argument)
    return kept


def number(text: str) -> float | None:
    """Return the number at the start of a word such as ``7.5asec``; None if there is none."""
    match = _NUMBER.match(text)
    return float(match[0]) if match else None
