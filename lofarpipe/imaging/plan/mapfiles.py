"""The imaging plan as mapfiles, under their historical names and units."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from pathlib import Path

from lofarpipe.imaging.plan import historical
from lofarpipe.imaging.plan.fft_size import format_size
from lofarpipe.imaging.plan.plan import ImagingPlan
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
    "weightbits": "_weightbits",
    "copied_mapfile": "_copied",
    "copies_mapfile": "_copies",
}


COPY_MAPS = ("copied_mapfile", "copies_mapfile")  # in which sets that are not copied are to be skipped


def _list_text(paths: Iterable[str]) -> str:
    """Return several sets as one entry of a map."""
    return "[" + ",".join(paths) + "]"


def map_payloads(plan: ImagingPlan) -> dict[str, list[str]]:
    """Return the entries of every map, by key of the result: paths, sizes in pixels, steps in Hz and s, counts.

    ``groupmap``: the sets of each subband; ``timegroups``: those of a time block that DP3 reads at once, both by rising
    frequency; ``weightbits`` has an entry for each of these. The sizes without ``deep`` have one entry per subband,
    ``freqstep`` and ``timestep`` one per set. Where a set is copied, the copy stands in all of them.
    """
    groups, options, observation = plan.observation.groups, plan.options, plan.observation
    copies = {path: copy.path for path, copy in observation.copies.items()}
    given = {one.path: copies.get(one.path, one.path) for group in groups for one in group}
    nsets = sum(len(group) for group in groups)
    payloads = {
        "groupmap": [_list_text(given[one.path] for one in group) for group in groups],
        "single_mapfile": [*given.values()],
        "timegroups": [_list_text(given[one.path] for one in group) for group in observation.concat_groups],
        "copied_mapfile": [*given],
        "copies_mapfile": [*given.values()],
        "weightbits": [str(bits) for bits, _ in plan.weight_bits],
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
    copies, singles = plan.observation.copies, [one.path for group in plan.observation.groups for one in group]
    written = {}
    for key, payload in map_payloads(plan).items():
        map_path = stem.with_name(stem.name + MAP_SUFFIXES[key])
        skips = (path not in copies for path in singles) if key in COPY_MAPS else repeat(False)
        DataMap([DataProduct("localhost", *entry) for entry in zip(payload, skips, strict=False)]).save(str(map_path))
        written[key] = str(map_path)
    return written
