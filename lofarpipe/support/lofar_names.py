"""The names of ``lofar`` and ``pyrap`` that third-party plugins and scripts import, where these are not installed.

``pyrap`` is what casacore's Python bindings were called. Source: doc/spec/lofarpipe.md, sections 5.3 and 7.4.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

# Each job imports this module; typing would add a tenth.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGES = ("lofar", "lofar.parameterset", "pyrap")
#: What stands for a module; imported when it is asked for.
STANDS_FOR = {
    "lofar.bdsm": "bdsf",
    "lofar.parameterset": "lofarpipe.support.parameterset",
    "lofar.parameterset._pyparameterset": "lofarpipe.support.parameterset",
    **{
        f"pyrap.{name}": f"casacore.{name}"
        for name in ("fitting", "functionals", "images", "measures", "quanta", "tables", "util")
    },
}
_OF_RECIPES = "it is for recipes of LOFAR's engine, which do not run here; write a plugin, or a script with main(...)"
#: Modules that nothing stands for, and what to do.
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
    """Finds and loads ``lofar.<name>`` and ``pyrap.<name>``, unless there is such a real package: it is asked last."""

    @classmethod
    def find_spec(cls, name: str, _path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        if name in REMEDIES:
            raise ModuleNotFoundError(f"no module {name!r} without LOFAR's software: {REMEDIES[name]}", name=name)
        if name not in PACKAGES and name not in STANDS_FOR:
            return None
        return ModuleSpec(name, cls, is_package=name in PACKAGES)  # type: ignore[arg-type]

    @staticmethod
    def create_module(_spec: ModuleSpec) -> None:
        """Leave it to Python."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Put the module that stands for this one in its place; nothing is imported before."""
        if module.__name__ in STANDS_FOR:
            sys.modules[module.__name__] = importlib.import_module(STANDS_FOR[module.__name__])
