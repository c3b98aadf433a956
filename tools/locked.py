#!/usr/bin/env python3
"""Print the part of requirements.lock for the package with some extras.

tools/locked.py EXTRAS      such as simulation,test
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
BUILDERS = ("hatchling", "editables")  # of the package itself
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass
class Pin:
    """A package of the lock: its lines, and the packages requiring it."""

    name: str
    lines: list[str]
    needed_by: set[str] = field(default_factory=set)


def normalized(name: str) -> str:
    """Return the normalised name of a package."""
    return re.sub(r"[-_.]+", "-", name).lower()


def name_of(requirement: str) -> str:
    """Return the package of a requirement, such as ``astropy`` for ``astropy>=6``."""
    found = _NAME.match(requirement.strip())
    return normalized(found[0]) if found else ""


def read_lock(text: str) -> list[Pin]:
    """Return the packages of a lock; one may occur more than once, for several versions of Python."""
    pins: list[Pin] = []
    for line in text.splitlines():
        if line[:1] not in ("", " ", "#"):
            pins.append(Pin(name_of(line), [line]))
        elif line.strip().startswith("--hash=") and pins:
            pins[-1].lines.append(line)
        elif line.startswith("    #") and pins:
            pins[-1].needed_by.add(name_of(line.strip(" #").removeprefix("via ")))
    return pins


def wanted_names(project: dict[str, object], extras: Sequence[str]) -> set[str]:
    """Return the project's direct requirements, with some extras."""
    optional = project["optional-dependencies"]
    requirements = [*project["dependencies"], *(one for extra in extras for one in optional[extra])]  # type: ignore[index,misc]
    return {name_of(requirement) for requirement in requirements} | set(BUILDERS)


def needed(pins: Sequence[Pin], names: set[str]) -> list[Pin]:
    """Return the packages that some need, with all that these need."""
    found = set(names)
    while more := {pin.name for pin in pins if pin.needed_by & found} - found:
        found |= more
    return [pin for pin in pins if pin.name in found]


def main(argv: Sequence[str]) -> int:
    """Print the part; return 1 if the lock lacks a package, with its name on stderr."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = wanted_names(project, [extra for extra in argv[0].split(",") if extra])
    pins = read_lock((REPOSITORY / "requirements.lock").read_text(encoding="utf-8"))
    if missing := sorted(names - {pin.name for pin in pins}):
        print(f"requirements.lock lacks {', '.join(missing)}; run tools/lock", file=sys.stderr)
        return 1
    print("\n".join(line for pin in needed(pins, names) for line in pin.lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
