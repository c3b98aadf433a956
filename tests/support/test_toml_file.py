"""TOML files with the lines of their keys, and their values as a parset has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.support.parset import split_list
from lofarpipe.support.toml_file import TomlFile, parset_value

TEXT = """\
title = "x"   # before all tables

[worker]
nodes = 'n1'
"max time" = 3
[wsclean.deep]   # a comment
size = [1,
  2]
[[fields]]
field = "a"
[[fields]]
field = "b"
"""


def test_lines_of_tables_and_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(TEXT)
    toml = TomlFile(path)
    assert toml.document["wsclean"]["deep"]["size"] == [1, 2]
    asked = [("", "title"), ("worker",), ("worker", "nodes"), ("wsclean.deep", "size"), ("fields", "field", 1)]
    assert [toml.line(*words) for words in asked] == [1, 3, 4, 7, 12]  # type: ignore[arg-type]
    assert toml.where("worker", "not there") == f"{path}:3"
    assert toml.where("nowhere", "at all") == str(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a = 1\nb = \n", "2: not TOML"),
        (b"a = '\xff'", "cannot be read: it is not UTF-8 text"),
        (None, "No such"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(PipelineError, match=f"a.toml:.*{said}"):
        TomlFile(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-3, "0.001"), (True, "True"), ("a b", "a b"), (["a", "b, c", "d'e", 'f"g'], '[a, "b, c", "d\'e", \'f"g\']')],
)
def test_values_as_a_parset_has_them(value: object, text: str) -> None:
    assert parset_value(value) == text
    assert split_list(text) == (value if isinstance(value, list) else split_list(text))
    with pytest.raises(ValueError, match="text, a number, true, false, or a list of these is needed"):
        parset_value([{"a": value}])
