"""The programs that the runner knows, by the name that ``control.program`` has; a new one is one line here."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import cache

from lofarpipe.programs.base import Program

_CLASSES = {"wsclean": "lofarpipe.programs.wsclean.program:WSClean", "dp3": "lofarpipe.programs.dp3:DP3"}
_OTHER_TYPES = {"dppp": "dp3"}  # task type -> the program that it runs


@cache
def _load(path: str) -> Program:
    module, _, name = path.partition(":")
    program: Program = getattr(importlib.import_module(module), name)()
    return program


class Registry(Mapping[str, Program]):
    """Known programs by name; each module is imported when its program is first asked for."""

    def __getitem__(self, name: str) -> Program:
        return _load(_CLASSES[name])

    def __contains__(self, name: object) -> bool:
        return name in _CLASSES

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


KNOWN_PROGRAMS = Registry()


def program_key(display_name: str) -> str:
    """Return the key of a program that is written ``display_name``; "" if none is."""
    return next((key for key, program in KNOWN_PROGRAMS.items() if program.name == display_name), "")


def program_of_type(task_type: str) -> Program | None:
    """Return the program that steps of a task type run; None if it is not known."""
    return KNOWN_PROGRAMS.get(_OTHER_TYPES.get(task_type, task_type))
