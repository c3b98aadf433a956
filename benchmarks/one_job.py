#!/usr/bin/env python3
"""Code executed to run one ``cp``: files and functions of lofarpipe, and calls between its files.

benchmarks/one_job.py [REPOSITORY ...]

Each is a working tree, this one unless others are named; each is counted in a process of its own. Only the main thread
is counted, and functions by their name and file, comprehensions as a part of theirs; what an import runs, such as the
bodies of classes, is not. With --list also the names are printed, by file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType

REPOSITORY = Path(__file__).resolve().parents[1]
MOST_FILES, MOST_FUNCTIONS = 60, 500
INNER = re.compile(r"(\.<locals>\.<(listcomp|dictcomp|setcomp|genexpr|lambda)>)+$")
PARSET = """\
pipeline.steps = [copy]
copy.control.type = executable_args
copy.control.executable = /bin/cp
copy.control.mapfile_in = {here}/in.mapfile
copy.control.inputkey = infile
copy.control.outputkey = outfile
copy.argument.flags = [infile, outfile]
"""
CONFIG = "[DEFAULT]\nruntime_directory = {here}\nworking_directory = {here}\n"


def count(repository: Path) -> tuple[set[tuple[str, str]], int]:
    """Run one ``cp``; return the (file, function) pairs executed, and the calls between files."""
    from lofarpipe.cli import main

    package = f"{repository / 'lofarpipe'}/"
    functions: set[tuple[str, str]] = set()
    crossings = 0

    def note(frame: FrameType, event: str, _: object) -> None:
        nonlocal crossings
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(package) or _is_import(frame, package):
            return
        functions.add((name.removeprefix(package), INNER.sub("", frame.f_code.co_qualname)))
        caller = frame.f_back
        crossings += caller is not None and caller.f_code.co_filename not in (name,) and _is_ours(caller, package)

    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        (here / "a.txt").write_text("a\n")
        (here / "in.mapfile").write_text(repr([{"host": "localhost", "file": f"{here}/a.txt", "skip": False}]))
        (here / "one.parset").write_text(PARSET.format(here=here))
        (here / "pipeline.cfg").write_text(CONFIG.format(here=here))
        sys.setprofile(note)
        status = main([f"{here}/one.parset", "-c", f"{here}/pipeline.cfg", "-q"])
        sys.setprofile(None)
        if status:
            sys.exit(f"{repository}: the run ended with {status}")
    return functions, crossings


def _is_import(frame: FrameType | None, package: str) -> bool:
    """Whether a frame is run by an import of a module of ours."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and _is_ours(frame, package):
            return True
        frame = frame.f_back
    return False


def _is_ours(frame: FrameType, package: str) -> bool:
    return frame.f_code.co_filename.startswith(package)


def main(arguments: list[str]) -> None:
    """Count in each repository, and print a line for it."""
    if arguments[:1] == ["--count"]:
        functions, crossings = count(Path(arguments[1]))
        files = sorted({name for name, _ in functions})
        aim = f"(aim: {MOST_FILES}, {MOST_FUNCTIONS})"
        print(f"{len(files)} files, {len(functions)} functions, {crossings} crossings {aim}")
        for file in files if "--list" in arguments else ():
            print(f"  {file}: {', '.join(sorted(function for name, function in functions if name == file))}")
        return
    names = [name for name in arguments if name != "--list"]
    for repository in [Path(name).resolve() for name in names] or [REPOSITORY]:
        command = [sys.executable, __file__, "--count", str(repository), *({"--list"} & set(arguments))]
        environment = {**os.environ, "PYTHONPATH": str(repository)}
        print(f"{repository.name}: ", end="", flush=True)
        subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
