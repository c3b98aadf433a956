#!/usr/bin/env python3
"""Verify an averaged measurement set against its full-resolution input, and remove the latter."""

from __future__ import annotations

import sys
from pathlib import Path

OUTPUTS = ("facts",)


def main(averaged: str, full: str, channels: str, times: str, keep_full: str = "True") -> dict[str, str]:
    """Return the file of its facts, written beside it.

    Parameters
    ----------
    channels, times: averaging factors.
    keep_full: False removes the full set after a successful verification.

    Raises
    ------
    PipelineError
        If rows, channels or integrations are missing; the full set is kept.
    """
    from lofarpipe.imaging.ata.averaged import facts_path, remove_set, verify_averaged
    from lofarpipe.imaging.ata.uvh5 import load_notes
    from lofarpipe.imaging.scripts import as_boolean, as_number

    removes = not as_boolean("keep_full", keep_full)
    counts = (int(as_number("channels", channels, 1)), int(as_number("times", times, 1)))
    facts = verify_averaged(averaged, load_notes(facts_path(full)), *counts)
    print(f"{averaged}: complete, {facts.flagged:.1%} flagged")
    if removes and remove_set(Path(full)):
        print(f"{full}: removed")
    return {"facts": str(facts_path(averaged))}


if __name__ == "__main__":
    from lofarpipe.imaging.scripts import exit_code

    sys.exit(exit_code(lambda: main(*sys.argv[1:])))
