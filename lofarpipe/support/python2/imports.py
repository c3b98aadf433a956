"""Names of their time that plugins and scripts import: modules with other names now, or that lost names.

A module that exists under the requested name is taken. Each job imports this module, so names that only sources of
Python 2 need stand in ``modules``. ``lofar`` and ``pyrap``, as casacore's Python bindings were called, are found where
they are not installed. Source: doc/spec/lofarpipe.md, sections 5.3, 7.4.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

#: Removed modules -> modules with their names.
STANDS_FOR: dict[str, tuple[str, ...]] = {
    "BaseHTTPServer": ("http.server",),
    "ConfigParser": ("configparser",),
    "Cookie": ("http.cookies",),
    "HTMLParser": ("html.parser",),
    "Queue": ("queue",),
    "SimpleHTTPServer": ("http.server",),
    "SocketServer": ("socketserver",),
    "StringIO": ("io",),
    "Tkinter": ("tkinter",),
    "UserDict": ("collections",),
    "UserList": ("collections",),
    "UserString": ("collections",),
    "__builtin__": ("builtins",),
    "cPickle": ("pickle",),
    "cStringIO": ("io",),
    "commands": ("subprocess",),
    "cookielib": ("http.cookiejar",),
    "copy_reg": ("copyreg",),
    "exceptions": ("builtins",),
    "httplib": ("http.client",),
    "pyfits": ("astropy.io.fits",),
    "pywcs": ("astropy.wcs",),
    "sets": ("builtins",),
    "thread": ("_thread",),
    "urllib2": ("urllib.request", "urllib.error"),
    "urlparse": ("urllib.parse",),
    "xmlrpclib": ("xmlrpc.client",),
}
#: Modules that lost names or do something else, as sources of Python 2 see them; and as every plugin does.
CHANGED = ("collections", "inspect", "itertools", "math", "os", "os.path", "string", "subprocess", "sys", "time")
CHANGED_FOR_PYTHON2 = frozenset((*CHANGED, "types", "urllib"))
CHANGED_FOR_ALL = frozenset(("numpy",))
GONE_FOR_ALL = frozenset(("pyfits", "pywcs"))

_facades: dict[str, ModuleType] = {}


def importer(is_python2: bool) -> Callable[..., ModuleType]:
    """Return the ``__import__`` of a plugin or script, which gives Python 2 sources Python 2 modules."""
    changed = CHANGED_FOR_ALL | CHANGED_FOR_PYTHON2 if is_python2 else CHANGED_FOR_ALL
    # Python 3 sources get few substitutes: some detect the Python version by the failure of an import.
    gone = frozenset(STANDS_FOR) if is_python2 else GONE_FOR_ALL

    def __import__(  # noqa: A001, N807 - some call it, by these names
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        try:
            module = builtins.__import__(name, globals, locals, fromlist or (), max(level, 0))
        except ModuleNotFoundError as err:
            if level > 0 or err.name != name.partition(".")[0]:
                raise
            module = _substitute_module(err, globals, fromlist or (), name if name in gone else "")
        write_numbers_plainly()
        module_name = name if fromlist else name.partition(".")[0]
        return facade(module_name) if level <= 0 and module_name in changed else module

    return __import__


def _substitute_module(
    err: ModuleNotFoundError, namespace: Mapping[str, Any] | None, names: Sequence[str], gone: str
) -> ModuleType:
    """Return a module of the same package, as in Python 2, or a removed module's substitute; or raise ``err``."""
    if namespace and namespace.get("__package__"):
        try:
            return builtins.__import__(err.name or "", namespace, None, names, 1)
        except ModuleNotFoundError:
            pass
    if not gone:
        raise err.with_traceback(None)  # how it was looked for is no news
    return facade(gone)


def facade(name: str) -> ModuleType:
    """Return a module with its former names, or the substitute of a removed one."""
    if name not in _facades:
        from lofarpipe.support.python2.modules import Facade, names_of

        modules = [importlib.import_module(module_name) for module_name in STANDS_FOR.get(name, (name,))]
        _facades[name] = Facade(name, modules, names_of(name), first=name not in CHANGED_FOR_ALL)
    return _facades[name]


def write_numbers_plainly() -> None:
    """Set numpy's number format of before 2.0, as used in maps: ``[1.5]``, not ``[np.float64(1.5)]``."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "set_printoptions") or numpy.__version__.startswith("1."):
        return
    if not numpy.get_printoptions()["legacy"]:
        numpy.set_printoptions(legacy="1.25")


PACKAGES = ("lofar", "lofar.parameterset", "pyrap")
#: Substitutes of modules, imported on demand.
LOFAR_STANDS_FOR = {
    "lofar.bdsm": "bdsf",
    "lofar.parameterset": "lofarpipe.support.parameterset",
    "lofar.parameterset._pyparameterset": "lofarpipe.support.parameterset",
    **{
        f"pyrap.{name}": f"casacore.{name}"
        for name in ("fitting", "functionals", "images", "measures", "quanta", "tables", "util")
    },
}
_OF_RECIPES = "it is for recipes of LOFAR's engine, which do not run here; write a plugin, or a script with main(...)"
#: Modules without a substitute -> remedy.
REMEDIES = {
    **dict.fromkeys(("lofarpipe.cuisine", "lofarpipe.daemons", "lofarpipe.recipes"), _OF_RECIPES),
    **{
        f"lofarpipe.support.{name}": _OF_RECIPES
        for name in (
            *("baserecipe", "clusterhandler", "clusterlogger", "control", "ipython", "jobserver", "loggingdecorators"),
            *("mac_feedback", "remotecommand", "stateful", "usagestats", "xmllogging"),
        )
    },
    "lofar.parmdb": "parmdbs are of BBS, which has no Python 3; keep solutions in an H5parm (losoto.h5parm)",
    "lofar.stationresponse": "install everybeam and use everybeam.load_telescope, or put LOFAR's package on PYTHONPATH",
}


class FormerNames:
    """Finds and loads ``lofar.<name>`` and ``pyrap.<name>``; the last finder, so real packages take precedence."""

    @classmethod
    def find_spec(cls, name: str, _path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        if name in REMEDIES:
            raise ModuleNotFoundError(f"no module {name!r} without LOFAR's software: {REMEDIES[name]}", name=name)
        if name not in PACKAGES and name not in LOFAR_STANDS_FOR:
            return None
        return ModuleSpec(name, cls, is_package=name in PACKAGES)  # type: ignore[arg-type]

    @staticmethod
    def create_module(_spec: ModuleSpec) -> None:
        """Leave it to Python."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Import the substitute module, and put it in place of this one."""
        if module.__name__ in LOFAR_STANDS_FOR:
            sys.modules[module.__name__] = importlib.import_module(LOFAR_STANDS_FOR[module.__name__])
