"""Text from files and programs as it can be shown on a terminal."""

from __future__ import annotations

import math
import re

_UNPRINTABLE = r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]"


def printable(line: str) -> str:
    """Return text without control characters but line ends, and without blanks at its end: it cannot move a cursor."""
    if line.isprintable():  # as most is
        return line.rstrip()
    return re.sub(_UNPRINTABLE, "", line.expandtabs(1)).rstrip()


def flux_text(value_jy: float) -> str:
    """Return a flux density in Jy as people read it: ``189.5 mJy``."""
    if not math.isfinite(value_jy) or value_jy == 0:
        return f"{value_jy:g} Jy"
    for unit, factor in (("MJy", 1e-6), ("kJy", 1e-3), ("Jy", 1.0), ("mJy", 1e3)):
        if abs(value_jy) * factor >= 0.9995:
            return f"{value_jy * factor:.4g} {unit}"
    return f"{value_jy * 1e6:.4g} µJy"
