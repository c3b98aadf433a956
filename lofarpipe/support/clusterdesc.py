"""Cluster description files: the machines of a cluster; for scripts, not used by the runner.

Source: doc/spec/lofarpipe.md, section 5.3.
"""

from __future__ import annotations

import os
from pathlib import Path

from lofarpipe.support.lofarexceptions import ClusterError
from lofarpipe.support.parset import Parset


class ClusterDesc:
    """A cluster: ``name``, and ``subclusters``, each from its own file beside this one.

    Raises
    ------
    ClusterError
        If the file has no ClusterName, or is a subcluster of itself.
    """

    def __init__(self, filename: str | os.PathLike[str], above: tuple[str, ...] = ()) -> None:
        self.filename = os.fspath(filename)
        if self.filename in above:
            raise ClusterError(f"{self.filename}: this cluster is a subcluster of itself; correct SubClusters")
        self.parset = Parset(filename)
        if "ClusterName" not in self.parset:
            raise ClusterError(f"{self.filename}: no key ClusterName; a cluster description is needed")
        self.name = self.parset.getString("ClusterName")
        names = self.parset.getStringVector("SubClusters", [])
        inside = (*above, self.filename)
        self.subclusters = [ClusterDesc(Path(self.filename).parent / name, inside) for name in names if name]


def get_compute_nodes(clusterdesc: ClusterDesc) -> list[str]:
    """Return the compute nodes of a cluster and its subclusters."""
    nodes = clusterdesc.parset.getStringVector("Compute.Nodes", [])
    return nodes + [node for part in clusterdesc.subclusters for node in get_compute_nodes(part)]


def get_head_node(clusterdesc: ClusterDesc) -> list[str]:
    """Return the head node of a cluster, as a list.

    Raises
    ------
    ClusterError
        If it names none.
    """
    nodes = clusterdesc.parset.getStringVector("Head.Nodes", [])
    if not nodes:
        raise ClusterError(f"{clusterdesc.filename}: no key Head.Nodes; a head node is needed")
    return nodes
