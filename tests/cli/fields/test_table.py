"""Tables of fields: CSV and TOML, and refusals with their line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lofarpipe.cli.fields.table import read_fields
from lofarpipe.errors import PipelineError

CSV = """\
# two fields of the deep survey
field, robust, data_input_filenames

P23+45, -0.5, "[/data/a.MS, /data/b.MS]",
Bootes_1,,/data/c.MS
"""
TOML = """\
[fields."P23+45"]
robust = -0.5
data_input_filenames = ["/data/a.MS", "/data/b.MS"]

[fields.Bootes_1]
data_input_filenames = "/data/c.MS"
robust = ""
"""
ARRAY = """\
[[fields]]
field = "P23+45"
robust = -0.5
data_input_filenames = ["/data/a.MS", "/data/b.MS"]
[[fields]]   # the second
field = "Bootes_1"
data_input_filenames = "/data/c.MS"
"""


def written(tmp_path: Path, text: str, suffix: str = ".csv") -> Path:
    path = tmp_path / f"fields{suffix}"
    path.write_text(text)
    return path


def findings(path: Path) -> list[str]:
    """Return the findings, without the directory."""
    return [str(finding).replace(f"{path.parent}/", "") for finding in read_fields(path)[1]]


@pytest.mark.parametrize(
    ("suffix", "text", "lines"), [(".csv", CSV, (4, 5)), (".toml", TOML, (1, 5)), (".toml", ARRAY, (1, 5))]
)
def test_every_notation_gives_same_fields(tmp_path: Path, suffix: str, text: str, lines: tuple[int, int]) -> None:
    path = written(tmp_path, text, suffix)
    fields, wrong = read_fields(path)
    assert wrong == []
    assert [(field.name, sorted(field.assignments())) for field in fields] == [
        ("P23+45", ["data_input_filenames=[/data/a.MS, /data/b.MS]", "robust=-0.5"]),
        ("Bootes_1", ["data_input_filenames=/data/c.MS"]),  # an empty cell sets nothing
    ]
    assert [field.where for field in fields] == [f"{path}:{line}" for line in lines]


def test_csv_cells_know_row_and_header(tmp_path: Path) -> None:
    path = written(tmp_path, CSV)
    cell = read_fields(path)[0][0].cells["robust"]
    assert (cell.where, cell.header_place) == (f"{path}:4", f"{path}:2")


def test_rows_after_multiline_row_keep_their_lines(tmp_path: Path) -> None:
    path = written(tmp_path, 'field,note\na,"x\ny"\nb,z\n')
    fields, _ = read_fields(path)
    assert [field.where for field in fields] == [f"{path}:2", f"{path}:4"]
    assert findings(path) == ["fields.csv:2: note holds a line break; a value is one line"]


def test_toml_cells_know_their_keys(tmp_path: Path) -> None:
    path = written(tmp_path, TOML, ".toml")
    cells = read_fields(path)[0][0].cells
    assert [cells["robust"].where, cells["data_input_filenames"].header_place] == [f"{path}:2", f"{path}:3"]


def test_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "fields.csv").write_text("field,robust\na,1\n", encoding="utf-8-sig")
    assert read_fields(tmp_path / "fields.csv")[0][0].assignments() == ["robust=1"]


def test_toml_values_become_parset_text(tmp_path: Path) -> None:
    text = "[fields.a]\nflag = true\nnumber = 0.25\nlist = ['a b', 'c,d', 'e', 'f\"g h', 3]\nclean.argument.niter = 5\n"
    (field,) = read_fields(written(tmp_path, text, ".toml"))[0]
    assert field.assignments() == [
        "flag=True",
        "number=0.25",
        'list=["a b", "c,d", e, \'f"g h\', 3]',
        "clean.argument.niter=5",
    ]


def test_inline_tables_name_only_file(tmp_path: Path) -> None:
    path = written(tmp_path, "fields = [{field = 'a', robust = 1}]", ".toml")
    assert read_fields(path)[0][0].where == str(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1: the table is empty; a first row with 'field' and names of options is needed, then one .*"]),
        ("\n# none\n", ["1: the table is empty; .*"]),
        ("robust,niter\n1,2\n", ["1: there is no column 'field', which names each field; columns: robust, niter"]),
        ("field;robust\na;1,5\n", ["1: the columns are separated by ';', and commas are needed; export .*"]),
        ("field\trobust\na\t1\n", ["1: the columns are separated by tabs, and commas are needed; export .*"]),
        ("field|robust\na|1\n", [r"1: the columns are separated by '\|', and commas are needed; export .*"]),
        ("feild,x\na,1\n", [r"1: .*; column 'feild' is not known: did you mean 'field'\?; columns: feild, x"]),
        ("field,,robust\na,1,2\n", ["1: column 2 has no name; it needs that of an option"]),
        ("field,robust,robust\na,1,2\n", ["1: column 'robust' occurs twice"]),
        ("field,robust\n", [" there are no fields; one row, or one table, for each is needed"]),
        ("field,list\na,[x,y]\n", ["2: 3 cells below 2 columns; put a value that holds commas between quotes: .*"]),
        ("field,robust\n,1\n", ["2: column 'field' is empty; it names the field's job and directory"]),
        ("field,robust\na,1\na,2\n", ["3: field 'a' occurs twice, first in .*fields.csv:2"]),
        ("field,x\n../a,1\n.b,1\na b,1\n", [f"{n}: field is '{name}'; letters, .*" for n, name in
                                            ((2, r"\.\./a"), (3, r"\.b"), (4, "a b"))]),
        ("field,x\nM31/core,1\n", ["2: field is 'M31/core'; letters, .*"]),
    ],
)  # fmt: skip
def test_csv_mistakes_are_findings(tmp_path: Path, text: str, expected: list[str]) -> None:
    found = findings(written(tmp_path, text))
    assert len(found) == len(expected)
    for line, pattern in zip(found, expected, strict=True):
        assert re.fullmatch(rf"fields\.csv:{pattern}", line), line


def test_upper_case_suffix_is_read(tmp_path: Path) -> None:
    assert read_fields(written(tmp_path, CSV, ".CSV"))[1] == []


def test_field_name_has_maximum_length(tmp_path: Path) -> None:
    assert findings(written(tmp_path, f"field,x\n{'a' * 100},1\n")) == []
    assert len(findings(written(tmp_path, f"field,x\n{'a' * 101},1\n"))) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[field.a]\nx = 1", "fields.toml: 'field' stands outside [fields.<name>]; every option belongs to a field"),
        ("[fields]\na = 1", "fields.toml: fields.a is no table; [fields.<name>] or [[fields]] is needed"),
        ("[[fields]]\nx = 1", "fields.toml:1: column 'field' is empty; it names the field's job and directory"),
        ("[fields.a]\n\nx = 2020-01-01", "fields.toml:3: x is 2020-01-01; text, a number, true, false, or a list of"),
        ("[fields.a]\nx = [1, [{y = 1}]]", "fields.toml:2: x is {'y': 1}; text, a number, true, false, or a list of"),
        ("fields = 3", "fields.toml: fields is no table; [fields.<name>] or [[fields]] is needed"),
    ],
)
def test_toml_mistakes_are_findings(tmp_path: Path, text: str, expected: str) -> None:
    assert findings(written(tmp_path, text, ".toml"))[0].startswith(expected)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("f.csv", b'field,x\na,"1\n', "f.csv:2: a quote is not closed, or has text behind it; a value that"),
        ("f.csv", b'field,x\na,"1"y\n', "f.csv:2: a quote is not closed, or has text behind it; a value that"),
        ("f.toml", b"[fields.a]\nx = \n", "f.toml:2: not TOML: invalid value"),
        ("f.csv", b"field\n\xff\n", "f.csv: the table of fields cannot be read: it is not UTF-8 text"),
        ("f.txt", b"", "f.txt: a table of fields is needed that ends in .csv or .toml"),
    ],
)
def test_unreadable_table_is_error(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PipelineError, match=message):
        read_fields(tmp_path / name)


def test_missing_table_is_error(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"f\.csv: the table of fields cannot be read: No such file"):
        read_fields(tmp_path / "f.csv")
