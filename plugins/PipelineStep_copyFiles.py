"""Delivers a file under other names: the first is a copy, the others link to it or are copies too."""

import os
import shutil
from collections import Counter
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.support.data_map import DataMap, DataProduct
from lofarpipe.support.parset import split_list
from lofarpipe.support.utilities import files_of

OUTPUTS = ("mapfile",)
DRY_RUN_WRITES = ("mapfile_dir",)
FLAGS = {"TRUE": True, "1": True, "FALSE": False, "0": False}


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
        The file, or a map (``.mapfile``) with one entry that names it.
    output_files : text of a list
        The names to deliver under; empty leaves the file where it is.
    use_symlinks : {"True", "False", "1", "0"}
        Whether the second and later names are links to the first, or copies.
    input_mapfile : str
        A map with one entry that names the file, instead of ``input_file``.

    Returns
    -------
    dict
        ``mapfile``: a map of the names, in order; of the input itself where no name is given.
    """
    source = _the_file(input_file, input_mapfile)
    names = [Path(name).absolute() for name in _names(output_files)]
    _refuse(_problems(names) + _problem_with_flag(use_symlinks))
    for place, name in enumerate(names):
        if _same_place(name, source):
            continue  # it is there already
        if place and FLAGS[use_symlinks.upper()]:
            _link(name, names[0])
        else:
            _copy(source, name)
    return _write_map(names or [source], hosts, Path(mapfile_dir) / filename)


def plugin_dry_run(
    args, mapfile_dir, filename, hosts, output_files, input_file="", use_symlinks="True", input_mapfile="", **kwargs
):
    """Return what ``plugin_main`` gives, and copy nothing; the file need not be there yet."""
    names = [Path(name).absolute() for name in _names(output_files)]
    _refuse(_problems(names) + _problem_with_flag(use_symlinks))
    return _write_map(names or [_named_file(input_file, input_mapfile)], hosts, Path(mapfile_dir) / filename)


def _write_map(names, hosts, mapfile):
    host_names = split_list(hosts) or ["localhost"]
    products = [DataProduct(host_names[i % len(host_names)], str(name), False) for i, name in enumerate(names)]
    DataMap(products).save(str(mapfile))
    return {"mapfile": str(mapfile)}


def plugin_check(args, output_files="", use_symlinks="True", input_file=None, input_mapfile=None, **kwargs):
    """Return what can be said against the names before anything runs, one sentence each."""
    names = [Path(name).absolute() for name in _names(output_files)]
    if input_file and input_mapfile:
        return ["input_file and input_mapfile are given; one of them names the file"]
    return _problems_with_home(_names(output_files)) + _problems(names) + _problem_with_flag(use_symlinks)


def _names(output_files):
    return [name for name in split_list(output_files) if name]


def _refuse(problems):
    if problems:
        raise PipelineError("; ".join(problems))


def _problem_with_flag(use_symlinks):
    if use_symlinks.upper() in FLAGS:
        return []
    return [f"use_symlinks is '{use_symlinks}'; True or False is needed"]


def _problems(names):
    """What is wrong with the names: twice the same, a directory, or where nothing can be written."""
    twice = [f"output_files: {name} is there twice; give each name once" for name, n in Counter(names).items() if n > 1]
    return twice + [problem for name in dict.fromkeys(names) if (problem := _problem(name))]


def _problems_with_home(names):
    """Which names begin with ~, that only shells replace."""
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
    """The file itself, from its name or from a map of one."""
    source = Path(_named_file(input_file, input_mapfile)).absolute()
    if not source.is_file():
        reason = "is a directory; only a file can be copied" if source.is_dir() else "no such file"
        raise PipelineError(f"input_file {source}: {reason}")
    return source


def _named_file(input_file, input_mapfile):
    """The name of the one file that is meant."""
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
    """Whether two names are one directory entry; a link to a file is another entry than the file."""
    return name.parent.resolve() / name.name == source.parent.resolve() / source.name


def _copy(source, name):
    """Copy a file; it appears under its name only when complete."""
    unfinished = _unfinished(name)
    try:
        name.parent.mkdir(parents=True, exist_ok=True)
        unfinished.unlink(missing_ok=True)  # a link would be followed
        shutil.copy2(source, unfinished)  # with its time: made again, it is the same file
        unfinished.replace(name)
    except OSError as err:
        raise PipelineError(f"{name}: cannot be copied from {source}: {err.strerror}; is there space?") from err
    finally:
        unfinished.unlink(missing_ok=True)


def _link(name, target):
    """Make a link; an older file or link of that name is replaced at once."""
    unfinished = _unfinished(name)
    try:
        name.parent.mkdir(parents=True, exist_ok=True)
        unfinished.unlink(missing_ok=True)
        unfinished.symlink_to(target)
        unfinished.replace(name)
    except OSError as err:
        raise PipelineError(
            f"{name}: cannot be linked to {target}: {err.strerror}; use_symlinks = False makes copies"
        ) from err
    finally:
        unfinished.unlink(missing_ok=True)


def _unfinished(name):
    """Return the name of a file until it is complete; the next try replaces what a killed one left."""
    return name.with_name(f".{name.name}.part")
