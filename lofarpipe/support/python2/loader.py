"""Plugins and scripts of the Python 2 era, loaded as they stand (doc/spec/lofarpipe.md, section 7.4).

A source that Python 3 refuses is translated in memory, and so is a plugin or script that uses features of Python 2
alone; of modules in directories of PYTHONPATH only those that Python 3 refuses. A translated source behaves as before:
5 / 2 is 2. Every module loaded here has the builtins that Python 2 had, and they alone have them; ``pyrap`` is
importable as another name of casacore, and of ``lofar`` the modules in ``imports``.
"""

from __future__ import annotations

import builtins
import importlib
import os
import re
import sys
from functools import reduce
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from lofarpipe.support.python2.imports import importer

# Each job imports this module, so imports cost time per product; typing would add a tenth.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

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

# Found in every Python 2 source that Python 3 compiles, and in some others; python2_marks is stricter.
HINTS = re.compile(
    rb"\b(basestring|cmp|getcwdu|has_key|i(filter|filterfalse|map|zip|zip_longest)|iter(items|keys|values)|long|maxint|raw_input"
    rb"|reduce|reload|unichr|unicode|xrange|BaseHTTPServer|ConfigParser|Cookie|HTMLParser|Queue|S(impleHTTP|ocket)Server"
    rb"|c?StringIO|Tkinter|User(Dict|List|String)|__builtin__|cPickle|commands|cookielib|copy_reg|httplib|thread|urllib2"
    rb"|urlparse|xmlrpclib|(apply|buffer|coerce|execfile|file)\s*\(|import\b[^\n]*\bstring\b)"
)

_notices: list[str] = []
_reported: set[str] = set()


def load_module(name: str, path: str | os.PathLike[str]) -> ModuleType:
    """Return the module in a file, loaded once under this name, and again when the file has changed.

    Raises
    ------
    SyntaxError
        If it is neither Python 3 nor Python 2; with the line number in the file.

    Exceptions of the module itself pass through.
    """
    loader = Loader(name, os.fspath(path))
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded.__loader__, "stamp", None) == loader.stamp:
        return loaded
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
    """Return the files translated since the last call, one sentence each, once per process."""
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

    #: Whether a source that Python 3 compiles may be of Python 2 all the same.
    looks_closer = True

    def __init__(self, fullname: str, path: str) -> None:
        super().__init__(fullname, path)
        self.translated = False
        self.stamp = (path, Path(path).stat().st_mtime_ns)
        self.module: ModuleType | None = None

    def exec_module(self, module: ModuleType) -> None:
        """Run the module with the builtins of both Pythons."""
        self.module = module
        super().exec_module(module)

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code of a module from its source, as bytecode does not show the Python version."""
        source = self.get_data(self.path)
        suspected = self.looks_closer and HINTS.search(source) is not None
        code = self.source_to_code(source, self.path) if suspected else super().get_code(fullname)
        if self.module is not None and self.gives_builtins(self.module):
            _give_builtins(self.module, self.translated)
        return code

    def gives_builtins(self, _module: ModuleType) -> bool:
        """Return whether the module has the builtins of both Pythons."""
        return True

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]
        """Return the compiled source, translated if needed."""
        refused = None
        try:
            code = super().source_to_code(data, path)
        except SyntaxError as err:
            refused = err
        if refused is None and not (self.looks_closer and _needs_python2(bytes(data))):
            return code
        from lofarpipe.support.python2.translate import compile_python2, floors

        try:
            code = compile_python2(bytes(data), str(path), refused)
        except SyntaxError as err:
            raise err from refused
        self.translated = True
        _notice(str(path), " (5 / 2 is 2 in it)" if floors(bytes(data)) else "")
        return code

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Cache the bytecode, except of a translation, which no other Python may use."""
        if not self.translated:
            super().set_data(path, data, _mode=_mode)


def _needs_python2(source: bytes) -> bool:
    if not HINTS.search(source):
        return False
    import ast

    from lofarpipe.support.python2.translate import is_of_python2

    return is_of_python2(ast.parse(source))


def _give_builtins(module: ModuleType, is_python2: bool) -> None:
    names = {**vars(builtins), **HISTORICAL_BUILTINS, "__import__": importer(is_python2)}
    if is_python2:
        from lofarpipe.support.python2.builtins import BUILTINS

        names.update(BUILTINS, execfile=_execfile)
    module.__dict__["__builtins__"] = names


def _execfile(path: str, names: dict[str, Any] | None = None, values: dict[str, Any] | None = None) -> None:
    """Run a file of either Python in the namespaces given, by default the caller's."""
    namespace = sys._getframe(1).f_globals if names is None else names
    module = ModuleType("__main__")
    vars(module).update((name, value) for name, value in namespace.items() if not name.startswith("__"))
    Loader("__main__", path).exec_module(module)
    definitions = {name: value for name, value in vars(module).items() if not name.startswith("__")}
    (namespace if values is None else values).update(definitions)


def _notice(path: str, remark: str) -> None:
    if path not in _reported:
        _reported.add(path)
        _notices.append(f"{path}: Python 2 source; translated in memory{remark}")


def _spec(loader: Loader) -> ModuleSpec:
    spec = ModuleSpec(loader.name, loader, origin=loader.path)
    spec.has_location = True
    return spec


class _Neighbours:
    """Finds modules in plugin directories; the last finder, as if these ended the search path."""

    directories: list[str] = []  # noqa: RUF012 - one list for the process, as sys.path is

    @classmethod
    def find_spec(cls, name: str, path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, cls.directories) if path is None and cls.directories else None
        if spec is not None and spec.origin is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _LenientLoader(name, spec.origin, looks_closer=not spec.submodule_search_locations)
        return spec


class _LenientLoader(Loader):
    """Loads a module of a directory that others use as well: packages as Python does, where Python can."""

    def __init__(self, fullname: str, path: str, looks_closer: bool = False) -> None:
        super().__init__(fullname, path)
        self.looks_closer = looks_closer

    def gives_builtins(self, module: ModuleType) -> bool:
        """Return whether the module is no part of a package, or was translated."""
        return self.translated or not module.__package__


class _PythonPath:
    """Finds the same modules as Python, but below PYTHONPATH or beside a plugin also Python 2 ones."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if (
            spec is not None and spec.origin is None and path is None
        ):  # directories without a module are the last choice
            return _Neighbours.find_spec(name) or spec
        if spec is None or spec.origin is None or type(spec.loader) is not SourceFileLoader:
            return spec
        if spec.origin.startswith(tuple(_directories())):
            spec.loader = _LenientLoader(name, spec.origin)
        return spec


def _directories() -> list[str]:
    """Return the directories of possible Python 2 modules, each with a final slash."""
    python_path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    absolute = [os.path.abspath(name) for name in (*python_path, *_Neighbours.directories) if name]  # noqa: PTH100 - as Python
    return [f"{name}{os.sep}" for name in absolute]


def install() -> None:
    """Make ``pyrap``, names of ``lofar``, modules beside plugins, and Python 2 importable in this process."""
    from lofarpipe.support.python2.imports import FormerNames

    if _PythonPath not in sys.meta_path:
        place = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else 0
        sys.meta_path.insert(place, _PythonPath)
    for finder in (_Neighbours, FormerNames):
        if finder not in sys.meta_path:
            sys.meta_path.append(finder)
