"""Map of the measurement sets of an observation, one for each beam."""

from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.support.data_map import DataMap, DataProduct

OUTPUTS = ("mapfile",)
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(args, msdir, ms_glob_pattern, num_beams, mapfile_dir, **kwargs):
    """Write the map of the sets that match, by name."""
    sets = sorted(path.absolute() for path in Path(msdir).glob(ms_glob_pattern))
    if len(sets) != int(num_beams):
        raise PipelineError(f"{msdir}: {len(sets)} measurement sets match {ms_glob_pattern}; num_beams is {num_beams}")
    mapfile = Path(mapfile_dir) / "beams.mapfile"
    DataMap([DataProduct("localhost", str(path), False) for path in sets]).save(str(mapfile))
    return {"mapfile": str(mapfile)}
