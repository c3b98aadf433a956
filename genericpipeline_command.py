"""What ``genericpipeline.py`` starts: the package ``lofarpipe`` beside this file, and no other one of that name.

The LOFAR software has a package ``lofarpipe`` too, and PYTHONPATH comes before what pip installed.
"""

from __future__ import annotations

import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120 - the start must not pay for pathlib
EXIT_FAILED = 1


def main() -> int:
    """Run the command line; return the exit status."""
    found = importlib.util.find_spec("lofarpipe")
    place = os.path.dirname(os.path.dirname(found.origin)) if found and found.origin else ""  # noqa: PTH120
    if os.path.realpath(place) != HERE:
        print(
            f"genericpipeline.py: {place} has another package lofarpipe, and comes before {HERE}; take it out of "
            f"PYTHONPATH, or begin PYTHONPATH with {HERE}",
            file=sys.stderr,
        )
        return EXIT_FAILED
    from lofarpipe.cli import main as run

    return run()
