"""``pyrap``, as casacore's Python bindings were called. Source: doc/spec/lofarpipe.md, section 7.4."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

# Each job imports this module; typing would add a tenth.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PYRAP = "pyrap"
PYRAP_MODULES = ("fitting", "functionals", "images", "measures", "quanta", "tables", "util")


class PyrapNames:
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
