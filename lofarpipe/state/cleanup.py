"""Removal of a run's files on a node, with a record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lofarpipe.errors import PipelineError
from lofarpipe.state.lock import RunLock
from lofarpipe.state.scratch import Residue, find_residues, remove_residue
from lofarpipe.state.slots import STALE_S, is_in_queue
from lofarpipe.support.processes import node_name
from lofarpipe.support.utilities import write_atomically

REMOVED, KEPT = "removed", "kept"


def clean_node(scratch_dir: Path, slots_dir: Path, run: str, removes: bool) -> list[dict[str, Any]]:
    """List, and if ``removes`` also remove, the files of a run on this node: marked directories, dead slots.

    Directories of running jobs, or without a marker of this run, stay.
    """
    entries = [_clean_residue(residue, removes) for residue in find_residues(scratch_dir, run)]
    slots = sorted(slots_dir.glob("slot-*")) if removes else []
    return entries + [entry for path in slots if (entry := _clean_slot(path))]


def _clean_residue(residue: Residue, removes: bool) -> dict[str, Any]:
    facts = {"path": str(residue.path), "bytes": residue.size_bytes}
    job = f"{residue.marker.step}/{residue.marker.job}"
    if residue.is_alive:
        return {**facts, "action": KEPT, "reason": f"{job} is running"}
    if not removes:
        return {**facts, "action": KEPT, "reason": f"left by {job}; listed, and would be removed"}
    problem = remove_residue(residue)
    cause = residue.marker.kept or "it did not end"
    return {**facts, "action": KEPT if problem else REMOVED, "reason": problem or f"left by {job}: {cause}"}


def _clean_slot(path: Path) -> dict[str, Any] | None:
    """Remove a slot with a dead holder, and return its record; None if the holder is alive."""
    size = path.stat().st_size if path.is_file() else 0
    try:
        RunLock(path, stale_s=STALE_S, is_queued=is_in_queue).release()  # only succeeds for a dead holder
    except PipelineError:
        return None
    return {"path": str(path), "bytes": size, "action": REMOVED, "reason": "slot of a holder that died"}


def write_node_record(directory: Path, entries: list[dict[str, Any]]) -> Path:
    """Write the files found on this node to a record; return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{node_name()}.json"
    write_atomically(path, json.dumps(entries, indent=1) + "\n")
    return path


def join_records(directory: Path, verified: bool) -> Mapping[str, Any]:
    """Return the recorded files of all nodes, and whether the products were verified before."""
    nodes = {path.stem: {"found": json.loads(path.read_text())} for path in sorted(directory.glob("*.json"))}
    return {"nodes": nodes, "verified": verified}
