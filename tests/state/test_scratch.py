"""Scratch directories: marked, removed with their job or kept with a reason, cleaned of the dead; verified copies."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.state import scratch as module
from lofarpipe.state.cleanup import clean_node, join_records, write_node_record
from lofarpipe.state.lock import RunLock
from lofarpipe.state.scratch import (
    MARKER,
    Marker,
    Scratch,
    copy_verified,
    directory_bytes,
    file_digest,
    find_residues,
    remove_residue,
)
from lofarpipe.support.processes import node_name

OWN = Marker("/runs/a", "image_channels", "003")
LEAVE = """
import os, sys
from pathlib import Path
from lofarpipe.state.scratch import Marker, Scratch
scratch = Scratch(Path(sys.argv[1]), Marker("/runs/a", "image_channels", "003"))
(scratch.path / "data").write_bytes(bytes(1000))
os.kill(os.getpid(), 9)
"""


def leave_residue(root: Path) -> Path:
    """Leave the directory of a killed job below ``root``."""
    subprocess.run([sys.executable, "-c", LEAVE, str(root)], check=False)
    (residue,) = root.iterdir()
    return residue


def test_scratch_is_removed_with_job(tmp_path: Path) -> None:
    with Scratch(tmp_path / "scratch", OWN) as scratch:
        assert Marker.read(scratch.path) == OWN
        (residue,) = find_residues(tmp_path / "scratch", OWN.run)
        assert residue.is_alive
        assert remove_residue(residue)  # of a running job
    assert list((tmp_path / "scratch").iterdir()) == []


def test_failed_job_keeps_scratch_with_reason(tmp_path: Path) -> None:
    with Scratch(tmp_path, OWN) as scratch:
        scratch.keep_directory("the disk is full")
    (residue,) = find_residues(tmp_path, OWN.run)
    assert (residue.marker.kept, residue.is_alive) == ("the disk is full", False)


def test_scratch_needs_room(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"GB free, and the data of this job take 1e\+09 GB"):
        Scratch(tmp_path, OWN, 1e18)
    assert list(tmp_path.iterdir()) == []


def test_impossible_scratch_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineError, match="scratch_dir: "):
        Scratch(tmp_path / "file", OWN)


def test_residue_of_killed_job_is_removed(tmp_path: Path) -> None:
    path = leave_residue(tmp_path)
    (residue,) = find_residues(tmp_path, OWN.run)
    assert (residue.is_alive, residue.size_bytes > 1000) == (False, True)
    assert remove_residue(residue) == ""
    assert not path.exists()


MARK = (
    LEAVE[: LEAVE.index("scratch = ")]
    + """
directory = Path(sys.argv[1]) / "field-12345678-image_mfs_i-000"
directory.mkdir()
Marker("/runs/a", "image_mfs_i", "000").mark(directory)
print(directory, flush=True)
sys.stdin.read()
os.kill(os.getpid(), 9)
"""
)


def test_directory_of_killed_program_is_found(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", MARK, str(tmp_path)], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        path = Path(process.stdout.readline().strip())
        (running,) = clean_node(tmp_path, tmp_path / "slots", OWN.run, removes=True)
        assert running["reason"] == "image_mfs_i/000 is running"
        process.communicate("")
    (listed,) = clean_node(tmp_path, tmp_path / "slots", OWN.run, removes=False)
    assert listed["reason"] == "left by image_mfs_i/000; listed, and would be removed"
    assert path.is_dir()
    (removed,) = clean_node(tmp_path, tmp_path / "slots", OWN.run, removes=True)
    assert (removed["path"], removed["action"], path.exists()) == (str(path), "removed", False)


def test_foreign_directories_are_not_found(tmp_path: Path) -> None:
    leave_residue(tmp_path)
    (tmp_path / "genericpipeline-x").mkdir()
    (tmp_path / "genericpipeline-y").mkdir()
    (tmp_path / "genericpipeline-y" / MARKER).write_text("nonsense")
    assert list(find_residues(tmp_path, "/runs/b")) == []
    assert len(list(find_residues(tmp_path, "/runs/a"))) == 1
    assert list(find_residues(tmp_path / "missing", "/runs/a")) == []


def test_clean_node_spares_running_jobs(tmp_path: Path) -> None:
    leave_residue(tmp_path / "scratch")
    slots = tmp_path / "slots"
    slots.mkdir()
    (slots / "slot-0").write_text(json.dumps({"host": socket.gethostname(), "pid": 999999999}))
    with Scratch(tmp_path / "scratch", OWN) as running, _held(slots / "slot-1"):
        listed = clean_node(tmp_path / "scratch", slots, OWN.run, removes=False)
        assert {entry["action"] for entry in listed} == {"kept"}
        found = clean_node(tmp_path / "scratch", slots, OWN.run, removes=True)
        actions = {Path(entry["path"]).name: entry["action"] for entry in found}
        assert actions.pop("slot-0") == "removed"
        assert actions.pop(running.path.name) == "kept"
        assert list(actions.values()) == ["removed"]
        assert "image_channels/003 is running" in {entry["reason"] for entry in found}
        assert running.path.is_dir()


class _held:  # noqa: N801 - a context manager alone
    def __init__(self, path: Path) -> None:
        self.lock = RunLock(path)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def test_unremovable_residue_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_residue(tmp_path)

    def fail(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(module.shutil, "rmtree", fail)
    (entry,) = clean_node(tmp_path, tmp_path, OWN.run, removes=True)
    assert (entry["action"], "Permission denied" in entry["reason"]) == ("kept", True)


def test_records_of_nodes_are_joined(tmp_path: Path) -> None:
    found = [{"path": "/s/a", "bytes": 1, "action": "removed", "reason": ""}]
    write_node_record(tmp_path, found)
    assert join_records(tmp_path, verified=True) == {"nodes": {node_name(): {"found": found}}, "verified": True}


def test_copy_has_digest_of_source(tmp_path: Path) -> None:
    source = tmp_path / "a.fits"
    source.write_bytes(b"pixels" * 1000)
    assert copy_verified(source, tmp_path / "out" / "b.fits") == file_digest(source)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.fits"]


def test_failed_copy_leaves_source_and_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "a.fits"
    source.write_bytes(b"pixels")

    def fail(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_copy", fail)
    with pytest.raises(PipelineError, match=r"b.fits: No space left on device .* free some space"):
        copy_verified(source, tmp_path / "out" / "b.fits")
    monkeypatch.setattr(module, "_copy", lambda *_: "other")
    with pytest.raises(PipelineError, match="differs from it"):
        copy_verified(source, tmp_path / "out" / "b.fits")
    assert source.is_file()
    assert list((tmp_path / "out").iterdir()) == []


def test_directory_size_sums_its_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(bytes(10))
    assert directory_bytes(tmp_path) == 10
