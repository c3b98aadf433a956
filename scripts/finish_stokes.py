#!/usr/bin/env python3
"""Write the numbers of all images and the clean-up record; remove channel images unless they are to be kept."""

from __future__ import annotations

import json
from pathlib import Path

from lofarpipe.errors import WARNING, PipelineError
from lofarpipe.imaging.scripts import as_boolean

OUTPUTS = ("quality", "cleanup")


def main(
    plan: str,
    work: str,
    run: str,
    keep_channel_images: str = "True",
    **maps: str,  # noqa: ARG001 - of steps that come before
) -> dict[str, str]:
    """Write plan.json, quality.json, cleanup.json and a link to the report beside the products.

    Returns the names of quality.json and cleanup.json. The report shows each cube by ``robust_<R>.cubes.json`` in
    ``run``, the job directory.

    Raises
    ------
    PipelineError
        If a cube is missing.
    """
    from lofarpipe.programs.stokes_products import (
        cube_views,
        missing_bands,
        missing_cubes,
        read_plan,
        remove_channel_images,
        stokes_quality,
    )
    from lofarpipe.state.cleanup import join_records
    from lofarpipe.support.utilities import write_atomically

    content = read_plan(plan)
    products = Path(content["products"])
    if missing := missing_cubes(content):
        raise PipelineError(f"{missing[0]}: is not there ({len(missing)} cubes are missing); run its step again")
    for line in missing_bands(content):
        print(f"{WARNING}{line}")
    texts = {"quality": stokes_quality(content), "cleanup": join_records(Path(work) / "cleanup", verified=True)}
    write_atomically(products / "plan.json", json.dumps(content, indent=1) + "\n")
    for name, facts in texts.items():
        write_atomically(products / f"{name}.json", json.dumps(facts, indent=1) + "\n")
    for robust, view in cube_views(content):
        write_atomically(Path(run) / f"robust_{robust}.cubes.json", json.dumps(view) + "\n")
    for robust, cube in texts["quality"]["cubes"].items():
        for index, reason in cube["blank"].items():
            if reason == "failed":
                print(f"{WARNING}channel {index} at robust {robust} failed and is blank; see the log of its batch")
    if not as_boolean("keep_channel_images", keep_channel_images):
        print(f"{remove_channel_images(content)} channel images were removed; the cubes hold their planes")
    link = products / "report.html"
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(Path(run) / "report.html")
    return {name: str(products / f"{name}.json") for name in texts}
