"""Who is told what happens in a run: terminal, log. The runner tells, the reporters show.

What is named here is imported when it is asked for: a run whose output is no terminal needs no live display, and the
process that writes a page needs no reporter at all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lofarpipe.report.live import LiveTerminal
    from lofarpipe.report.pipeline_log import ClassicLog
    from lofarpipe.report.screen import shows_live
    from lofarpipe.report.statistics import Statistics
    from lofarpipe.report.terminal import DEBUG, NORMAL, QUIET, VERBOSE, Terminal

__all__ = [
    "DEBUG",
    "NORMAL",
    "QUIET",
    "VERBOSE",
    "ClassicLog",
    "LiveTerminal",
    "Statistics",
    "Terminal",
    "shows_live",
]
_MODULES = {
    "pipeline_log": ("ClassicLog",),
    "live": ("LiveTerminal",),
    "screen": ("shows_live",),
    "statistics": ("Statistics",),
    "terminal": ("DEBUG", "NORMAL", "QUIET", "VERBOSE", "Terminal"),
}


def __getattr__(name: str) -> Any:
    """Return something of the modules of this package."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
