"""The programs that the runner knows: the modules of this package that have a ``PROGRAM``, each under its own name.

A program that is a folder has it in its module ``program``.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache

from lofarpipe import programs
from lofarpipe.programs.base import Program


@cache
def _load(name: str) -> Program | None:
    """Return the program of a module of this package; None if there is no such module, or it has none."""
    path = f"{programs.__name__}.{name}"
    found = importlib.util.find_spec(path) if name.isidentifier() else None
    if found is None:
        return None
    module = importlib.import_module(f"{path}.program" if found.submodule_search_locations else path)
    program: Program | None = getattr(module, "PROGRAM", None)
    return program


class Registry(Mapping[str, Program]):
    """Known programs by name; each module is imported when its program is first asked for."""

    def __getitem__(self, name: str) -> Program:
        program = _load(name)
        if program is None:
            raise KeyError(name)
        return program

    def __iter__(self) -> Iterator[str]:
        return (module.name for module in pkgutil.iter_modules(programs.__path__) if _load(module.name) is not None)

    def __len__(self) -> int:
        return len(list(iter(self)))


KNOWN_PROGRAMS = Registry()


def program_key(display_name: str) -> str:
    """Return the key of a program that is written ``display_name``; "" if none is."""
    return next((key for key, program in KNOWN_PROGRAMS.items() if program.name == display_name), "")


def program_of(executable: str) -> Program | None:
    """Return the program that has, or had, a file of this name; None if it is not known."""
    return next((program for program in KNOWN_PROGRAMS.values() if executable in program.executables), None)
