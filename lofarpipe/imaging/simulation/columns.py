"""Descriptions of the table columns that a simulated set adds to casacore's own, and how they are filled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import casacore.tables

POSITION = {"QuantumUnits": ["m", "m", "m"], "MEASINFO": {"type": "position", "Ref": "ITRF"}}
EPOCH = {"QuantumUnits": ["s"], "MEASINFO": {"type": "epoch", "Ref": "UTC"}}
DIRECTION = {"QuantumUnits": ["rad", "rad"], "MEASINFO": {"type": "direction", "Ref": "J2000"}}
AXES = {"QuantumUnits": ["m", "m"], "MEASINFO": {"type": "direction", "Ref": "ITRF"}}
RADIANS = {"QuantumUnits": ["rad"]}
MEGAHERTZ = {"QuantumUnits": ["MHz"]}

Keywords = Mapping[str, Any]


def scalar(name: str, example: Any, keywords: Keywords | None = None) -> Any:
    """Return a scalar column of the type of ``example``."""
    return casacore.tables.makescacoldesc(name, example, keywords=dict(keywords or {}))


def array(name: str, example: Any, shape: Sequence[int] | int, keywords: Keywords | None = None) -> Any:
    """Return an array column of the type of ``example``: a fixed shape, or only a number of axes."""
    ndim, fixed = (shape, []) if isinstance(shape, int) else (len(shape), list(shape))
    return casacore.tables.makearrcoldesc(name, example, ndim=ndim, shape=fixed, keywords=dict(keywords or {}))


def subtable(path: str, name: str) -> closing[Any]:
    """Open a subtable of the set at ``path`` for writing; it is closed at the end of the ``with``."""
    return closing(casacore.tables.table(f"{path}/{name}", readonly=False, ack=False))


@contextmanager
def new_subtable(path: str, name: str, columns: Sequence[Any], nrows: int) -> Iterator[Any]:
    """Make a subtable that casacore does not make, hang it below the set, and close it afterwards."""
    description = casacore.tables.maketabdesc(list(columns))
    with closing(casacore.tables.table(f"{path}/{name}", description, nrow=nrows, ack=False)) as table:
        yield table
    with closing(casacore.tables.table(path, readonly=False, ack=False)) as main:
        main.putkeyword(name, f"Table: {path}/{name}")


def add_columns(table: Any, columns: Sequence[Any]) -> None:
    """Add columns to an open table."""
    table.addcols(casacore.tables.maketabdesc(list(columns)))


def put_row(table: Any, row: int, **values: Any) -> None:
    """Fill one row of an open table, a keyword a column."""
    for column, value in values.items():
        table.putcell(column, row, value)
