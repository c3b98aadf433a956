"""What the first word of the command line may ask for, instead of naming a parset.

A parset with such a name is run as ``./status`` or ``status.parset``.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

# name -> module:function; a function takes the rest of the command line, and returns the exit status.
COMMANDS = {
    "status": "lofarpipe.cli.status:main",
    "report": "lofarpipe.cli.report:main",
    "repeat": "lofarpipe.archive.repeat:main",
    "crate": "lofarpipe.archive.crate:main",
}


def run_command(words: Sequence[str]) -> int:
    """Run the sub-command that the first of ``words`` names, and return the exit status."""
    module, _, function = COMMANDS[words[0]].partition(":")
    return int(getattr(importlib.import_module(module), function)(words[1:]))
