"""Common parts of scripts: conversion of text arguments, and exit status for a shell."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

from lofarpipe.errors import PipelineError
from lofarpipe.support.data_directories import set_data_directories


def as_number(name: str, text: str | float, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a script's argument as a number.

    Raises
    ------
    ValueError
        If the text is not a number between ``low`` and ``high``.
    """
    try:
        value = float(text)
    except ValueError as err:
        raise ValueError(f"{name} is {text!r}; a number is needed") from err
    if not low <= value <= high:
        raise ValueError(f"{name} is {value:g}; it must be between {low:g} and {high:g}")
    return value


def as_boolean(name: str, text: str) -> bool:
    """Return a script's argument as a boolean.

    Raises
    ------
    ValueError
        If the text is not True or False.
    """
    if str(text) not in ("True", "False"):
        raise ValueError(f"{name} is {text!r}; True or False is needed")
    return str(text) == "True"


def pair(name: str, text: str) -> tuple[int, int]:
    """Return a script's argument such as ``(60,20)`` as two positive integers.

    Raises
    ------
    ValueError
        If the text is not such a pair.
    """
    parts = [part.strip() for part in text.strip("()[] ").split(",")]
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"{name} is {text!r}; two positive whole numbers such as (60,20) are needed")
    return int(parts[0]), int(parts[1])


def exit_code(work: Callable[[], object]) -> int:
    """Run a script for a shell; return 0, or 1 after a message on standard error."""
    try:
        set_data_directories()
        work()
    except (PipelineError, ValueError, OSError) as err:
        print(err, file=sys.stderr)
        return 1
    return 0
