#!/usr/bin/env python3
"""Remove stale files of a run from this node's scratch directory, and record them."""

from __future__ import annotations

from pathlib import Path

from lofarpipe.errors import WARNING, PipelineError
from lofarpipe.imaging.scripts import as_boolean

OUTPUTS = ("record",)


def main(
    scratch_dir: str, slots_dir: str, run: str, work: str, list_only: str = "False", strict: str = "False"
) -> dict[str, str]:
    """Clean this node and return the name of its record.

    Parameters
    ----------
    run: job directory of the run; only directories with its marker are removed, none of a running job.
    list_only: record the files without removing them.
    strict: fail if a directory without a running job cannot be removed; otherwise warn.

    Raises
    ------
    PipelineError
        If ``strict``, and something stays.
    """
    from lofarpipe.state.cleanup import KEPT, clean_node, write_node_record

    is_listing = as_boolean("list_only", list_only)
    found = clean_node(Path(scratch_dir), Path(slots_dir), run, removes=not is_listing)
    record = write_node_record(Path(work) / "cleanup", found)
    for entry in found:
        print(f"{entry['path']}: {entry['action']}: {entry['reason']} ({entry['bytes']} bytes)")
    stays = [entry for entry in found if entry["action"] == KEPT and not is_listing]
    for entry in stays:
        print(f"{WARNING}{entry['path']}: stays: {entry['reason']}")
    if stays and as_boolean("strict", strict):
        raise PipelineError(f"{stays[0]['path']}: could not be removed: {stays[0]['reason']}; see {record}")
    return {"record": str(record)}
