"""A table of fields, as CSV or TOML: the name and the options of each field."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import partial
from pathlib import Path

from lofarpipe.errors import Finding, PipelineError, nearest
from lofarpipe.support.config_file import SAFE_NAME, SAFE_NAMES, TomlFile, parset_value
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.patterns import lazy_pattern

NAME_COLUMN = "field"
TABLES = "fields"  # [fields.<name>], or [[fields]]

Rows = list["FieldRow"]
_SEPARATOR = lazy_pattern(r"[;\t|]")


@dataclass(frozen=True)
class Cell:
    """The value of one option for one field, with the places of the value and of the option's name."""

    value: str
    where: str
    header_place: str


@dataclass(frozen=True)
class FieldRow:
    """One row: the field's name, also its job name, and its options."""

    name: str
    where: str
    cells: Mapping[str, Cell] = field(default_factory=dict)

    def assignments(self) -> list[str]:
        """Return its options as ``--set`` takes them."""
        return [f"{option}={cell.value}" for option, cell in self.cells.items()]


def read_fields(path: Path) -> tuple[Rows, list[Finding]]:
    """Return the fields of a table in file order, and the problems of the table itself.

    Raises
    ------
    PipelineError
        If the file cannot be read, or is neither CSV nor TOML.
    """
    readers = {".csv": _read_csv, ".toml": _read_toml}
    if (suffix := path.suffix.lower()) not in readers:
        raise PipelineError(f"{path}: a table of fields is needed that ends in .csv or .toml")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) else "it is not UTF-8 text"
        raise PipelineError(f"{path}: the table of fields cannot be read: {reason}") from err
    fields, findings = readers[suffix](path, text)
    findings += _check_names(fields) + _check_line_breaks(fields)
    if not fields and not findings:
        findings.append(Finding(str(path), "there are no fields; one row, or one table, for each is needed"))
    return fields, findings


def _check_names(fields: Sequence[FieldRow]) -> list[Finding]:
    findings, first = [], dict[str, str]()
    for entry in fields:
        if not entry.name:
            findings.append(
                Finding(entry.where, f"column '{NAME_COLUMN}' is empty; it names the field's job and directory")
            )
        elif not SAFE_NAME.fullmatch(entry.name):
            findings.append(Finding(entry.where, f"{NAME_COLUMN} is '{entry.name}'; {SAFE_NAMES}"))
        elif entry.name in first:
            findings.append(Finding(entry.where, f"field '{entry.name}' occurs twice, first in {first[entry.name]}"))
        first.setdefault(entry.name, entry.where)
    return findings


def _check_line_breaks(fields: Sequence[FieldRow]) -> list[Finding]:
    return [
        Finding(cell.where, f"{option} holds a line break; a value is one line")
        for entry in fields
        for option, cell in entry.cells.items()
        if "\n" in cell.value
    ]


# ---- CSV


def _read_csv(path: Path, text: str) -> tuple[Rows, list[Finding]]:
    rows = _csv_rows(path, text)
    line, header = next(rows, (1, []))
    where = f"{path}:{line}"
    if not header:
        problem = (
            f"the table is empty; a first row with '{NAME_COLUMN}' and names of options is needed, then one for each"
        )
        return [], [Finding(where, f"{problem} field")]
    findings = _check_header(header, where)
    fields = []
    for row_line, cells in rows:
        place = f"{path}:{row_line}"
        if len(cells) > len(header) and not findings:
            count = f"{len(cells)} cells below {len(header)} columns"
            findings.append(Finding(place, f'{count}; put a value that holds commas between quotes: "[a.MS, b.MS]"'))
        row = dict(zip(header, cells, strict=False))
        name = row.pop(NAME_COLUMN, "")
        fields.append(FieldRow(name, place, {key: Cell(value, place, where) for key, value in row.items() if value}))
    return ([], findings) if NAME_COLUMN not in header else (fields, findings)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of each row; blank rows and comments (#) are skipped."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    line = 1
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            while cells and not cells[-1]:  # spreadsheets fill rows up
                cells.pop()
            if cells and not cells[0].startswith("#"):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as err:
        remedy = 'a value that holds commas or quotes stands between quotes, with its own doubled: "[a.MS, ""b.MS""]"'
        raise PipelineError(f"{path}:{line}: a quote is not closed, or has text behind it; {remedy}") from err


def _check_header(header: Sequence[str], where: str) -> list[Finding]:
    findings = []
    if len(header) == 1 and (separator := _SEPARATOR.search(header[0])):
        character = "tabs" if separator[0] == "\t" else f"'{separator[0]}'"
        problem = f"the columns are separated by {character}, and commas are needed; export the table with commas"
        return [Finding(where, f'{problem}, and put values that hold commas between quotes: "[a.MS, b.MS]"')]
    if NAME_COLUMN not in header:
        column_names = ", ".join(header) or "none"
        like = next((name for name in header if nearest(name, [NAME_COLUMN])), "")
        hint = f"; column '{like}' is not known: did you mean '{NAME_COLUMN}'?" if like else ""
        problem = f"there is no column '{NAME_COLUMN}', which names each field{hint}"
        findings.append(Finding(where, f"{problem}; columns: {column_names}"))
    for number, name in enumerate(header, 1):
        if not name:
            findings.append(Finding(where, f"column {number} has no name; it needs that of an option"))
        elif name in header[: number - 1]:
            findings.append(Finding(where, f"column '{name}' occurs twice"))
    return findings


# ---- TOML


def _read_toml(path: Path, text: str) -> tuple[Rows, list[Finding]]:
    file = TomlFile(path, text)
    findings = [
        Finding(str(path), f"'{key}' stands outside [{TABLES}.<name>]; every option belongs to a field")
        for key in file.document
        if key != TABLES
    ]
    tables = file.document.get(TABLES, {})
    named_tables = list(tables.items()) if isinstance(tables, dict) else [(None, table) for table in _as_list(tables)]
    fields = []
    for number, (name, table) in enumerate(named_tables):
        header = TABLES if name is None else f"{TABLES}.{name}"
        where = partial(file.where, header, number=number if name is None else 0)
        if isinstance(table, dict):
            fields.append(_toml_field(name, table, where, findings))
        else:
            findings.append(Finding(str(path), f"{header} is no table; [{TABLES}.<name>] or [[{TABLES}]] is needed"))
    return fields, findings


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _toml_field(
    name: str | None, table: dict[str, object], where: Callable[[str], str], findings: list[Finding]
) -> FieldRow:
    values = dict(_flat(table))
    if name is None:
        name = str(values.pop(NAME_COLUMN, ""))
    cells = {}
    for key, value in values.items():
        try:
            text = parset_value(value).strip()
        except ValueError as err:
            findings.append(Finding(where(key), f"{key} {err}"))
            continue
        if text:
            cells[key] = Cell(text, where(key), where(key))
    return FieldRow(name, where(""), cells)


def _flat(table: Mapping[str, object], within: str = "") -> Iterator[tuple[str, object]]:
    """Yield the entries of a table; keys of nested tables are joined with dots, as in a parset."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{within}{key}.")
        else:
            yield f"{within}{key}", value
