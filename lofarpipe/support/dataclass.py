"""The decorator ``dataclass`` of the standard library, without its cost at the start of each process.

Before Python 3.13 that compiles up to six functions from text for each class: 580 for a run, a sixth of the CPU time of
a short one. Here ``__init__`` alone is compiled; the other methods are the same functions for all classes.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls=None, /, *, frozen=False, eq=True, **options):
        """Return a class as `dataclasses.dataclass` does; an assignment to a frozen field raises after the first."""
        if cls is None:
            return functools.partial(dataclass, frozen=frozen, eq=eq, **options)
        if options.get("slots"):  # the class is made anew, and its objects have no __dict__
            return dataclasses.dataclass(cls, frozen=frozen, eq=eq, **options)
        own = dict(vars(cls))
        made = dataclasses.dataclass(cls, eq=False, repr=False, **options)
        methods = {"__repr__": _repr}
        if eq:
            methods |= {"__eq__": _is_equal, "__hash__": _hash if frozen else None}
        if frozen:
            methods |= {"__setattr__": _set_once, "__delattr__": _refuse_removal}
        for name, method in methods.items():
            if own.get(name) is None:  # a class with __eq__ alone has None as its __hash__
                setattr(made, name, method)
        return made


@recursive_repr()
def _repr(self: Any) -> str:
    shown = [field.name for field in dataclasses.fields(self) if field.repr]
    return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


def _is_equal(self: Any, other: object) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return _compared_values(self) == _compared_values(other)


def _hash(self: Any) -> int:
    return hash(_compared_values(self))


def _compared_values(thing: object) -> tuple[Any, ...]:
    cls: Any = type(thing)
    return _compared(cls)(thing)


@functools.cache
def _compared(cls: Any) -> Callable[[object], tuple[Any, ...]]:
    """Return a function for the values to compare, as a tuple, in which an identical NaN equals itself."""
    names = [field.name for field in dataclasses.fields(cls) if field.compare]
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda thing: tuple(getattr(thing, name) for name in names)


def _set_once(self: Any, name: str, value: object) -> None:
    if name in vars(self) or name not in self.__dataclass_fields__:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
    object.__setattr__(self, name, value)


def _refuse_removal(_self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
