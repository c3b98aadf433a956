"""Operators and builtins of Python 2, for translated sources.

The names between double underscores are put in place of operators by ``translate``.
"""

from __future__ import annotations

import builtins
import decimal
import itertools
import sys
from collections.abc import Callable, Iterable
from typing import Any

_NUMBERS = (int, float)
_EXACT = decimal.Context(prec=1200)  # of a float no digit is lost


def divide(left: Any, right: Any) -> Any:
    """Return ``left / right``, rounded down for integers, including numpy's."""
    if type(left) in _NUMBERS and type(right) in _NUMBERS:  # nearly always, and much faster
        return left // right if type(left) is type(right) is int else left / right
    quotient = _own_division(left, right)
    if quotient is not NotImplemented:
        return quotient
    return left // right if _are_whole(left, right) else left / right


def divide_into(left: Any, right: Any) -> Any:
    """Return the value of ``left`` after ``left /= right``; an array stays the same array."""
    change = getattr(type(left), "__idiv__", None)
    if change is not None:
        return change(left, right)
    if _own_division(left, right) is not NotImplemented:
        return divide(left, right)
    if _are_whole(left, right):
        left //= right
    else:
        left /= right
    return left


def _own_division(left: Any, right: Any) -> Any:
    """Return the result of the classes' Python 2 operator; NotImplemented without one."""
    for owner, other, name in ((left, right, "__div__"), (right, left, "__rdiv__")):
        method = getattr(type(owner), name, None)
        if method is not None:
            result = method(owner, other)
            if result is not NotImplemented:
                return result
    return NotImplemented


def _are_whole(left: Any, right: Any) -> bool:
    if isinstance(left, int) and isinstance(right, int):
        return True
    numpy = sys.modules.get("numpy")
    if numpy is None or not any(isinstance(value, numpy.ndarray | numpy.generic) for value in (left, right)):
        return False
    return all(numpy.asarray(value).dtype.kind in "biu" for value in (left, right))


def index(start: object, stop: object, step: object = None) -> slice:
    """Return a slice, under a name that sources do not redefine."""
    return slice(start, stop, step)


def next_of(iterator: Any) -> Any:
    """Return ``iterator.next()``: by a method of that name, else by ``next``."""
    method = getattr(iterator, "next", None)
    return method() if method is not None else next(iterator)


def message_of(owner: Any) -> Any:
    """Return ``owner.message``, an attribute of all exceptions in Python 2."""
    if isinstance(owner, BaseException) and not hasattr(owner, "message"):
        return owner.args[0] if len(owner.args) == 1 else ""
    return owner.message


def map_list(function: Callable[..., Any] | None, *sequences: Iterable[Any]) -> list[Any]:
    """Return a list as long as the longest sequence; without a function, of the items themselves."""
    if len(sequences) == 1:
        return [*sequences[0]] if function is None else [function(item) for item in sequences[0]]
    rows = itertools.zip_longest(*sequences)
    return [*rows] if function is None else [function(*row) for row in rows]


def filter_list(function: Callable[[Any], Any] | None, items: Any) -> Any:
    """Return the items with a true function value; as text for text, as a tuple for a tuple."""
    selection = builtins.filter(function, items)
    if isinstance(items, str):
        return "".join(selection)
    return tuple(selection) if isinstance(items, tuple) else [*selection]


def zip_list(*sequences: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Return the list of rows."""
    return [*builtins.zip(*sequences, strict=False)]


def range_list(*limits: int) -> list[int]:
    """Return the list of numbers."""
    return [*builtins.range(*limits)]


def round_away(number: Any, digits: int = 0) -> float:
    """Return a float; halves go away from zero."""
    value = float(number)
    if value in (float("inf"), float("-inf")) or value != value:
        return value
    unit = decimal.Decimal(1).scaleb(-digits)
    return float(decimal.Decimal(value).quantize(unit, decimal.ROUND_HALF_UP, _EXACT))


def compare(left: Any, right: Any) -> int:
    """Return -1, 0 or 1; None is less than everything."""
    if left is None or right is None:
        return (left is not None) - (right is not None)
    return bool(left > right) - bool(left < right)


def octal(number: int) -> str:
    """Return a number as ``010``."""
    text = oct(number).replace("0o", "0", 1)
    return text if number else "0"


def reload(module: Any) -> Any:
    """Reload a module; for one with historical names, the wrapped module."""
    import importlib

    modules = getattr(module, "_modules", None)
    return importlib.reload(modules[0] if modules else module)


BUILTINS: dict[str, object] = {
    "__divide__": divide,
    "__divide_into__": divide_into,
    "__index__": index,
    "__message_of__": message_of,
    "__next_of__": next_of,
    "cmp": compare,
    "coerce": lambda left, right: (left + type(right)(0), right + type(left)(0)),
    "filter": filter_list,
    "map": map_list,
    "oct": octal,
    "range": range_list,
    "reload": reload,
    "round": round_away,
    "zip": zip_list,
}
