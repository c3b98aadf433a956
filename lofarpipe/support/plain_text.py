"""Text from files and programs as it can be shown on a terminal."""

from __future__ import annotations

import re

_UNPRINTABLE = r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]"


def printable(line: str) -> str:
    """Return text without control characters but line ends, and without blanks at its end: it cannot move a cursor."""
    if line.isprintable():  # as most is
        return line.rstrip()
    return re.sub(_UNPRINTABLE, "", line.expandtabs(1)).rstrip()
