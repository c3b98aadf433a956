"""Map with one entry for all files, or one entry per group or number of files."""

from lofarpipe.errors import PipelineError
from lofarpipe.support.data_map import DataMap, DataProduct, save_map
from lofarpipe.support.utilities import FLAGS, files_of, flag_findings

OUTPUTS = ("mapfile",)
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(
    args,
    mapfile_in,
    mapfile_dir,
    filename,
    groups="",
    members="",
    nitems_to_compress="-1",
    list_format="True",
    **kwargs,
):
    """Join the files of a map; skipped entries are left out.

    Parameters
    ----------
    mapfile_in : str
        The map of files to join.
    mapfile_dir, filename : str
        Where the map is written.
    groups : str
        A map with one list of files per group, to write one entry per group.
    members : str
        A map of the files that ``groups`` names, in the order of ``mapfile_in``: needed with ``groups`` where
        ``mapfile_in`` holds files made from those.
    nitems_to_compress : str
        Number of files per entry; 0 or less for all. Excludes ``groups``.
    list_format : {"True", "False", "1", "0"}
        Whether an entry is a list, ``[/a.MS,/b.MS]``, or names with blanks between them, ``/a.MS /b.MS``.

    Returns
    -------
    dict
        ``mapfile``: the path of the map.
    """
    problems = plugin_check(args, list_format=list_format)
    if problems:
        raise PipelineError(problems[0])
    products = DataMap.load(mapfile_in).data
    if all(product.skip for product in products):
        raise PipelineError(f"{mapfile_in}: every product is skipped; there is nothing to join")
    number = _number(nitems_to_compress)
    if groups and number > 0:
        raise PipelineError(
            f"groups and nitems_to_compress = {number} are given; only one of them can say what is joined"
        )
    if groups:
        joined = _grouped(products, groups, members, mapfile_in)
    else:
        joined = _chunks([product for product in products if not product.skip], number)
    form = "[{}]".format if FLAGS[list_format.upper()] else str
    separator = "," if FLAGS[list_format.upper()] else " "
    return save_map([_entry(group, form, separator) for group in joined if group], mapfile_dir, filename)


def plugin_check(args, list_format="True", **kwargs):
    """Return the problems of the arguments before the run."""
    return flag_findings("list_format", list_format)


def _entry(products, form, separator):
    files = [name for product in products if not product.skip for name in files_of(product.file)]
    return DataProduct(products[0].host, form(separator.join(files)), not files)


def _number(text):
    try:
        return int(float(text))  # 3.0 was always taken for 3
    except (ValueError, OverflowError) as err:
        raise PipelineError(f"nitems_to_compress is '{text}'; a whole number is needed") from err


def _chunks(products, number):
    """So many files each; an entry of several files counts as so many."""
    if number <= 0:
        return [products]
    single = [DataProduct(product.host, name, False) for product in products for name in files_of(product.file)]
    return [single[start : start + number] for start in range(0, len(single), number)]


def _grouped(products, groups, members, mapfile_in):
    originals = [product.file for product in DataMap.load(members or mapfile_in).data]
    if len(originals) != len(products):
        raise PipelineError(
            f"maps differ in length: {len(products)} in {mapfile_in}, {len(originals)} in {members}; one entry of"
            " members for each product is needed"
        )
    made_from = dict(zip(originals, products, strict=True))
    file_groups = [files_of(group.file) for group in DataMap.load(groups).data]
    unknown = [name for group in file_groups for name in group if name not in made_from]
    if unknown:
        raise PipelineError(f"{groups}: {unknown[0]} is not among the members {members or mapfile_in}")
    return [[made_from[name] for name in group] for group in file_groups]
