"""Plugins and scripts of the Python 2 era, loaded as they stand (spec/lofarpipe.md, section 7.4).

A source that Python 3 refuses is translated in memory. Every module loaded here has the builtins that Python 2 had,
and they alone have them; ``pyrap`` is importable as another name of casacore.
"""

from __future__ import annotations

import builtins
import importlib
import os
import sys
from functools import reduce
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

# Each job imports this module: what it imports is paid for once per product. typing would add a tenth.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

PYRAP = "pyrap"  # what casacore's Python bindings were called
PYRAP_MODULES = ("fitting", "functionals", "images", "measures", "quanta", "tables", "util")

HISTORICAL_BUILTINS: dict[str, object] = {
    "StandardError": Exception,
    "basestring": str,
    "buffer": memoryview,
    "cmp": lambda a, b: (a > b) - (a < b),
    "file": open,
    "intern": sys.intern,
    "long": int,
    "raw_input": input,
    "reduce": reduce,
    "reload": importlib.reload,
    "unichr": chr,
    "unicode": str,
    "xrange": range,
}

_notices: list[str] = []
_told: set[str] = set()


def load_module(name: str, path: str | os.PathLike[str]) -> ModuleType:
    """Return the module in a file, loaded once under this name, and again when the file has changed.

    Raises
    ------
    SyntaxError
        If it is neither Python 3 nor Python 2; the line is that of the file as it stands.

    What the module itself raises goes on to the caller.
    """
    loader = Loader(name, os.fspath(path))
    known = sys.modules.get(name)
    if known is not None and getattr(known.__loader__, "stamp", None) == loader.stamp:
        return known
    module = ModuleType(name)
    module.__file__, module.__loader__, module.__spec__ = loader.path, loader, _spec(loader)
    sys.modules[name] = module  # where pickle and dataclasses look it up
    try:
        loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return sys.modules[name]


def import_from(directory: str | os.PathLike[str]) -> None:
    """Let modules in a directory be imported by name, after all that Python finds itself."""
    if os.fspath(directory) not in _Neighbours.directories:
        _Neighbours.directories.append(os.fspath(directory))


def take_notices() -> list[str]:
    """Return what was translated since the last call, one sentence per file; a file is told once in a process."""
    notices, _notices[:] = [*_notices], []
    return notices


def line_of(err: BaseException, path: str | os.PathLike[str]) -> int:
    """Return the line of ``path`` where an exception arose; 0 if it did not pass through it."""
    if isinstance(err, SyntaxError) and err.filename == os.fspath(path):
        return err.lineno or 0
    line, frame = 0, err.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == os.fspath(path):
            line = frame.tb_lineno
        frame = frame.tb_next
    return line


class Loader(SourceFileLoader):
    """Loads a module from a source file, of Python 3 or 2; its name need not end in ``.py``."""

    def __init__(self, fullname: str, path: str) -> None:
        super().__init__(fullname, path)
        self.translated = False
        self.stamp = (path, Path(path).stat().st_mtime_ns)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module with the builtins of both Pythons."""
        module.__dict__["__builtins__"] = {**vars(builtins), **HISTORICAL_BUILTINS}
        super().exec_module(module)

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]
        """Return the compiled source, translated if that is needed."""
        try:
            return super().source_to_code(data, path)
        except SyntaxError as err:
            from lofarpipe.support.python2_source import compile_python2

            code = compile_python2(bytes(data), str(path), err)
        self.translated = True
        _notice(str(path))
        return code

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Keep the bytecode, but that of a translation: no other Python should find it beside the source."""
        if not self.translated:
            super().set_data(path, data, _mode=_mode)


def _notice(path: str) -> None:
    if path not in _told:
        _told.add(path)
        _notices.append(f"{path}: Python 2 source; translated in memory (5 / 2 is now 2.5)")


def _spec(loader: Loader) -> ModuleSpec:
    spec = ModuleSpec(loader.name, loader, origin=loader.path)
    spec.has_location = True
    return spec


class _Neighbours:
    """Finds what plugins import from directories of plugins; asked last, as if these ended the search path."""

    directories: list[str] = []  # noqa: RUF012 - one list for the process, as sys.path is

    @classmethod
    def find_spec(cls, name: str, path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        for directory in cls.directories if path is None else ():
            file = Path(directory) / f"{name}.py"
            if file.is_file():
                return _spec(Loader(name, str(file)))
        return None


class _Pyrap:
    """Finds and loads ``pyrap.tables`` and the like as casacore's modules, unless there is a real pyrap."""

    @classmethod
    def find_spec(cls, name: str, _path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        package, _, module = name.partition(".")
        if package != PYRAP or (module and module not in PYRAP_MODULES):
            return None
        return ModuleSpec(name, cls, is_package=not module)  # type: ignore[arg-type]

    @staticmethod
    def create_module(_spec: ModuleSpec) -> None:
        """Leave it to Python."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Put casacore's module in the place of this one; nothing is imported before."""
        name = module.__name__.removeprefix(PYRAP)
        if name:
            sys.modules[module.__name__] = importlib.import_module(f"casacore{name}")


def install() -> None:
    """Make ``pyrap``, and what stands beside plugins, importable in this process."""
    for finder in (_Neighbours, _Pyrap):
        if finder not in sys.meta_path:
            sys.meta_path.append(finder)
