#!/usr/bin/env python3
"""Decide how a field is imaged, from the measurement sets themselves: sizes, averaging, output channels."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

# The keys of the result, each the name of a mapfile, but for plan: the decisions with their reasons (JSON).
OUTPUTS = (
    "groupmap",
    "single_mapfile",
    "high_size_mapfile",
    "low_size_mapfile",
    "high_padsize_mapfile",
    "low_padsize_mapfile",
    "deep_high_size_mapfile",
    "deep_low_size_mapfile",
    "deep_high_padsize_mapfile",
    "deep_low_padsize_mapfile",
    "nbands",
    "nchansout_clean1",
    "freqstep",
    "timestep",
    "nwavelengths_high_mapfile",
    "nwavelengths_low_mapfile",
    "timegroups",
    "weightbits",
    "copied_mapfile",
    "copies_mapfile",
    "plan",
)
# Plans only, so a dry run calls it too, with other output paths.
DRY_RUN_WRITES = ("mapfile_dir", "plan_file")


def main(
    ms_input: str | list[str],
    outmapname: str,
    mapfile_dir: str,
    plan_file: str = "",
    copies_dir: str = "",
    imager: str = "",
    **options: object,
) -> dict[str, str]:
    """Write every mapfile and the plan; return their names by the keys of ``OUTPUTS``.

    Parameters
    ----------
    ms_input
        Measurement sets: a list, its text, or the name of a mapfile.
    outmapname
        Stem of the names of all mapfiles.
    mapfile_dir
        Where they are written.
    plan_file
        Where the plan is written; ``plan.json`` in ``mapfile_dir`` by default.
    copies_dir
        Where copies of sets are planned that DP3 cannot read as they are, or would average wrongly; ``copies`` in
        ``mapfile_dir`` by default. They are made by copy_set.py.
    imager
        The imager: auto, own or wsclean; the plan has the choice on this machine.
    options
        Options of the imaging plan, as numbers or text: see `lofarpipe.imaging.plan.options.PlanOptions`.

    Raises
    ------
    PipelineError
        If an option or a set is invalid; the message names it, and the remedy.
    """
    from lofarpipe.imaging.ms.names import named_sets
    from lofarpipe.imaging.plan.options import parse_options
    from lofarpipe.imaging.plan.plan import plan_field
    from lofarpipe.imaging.plan.report import Quantity, write_json, write_maps
    from lofarpipe.programs.imagers import choose_imager

    plan = plan_field(named_sets(ms_input), parse_options(options), copies_dir or f"{mapfile_dir}/copies")
    path = Path(plan_file) if plan_file else Path(mapfile_dir) / "plan.json"
    for directory in (Path(mapfile_dir), path.parent):
        directory.mkdir(parents=True, exist_ok=True)
    chosen = choose_imager(imager) if imager else None
    made_by = [Quantity("imager", chosen.text, "", f"option imager = {imager}", chosen.reason)] if chosen else []
    write_json(plan, path, made_by)
    for warning in plan.warnings:
        print(f"WARNING: {warning}")
    return {**write_maps(plan, Path(mapfile_dir) / outmapname), "plan": str(path)}


def _print_plan(result: Mapping[str, str]) -> None:
    """Show the decisions, and where they were written."""
    plan = json.loads(Path(result["plan"]).read_text())
    print("\n".join(plan["summary"]))
    print(f"Reasons and all numbers: {result['plan']}")


def _command_line(arguments: list[str]) -> int:
    """Run from a command line; options are given as ``name=value``."""
    from lofarpipe.imaging.scripts import exit_code
    from lofarpipe.support.utilities import exists

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", help="measurement sets, or one mapfile; then options as name=value")
    parser.add_argument("--outmapname", default="do_magic.datamap", help="stem of the mapfiles (%(default)s)")
    parser.add_argument("--mapfile-dir", default=".", help="directory of the mapfiles (%(default)s)")
    given = parser.parse_intermixed_args(arguments)
    options = dict(text.split("=", 1) for text in given.sets if "=" in text and not exists(text))
    sets = [text for text in given.sets if "=" not in text or exists(text)]
    ms_input = sets if len(sets) > 1 else sets[0]
    return exit_code(lambda: _print_plan(main(ms_input, given.outmapname, given.mapfile_dir, **options)))


if __name__ == "__main__":
    sys.exit(_command_line(sys.argv[1:]))
