#!/usr/bin/env python3
"""Convert one tuning of a scan of the Allen Telescope Array from uvh5 files to a measurement set."""

from __future__ import annotations

import sys
from pathlib import Path

OUTPUTS = ("notes",)


def main(folder: str, tuning: str, ms: str, copy_to: str = "", needed_for: str = "") -> dict[str, str]:
    """Write ``ms`` and a report of findings and changes beside it; return the report's name.

    Parameters
    ----------
    copy_to: directory for copies of the files before reading; "" for no copies.
    needed_for: options of the later steps; a change makes the (removed) set again.

    Raises
    ------
    PipelineError
        If a file cannot be read, or files do not belong together.
    """
    del needed_for
    from lofarpipe.imaging.ata.averaged import facts_path
    from lofarpipe.imaging.ata.uvh5 import read_scan, scratch_copy

    with scratch_copy(Path(folder), tuning, copy_to) as place:
        notes = read_scan(place, tuning, Path(ms), facts_path(ms), siblings=Path(folder).parent)
    print(f"{notes.field}: {notes.times} integrations, {notes.baselines} baselines, {notes.channels} channels")
    for node, names in notes.silent.items():
        if names:
            print(f"WARNING: {folder}: antennas {', '.join(names)} are 0 in node {node}; they are flagged")
    if notes.missing_nodes:
        print(f"WARNING: {folder}: nodes {notes.missing_nodes} of Lo{tuning.upper()} are missing; they are flagged")
    return {"notes": str(facts_path(ms))}


if __name__ == "__main__":
    from lofarpipe.imaging.scripts import exit_code

    sys.exit(exit_code(lambda: main(*sys.argv[1:4])))
