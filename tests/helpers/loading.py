"""Scripts, plugins and benchmarks as modules: none of them is part of a package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = ("scripts", "plugins", "benchmarks")


def load_script(name: str) -> ModuleType:
    """Return a new module of one of these folders."""
    (path,) = [path for folder in FOLDERS if (path := REPOSITORY / folder / f"{name}.py").is_file()]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
