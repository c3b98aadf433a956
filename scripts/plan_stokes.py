#!/usr/bin/env python3
"""Plan the full-Stokes images of a measurement set: channels, batches, joined channels; writes plan.json and maps."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from lofarpipe.errors import WARNING, CheckFailed, Finding, PipelineError
from lofarpipe.imaging.scripts import exit_code

# The keys of the result, each the name of a mapfile, but for plan: the decisions with their reasons (JSON).
OUTPUTS = (
    "plan",
    "robusts",
    "sets",
    "roots",
    "roots_i",
    "roots_quv",
    "weights",
    "sizes",
    "cells",
    "columns",
    "fields",
    "total_words",
    "polarised_words",
    "batches",
    "smooth",
    "smooth_mfs",
    "cubes",
)

# Plans only, so a dry run calls it too, with other output paths.
DRY_RUN_WRITES = ("mapfile_dir", "plan_file")


def main(
    vis: str, outdir: str, mapfile_dir: str, work_dir: str = "", plan_file: str = "", **options: str
) -> dict[str, str]:
    """Write the plan and the maps; return their names by the keys of ``OUTPUTS``.

    The plan is ``plan_file``, by default ``<outdir>/<base>/plan.json``; images of the band are going to be made below
    ``work_dir``. Other options are those of pipelines/meerkat.parset.

    Raises
    ------
    CheckFailed
        If options or the set are invalid; the message lists all problems.
    """
    from lofarpipe.imaging.ms.band import read_band
    from lofarpipe.imaging.plan.stokes_options import read_stokes_options
    from lofarpipe.imaging.plan.stokes_plan import plan_images, stokes_plan_as_dict
    from lofarpipe.programs.wsclean.stokes_maps import write_stokes_maps
    from lofarpipe.support.utilities import write_atomically

    settings, findings = read_stokes_options({"vis": vis, "outdir": outdir, **options})
    if settings is None or findings:
        raise CheckFailed([Finding(*line.split(": ", 1)) for line in findings])
    band = read_band(settings.vis, settings.data_column, settings.field)
    plan, findings = plan_images(settings, band)
    if plan is None:
        raise CheckFailed([Finding(*line.split(": ", 1)) for line in findings])
    path, content = Path(plan_file) if plan_file else plan.products / "plan.json", stokes_plan_as_dict(plan)
    for directory in (path.parent, Path(mapfile_dir)):
        directory.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(content, indent=1) + "\n")
    for warning in plan.warnings:
        print(f"{WARNING}{warning}")
    print("\n".join(content["summary"]))
    return {"plan": str(path), **write_stokes_maps(content, Path(mapfile_dir), Path(work_dir or mapfile_dir))}


def _command_line(arguments: list[str]) -> int:
    """Run from a command line; options are given as ``name=value``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vis", help="measurement set")
    parser.add_argument("outdir", help="where the products go")
    parser.add_argument("options", nargs="*", help="options as name=value")
    parser.add_argument("--mapfile-dir", default=".", help="directory of the mapfiles (%(default)s)")
    given = parser.parse_args(arguments)
    if wrong := [text for text in given.options if "=" not in text]:
        raise PipelineError(f"{wrong[0]}: an option is name=value")
    options = dict(text.split("=", 1) for text in given.options)
    return exit_code(lambda: main(given.vis, given.outdir, given.mapfile_dir, **options))


if __name__ == "__main__":
    sys.exit(_command_line(sys.argv[1:]))
