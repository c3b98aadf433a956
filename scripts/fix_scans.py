#!/usr/bin/env python3
"""Number the scans of a measurement set from 0, by changes of field and jumps in time."""

from __future__ import annotations

import sys

OUTPUTS = ("changed",)


def main(ms: str) -> dict[str, str]:
    """Return the number of changed rows."""
    from lofarpipe.imaging.ata.combine import fix_scans

    return {"changed": str(fix_scans(ms))}


if __name__ == "__main__":
    from lofarpipe.imaging.scripts import exit_code

    sys.exit(exit_code(lambda: print(main(*sys.argv[1:])["changed"])))
