#!/usr/bin/env python3
"""Write a copy of a measurement set that DP3 reads and averages rightly; the set itself is not changed."""

from __future__ import annotations

import argparse
import sys

from lofarpipe.imaging.scripts import exit_code

OUTPUTS = ("copy",)


def main(ms_input: str, ms_output: str, field: str = "auto") -> dict[str, str]:
    """Write ``ms_output``, and return its name as ``copy``.

    ``field`` is the number or name of the field to keep, if ``ms_input`` has several.

    Raises
    ------
    PipelineError
        If the set cannot be read, or the copy not be written.
    """
    from lofarpipe.imaging.ms.copy import copy_set

    for reason in copy_set(ms_input, ms_output, field):
        print(f"{ms_input}: {reason}")
    return {"copy": ms_output}


def command_line(argv: list[str]) -> int:
    """Run from a shell; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ms_input", help="measurement set")
    parser.add_argument("ms_output", help="copy to write")
    parser.add_argument("--field", default="auto", help="number or name of the field to keep; default %(default)s")
    keywords = vars(parser.parse_args(argv))
    return exit_code(lambda: print(main(**keywords)["copy"]))


if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:]))
