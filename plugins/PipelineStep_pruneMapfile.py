"""A map without entries that have no file."""

from lofarpipe.support.data_map import DataMap, save_map

OUTPUTS = ("mapfile",)
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(args, mapfile_in, prune_str, mapfile_dir, filename, **kwargs):
    """Write a map without entries whose file starts with a text, such as ``None``.

    Parameters
    ----------
    mapfile_in : str
        The map.
    prune_str : str
        The text; capitals do not count.
    mapfile_dir, filename : str
        Where the new map is written; it may be empty.

    Returns
    -------
    dict
        ``mapfile``: the path of the new map.
    """
    start = prune_str.lower()
    products = [product for product in DataMap.load(mapfile_in).data if not product.file.lower().startswith(start)]
    return save_map(products, mapfile_dir, filename)
