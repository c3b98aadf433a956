"""``genericpipeline.py simulate DIRECTORY``: the shipped simulator, for who has no data at hand."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence

from lofarpipe.config import share_directory


def main(words: Sequence[str]) -> int:
    """Run the simulator with the options of its script; return 0. It ends the process where they are wrong."""
    script = share_directory() / "scripts" / "simulate_observation.py"
    before, sys.argv = sys.argv, [f"{sys.argv[0]} simulate", *words]
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = before
    return 0
