"""A runner for LOFAR-style generic pipelines, and the imaging pipelines that run on it.

``from lofarpipe import image`` makes images from Python; it is loaded when it is asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers read it; the start must not pay for typing
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"
INTERFACE = "lofarpipe.cli.api"


def __getattr__(name: str) -> Any:
    """Return a name of the interface for Python: ``image``, ``ImageResult``."""
    if name not in ("image", "ImageResult"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(INTERFACE), name)
