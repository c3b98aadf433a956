"""Sections of pipeline.cfg, and every mistake in them at once."""

from __future__ import annotations  # the types of fields are read as text

from dataclasses import dataclass
from pathlib import Path

import pytest

from lofarpipe.errors import Finding, PipelineError
from lofarpipe.executors.dask.cluster import DaskOptions
from lofarpipe.executors.remote.queue import FORMS
from lofarpipe.executors.slurm.client import SlurmOptions
from lofarpipe.support.config_file import TomlFile, check_values, parset_value, read_section, read_text, where
from lofarpipe.support.parset import split_list


@dataclass(frozen=True)
class Needy:
    launcher: str
    nodes: int = 1

    def problems(self) -> list[str]:
        return ["nodes are too many"] if self.nodes > 9 else []


def test_section_becomes_options(tmp_path: Path) -> None:
    section = {"partition": "main", "extra": "--a --b='c d'", "array_limit": "7", "memory_gb": "1.5", "account": " "}
    options, found = read_section(SlurmOptions, tmp_path / "p", "slurm", {**section, "request_memory": "No"})
    assert found == []
    assert options == SlurmOptions(
        partition="main", extra=("--a", "--b=c d"), array_limit=7, memory_gb=1.5, request_memory=False
    )


def test_all_mistakes_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.cfg"
    path.write_text("[remote]\npartition = x\n[slurm]\nPartiton = a\narray_limit : -1\nextra='\n\n")
    section = {"partiton": "a", "array_limit": "-1", "extra": "'", "request_memory": "perhaps", "memory_gb": "inf"}
    options, found = read_section(SlurmOptions, path, "slurm", section)
    assert options is None
    assert [str(finding).removeprefix(f"{path}:") for finding in found] == [
        "4: [slurm] has no key 'partiton'; did you mean 'partition'?",
        "5: array_limit is '-1'; it cannot be negative, or without end",
        "6: extra is '''; words with all quotes closed are needed",
        "3: request_memory is 'perhaps'; yes or no is needed",
        "3: memory_gb is 'inf'; it cannot be negative, or without end",
    ]


@pytest.mark.parametrize(
    ("kind", "name", "section", "expected"),
    [
        (SlurmOptions, "slurm", {"walltime": "12h"}, f"walltime is '12h'; {FORMS['slurm'][1]}"),
        (SlurmOptions, "slurm", {"queue_poll_s": "0"}, "queue_poll_s is '0'; it has to be more than 0"),
        (DaskOptions, "dask", {"launcher": "slurm", "walltime": "12h"}, f"walltime is '12h'; {FORMS['slurm'][1]}"),
        (DaskOptions, "dask", {"launcher": "lsf", "walltime": "2-0"}, f"walltime is '2-0'; {FORMS['lsf'][1]}"),
    ],
)
def test_invalid_queue_values_are_findings(tmp_path: Path, kind: type, name: str, section: dict, expected: str) -> None:
    path = tmp_path / "pipeline.cfg"
    path.write_text(f"[{name}]\nx = 1\n" + "".join(f"{key} = {text}\n" for key, text in section.items()))
    found = [Finding(f"{path}:{len(section) + 2}", expected)]  # the last line
    assert read_section(kind, path, name, section) == (None, found)
    assert check_values(kind, path, name, section) == found


def test_walltime_without_queue_is_not_checked(tmp_path: Path) -> None:
    section = {"launcher": "ssh", "walltime": "12h"}
    assert check_values(DaskOptions, tmp_path / "p", "dask", section) == []


def test_incomplete_unused_section_is_accepted(tmp_path: Path) -> None:
    section = {"nods": "2", "nodes": "two", "walltime": "12h"}  # of which queue, nobody knows without a launcher
    assert [finding.what for finding in check_values(DaskOptions, tmp_path / "p", "dask", section)] == [
        "[dask] has no key 'nods'; did you mean 'nodes'?",
        "nodes is 'two'; an integer is needed",
    ]
    assert check_values(DaskOptions, tmp_path / "p", "dask", {"launcher": "slurm", "cores": "0"}) == []


def test_required_keys_must_be_set(tmp_path: Path) -> None:
    options, found = read_section(Needy, tmp_path / "none", "dask", {"launcher": " "})
    assert options is None
    assert [str(finding) for finding in found] == [f"{tmp_path}/none: [dask]: launcher is not set, and has to be"]
    options, found = read_section(Needy, tmp_path / "none", "dask", {"launcher": "ssh", "nodes": "10"})
    assert [finding.what for finding in found] == ["nodes are too many"]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("7", "int", 7),
        ("0.5", "float", 0.5),
        ("YES", "bool", True),
        ("0", "bool", False),
        ("a b", "str", "a b"),
        ("[a, b,]", "tuple[str, ...]", ("a", "b")),
        ("a 'b c'", "tuple[str, ...]", ("a", "b c")),
    ],
)
def test_text_gives_typed_value(text: str, kind: str, value: object) -> None:
    assert read_text(text, kind) == value


def test_key_has_line_number(tmp_path: Path) -> None:
    path = tmp_path / "c"
    assert where(path, "slurm") == f"{path}: [slurm]"
    path.write_bytes(b"[a]\nx = 1\n[b]\nx = 2\n\xff")
    assert where(path, "b") == f"{path}: [b]"
    path.write_text("[a]\nx = 1\n[b]\nx = 2\n")
    assert where(path, "b", "x") == f"{path}:4"
    assert where(path, "b", "y") == f"{path}:3"
    assert where(path, "c", "y") == f"{path}: [c]"


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


def test_toml_tables_and_keys_have_lines(tmp_path: Path) -> None:
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
def test_invalid_toml_is_error(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(PipelineError, match=f"a.toml:.*{said}"):
        TomlFile(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-3, "0.001"), (True, "True"), ("a b", "a b"), (["a", "b, c", "d'e", 'f"g'], '[a, "b, c", "d\'e", \'f"g\']')],
)
def test_values_become_parset_text(value: object, text: str) -> None:
    assert parset_value(value) == text
    assert split_list(text) == (value if isinstance(value, list) else split_list(text))
    with pytest.raises(ValueError, match="text, a number, true, false, or a list of these is needed"):
        parset_value([{"a": value}])
