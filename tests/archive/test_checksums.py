"""Checksums of files and tables: read data, reuse and changes."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from lofarpipe.archive import checksums
from lofarpipe.archive.checksums import FULL, SAMPLED, checksum_of, describe_files, files_in
from lofarpipe.state.fingerprints import stamp

MIB = 1 << 20


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A directory with the layout of a casacore table and a subtable."""
    path = tmp_path / "L1.MS"
    (path / "ANTENNA").mkdir(parents=True)
    for name in ("table.dat", "table.f0", "ANTENNA/table.dat", "table.lock"):
        (path / name).write_text(name)
    return path


def test_file_checksum_equals_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    (entry,) = describe_files([str(tmp_path / "abc")], 10)
    value = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert entry["checksum"] == {"algorithm": "sha256", "method": FULL, "value": value}
    assert (entry["kind"], entry["bytes"], entry["files"]) == ("file", 3, 1)


def test_table_checksum_equals_documented_command(table: Path) -> None:
    command = "find * -type f ! -name table.lock | LC_ALL=C sort | xargs sha256sum | sha256sum"
    done = subprocess.run(["sh", "-c", command], cwd=table, capture_output=True, text=True, check=True)
    (entry,) = describe_files([str(table)], 1000)
    assert entry["checksum"]["value"] == done.stdout.split()[0]
    assert (entry["kind"], entry["files"], entry["bytes"]) == ("table", 3, 9 + 8 + 17)


def test_table_checksum_ignores_only_locks(table: Path) -> None:
    before = checksum_of(str(table), FULL)
    (table / "table.lock").write_text("read by somebody")
    assert checksum_of(str(table), FULL) == before
    (table / "ANTENNA" / "table.dat").rename(table / "ANTENNA" / "table.f0")
    assert checksum_of(str(table), FULL) != before


def test_samples_are_first_and_last_mib(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"a" * MIB + b"b" * MIB + b"c" * MIB)
    ends = hashlib.sha256(b"a" * MIB + b"c" * MIB).hexdigest()
    assert checksum_of(str(path), SAMPLED) == hashlib.sha256(f"{ends}  {3 * MIB}  long\n".encode()).hexdigest()


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 2 * MIB - 1, 2 * MIB])
def test_short_file_is_sampled_entirely(tmp_path: Path, size: int) -> None:
    path = tmp_path / "short"
    path.write_bytes(os.urandom(size))
    whole = hashlib.sha256(path.read_bytes()).hexdigest()
    assert checksum_of(str(path), SAMPLED) == hashlib.sha256(f"{whole}  {size}  short\n".encode()).hexdigest()


def test_limit_favours_smallest_files(tmp_path: Path) -> None:
    for name, size in (("large", 60), ("small", 10), ("middle", 30)):
        (tmp_path / name).write_bytes(b"x" * size)
    paths = [str(tmp_path / name) for name in ("large", "small", "middle")]
    methods = [entry["checksum"]["method"] for entry in describe_files(paths, 50)]
    assert methods == [SAMPLED, FULL, FULL]
    assert [entry["checksum"]["method"] for entry in describe_files(paths, 0)] == [SAMPLED] * 3


def test_unchanged_file_is_not_read_again(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    (first,) = describe_files([str(path)], 100)
    read = []
    monkeypatch.setattr(checksums, "SMALL_BYTES", -1)  # a small one is read to see whether it has changed
    monkeypatch.setattr(checksums, "checksum_of", lambda path, method: read.append(path) or "0" * 64)
    assert describe_files([str(path)], 100, {str(path): first}) == [first]
    assert read == []
    (tmp_path / "a").write_text("two")
    assert describe_files([str(path)], 100, {str(path): first}) != [first]
    assert read == [str(path)]


def test_small_file_is_read_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(checksums, "checksum_of", lambda path, method: f"of {method}")
    path = tmp_path / "a"
    path.write_text("one")
    (full,), (sampled,) = describe_files([str(path)], 100), describe_files([str(path)], 0)
    assert full["checksum"]["value"] == hashlib.sha256(b"one").hexdigest()
    assert sampled["checksum"]["value"] == "of sampled"
    assert full["stamp"] == sampled["stamp"] == stamp(str(path))


def test_impossible_names_are_omitted() -> None:
    assert describe_files(["a\0b", "x" * 5000], 100) == []


def test_proc_file_without_size_is_read() -> None:
    assert checksum_of("/proc/version", FULL) == hashlib.sha256(Path("/proc/version").read_bytes()).hexdigest()


def test_full_checksum_satisfies_sampled_request(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    Path(path).write_text("one")
    (full,), (sampled,) = describe_files([path], 100), describe_files([path], 0)
    assert describe_files([path], 0, {path: full}) == [full]
    assert describe_files([path], 100, {path: sampled}) == [full]


def test_checksum_method_can_be_chosen(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    Path(path).write_text("one")
    (entry,) = describe_files([path], 100, prefer={path: SAMPLED})
    assert entry["checksum"]["method"] == SAMPLED


def test_folders_and_pipes_are_omitted(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert describe_files([str(tmp_path / name) for name in ("folder", "pipe", "none")], 100) == []


def test_table_files_are_in_byte_order(tmp_path: Path) -> None:
    table = tmp_path / "T"
    (table / "b").mkdir(parents=True)
    for name in ("table.dat", "b/table.f1", "Z", "b.x"):
        (table / name).touch()
    assert [name for _, name in files_in(str(table))] == ["Z", "b.x", "b/table.f1", "table.dat"]


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checksum_of(str(tmp_path / "none"), FULL)
