"""Small things that third-party plugins and scripts import."""

from __future__ import annotations

import ast
import gc
import importlib
import os
import signal
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lofarpipe.support.files import unfinished_name

# Modules that have what plugins import from here: two of them import this one, and most processes need none.
_ELSEWHERE = {
    "parset": ("get_parset", "patch_parset"),
    "pipelinelogging": ("log_process_output", "log_time"),
    "more_utilities": (
        *("delete_directory", "deprecated", "disk_usage", "get_mountpoint", "group_iterable", "is_iterable"),
        *("izip_longest", "read_initscript", "socket_recv", "spawn_process"),
    ),
}


def __getattr__(name: str) -> Any:
    for module, names in _ELSEWHERE.items():
        if name in names:
            return getattr(importlib.import_module(f"lofarpipe.support.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def create_directory(dirname: str | os.PathLike[str]) -> None:
    """Make a directory and those above it; nothing happens if it exists."""
    Path(dirname).mkdir(parents=True, exist_ok=True)


def is_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a file of that name is there; a text that can be no name, such as one too long, is none."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises OSError for such a text


def exists(path: str | os.PathLike[str]) -> bool:
    """Return whether something of that name is there; a text that can be no name, such as one too long, is nothing."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises OSError for such a text


def write_atomically(path: Path, text: str, errors: str = "surrogateescape") -> None:
    """Write a text file that appears under its name only when it is complete.

    ``errors``: what becomes of characters that UTF-8 does not have, as ``str.encode`` has it.

    Raises
    ------
    OSError
        If it cannot be written; it names the file.
    """
    path = Path(os.path.realpath(path))  # the file that a link points to is replaced, not the link
    unfinished = unfinished_name(path)
    try:
        with unfinished.open("wb", buffering=0) as stream:
            content = memoryview(text.encode("utf-8", errors))
            while content:
                content = content[stream.write(content) :]
            os.fsync(stream.fileno())
        unfinished.replace(path)
    except OSError as err:
        raise OSError(err.errno, err.strerror, str(path)) from err
    finally:
        with suppress(OSError):  # where the file system went away
            unfinished.unlink(missing_ok=True)


def append_whole(path: Path, text: str) -> None:
    """Add text at the end of a file, or nothing of it.

    Raises
    ------
    OSError
        If it cannot be written; it names the file.
    """
    try:
        with path.open("ab", buffering=0) as stream:
            end = stream.tell()
            content = text.encode("utf-8", errors="surrogateescape")
            try:
                written = stream.write(content)
                if written < len(content):  # room for a part of it; the next write says what is wrong
                    stream.write(content[written:])
            except OSError:
                stream.truncate(end)
                raise
    except OSError as err:
        raise OSError(err.errno, err.strerror, str(path)) from err


@contextmanager
def uncollected() -> Iterator[None]:
    """Let Python not look for cycles of objects meanwhile: where a million are made that stay, it looks in vain."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def string_to_list(text: str) -> list[str]:
    """Return the items of a simple list text such as ``[a, b]``; brackets within and quotes mean nothing.

    Source: doc/spec/lofarpipe.md, section 4.3.
    """
    return [item.strip() for item in text.strip("[] ").split(",") if item.strip()]


def files_of(text: str) -> list[str]:
    """Return the names in the ``file`` of a mapfile entry, in order.

    Two texts hold several names, ``['/a.MS', '/b.MS']`` and ``[/a.MS,/b.MS]``; any other text is one name. In the
    second a name cannot hold a comma. Source: doc/spec/lofarpipe.md, section 5.1.
    """
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]") and len(text) > 1):
        return [text] if text else []
    names = _literal_names(text)
    if names is None:
        names = [name.strip(" \t'\"") for name in text[1:-1].split(",")]
    return [name for name in names if name]


def list_text(names: Sequence[str]) -> str:
    """Return a text from which ``files_of`` reads these names."""
    text = f"[{','.join(names)}]"
    return text if files_of(text) == list(names) else str(list(names))


def few_files(text: str) -> str:
    """Return the ``file`` of a mapfile entry for people: of more than two names the first, and how many more."""
    names = files_of(text)
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 2 else text


def literal(text: str) -> Any:
    """Return the value of a Python literal, without a word of what Python finds odd about it.

    Raises
    ------
    ValueError, SyntaxError, TypeError, MemoryError, RecursionError
        If it is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.literal_eval(text)


def _literal_names(text: str) -> list[str] | None:
    """Return the elements of a Python list literal of texts, or None for any other text."""
    if text[1:].lstrip()[:1] not in ("'", '"'):
        return None
    try:
        names = literal(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def catch_segfaults(
    cmd: Sequence[str],
    cwd: str | os.PathLike[str] | None,
    env: Mapping[str, str] | None,
    logger: Any,
    max: int = 1,  # noqa: A002 - callers give it by name
    cleanup: Callable[[], None] = lambda: None,
    usageStats: Any = None,  # noqa: ARG001, N803 - it has no effect
) -> subprocess.CompletedProcess[str]:
    """Run a program, again up to ``max`` times if it dies of a segmentation fault, and return the finished process.

    Its standard output goes to ``logger.debug``, its standard error to ``logger.warning``; ``cleanup`` is called before
    each new try.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails otherwise, or too often.

    Source: doc/spec/lofarpipe.md, section 8.4.
    """
    for attempt in range(max + 1):
        logger.debug(f"Running: {' '.join(cmd)}")
        process = subprocess.run(cmd, cwd=cwd, env=env, capture_output=True, text=True, check=False)
        _log_output(process, logger)
        if process.returncode != -signal.SIGSEGV:
            break
        logger.warning(f"{cmd[0]} died of a segmentation fault, try {attempt + 1} of {max + 1}")
        if attempt < max:
            cleanup()
    process.check_returncode()
    return process


def _log_output(process: subprocess.CompletedProcess[str], logger: Any) -> None:
    if process.stdout:
        logger.debug(process.stdout)
    if process.stderr:
        logger.warning(process.stderr)
