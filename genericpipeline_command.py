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
    if not is_own_package("genericpipeline.py"):
        return EXIT_FAILED
    from lofarpipe.cli import main as run

    return run()


def imager() -> int:
    """Run the command line of lofar-clean; return the exit status."""
    if not is_own_package("lofar-clean"):
        return EXIT_FAILED
    from lofarpipe.programs.lofar_clean.options import answer

    if answer(sys.argv[1:]):
        return 0
    from lofarpipe.cli.lofar_clean import main as run

    return run()


def is_own_package(program: str) -> bool:
    """Return whether the package ``lofarpipe`` is the one beside this file; another one is told of."""
    found = importlib.util.find_spec("lofarpipe")
    place = os.path.dirname(os.path.dirname(found.origin)) if found and found.origin else ""  # noqa: PTH120
    if os.path.realpath(place) == HERE:
        return True
    print(
        f"{program}: {place} has another package lofarpipe, and comes before {HERE}; take it out of "
        f"PYTHONPATH, or begin PYTHONPATH with {HERE}",
        file=sys.stderr,
    )
    return False
