"""The names of the package ``lofar`` that third-party plugins and scripts import, where no LOFAR is installed.

Source: doc/spec/lofarpipe.md, section 5.3.
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

PACKAGE = "lofar"
#: What stands for a module; imported when it is asked for.
STANDS_FOR = {
    "lofar.bdsm": "bdsf",
    "lofar.parameterset": "lofarpipe.support.parameterset",
    "lofar.parameterset._pyparameterset": "lofarpipe.support.parameterset",
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


class LofarNames:
    """Finds and loads ``lofar.<name>``, unless there is a real package ``lofar``: it is asked last."""

    @classmethod
    def find_spec(cls, name: str, _path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        if name in REMEDIES:
            raise ModuleNotFoundError(f"no module {name!r} without LOFAR's software: {REMEDIES[name]}", name=name)
        if name != PACKAGE and name not in STANDS_FOR:
            return None
        return ModuleSpec(name, cls, is_package=name in (PACKAGE, "lofar.parameterset"))  # type: ignore[arg-type]

    @staticmethod
    def create_module(_spec: ModuleSpec) -> None:
        """Leave it to Python."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Put the module that stands for this one in its place."""
        if module.__name__ in STANDS_FOR:
            sys.modules[module.__name__] = importlib.import_module(STANDS_FOR[module.__name__])
