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


def plugin_main(args, mapfile_dir, filename, work, scratch_dir, **kwargs):
    """Write the map from the jobs' notes below ``work``; by default this machine.

    Parameters
    ----------
    work : str
        The directory of the run with a note of each node.
    scratch_dir : str
        The scratch directory of this machine.
    """
    local_names = {os.environ.get("SLURMD_NODENAME") or socket.gethostname(), "localhost"}
    nodes = {}
    for note in sorted(Path(work, "nodes").glob("*.json")):
        name = "localhost" if note.stem in local_names else note.stem
        nodes[name] = json.loads(note.read_text(encoding="utf-8"))["scratch_dir"]
    mapfile = str(Path(mapfile_dir) / filename)
    nodes = nodes or {"localhost": scratch_dir}
    DataMap([DataProduct(name, directory, False) for name, directory in nodes.items()]).save(mapfile)
    return {"mapfile": mapfile}
