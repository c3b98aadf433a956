#!/usr/bin/env python3
"""Smooth a batch of channel images, or one image of the band, to the common beam."""

from __future__ import annotations


def main(job: str, plan: str, **maps: str) -> dict[str, str]:  # noqa: ARG001 - maps of steps that come before
    """Smooth the images of ``job``: ``<batch>_...``, or ``mfs_<robust>_...``.

    Raises
    ------
    PipelineError
        If an image cannot be read or written.
    """
    from lofarpipe.programs.stokes_products import read_plan, smooth_band, smooth_channels

    kind, _, rest = job.partition("_")
    if kind == "mfs":
        smooth_band(read_plan(plan), float(rest.split("_")[0]))
    else:
        smooth_channels(read_plan(plan), int(kind))
    return {}
