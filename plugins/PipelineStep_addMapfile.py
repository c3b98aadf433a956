"""Maps by a method given by position; createMapfile is the newer one. Source: doc/spec/lofarpipe.md, section 5.4."""

from pathlib import Path

from lofarpipe.errors import PipelineError, nearest
from lofarpipe.support.data_map import DataMap, DataProduct, products_of_parset, save_map
from lofarpipe.support.utilities import files_of

OUTPUTS = ("mapfile",)
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(args, mapfile_dir, filename, **kwargs):
    """Make a map by the method ``args[0]`` and return its path as ``mapfile``; an empty map gives no output.

    Parameters
    ----------
    args : list
        The method, given as ``control.cmdline.<any name>``: mapfile_all_to_one (mapfile_in), mapfile_split_list
        (mapfile_in, listsize), mapfile_list_ms, mapfile_pythonlist_ms or mapfile_from_folder (folder),
        mapfile_from_parset (parset, identifier), mapfile_empty.
    mapfile_dir, filename : str
        Where the map is written.
    """
    problems = plugin_check(args)
    if problems:
        raise PipelineError(problems[0])
    make, needed = METHODS[args[0]]
    missing = [name for name in needed if name not in kwargs]
    if missing:
        raise PipelineError(f"method {args[0]} needs the argument {', '.join(missing)}")
    products = make(kwargs)
    if not products and make is not empty:
        return {}
    return save_map(products, mapfile_dir, filename)


def plugin_check(args, **kwargs):
    """Return the problems of the method before the run."""
    method = args[0] if args else ""
    if method in METHODS:
        return []
    methods = ", ".join(METHODS)
    return [f"the method, control.cmdline.<name>, is '{method}'; one of {methods} is needed{nearest(method, METHODS)}"]


def plugin_looks_at(folder="", **kwargs):
    """Return the directories whose files determine the map."""
    return [folder] if folder else []


def all_to_one(kwargs):
    """One entry with the files of all entries, as ``[/a.MS,/b.MS]``."""
    texts = [product.file for product in DataMap.load(kwargs["mapfile_in"]).data if not product.skip]
    return [_localhost(f"[{','.join(texts)}]")]


def split_list(kwargs):
    """Entries with ``listsize`` files each, as ``[/a.MS, /b.MS]``."""
    files, text = _files(kwargs["mapfile_in"]), kwargs["listsize"]
    if not text.strip().isdecimal() or int(text) < 1:
        raise PipelineError(f"listsize is '{text}'; a whole number above 0 is needed")
    starts = range(0, len(files), int(text))
    return [_localhost(f"[{', '.join(files[start : start + int(text)])}]") for start in starts]


def list_ms(kwargs):
    """One entry with all files of a folder, each followed by a space."""
    return [_localhost("".join(f"{name} " for name in _folder(kwargs["folder"].rstrip("/"))))]


def python_list_ms(kwargs):
    """One entry with all files of a folder, as ``[/a.MS,/b.MS]``."""
    return [_localhost(f"[{','.join(_folder(kwargs['folder'].rstrip('/')))}]")]


def from_folder(kwargs):
    """One entry per file of a folder."""
    return [_localhost(name) for name in _folder(kwargs["folder"])]


def from_parset(kwargs):
    """The data products listed in a parset."""
    return products_of_parset(kwargs["parset"], kwargs["identifier"])


def empty(kwargs):
    """No entries: a map to be filled by later steps."""
    return []


def _localhost(text):
    return DataProduct("localhost", text, False)


def _files(mapfile):
    return [name for product in DataMap.load(mapfile).data if not product.skip for name in files_of(product.file)]


def _folder(folder):
    try:
        return [f"{folder}/{name}" for name in sorted(path.name for path in Path(folder).iterdir())]
    except OSError as err:
        raise PipelineError(f"folder {folder}: cannot be read: {err.strerror}") from err


METHODS = {  # method -> function for the entries, required arguments
    "mapfile_all_to_one": (all_to_one, ("mapfile_in",)),
    "mapfile_split_list": (split_list, ("mapfile_in", "listsize")),
    "mapfile_list_ms": (list_ms, ("folder",)),
    "mapfile_pythonlist_ms": (python_list_ms, ("folder",)),
    "mapfile_from_folder": (from_folder, ("folder",)),
    "mapfile_from_parset": (from_parset, ("parset", "identifier")),
    "mapfile_empty": (empty, ()),
}
