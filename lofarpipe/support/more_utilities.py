"""What else third-party plugins and scripts import from ``utilities``; that module gives it on demand."""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Filename = str | os.PathLike[str]
izip_longest = itertools.zip_longest


def deprecated(func: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that warns, when it is called, that it should not be used any more."""

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
    """Remove a directory with all that is in it; nothing happens where there is none.

    Raises
    ------
    OSError
        If something in it cannot be removed.
    """
    if os.path.lexists(dirname):
        shutil.rmtree(dirname)


def disk_usage(*paths: Filename) -> int:
    """Return the bytes that files, and directories with all that is in them, have together; 0 for what is not there."""
    return sum(place.lstat().st_size for path in map(Path, paths) if os.path.lexists(path) for place in _all_in(path))


def _all_in(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        for below in path.iterdir():
            yield from _all_in(below)


def is_iterable(obj: object) -> bool:
    """Return whether one can go through an object."""
    return isinstance(obj, Iterable) or hasattr(obj, "__getitem__")


def group_iterable(iterable: Iterable[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """Yield tuples of ``size`` elements; the last may be shorter."""
    elements = iter(iterable)
    while group := tuple(itertools.islice(elements, size)):
        yield group


def read_initscript(logger: Any, filename: Filename, shell: str = "/bin/sh") -> dict[str, str]:
    """Return the environment that a shell has after it has read a script; nothing where there is no script."""
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
    max_tries: int = 2,  # noqa: ARG001 - what cannot be started is an error at once
    max_timeout: int = 30,  # noqa: ARG001
) -> subprocess.Popen[str]:
    """Start a program with pipes for its standard streams, in a directory that is made; ``communicate`` waits for it.

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
        If the other side closes it before.
    """
    received = bytearray()
    while len(received) < numbytes:
        piece = socket.recv(numbytes - len(received))
        if not piece:
            raise OSError(f"the connection was closed after {len(received)} of {numbytes} bytes")
        received += piece
    return bytes(received)
