#!/usr/bin/env python3
"""Merge all windows of a measurement set into one window of a new set."""

from __future__ import annotations

import os

OUTPUTS = ("merged",)


def main(vis: str, plan: str, run: str, scratch_dir: str) -> dict[str, str]:
    """Write ``<name>_merged.ms`` beside the products of the plan, and return its name.

    Parameters
    ----------
    run: job directory of the run, for the marker of the scratch directory.

    Raises
    ------
    PipelineError
        If the new set exists already, or a window cannot be read.
    """
    from pathlib import Path

    from lofarpipe.jobs import Resources
    from lofarpipe.programs.channel_batch import merge_windows
    from lofarpipe.programs.stokes_products import read_plan

    given = Resources(int(os.environ.get("OMP_NUM_THREADS") or 1), 1.0)
    return {"merged": str(merge_windows(read_plan(plan), vis, run, Path(scratch_dir), given))}
