"""Names that may be paths, and stamps that tell whether what is there has changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.state import fingerprints as stamps
from lofarpipe.state.fingerprints import is_same, named_files, named_paths, snapshot, stamp, starting_with, without_text

WORK = Path("/work/dir")


@pytest.mark.parametrize(
    ("thing", "names"),
    [
        ("/a/b.MS", {"/a/b.MS"}),
        ({"k": ["[/a.MS,/b.MS]"], "n": 3}, {"/a.MS", "/b.MS", "/work/dir/[/a.MS,/b.MS]"}),
        ("-name=/a/b", {"/a/b", "/work/dir/-name", "/work/dir/-name=/a/b"}),
        ("['/a.MS', '/b.MS']", {"/a.MS", "/b.MS", "/work/dir/['/a.MS', '/b.MS']"}),
        ("/with a/blank.MS", {"/with a/blank.MS", "/with", "/work/dir/a/blank.MS"}),
        ("msin=/a b", {"/work/dir/msin=/a b", "/a b", "/work/dir/msin", "/a"}),
        ("[/a b,c/d]", {"/work/dir/[/a b,c/d]", "/a b", "/a", "/work/dir/c/d"}),
        ("x=['/a b', 5]", {"/work/dir/x=['/a b', 5]", "/a b", "/a"}),
        (
            "{'host': 'localhost', 'file': '/a b/c.MS'}",
            {"/a b/c.MS", "/a", *(f"/work/dir/{name}" for name in ("host", "localhost", "file", "b/c.MS"))}
            | {"/work/dir/{'host': 'localhost', 'file': '/a b/c.MS'}"},
        ),
        (
            "{'file': '[/a b/c.MS,/a b/d.MS]'}",
            {"/a b/c.MS", "/a b/d.MS", "/a", *(f"/work/dir/{name}" for name in ("file", "b/c.MS", "b/d.MS"))}
            | {"/work/dir/{'file': '[/a b/c.MS,/a b/d.MS]'}"},
        ),
        ("image", {"/work/dir/image"}),
        ("0.5", set()),
        ("-1", set()),
        ("I", set()),
        ("/", set()),
        ("../", set()),
        ("a\0/b", set()),
        ("/" + "x" * 5000, set()),
    ],
)
def test_names(thing: object, names: set[str]) -> None:
    assert named_paths(thing, WORK) == names


@given(st.text())
def test_any_text_has_names_and_stamps(text: str) -> None:
    snapshot(named_paths(text, WORK))
    stamp(text)


def test_stamp_of_a_small_file_is_its_content_and_time(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert stamp(str(path)) is None
    path.write_text("one")
    first = stamp(str(path))
    os.utime(path, ns=(5, 5))
    assert stamp(str(path)) != first
    assert is_same(stamp(str(path)), first)
    path.write_text("two")
    assert not is_same(stamp(str(path)), first)


def test_stamp_of_a_large_file_is_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(1_000_001))
    os.utime(path, ns=(7, 7))
    assert stamp(str(path)) == "1000001@7"
    os.utime(path, ns=(8, 8))
    assert not is_same(stamp(str(path)), "1000001@7")


def test_a_file_that_says_no_size_is_read_to_its_end(tmp_path: Path) -> None:
    version = Path("/proc/version")  # 0 bytes, as it says
    digest = hashlib.sha256(version.read_bytes()).hexdigest()[:32]
    assert (stamp(str(version)) or "").startswith(f"sha256:{digest}@")


def test_what_has_no_stamp(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "pipe", tmp_path / "folder", tmp_path / "x" / "y", Path("/dev/null")):
        assert stamp(str(path)) is None
    assert is_same(None, None)
    assert not is_same(None, "3@4")


def test_snapshot_takes_a_name_of_nothing_as_the_start_of_names(tmp_path: Path) -> None:
    for name in ("img-1.fits", "img-2.fits", "other", "img"):
        (tmp_path / name).write_text(name)
    assert set(snapshot([f"{tmp_path}/img"])) == {f"{tmp_path}/img"}
    (tmp_path / "img").unlink()
    assert set(snapshot([f"{tmp_path}/img", f"{tmp_path}/gone/x"])) == {
        f"{tmp_path}/img-1.fits",
        f"{tmp_path}/img-2.fits",
    }


def test_texts_that_start_with_a_name() -> None:
    assert list(starting_with("b", ["a", "b", "ba", "bb", "c"])) == ["b", "ba", "bb"]
    assert list(starting_with("d", ["a", "c"])) == []


@pytest.mark.parametrize("name", ["a.txt", "/a/b", "a//b", "./a", "../a", "a/", "/a/.", "a/./b", "a/../b", ".a/b"])
def test_path_is_joined_as_pathlib_does(name: str) -> None:
    assert named_paths([f"{name}/x"], Path("/w")) == {str(Path("/w") / name / "x")}
    assert named_paths([f"x={name}"], Path("/w")) >= {str(Path("/w") / name)}


def test_words_alone_are_no_files() -> None:
    thing = ["word", "a.txt", "-name=/x/y", {"key": "sub/z"}]
    assert named_files(thing, Path("/w")) == {"/x/y", "/w/sub/z"}


def test_long_directories_are_not_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "LONGEST_LISTING", 2)
    for name in ("img-MFS", "img-psf", "other"):
        (tmp_path / name).touch()
    too_long: set[str] = set()
    assert set(snapshot([f"{tmp_path}/img"], too_long)) == {f"{tmp_path}/img-MFS", f"{tmp_path}/img-psf"}
    assert too_long == {str(tmp_path)}
    assert snapshot([f"{tmp_path}/img", f"{tmp_path}/other"], too_long).keys() == {f"{tmp_path}/other"}


def test_text_is_left_out_of_nested_things():
    thing = {"now": ["a now", 1, None, ("now", True)], "more": {"x": "none"}}
    found = without_text(thing, "now", "{time}")
    assert found == {"now": ["a {time}", 1, None, ("{time}", True)], "more": {"x": "none"}}
    assert found["more"] is thing["more"]


def test_parts_of_a_table_below_a_folder_count(tmp_path: Path) -> None:
    part = tmp_path / "a.mms" / "SUBMSS" / "a.0000.ms"
    part.mkdir(parents=True)
    (tmp_path / "a.mms" / "table.dat").write_text("all")
    (part / "table.f0").write_text("old")
    before = stamp(str(tmp_path / "a.mms"))
    (part / "table.f0").write_text("longer")
    assert stamp(str(tmp_path / "a.mms")) != before
