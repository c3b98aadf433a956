"""A map of the nodes that ran jobs of a run, each with its scratch directory."""

import json
import os
import socket
from pathlib import Path

from lofarpipe.support.data_map import DataMap, DataProduct

OUTPUTS = ("mapfile",)
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_dry_run(args, scratch_dir, run="", slots_dir="", **kwargs):
    """Return the outputs of ``plugin_main``, with comments on the present files for the clean-up on this machine.

    Parameters
    ----------
    run : str
        The job directory of the run.
    slots_dir : str
        The directory of the throttle.
    """
    from lofarpipe.state.cleanup import clean_node

    entries = clean_node(Path(scratch_dir), Path(slots_dir), run, removes=False)
    lines = [f"{entry['path']}: {entry['reason']} ({entry['bytes']} bytes)" for entry in entries]
    outputs = plugin_main(args, scratch_dir=scratch_dir, **kwargs)
    return {**outputs, "comments": "\n".join(lines) or f"{scratch_dir}: nothing of this run is left on this machine"}


def plugin_main(args, mapfile_dir, filename, work, scratch_dir, run="", **kwargs):
    """Write the map from the jobs' notes below ``work`` and the journal of ``run``; by default this machine.

    Parameters
    ----------
    run : str
        The job directory of the run.
    work : str
        The directory of the run with a note of each node.
    scratch_dir : str
        The scratch directory of this machine.
    """
    local_names = {os.environ.get("SLURMD_NODENAME") or socket.gethostname(), "localhost"}
    notes = sorted(Path(work, "nodes").glob("*.json"))
    named = dict.fromkeys(_nodes_with_temporary_files(run), scratch_dir)
    named |= {note.stem: json.loads(note.read_text(encoding="utf-8"))["scratch_dir"] for note in notes}
    nodes = {"localhost" if name in local_names else name: directory for name, directory in named.items()}
    mapfile = str(Path(mapfile_dir) / filename)
    nodes = nodes or {"localhost": scratch_dir}
    DataMap([DataProduct(name, directory, False) for name, directory in nodes.items()]).save(mapfile)
    return {"mapfile": mapfile}


def _nodes_with_temporary_files(run):
    """Yield the nodes where programs of a run had temporary directories."""
    journal = Path(run, "journal.jsonl")
    if not run or not journal.is_file():
        return
    with journal.open(encoding="utf-8") as lines:
        for line in lines:
            if '"job_started"' in line and '"tempdir": "' in line:
                yield json.loads(line)["node"]
