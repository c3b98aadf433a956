#!/usr/bin/env python3
"""Measures an image against its observation: writes quality.json, and keywords and HISTORY into the FITS files."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from lofarpipe.errors import WARNING, PipelineError
from lofarpipe.imaging.ms.measurement_set import read_metadata
from lofarpipe.imaging.ms.names import AUTO
from lofarpipe.imaging.quality.numbers import (
    header_facts,
    image_weighting,
    imaged_data,
    missing_sets,
    quality,
    sets_in_image,
)
from lofarpipe.imaging.quality.plausibility import image_warnings
from lofarpipe.imaging.quality.sky_image import read_sky_image, write_facts
from lofarpipe.imaging.scripts import as_number, exit_code
from lofarpipe.programs.find import command_lines, find, version_lines
from lofarpipe.programs.imagers import imager_of
from lofarpipe.support.utilities import files_of, write_atomically

OUTPUTS = ("quality",)


def main(
    image: str,
    image_pb: str,
    ms_input: str,
    quality_file: str,
    commands_file: str = "",
    last_step: str = "",
    robust: str = "0",
    minuv_lambda: str = "0",
    maxuv_lambda: str = "inf",
    padding: str = "1.2",
    ms_recorded: str = "",
    data_column: str = "",
    field: str = "auto",
    niter: str = "",
) -> dict[str, str]:
    """Write ``quality_file`` and the headers of both images; returns its name as ``quality``.

    ``image`` has flat noise, ``image_pb`` is the same corrected for the primary beam, ``ms_input`` is one
    measurement set or a list text, ``commands_file`` holds the commands of the run, of which those up to
    ``last_step`` count. ``robust`` to ``padding`` are WSClean's options. ``ms_recorded`` are the sets before
    averaging; flagged fraction and integration time are those of the ones that ``ms_input`` was made of, of their
    ``data_column`` and ``field``.
    With ``niter`` 0 the image is dirty. Implausible numbers cause a warning.
    """
    commands = command_lines(commands_file, last_step) if commands_file else []
    flat, corrected = read_sky_image(image), read_sky_image(image_pb)
    weighting = image_weighting(
        flat,
        robust=as_number("robust", robust, -2, 2),
        padding=as_number("padding", padding, 1),
        min_lambda=as_number("minuv_lambda", minuv_lambda, 0),
        max_lambda=as_number("maxuv_lambda", maxuv_lambda, 0),
    )
    imaged, all_recorded = files_of(ms_input), files_of(ms_recorded)
    used = sets_in_image(all_recorded, imaged, field)
    data_used = imaged_data(used, data_column, field) if used else None
    facts = quality(flat, corrected, imaged_data(imaged), weighting, data_used)
    facts |= {"sets_left_out": missing_sets(all_recorded, used)} if all_recorded else {}
    versions = version_lines({name: _find_or_none(name) for name in (imager_of(Path(image)), "DP3")})
    for path in dict.fromkeys([image, image_pb]):
        write_facts(path, header_facts(facts), [*versions, *commands])
    write_atomically(Path(quality_file), json.dumps(facts | {"versions": versions}, indent=1, allow_nan=False) + "\n")
    columns = frozenset().union(*(read_metadata(path, field if used else AUTO).columns for path in used or imaged))
    for warning in image_warnings(facts, flat.phase_centre_deg, data_column, columns, is_cleaned=niter != "0"):
        print(f"{WARNING}{warning}")
    return {"quality": quality_file}


def _find_or_none(name: str) -> Path | None:
    """Return the path of a program; an image can be measured on a machine that could not make it."""
    try:
        return find(name)
    except PipelineError:
        return None


def command_line(argv: list[str]) -> int:
    """Run from a shell; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", help="flat-noise image")
    parser.add_argument("image_pb", help="image corrected for the primary beam; without one, the same file")
    parser.add_argument("quality_file", help="JSON file to write")
    parser.add_argument("ms_input", nargs="+", help="imaged measurement sets")
    parser.add_argument("--commands-file", default="")
    parser.add_argument("--ms-recorded", default="", help="the sets before averaging, as a list text [a,b]")
    for name, default in (("robust", "0"), ("minuv-lambda", "0"), ("maxuv-lambda", "inf"), ("padding", "1.2")):
        parser.add_argument(f"--{name}", default=default, help="as WSClean was given it; default %(default)s")
    keywords = vars(parser.parse_args(argv))
    return exit_code(lambda: print(main(**keywords | {"ms_input": str(keywords["ms_input"])})["quality"]))


if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:]))
