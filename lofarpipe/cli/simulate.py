"""``genericpipeline.py simulate DIRECTORY``: run the shipped simulator."""

from __future__ import annotations

import runpy
from collections.abc import Sequence

from lofarpipe.config import share_directory


def main(words: Sequence[str]) -> int:
    """Run the simulator with the options of its script; return the exit status."""
    script = runpy.run_path(str(share_directory() / "scripts" / "simulate_observation.py"))
    return int(script["command_line"](words, "genericpipeline.py simulate"))
