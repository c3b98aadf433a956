#!/usr/bin/env python3
"""Put directions and correlations of an ASKAP beam right, in place, for other imagers; or the directions back."""

from __future__ import annotations

import argparse
import sys

from lofarpipe.imaging.scripts import as_boolean, exit_code

# The set, and the angle of its receptors against the sky, degrees.
OUTPUTS = ("ms", "angle_deg")


def main(
    ms_input: str, data_column: str = "CORRECTED_DATA", skip: str = "False", restore: str = "False"
) -> dict[str, str]:
    """Fix one measurement set; return its name and the receptor angle by ``OUTPUTS``.

    Parameters
    ----------
    ms_input
        Measurement set of one beam. DATA is not changed.
    data_column
        The column that gets the corrected correlations.
    skip
        True: only check that the column exists.
    restore
        True: put directions and offsets back instead.

    Raises
    ------
    PipelineError
        If the set cannot be put right; the message has all reasons.
    """
    from lofarpipe.errors import PipelineError
    from lofarpipe.imaging.ms.fix_ms import findings, fix_ms, receptor_angle, restore_ms

    if as_boolean("restore", restore):
        changed = restore_ms(ms_input)
    elif as_boolean("skip", skip):
        if problems := findings(ms_input, data_column, skip=True):
            raise PipelineError("\n".join(map(str, problems)))
        changed = []
    else:
        changed = fix_ms(ms_input, data_column)
    print(f"{ms_input}: {', '.join(changed) + ' written' if changed else 'nothing to change'}")
    return {"ms": ms_input, "angle_deg": repr(receptor_angle(ms_input))}


def command_line(argv: list[str]) -> int:
    """Run from a shell; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ms_input", help="measurement set of one beam")
    parser.add_argument("--column", dest="data_column", default="CORRECTED_DATA", help="to write (%(default)s)")
    parser.add_argument("--restore", action="store_const", const="True", default="False", help="put directions back")
    keywords = vars(parser.parse_args(argv))
    return exit_code(lambda: main(**keywords))


if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:]))
