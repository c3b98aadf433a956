"""Identity of a program: name, version and content, independent of its location."""

from __future__ import annotations

import hashlib
import os
import sys
from functools import cache
from pathlib import Path

from lofarpipe import __version__
from lofarpipe.programs.base import KNOWN_PROGRAMS
from lofarpipe.programs.find import is_own_program

LARGEST_READ = 256 * 1024**2  # bytes; programs up to this size are identified by content, larger ones by size and time
_ENTRIES = "*.dist-info/entry_points.txt"


def program_identity(executable: Path, program: str = "", is_script: bool = False) -> tuple[str, str, str]:
    """Return name, version and content of a program, independent of its location.

    Parameters
    ----------
    program: key of the known program, which may be run for its version; "" for others.
    is_script: whether it is a Python script loaded by the runner; shipped ones have the runner's version.
    """
    if program:
        known_program = KNOWN_PROGRAMS[program]
        name, version = known_program.name, known_program.version(executable)
    else:
        name, version = executable.name, __version__ if is_script and is_own_program(executable) else ""
    try:
        status = os.stat(executable)  # noqa: PTH116 - one call for size and time
        package_version, content = _content(executable, status.st_size, status.st_mtime_ns)
    except OSError:  # removed since it was found; the job reports it
        package_version, content = "", ""
    return name, version or package_version, content


@cache
def installed_package(command: Path) -> tuple[str, str] | None:
    """Return version and content of the pip package that installed a command; None for other files.

    The file itself is the same for all versions but for its interpreter; the package's list of files has their digests.
    """
    for entries in sorted((command.parent.parent / "lib").glob(f"python3*/*-packages/{_ENTRIES}")):
        try:
            names = {line.partition("=")[0].strip() for line in entries.read_text(encoding="utf-8").splitlines()}
            if command.name not in names:
                continue
            record = entries.with_name("RECORD").read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):  # half removed, or not ours to read
            continue
        package_lines = [
            line for line in record if line[:3] != "../" and ".dist-info/" not in line and ".pyc" not in line
        ]
        version = entries.parent.name.removesuffix(".dist-info").rpartition("-")[2]
        return version, _digest("\n".join(sorted(package_lines)).encode())
    return None


@cache
def _content(executable: Path, size: int, mtime_ns: int) -> tuple[str, str]:
    """Return version, "" if it is unknown, and a fingerprint of the content of a program."""
    if size > LARGEST_READ:
        return "", f"{size}@{mtime_ns}"
    text = executable.read_bytes()
    if not text.startswith(b"#!"):
        return "", _digest(text)
    first, _, rest = text.partition(b"\n")
    if rest.startswith(b"'''exec'"):  # for a long path of the interpreter
        first, _, rest = rest.partition(b"\n")
    if b"python" in first and (package := installed_package(executable)):
        return package
    return "", _digest(rest.replace(os.fsencode(sys.executable), b"python"))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
