"""The map of nodes with scratch directories, which the clean-up works by."""

from __future__ import annotations

import importlib.util
import json
import socket
from pathlib import Path

import pytest

from doc_pages import REPOSITORY
from lofarpipe.support.data_map import DataMap

FILE = REPOSITORY / "plugins" / "PipelineStep_scratchNodes.py"
spec = importlib.util.spec_from_file_location("scratch_nodes", FILE)
assert spec is not None
assert spec.loader is not None
plugin = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plugin)


@pytest.mark.parametrize(
    ("noted", "expected"),
    [((), ["localhost"]), (("n1", "n2"), ["n1", "n2"]), ((socket.gethostname(), "n1"), ["localhost", "n1"])],
)
def test_nodes_with_notes_are_listed(tmp_path: Path, noted: tuple[str, ...], expected: list[str]) -> None:
    (tmp_path / "nodes").mkdir()
    for node in noted:
        (tmp_path / "nodes" / f"{node}.json").write_text(json.dumps({"scratch_dir": f"/scratch/{node}"}))
    found = plugin.plugin_main([], str(tmp_path), "nodes.mapfile", str(tmp_path), "/scratch/here", "")
    entries = DataMap.load(found["mapfile"]).data
    assert sorted(entry.host for entry in entries) == expected
    assert {entry.file for entry in entries} == ({f"/scratch/{node}" for node in noted} or {"/scratch/here"})


def test_nodes_of_programs_with_temporary_files_are_listed(tmp_path: Path) -> None:
    starts = [("n3", "/scratch/field-image-000"), ("n4", None), ("n3", "/scratch/field-image-001")]
    events = [{"event": "job_started", "job": "image/000", "node": node, "tempdir": name} for node, name in starts]
    (tmp_path / "journal.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    found = plugin.plugin_main([], str(tmp_path), "nodes.mapfile", str(tmp_path), "/scratch", str(tmp_path))
    entries = DataMap.load(found["mapfile"]).data
    assert [(entry.host, entry.file) for entry in entries] == [("n3", "/scratch")]
