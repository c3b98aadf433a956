"""Delivers a file under other names: the first is a copy, the others link to it or are copies too."""

import os
import shutil
from collections import Counter
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.support.data_map import DataMap, DataProduct, save_map
from lofarpipe.support.parset import split_list
from lofarpipe.support.utilities import FLAGS, files_of, flag_findings

OUTPUTS = ("mapfile",)
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(
    args, mapfile_dir, filename, hosts, output_files, input_file="", use_symlinks="True", input_mapfile="", **kwargs
):
    """Copy ``input_file`` to each of ``output_files``; directories above them are made.

    Parameters
    ----------
    mapfile_dir, filename : str
        Where the map is written.
    hosts : text of a list
        Hosts of the entries, given to the names in turn.
    input_file : str
        The file, or a map (``.mapfile``) with one entry for it.
    output_files : text of a list
        The names to deliver under; empty leaves the file where it is.
    use_symlinks : {"True", "False", "1", "0"}
        Whether the second and later names are links to the first, or copies.
    input_mapfile : str
        A map with one entry for the file, instead of ``input_file``.

    Returns
    -------
    dict
        ``mapfile``: a map of the names, in order; of the input itself where no name is given.
    """
    source = _the_file(input_file, input_mapfile)
    names = [Path(name).absolute() for name in _names(output_files)]
    _refuse(_problems(names) + flag_findings("use_symlinks", use_symlinks))
    for place, name in enumerate(names):
        if _same_place(name, source):
            continue  # the file is in place already
        if place and FLAGS[use_symlinks.upper()]:
            advice = "use_symlinks = False makes copies"
            _put(name, lambda unfinished: unfinished.symlink_to(names[0]), f"linked to {names[0]}", advice)
        else:  # with its time: made again, it is the same file
            _put(name, lambda unfinished: shutil.copy2(source, unfinished), f"copied from {source}", "is there space?")
    return _write_map(names or [source], hosts, mapfile_dir, filename)


def plugin_dry_run(
    args, mapfile_dir, filename, hosts, output_files, input_file="", use_symlinks="True", input_mapfile="", **kwargs
):
    """Return the outputs of ``plugin_main`` without copying; the file may not exist yet."""
    names = [Path(name).absolute() for name in _names(output_files)]
    _refuse(_problems(names) + flag_findings("use_symlinks", use_symlinks))
    return _write_map(names or [_named_file(input_file, input_mapfile)], hosts, mapfile_dir, filename)


def _write_map(names, hosts, mapfile_dir, filename):
    host_names = split_list(hosts) or ["localhost"]
    products = [DataProduct(host_names[i % len(host_names)], str(name), False) for i, name in enumerate(names)]
    return save_map(products, mapfile_dir, filename)


def plugin_check(args, output_files="", use_symlinks="True", input_file=None, input_mapfile=None, **kwargs):
    """Return the problems of the names before the run, one sentence each."""
    names = [Path(name).absolute() for name in _names(output_files)]
    if input_file and input_mapfile:
        return ["input_file and input_mapfile are given; one of them names the file"]
    return _problems_with_home(_names(output_files)) + _problems(names) + flag_findings("use_symlinks", use_symlinks)


def _names(output_files):
    return [name for name in split_list(output_files) if name]


def _refuse(problems):
    if problems:
        raise PipelineError("; ".join(problems))


def _problems(names):
    """Problems of the names: duplicates, directories, unwritable places."""
    twice = [f"output_files: {name} occurs twice; give each name once" for name, n in Counter(names).items() if n > 1]
    return twice + [problem for name in dict.fromkeys(names) if (problem := _problem(name))]


def _problems_with_home(names):
    """Problems of names with ~, which only shells replace."""
    return [
        f"output_files: ~ is not replaced in {name}; write {os.path.expanduser(name)}"  # noqa: PTH111 - of nobody
        for name in names
        if name.startswith("~")
    ]


def _problem(name):
    if name.is_dir():
        return f"output_files: {name} is a directory; give the name of a file in it"
    above = next(folder for folder in name.parents if folder.exists())
    if not above.is_dir():
        return f"output_files: {name} cannot be written: {above} is a file, not a directory"
    if not os.access(above, os.W_OK | os.X_OK):
        return f"output_files: {name} cannot be written: no permission to write in {above}"
    return ""


def _the_file(input_file, input_mapfile):
    """The file, by its name or by a map with one entry."""
    source = Path(_named_file(input_file, input_mapfile)).absolute()
    if not source.is_file():
        reason = "is a directory; only a file can be copied" if source.is_dir() else "no such file"
        raise PipelineError(f"input_file {source}: {reason}")
    return source


def _named_file(input_file, input_mapfile):
    """The name of the file to copy."""
    if not (input_file or input_mapfile):
        raise PipelineError("input_file is missing; name the file, or with input_mapfile a map that names it")
    mapfile = input_mapfile or (input_file if input_file.endswith(".mapfile") else "")
    if mapfile:
        products = [product for product in DataMap.load(mapfile).data if not product.skip]
        files = [name for product in products for name in files_of(product.file)]
    else:
        files = files_of(input_file)
    if len(files) != 1:
        raise PipelineError(f"{mapfile or f'input_file {input_file}'}: names {len(files)} files; exactly one is needed")
    return files[0]


def _same_place(name, source):
    """Whether two names are one directory entry; a link and its target are two."""
    return name.parent.resolve() / name.name == source.parent.resolve() / source.name


def _put(name, make, verb, advice):
    """Make a file or link atomically, replacing an older one."""
    unfinished = name.with_name(f".{name.name}.part")  # a retry replaces the file of a killed run
    try:
        name.parent.mkdir(parents=True, exist_ok=True)
        unfinished.unlink(missing_ok=True)  # a link would be followed
        make(unfinished)
        unfinished.replace(name)
    except OSError as err:
        raise PipelineError(f"{name}: cannot be {verb}: {err.strerror}; {advice}") from err
    finally:
        unfinished.unlink(missing_ok=True)
