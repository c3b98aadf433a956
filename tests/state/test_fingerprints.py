"""Path names in values, and fingerprints that detect changed files."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.state import fingerprints as stamps
from lofarpipe.state.fingerprints import (
    is_same,
    named_files,
    named_paths,
    names_starting_with,
    replace_text,
    snapshot,
    stamp,
)

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
def test_nested_values_yield_path_names(thing: object, names: set[str]) -> None:
    assert named_paths(thing, WORK) == names


@given(st.text())
def test_any_text_has_names_and_stamps(text: str) -> None:
    snapshot(named_paths(text, WORK))
    stamp(text)


def test_small_file_fingerprint_has_content_and_time(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert stamp(str(path)) is None
    path.write_text("one")
    first = stamp(str(path))
    os.utime(path, ns=(5, 5))
    assert stamp(str(path)) != first
    assert is_same(stamp(str(path)), first)
    path.write_text("two")
    assert not is_same(stamp(str(path)), first)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the small files read; any file counts as old enough to be remembered."""
    read, sizes = stamps._content, []
    monkeypatch.setattr(stamps, "_content", lambda file, size: (sizes.append(size), read(file, size))[1])
    monkeypatch.setattr(stamps, "UNIT_NS", -1)
    monkeypatch.setattr(stamps, "WHOLE_SECONDS_NS", -1)
    monkeypatch.setattr(stamps, "_digests", {})
    return sizes


def test_small_file_is_read_again_after_a_change_alone(tmp_path: Path, reads: list[int]) -> None:
    path, other = tmp_path / "x", tmp_path / "y"
    path.write_text("one")
    status = path.stat()
    assert [stamp(str(path)) for _ in range(3)] == [stamp(str(path))] * 3
    assert reads == [3]
    before = stamp(str(path))
    time.sleep(0.02)  # more than the unit of the times of files
    path.write_text("two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # the time of the change of its inode is another one
    assert not is_same(stamp(str(path)), before)
    other.write_text("six")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    before = stamp(str(path))
    other.rename(path)
    assert not is_same(stamp(str(path)), before)
    assert reads == [3, 3, 3]


def test_file_of_uncertain_time_is_read_each_time(
    tmp_path: Path, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_text("one")
    monkeypatch.setattr(stamps, "UNIT_NS", 10**18)
    monkeypatch.setattr(stamps, "WHOLE_SECONDS_NS", 10**18)
    assert stamp(str(path)) == stamp(str(path))
    assert reads == [3, 3]
    empty = tmp_path / "empty"  # or a file of /proc, whose content changes without a trace
    empty.touch()
    monkeypatch.setattr(stamps, "UNIT_NS", -1)
    assert stamp(str(empty)) == stamp(str(empty))
    assert reads == [3, 3, 0, 0]


@pytest.mark.parametrize(
    ("changed_ns", "now_ns", "is_settled"),
    [
        (7_000_000_001, 7_010_000_000, False),
        (7_000_000_001, 9_000_000_000, True),
        (7_000_000_000, 9_000_000_000, False),  # maybe a file system whose times are whole seconds
        (7_000_000_000, 10_000_000_000, True),
        (9_000_000_000, 7_000_000_000, False),  # the clock of a server is ahead
    ],
)
def test_time_of_last_change_settles(changed_ns: int, now_ns: int, is_settled: bool) -> None:
    assert stamps._is_settled(changed_ns, now_ns) is is_settled


def test_remembered_digests_are_bounded(tmp_path: Path, reads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "MOST_DIGESTS", 2)
    for number in range(5):
        (tmp_path / f"{number}").write_text("one")
        stamp(str(tmp_path / f"{number}"))
    assert len(stamps._digests) <= 2
    assert len(reads) == 5


def test_large_file_fingerprint_has_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(1_000_001))
    os.utime(path, ns=(7, 7))
    assert stamp(str(path)) == "1000001@7"
    os.utime(path, ns=(8, 8))
    assert not is_same(stamp(str(path)), "1000001@7")


def test_file_without_size_is_read_to_end(tmp_path: Path) -> None:
    version = Path("/proc/version")  # 0 bytes, as it says
    digest = hashlib.sha256(version.read_bytes()).hexdigest()[:32]
    assert (stamp(str(version)) or "").startswith(f"sha256:{digest}@")


def test_special_files_have_no_fingerprint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "pipe", tmp_path / "folder", tmp_path / "x" / "y", Path("/dev/null")):
        assert stamp(str(path)) is None
    assert is_same(None, None)
    assert not is_same(None, "3@4")


def test_snapshot_expands_name_prefix(tmp_path: Path) -> None:
    for name in ("img-1.fits", "img-2.fits", "other", "img"):
        (tmp_path / name).write_text(name)
    assert set(snapshot([f"{tmp_path}/img"])) == {f"{tmp_path}/img"}
    (tmp_path / "img").unlink()
    assert set(snapshot([f"{tmp_path}/img", f"{tmp_path}/gone/x"])) == {
        f"{tmp_path}/img-1.fits",
        f"{tmp_path}/img-2.fits",
    }


def test_prefix_search_finds_matching_texts() -> None:
    assert list(names_starting_with("b", ["a", "b", "ba", "bb", "c"])) == ["b", "ba", "bb"]
    assert list(names_starting_with("d", ["a", "c"])) == []


@pytest.mark.parametrize("name", ["a.txt", "/a/b", "a//b", "./a", "../a", "a/", "/a/.", "a/./b", "a/../b", ".a/b"])
def test_path_join_agrees_with_pathlib(name: str) -> None:
    assert named_paths([f"{name}/x"], Path("/w")) == {str(Path("/w") / name / "x")}
    assert named_paths([f"x={name}"], Path("/w")) >= {str(Path("/w") / name)}


def test_plain_words_are_not_files() -> None:
    thing = ["word", "a.txt", "-name=/x/y", {"key": "sub/z"}]
    assert named_files(thing, Path("/w")) == {"/x/y", "/w/sub/z"}


def test_large_directories_are_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "LONGEST_LISTING", 2)
    for name in ("img-MFS", "img-psf", "other"):
        (tmp_path / name).touch()
    too_long: set[str] = set()
    assert set(snapshot([f"{tmp_path}/img"], too_long)) == {f"{tmp_path}/img-MFS", f"{tmp_path}/img-psf"}
    assert too_long == {str(tmp_path)}
    assert snapshot([f"{tmp_path}/img", f"{tmp_path}/other"], too_long).keys() == {f"{tmp_path}/other"}


def test_nested_text_is_omitted():
    thing = {"now": ["a now", 1, None, ("now", True)], "more": {"x": "none"}}
    found = replace_text(thing, "now", "{time}")
    assert found == {"now": ["a {time}", 1, None, ("{time}", True)], "more": {"x": "none"}}
    assert found["more"] is thing["more"]


def test_nested_table_parts_change_fingerprint(tmp_path: Path) -> None:
    part = tmp_path / "a.mms" / "SUBMSS" / "a.0000.ms"
    part.mkdir(parents=True)
    (tmp_path / "a.mms" / "table.dat").write_text("all")
    (part / "table.f0").write_text("old")
    before = stamp(str(tmp_path / "a.mms"))
    (part / "table.f0").write_text("longer")
    assert stamp(str(tmp_path / "a.mms")) != before
