"""Which processes of a test are alive: those whose directory, command or environment is below the test's directory."""

from __future__ import annotations

import os
from pathlib import Path


def living(directory: Path, proc: Path = Path("/proc")) -> dict[int, str]:
    """Return process id -> command of each process that has to do with ``directory``, but this one and its parents."""
    wanted = os.fsencode(directory)
    found = {}
    for entry in proc.iterdir():
        if entry.name.isdigit() and int(entry.name) not in (os.getpid(), os.getppid()) and _names(entry, wanted):
            found[int(entry.name)] = _command(entry)
    return found


def _names(entry: Path, wanted: bytes) -> bool:
    """Whether a living process (no zombie: these have nothing any more) works in, or was given, ``wanted``."""
    try:
        where = os.fsencode((entry / "cwd").readlink())
        facts = [(entry / name).read_bytes() for name in ("cmdline", "environ")]
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # it has just ended, or is another user's
        return False
    return any(wanted in fact for fact in [where, *facts])


def _command(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "?"
