"""Arguments of scripts, which arrive as text, as numbers."""

from __future__ import annotations

import math


def number(name: str, text: str | float, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a script's argument as a number.

    Raises
    ------
    ValueError
        If it is not one, or not between ``low`` and ``high``.
    """
    try:
        value = float(text)
    except ValueError as err:
        raise ValueError(f"{name} is {text!r}; a number is needed") from err
    if not low <= value <= high:
        raise ValueError(f"{name} is {value:g}; it must be between {low:g} and {high:g}")
    return value
