"""Turn mapfile names returned by a script into values for the next steps."""

from lofarpipe.errors import PipelineError
from lofarpipe.support.data_map import DataMap

PREFIX = "mapfile_"
DRY_RUN_WRITES = ()


def plugin_outputs(**kwargs):
    """Return the names of the outputs for these arguments: each without its prefix ``mapfile_``."""
    return [key.removeprefix(PREFIX) for key in kwargs if key.startswith(PREFIX)]


def plugin_main(args, **kwargs):
    """Return ``<name>``: the single file name in the map of each argument ``mapfile_<name>``.

    A script's dictionary reaches the runner as one map per key; for values that are paths of maps, this plugin
    makes them usable as maps.
    """
    return {key.removeprefix(PREFIX): _only_file(path) for key, path in kwargs.items() if key.startswith(PREFIX)}


def _only_file(mapfile):
    products = DataMap.load(mapfile).data
    if len(products) != 1:
        raise PipelineError(f"{mapfile}: it has {len(products)} entries; a map with one is needed")
    return products[0].file
