"""Replacement variables of a parset: ``! name = value`` is used as ``{{ name }}``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from lofarpipe.support.parset_text import ParsetError

# A definition that names two others, each of which names two others ... doubles with each line: bounded, not unrolled.
LONGEST_VALUE = 16 * 2**20  # characters; as long as a line may be
MOST_WORK = 512 * 2**20  # characters handled for one parset

_PLACEHOLDER = re.compile(r"\{\{ (?=([^{}]{1,200}?) \}\})")
_ENVIRONMENT = re.compile(r"\$(?:(\w{1,200})|\{([^{}]{1,200})\})", re.ASCII)


def may_have_placeholders(text: str) -> bool:
    """Return whether it is worth while to look for ``{{ name }}`` in a text."""
    return "{{ " in text


def placeholders(text: str) -> list[str]:
    """Return the names used as ``{{ name }}``, exactly one blank on each side, in order of first use."""
    if "{{ " not in text:
        return []
    return list(dict.fromkeys(found.group(1) for found in _PLACEHOLDER.finditer(text)))


def expand_environment(text: str) -> str:
    """Return a text with ``$NAME`` and ``${NAME}`` replaced; an undefined one stays as it is, and so does ``~``."""
    return _ENVIRONMENT.sub(lambda found: os.environ.get(found.group(1) or found.group(2), found.group()), text)


class Substitution:
    """The definitions of one parset, in order, and the work still allowed in replacing them."""

    def __init__(self, definitions: Mapping[str, str]) -> None:
        self._values = {name: expand_environment(value) for name, value in definitions.items()}
        self._rank = {name: rank for rank, name in enumerate(self._values)}
        self._work_left = MOST_WORK

    def apply(self, text: str, where: str) -> str:
        """Return a text after one pass over the definitions, the last one first.

        A definition that uses a later one therefore leaves that placeholder in the text.

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
        """Return the name used in a text that was defined last, of those defined before ``rank``."""
        if not may_have_placeholders(text):
            return None
        used = (name for name in self._names(text) if self._rank[name] < rank)
        return max(used, key=self._rank.__getitem__, default=None)

    def _names(self, text: str) -> Iterator[str]:
        return (name for name in placeholders(text) if name in self._rank)

    def _replaced(self, name: str, text: str, where: str) -> str:
        """Return a text with one variable replaced; refuse before it grows out of bounds."""
        token, value = f"{{{{ {name} }}}}", self._values[name]
        length = len(text) + text.count(token) * (len(value) - len(token))
        self._work_left -= length + len(text)
        if length > LONGEST_VALUE or self._work_left < 0:
            raise ParsetError(f"{where}: replacing {token} gives more than {LONGEST_VALUE} characters; look for a loop")
        return text.replace(token, value)
