"""Maps from a folder, or from another map. Source: doc/spec/lofarpipe.md, section 5.4."""

import re
from pathlib import Path

from lofarpipe.errors import PipelineError, nearest
from lofarpipe.support.data_map import DataMap, DataProduct, products_of_parset, save_map

OUTPUTS = ("mapfile",)
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(args, mapfile_dir, filename, method="", **kwargs):
    """Make a map by ``method`` and return its path as ``mapfile``; an empty map gives no output.

    Parameters
    ----------
    method : str
        mapfile_from_folder (folder, pattern, exclude_pattern, add_suffix), mapfile_all_to_one (mapfile_in),
        mapfile_split_list (mapfile_in, listsize), add_suffix_to_file (mapfile_in, add_suffix_to_file),
        mapfile_from_parset (parset, identifier), dummy (number).
    mapfile_dir, filename : str
        Where the map is written.
    """
    problems = plugin_check(args, method=method)
    if problems:
        raise PipelineError(problems[0])
    make, needed = METHODS[method]
    missing = [name for name in needed if name not in kwargs]
    if missing:
        raise PipelineError(f"method {method} needs the argument {', '.join(missing)}")
    products = make(kwargs)
    if not products:
        return {}
    return save_map(products, mapfile_dir, filename)


def plugin_check(args, method="", **kwargs):
    """Return the problems of the arguments before the run."""
    if method in METHODS:
        return []
    return [f"method is '{method}'; one of {', '.join(METHODS)} is needed{nearest(method, METHODS)}"]


def plugin_looks_at(folder="", **kwargs):
    """Return the directories whose files determine the map."""
    return [folder] if folder else []


def from_folder(kwargs):
    """One entry per file in ``folder`` matching ``pattern`` (not matching it, with ``exclude_pattern``)."""
    folder, suffix = kwargs["folder"], kwargs.get("add_suffix", "")
    if not folder:
        return []  # the original looks nowhere then
    chosen = _chooser(kwargs["pattern"], kwargs.get("exclude_pattern", "")) if kwargs.get("pattern") else bool
    try:
        names = sorted(path.name for path in Path(folder).iterdir())
    except OSError as err:
        raise PipelineError(f"folder {folder}: cannot be read: {err.strerror}") from err
    return [DataProduct("localhost", f"{folder}/{name}{suffix}", False) for name in names if chosen(name)]


def _chooser(pattern, exclude):
    """Whether a whole name matches: * is any text, ? any character, . itself, and all else a regular expression."""
    try:
        expression = re.compile(pattern.strip().replace(".", r"\.").replace("?", ".").replace("*", ".*") + "$")
    except re.error as err:
        raise PipelineError(f"pattern '{pattern}': {err}") from err
    return lambda name: bool(expression.match(name)) == (exclude in ("", "False"))


def all_to_one(kwargs):
    """One entry per host, with all its files."""
    return [_entry(host, files) for host, files in _by_host(kwargs["mapfile_in"]).items()]


def split_list(kwargs):
    """Entries that list ``listsize`` files each."""
    size = _positive("listsize", kwargs["listsize"])
    return [
        _entry(host, files[start : start + size])
        for host, files in _by_host(kwargs["mapfile_in"]).items()
        for start in range(0, len(files), size)
    ]


def add_suffix(kwargs):
    """The entries of a map, with a text appended to each file."""
    return [
        DataProduct(p.host, p.file + kwargs["add_suffix_to_file"], p.skip) for p in DataMap.load(kwargs["mapfile_in"])
    ]


def from_parset(kwargs):
    """The data products listed in a parset."""
    return products_of_parset(kwargs["parset"], kwargs["identifier"])


def dummy(kwargs):
    """A number of empty entries."""
    return [DataProduct("localhost", "dummy", False) for _ in range(_positive("number", kwargs["number"]))]


def _positive(name, text):
    if not text.strip().isdecimal() or int(text) < 1:
        raise PipelineError(f"{name} is '{text}'; a whole number above 0 is needed")
    return int(text)


def _entry(host, files):
    """A product with a list as its file, in Python's notation, for scripts."""
    product = DataProduct(host, "", False)
    product.file = files
    return product


def _by_host(mapfile):
    files = {}
    for product in DataMap.load(mapfile).data:
        if not product.skip:
            files.setdefault(product.host, []).append(product.file)
    return files


METHODS = {  # method -> function for the entries, required arguments
    "mapfile_from_folder": (from_folder, ("folder",)),
    "mapfile_all_to_one": (all_to_one, ("mapfile_in",)),
    "mapfile_split_list": (split_list, ("mapfile_in", "listsize")),
    "add_suffix_to_file": (add_suffix, ("mapfile_in", "add_suffix_to_file")),
    "mapfile_from_parset": (from_parset, ("parset", "identifier")),
    "dummy": (dummy, ("number",)),
}
