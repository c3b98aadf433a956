"""Detection of changed inputs and programs."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from lofarpipe import __version__
from lofarpipe.archive import repeat as unchanged
from lofarpipe.archive.checksums import SAMPLED, describe_files
from lofarpipe.archive.repeat import changed_software, check_inputs
from lofarpipe.errors import PipelineError

RUNNER = {"version": __version__, "commit": "abc", "has_changes": False}


@pytest.fixture
def inputs(tmp_path: Path) -> list[dict]:
    """The entries of seven files."""
    for number in range(7):
        (tmp_path / f"{number}.txt").write_text(str(number))
    return describe_files((str(tmp_path / f"{number}.txt") for number in range(7)), 5)


def test_unchanged_inputs_pass(inputs: list[dict], tmp_path: Path) -> None:
    assert {entry["checksum"]["method"] for entry in inputs} == {"full", SAMPLED}
    check_inputs(inputs)
    for number in range(7):
        os.utime(tmp_path / f"{number}.txt", (1, 1))  # another time, the same content
    check_inputs(inputs)


def test_changed_inputs_are_named(inputs: list[dict], tmp_path: Path) -> None:
    (tmp_path / "0.txt").unlink()
    (tmp_path / "1.txt").write_text("long")
    (tmp_path / "6.txt").write_text("x")
    with pytest.raises(PipelineError) as caught:
        check_inputs(inputs)
    assert str(caught.value) == (
        f"3 of 7 inputs are not what they were: {tmp_path}/0.txt is not there; "
        f"{tmp_path}/1.txt has 4 bytes instead of 1; "
        f"{tmp_path}/6.txt has another content; put them back, or repeat with --anyway"
    )


def test_many_changed_inputs_are_counted(inputs: list[dict], tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}.txt").unlink()
    with pytest.raises(PipelineError, match=r"^7 of 7 inputs .*4.txt is not there and 2 more; put them back"):
        check_inputs(inputs)


def software(**changes: object) -> dict:
    return {"runner": RUNNER, "programs": [], "packages": [], **changes}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"version": "9.9"}, [f"genericpipeline is {__version__} now, and was 9.9"]),
        ({"commit": "def"}, ["genericpipeline is of commit abc now, and was of def"]),
        ({"has_changes": True}, ["genericpipeline has, or had, changes that are in no commit"]),
    ],
)
def test_changed_runner_is_reported(monkeypatch: pytest.MonkeyPatch, change: dict, said: list[str]) -> None:
    monkeypatch.setattr(unchanged, "runner_facts", lambda: RUNNER)
    assert changed_software(software(runner={**RUNNER, **change})) == said


def test_changed_programs_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unchanged, "runner_facts", lambda: RUNNER)
    for name in ("wsclean", "script.py"):
        (tmp_path / name).write_text("#!/bin/sh\necho WSClean version 3.4\n")
        (tmp_path / name).chmod(0o755 if name == "wsclean" else 0o644)
    sha256 = hashlib.sha256((tmp_path / "script.py").read_bytes()).hexdigest()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(unchanged, "version_of", lambda path, known: f"3.4 of {known}")
    facts = [
        {"name": "WSClean", "path": "/usr/bin/wsclean", "version": "3.1"},
        {"name": "WSClean", "path": "/usr/bin/wsclean", "version": "3.4 of wsclean"},
        {"name": "script.py", "path": str(tmp_path / "script.py"), "version": None},
        {"name": "script.py", "path": str(tmp_path / "script.py"), "version": None, "sha256": None},
        {"name": "script.py", "path": str(tmp_path / "script.py"), "version": None, "sha256": sha256},
        {"name": "script.py", "path": str(tmp_path / "script.py"), "version": None, "sha256": "0" * 64},
        {"name": "gone.py", "path": str(tmp_path / "gone.py"), "version": None},
    ]
    assert changed_software(software(programs=facts)) == [
        f"WSClean is 3.4 of wsclean now ({tmp_path}/wsclean), and was 3.1",
        f"script.py ({tmp_path}/script.py) is not the file that it was",
        f"gone.py was {tmp_path}/gone.py, which is not there",
    ]


def test_changed_packages_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy

    monkeypatch.setattr(unchanged, "runner_facts", lambda: RUNNER)
    before = [("numpy", numpy.__version__), ("numpy", "1.0"), ("no-such-package", "2.0")]
    packages = [{"name": name, "version": version} for name, version in before]
    assert changed_software(software(packages=packages)) == [
        f"numpy is {numpy.__version__} now, and was 1.0",
        "no-such-package is not installed now, and was 2.0",
    ]
