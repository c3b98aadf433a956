#!/usr/bin/env python3
"""Write a cube of I, Q, U and V from the images of all channels, plane by plane, and its manifest."""

from __future__ import annotations

from pathlib import Path

OUTPUTS = ("cube",)


def main(job: str, plan: str, work: str, **maps: str) -> dict[str, str]:  # noqa: ARG001 - of steps before
    """Write the cube that ``job`` names, ``<robust>_<native or smoothed>_...``, and return its name.

    Raises
    ------
    PipelineError
        If an image is missing without a recorded reason, all are missing, or the cube cannot be written.
    """
    from lofarpipe.programs.stokes_products import read_plan, write_cube_product

    robust, kind, _ = job.split("_", 2)
    return {"cube": str(write_cube_product(read_plan(plan), Path(work), float(robust), kind))}
