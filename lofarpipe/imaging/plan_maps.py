"""The imaging plan as mapfiles, under their historical names and units."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lofarpipe.imaging import historical
from lofarpipe.imaging.image_size import format_size
from lofarpipe.imaging.measurement_set import SetMetadata
from lofarpipe.imaging.plan import ImagingPlan
from lofarpipe.support.data_map import DataMap, DataProduct

# Key of the result -> suffix of the map's name.
MAP_SUFFIXES = {
    "groupmap": "",
    "single_mapfile": "_single",
    "high_size_mapfile": "_high_size",
    "low_size_mapfile": "_low_size",
    "high_padsize_mapfile": "_high_padded_size",
    "low_padsize_mapfile": "_low_padded_size",
    "deep_high_size_mapfile": "_deep_high_size",
    "deep_low_size_mapfile": "_deep_low_size",
    "deep_high_padsize_mapfile": "_deep_high_padded_size",
    "deep_low_padsize_mapfile": "_deep_low_padded_size",
    "nbands": "_nbands",
    "nchansout_clean1": "_nchansout_clean1",
    "freqstep": "_freqstep",
    "timestep": "_timestep",
    "nwavelengths_high_mapfile": "_nwavelengths_high",
    "nwavelengths_low_mapfile": "_nwavelengths_low",
    "timegroups": "_timegroups",
}


def _list_text(sets: Iterable[SetMetadata]) -> str:
    """Return several sets as one entry of a map."""
    return "[" + ",".join(one.path for one in sets) + "]"


def map_payloads(plan: ImagingPlan) -> dict[str, list[str]]:
    """Return the entries of every map, by key of the result: paths, sizes in pixels, steps in Hz and s, counts.

    ``groupmap``: the sets of each subband; ``timegroups``: those of each time block, both by rising frequency. The
    sizes without ``deep`` have one entry per subband, ``freqstep`` and ``timestep`` one per set.
    """
    groups, options = plan.observation.groups, plan.options
    nsets = sum(len(group) for group in groups)
    payloads = {
        "groupmap": [_list_text(group) for group in groups],
        "single_mapfile": [one.path for group in groups for one in group],
        "timegroups": [_list_text(block) for block in plan.observation.blocks],
        "freqstep": [repr(plan.freqstep_hz)] * nsets,
        "timestep": [repr(plan.timestep_s)] * nsets,
        "nbands": [str(plan.nbands)],
        "nchansout_clean1": [str(plan.channels_out)],
    }
    for name, cellsize_deg in (("high", options.cellsize_highres_deg), ("low", options.cellsize_lowres_deg)):
        length = historical.nwavelengths(cellsize_deg, plan.timestep_s)
        payloads[f"nwavelengths_{name}_mapfile"] = [str(length)]
    for key, attribute in (
        ("high_size", "high"),
        ("high_padsize", "high_padded"),
        ("low_size", "low"),
        ("low_padsize", "low_padded"),
    ):
        sizes = [format_size(getattr(size, attribute)) for size in plan.sizes]
        payloads[f"{key}_mapfile"] = sizes
        payloads[f"deep_{key}_mapfile"] = sizes[:1]
    return payloads


def write_maps(plan: ImagingPlan, stem: Path) -> dict[str, str]:
    """Write all maps, named ``stem`` plus a suffix; return the name of each by its key."""
    written = {}
    for key, payload in map_payloads(plan).items():
        path = stem.with_name(stem.name + MAP_SUFFIXES[key])
        DataMap([DataProduct("localhost", text, False) for text in payload]).save(str(path))
        written[key] = str(path)
    return written
