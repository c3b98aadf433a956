"""Maps from a folder, or from another map. Source: spec/lofarpipe.md, section 5.4."""

import re
from pathlib import Path

from lofarpipe.errors import PipelineError, nearest
from lofarpipe.support.data_map import DataMap, DataProduct

OUTPUTS = ("mapfile",)


def plugin_main(args, **kwargs):
    """Make a map by ``method`` and return its path as ``mapfile``; an empty map gives no output.

    Parameters
    ----------
    method : str
        mapfile_from_folder (folder, pattern, exclude_pattern, add_suffix), mapfile_all_to_one (mapfile_in),
        mapfile_split_list (mapfile_in, listsize), add_suffix_to_file (mapfile_in, add_suffix_to_file).
    mapfile_dir, filename : str
        Where the map is written.
    """
    method = kwargs.get("method", "")
    if method not in METHODS:
        raise PipelineError(f"method is '{method}'; one of {', '.join(METHODS)} is needed{nearest(method, METHODS)}")
    products = METHODS[method](kwargs)
    if not products:
        return {}
    mapfile = Path(kwargs["mapfile_dir"]) / kwargs["filename"]
    DataMap(products).save(str(mapfile))
    return {"mapfile": str(mapfile)}


def from_folder(kwargs):
    """One entry for each file in ``folder`` that matches ``pattern`` (or does not, with ``exclude_pattern``)."""
    folder, pattern = kwargs["folder"], kwargs.get("pattern", "*")
    exclude = kwargs.get("exclude_pattern", "False") not in ("", "False")
    matches = re.compile(pattern.replace(".", r"\.").replace("?", ".").replace("*", ".*") + "$").match
    names = [path.name for path in sorted(Path(folder).iterdir()) if bool(matches(path.name)) != exclude]
    suffix = kwargs.get("add_suffix", "")
    return [DataProduct("localhost", f"{folder}/{name}{suffix}", False) for name in names]


def all_to_one(kwargs):
    """One entry per host that lists all its files."""
    return [DataProduct(host, str(files), False) for host, files in _by_host(kwargs["mapfile_in"]).items()]


def split_list(kwargs):
    """Entries that list ``listsize`` files each."""
    size = int(kwargs["listsize"])
    return [
        DataProduct(host, str(files[start : start + size]), False)
        for host, files in _by_host(kwargs["mapfile_in"]).items()
        for start in range(0, len(files), size)
    ]


def add_suffix(kwargs):
    """The entries of a map, with a text appended to each file."""
    return [
        DataProduct(p.host, p.file + kwargs["add_suffix_to_file"], p.skip) for p in DataMap.load(kwargs["mapfile_in"])
    ]


def _by_host(mapfile):
    files = {}
    for product in DataMap.load(mapfile).data:
        if not product.skip:
            files.setdefault(product.host, []).append(product.file)
    return files


METHODS = {
    "mapfile_from_folder": from_folder,
    "mapfile_all_to_one": all_to_one,
    "mapfile_split_list": split_list,
    "add_suffix_to_file": add_suffix,
}
