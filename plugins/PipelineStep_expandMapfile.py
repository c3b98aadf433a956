"""One product repeated for all entries of another map, for steps with one entry per job."""

from lofarpipe.errors import PipelineError
from lofarpipe.support.data_map import DataMap, DataProduct, save_map

OUTPUTS = ("mapfile",)
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(args, mapfile_in, mapfile_dir, filename, mapfile_to_match="", mapfile_ref="", **kwargs):
    """Write the first file of a map once per entry of another map, with the other map's hosts.

    Parameters
    ----------
    mapfile_in : str
        Map with the file.
    mapfile_to_match, mapfile_ref : str
        The map that sets number, hosts and skip; one of both historical names is required. Its skipped entries
        are skipped here, not left out, to keep the positions.
    mapfile_dir, filename : str
        Where the new map is written.

    Returns
    -------
    dict
        ``mapfile``: the path of the new map.
    """
    matched = mapfile_to_match or mapfile_ref
    if not matched:
        raise PipelineError("mapfile_to_match is missing; name the map that has the wanted number of entries")
    products = DataMap.load(mapfile_in).data
    if not products:
        raise PipelineError(f"{mapfile_in}: it is empty; a map with one entry is needed")
    expanded = [DataProduct(p.host, products[0].file, p.skip) for p in DataMap.load(matched).data]
    return save_map(expanded, mapfile_dir, filename)
