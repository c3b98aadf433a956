"""Small things that third-party plugins and scripts import."""

from __future__ import annotations

import ast
import functools
import gc
import importlib
import itertools
import math
import os
import re
import shutil
import signal
import subprocess
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lofarpipe.support.patterns import lazy_pattern

LONGEST_NAME = 200  # characters of 255, to leave room for the rest
OLD_S = 86400.0  # an unfinished file of another machine is stale after a day
_NAME = lazy_pattern(r"\..+\.(?P<host>[0-9a-f]{8})\.(?P<process>\d+)\.tmp")
_UNPRINTABLE = r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
Filename = str | os.PathLike[str]
izip_longest = itertools.zip_longest
FLAGS = {"TRUE": True, "1": True, "FALSE": False, "0": False}  # boolean arguments of plugins, in capitals
# Names for plugins -> their modules; these import this one, and most processes do not need them.
_ELSEWHERE = {
    **dict.fromkeys(("get_parset", "patch_parset"), "lofarpipe.support.parset"),
    **dict.fromkeys(("log_process_output", "log_time"), "lofarpipe.support.pipelinelogging"),
}


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        return getattr(importlib.import_module(_ELSEWHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def create_directory(dirname: str | os.PathLike[str]) -> None:
    """Create a directory and its parents, unless it exists."""
    Path(dirname).mkdir(parents=True, exist_ok=True)


def flag_findings(name: str, text: str) -> list[str]:
    """Return the problem of a boolean argument of a plugin."""
    return [] if text.upper() in FLAGS else [f"{name} is '{text}'; True or False is needed"]


def is_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a file exists; False for an impossible name, such as an overlong one."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises OSError for such a text


def exists(path: str | os.PathLike[str]) -> bool:
    """Return whether a path exists; False for an impossible name, such as an overlong one."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises OSError for such a text


def write_atomically(path: Path, text: str, errors: str = "surrogateescape") -> None:
    """Write a text file that appears under its name only when it is complete.

    ``errors``: handling of characters that UTF-8 does not have, as in ``str.encode``.

    Raises
    ------
    OSError
        If it cannot be written; it names the file.
    """
    path = Path(os.path.realpath(path))  # replaces the target of a link, not the link
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
    """Append text to a file, completely or not at all.

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
                count = stream.write(content)
                if count < len(content):  # a partial write; the next write raises the error
                    stream.write(content[count:])
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
    """Return the items of a simple list text such as ``[a, b]``; inner brackets and quotes are plain text.

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
    """Return these names as text for ``files_of``."""
    text = f"[{','.join(names)}]"
    return text if files_of(text) == list(names) else str(list(names))


def few_files(text: str) -> str:
    """Return the ``file`` of a mapfile entry for people: of more than two names the first, and how many more."""
    names = files_of(text)
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 2 else text


def literal(text: str) -> Any:
    """Return the value of a Python literal, without Python's warnings about its syntax.

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


def unfinished_name(path: Path) -> Path:
    """Return this process's name for ``path`` while it is unfinished.

    It is ``.<name>.<host>.<process>.tmp``, beside the file.
    """
    return path.with_name(f".{path.name[:LONGEST_NAME]}.{_host()}.{os.getpid()}.tmp")


@contextmanager
def unfinished_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory beside ``path``; it is removed afterwards with its contents."""
    directory = unfinished_name(path)
    directory.mkdir()
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def remove_unfinished(directories: Iterable[Path]) -> list[Path]:
    """Remove temporary files of killed processes in directories, not below them; return their names.

    Files of this machine's living processes are kept, files of other machines for a day.
    """
    paths = [path for directory in directories for path in _unfinished(directory) if _is_left_over(path)]
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return paths


def _unfinished(directory: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as entries:
        yield from (Path(entry.path) for entry in entries if _NAME.fullmatch(entry.name))


def _is_left_over(path: Path) -> bool:
    match = _NAME.fullmatch(path.name)
    if match is None:
        return False
    if match["host"] == _host():
        return not Path("/proc", match["process"]).exists()
    try:
        return path.stat().st_mtime < time.time() - OLD_S
    except FileNotFoundError:  # it got its name
        return False


def _host() -> str:
    return f"{zlib.crc32(os.uname().nodename.encode()):08x}"


def deprecated(func: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that warns of its deprecation when called."""

    @functools.wraps(func)
    def warned(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(f"{func.__name__} is deprecated", DeprecationWarning, stacklevel=2)
        return func(*args, **kwargs)

    return warned


def get_mountpoint(path: Filename) -> str:
    """Return where the file system of a path is mounted."""
    place = Path(path).absolute()
    return str(next(above for above in (place, *place.parents) if above.is_mount()))


def delete_directory(dirname: Filename) -> None:
    """Remove a directory with its contents, if it exists.

    Raises
    ------
    OSError
        If something in it cannot be removed.
    """
    if os.path.lexists(dirname):
        shutil.rmtree(dirname)


def disk_usage(*paths: Filename) -> int:
    """Return the total size in bytes of files and directory trees; missing ones count 0."""
    return sum(place.lstat().st_size for path in map(Path, paths) if os.path.lexists(path) for place in _all_in(path))


def _all_in(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        for below in path.iterdir():
            yield from _all_in(below)


def is_iterable(obj: object) -> bool:
    """Return whether an object is iterable."""
    return isinstance(obj, Iterable) or hasattr(obj, "__getitem__")


def group_iterable(iterable: Iterable[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """Yield tuples of ``size`` elements; the last may be shorter."""
    elements = iter(iterable)
    while group := tuple(itertools.islice(elements, size)):
        yield group


def read_initscript(logger: Any, filename: Filename, shell: str = "/bin/sh") -> dict[str, str]:
    """Return a shell's environment after sourcing a script; empty without a script."""
    if not Path(filename).exists():
        logger.warning(f"{filename}: no such script; the environment stays as it is")
        return {}
    command = [shell, "-c", '. "$1" >&2; env -0', shell, str(Path(filename).absolute())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    pairs = (entry.partition("=") for entry in done.stdout.split("\0"))
    return {name: value for name, equals, value in pairs if equals}


def spawn_process(
    cmd: Sequence[str],
    logger: Any,
    cwd: Filename | None = None,
    env: Mapping[str, str] | None = None,
    max_tries: int = 2,  # noqa: ARG001 - a failure to start is an error at once
    max_timeout: int = 30,  # noqa: ARG001
) -> subprocess.Popen[str]:
    """Start a program with piped standard streams in ``cwd``, created if missing; wait with ``communicate``.

    Raises
    ------
    OSError
        If it cannot be started.
    """
    if cwd:
        Path(cwd).mkdir(parents=True, exist_ok=True)
    logger.debug(f"Running: {' '.join(cmd)}")
    pipe = subprocess.PIPE
    return subprocess.Popen(cmd, cwd=cwd, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def socket_recv(socket: Any, numbytes: int) -> bytes:
    """Return so many bytes from a socket.

    Raises
    ------
    OSError
        If the other side closes it earlier.
    """
    received = bytearray()
    while len(received) < numbytes:
        piece = socket.recv(numbytes - len(received))
        if not piece:
            raise OSError(f"the connection was closed after {len(received)} of {numbytes} bytes")
        received += piece
    return bytes(received)


def printable(line: str) -> str:
    """Return text without control characters but line ends, and without blanks at its end: it cannot move a cursor."""
    if line.isprintable():  # as most is
        return line.rstrip()
    return re.sub(_UNPRINTABLE, "", line.expandtabs(1)).rstrip()


def flux_text(value_jy: float) -> str:
    """Return a flux density in Jy as people read it: ``189.5 mJy``."""
    if not math.isfinite(value_jy) or value_jy == 0:
        return f"{value_jy:g} Jy"
    for unit, factor in (("MJy", 1e-6), ("kJy", 1e-3), ("Jy", 1.0), ("mJy", 1e3)):
        if abs(value_jy) * factor >= 0.9995:
            return f"{value_jy * factor:.4g} {unit}"
    return f"{value_jy * 1e6:.4g} µJy"
