"""One product per group -> one entry per member of each group."""

from lofarpipe.errors import PipelineError
from lofarpipe.support.data_map import DataMap, DataProduct, save_map
from lofarpipe.support.utilities import files_of

OUTPUTS = ("mapfile",)
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(args, mapfile_in, mapfile_groups, mapfile_dir, filename, **kwargs):
    """Write each entry of a map as often as its group has members.

    Parameters
    ----------
    mapfile_in : str
        Map with one product per group, such as its sky model.
    mapfile_groups : str
        Map with one list of files per group.
    mapfile_dir, filename : str
        Where the new map is written. An entry is skipped if the product or its group is.

    Returns
    -------
    dict
        ``mapfile``: the path of the new map.
    """
    products, groups = DataMap.load(mapfile_in).data, DataMap.load(mapfile_groups).data
    if len(products) != len(groups):
        raise PipelineError(
            f"maps differ in length: {len(products)} in {mapfile_in}, {len(groups)} in {mapfile_groups}; one product"
            " per group is needed"
        )
    repeated = [
        DataProduct(product.host, product.file, product.skip or group.skip)
        for product, group in zip(products, groups, strict=True)
        for _ in files_of(group.file)
    ]
    return save_map(repeated, mapfile_dir, filename)
