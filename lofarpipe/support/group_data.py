"""Where functions on maps were before ``data_map``, for scripts that import them here, and the parts of a GVDS file."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator

from lofarpipe.support.data_map import load_data_map, store_data_map, tally_data_map, validate_data_maps
from lofarpipe.support.parset import Parset
from lofarpipe.support.utilities import group_iterable

__all__ = ["gvds_iterator", "load_data_map", "store_data_map", "tally_data_map", "validate_data_maps"]


def gvds_iterator(gvds_file: str | os.PathLike[str], nproc: int = 4) -> Iterator[list[tuple[str, str, str]]]:
    """Yield lists of the parts in a GVDS file, as ``(host, file, vds)``, with at most ``nproc`` of a host in each."""
    parset = Parset(gvds_file)
    parts: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for number in range(parset.getInt("NParts")):
        host = parset.getString(f"Part{number}.FileSys").partition(":")[0]
        parts[host].append((host, parset.getString(f"Part{number}.FileName"), parset.getString(f"Part{number}.Name")))
    groups = [group_iterable(host_parts, nproc) for host_parts in parts.values()]
    while some := [part for group in groups for part in next(group, ())]:
        yield some
