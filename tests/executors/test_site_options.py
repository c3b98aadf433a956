"""Sections of pipeline.cfg, and every mistake in them at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from lofarpipe.executors.site_options import read_section, read_text, where
from lofarpipe.executors.slurm_options import SlurmOptions


@dataclass(frozen=True)
class Needy:
    launcher: str
    nodes: int = 1

    def problems(self) -> list[str]:
        return ["nodes are too many"] if self.nodes > 9 else []


def test_values(tmp_path: Path) -> None:
    section = {"partition": "main", "extra": "--a --b='c d'", "array_limit": "7", "memory_gb": "1.5", "account": " "}
    options, found = read_section(SlurmOptions, tmp_path / "p", "slurm", {**section, "request_memory": "No"})
    assert found == []
    assert options == SlurmOptions(
        partition="main", extra=("--a", "--b=c d"), array_limit=7, memory_gb=1.5, request_memory=False
    )


def test_all_mistakes_at_once(tmp_path: Path) -> None:
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


def test_what_has_to_be_set(tmp_path: Path) -> None:
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
def test_texts(text: str, kind: str, value: object) -> None:
    assert read_text(text, kind) == value


def test_place_of_a_key(tmp_path: Path) -> None:
    path = tmp_path / "c"
    assert where(path, "slurm") == f"{path}: [slurm]"
    path.write_bytes(b"[a]\nx = 1\n[b]\nx = 2\n\xff")
    assert where(path, "b") == f"{path}: [b]"
    path.write_text("[a]\nx = 1\n[b]\nx = 2\n")
    assert where(path, "b", "x") == f"{path}:4"
    assert where(path, "b", "y") == f"{path}:3"
    assert where(path, "c", "y") == f"{path}: [c]"
