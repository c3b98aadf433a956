"""Pending outputs: files that jobs without a run may write."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.engine.prediction import PendingOutputs, named_by_job


@pytest.mark.parametrize(
    ("path", "folder", "writer"),
    [
        ("@/out/new", "@/out", "copy"),
        ("@/out/old", "@/out", ""),  # it is there: an input
        ("@/out", "@/out", "copy"),  # a directory of results, or of inputs: nobody knows
        ("@/out", "@/out/deep", "copy"),
        ("@/outer/new", "@/out", ""),
        ("@/out/new", "@/other", ""),
        ("@/other/new", "@/work", "copy"),  # where jobs run they write what they like
        ("@/other/new", "@/work/deep", "copy"),
        ("@/other/new", "@/workshop", ""),
    ],
)
def test_directory_has_one_pending_writer(tmp_path: Path, path: str, folder: str, writer: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").touch()
    awaited = PendingOutputs(tmp_path / "work")
    assert awaited.writer(folder.replace("@", str(tmp_path))) == ""
    awaited.add("copy", [path.replace("@", str(tmp_path))])
    assert awaited.writer(folder.replace("@", str(tmp_path))) == writer


def test_pending_files_are_matched(tmp_path: Path) -> None:
    awaited = PendingOutputs(tmp_path)
    awaited.add("copy", ["/a", "/b"])
    assert awaited.may_include({"/b", "/c"})
    assert not awaited.may_include(["/c"])


def test_job_yields_its_path_names(tmp_path: Path) -> None:
    """A name with a blank is one if it is there; else its pieces count, as those of a list do."""
    (tmp_path / "a b").touch()
    said = [[f"{tmp_path}/a b", "msin=[/c.MS,/d.MS]"], {"kwargs": {"root": "out/e"}}]
    assert named_by_job(said, Path("/work")) == [f"{tmp_path}/a b", "/c.MS", "/d.MS", "/work/out/e"]
