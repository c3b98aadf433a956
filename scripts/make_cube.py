#!/usr/bin/env python3
"""Convolve the channel images of one array-feed beam to their common beam, into one cube per polarisation."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lofarpipe.imaging.scripts import as_boolean, as_number, exit_code

if TYPE_CHECKING:
    from lofarpipe.imaging.cubes.channel_cube import CubeFacts

# Cubes and weights, each a list, in the order of the polarisations.
OUTPUTS = ("cubes", "weights")


def main(
    image_root: str,
    beam_file: str,
    images: str | list[str] = "",
    output_dir: str = "",
    ms_input: str = "",
    angle_deg: str | float = "",
    residuals: str = "False",
    facts_dir: str = "",
) -> dict[str, str]:
    """Write a cube and its weights for each polarisation; return their names by ``OUTPUTS``.

    Parameters
    ----------
    image_root
        The root of the names of the images, ``<folder>/image.<field>.contcube.beam<NN>``.
    beam_file
        The common beam, as common_beam.py wrote it.
    images
        Files of that root: a list or its text, of which only channel images count. Default: all existing files.
    output_dir
        Output directory of cubes and weights; default: the images' directory.
    ms_input
        The measurement set, for the receptor angle in the cubes' headers.
    angle_deg
        The receptor angle, degrees; without either, the headers have none.
    residuals
        True: cubes of the residuals too.
    facts_dir
        Where the numbers of the report are written, as ``<name of image_root>.cubes.json``; nowhere by default.

    Raises
    ------
    PipelineError
        If the images do not belong together, or a cube cannot be written.
    """
    from lofarpipe.imaging.cubes.channel_cube import noise_warnings, write_channel_cube, write_cube_facts
    from lofarpipe.imaging.cubes.channels import read_common_beam
    from lofarpipe.imaging.cubes.names import RESIDUAL, RESTORED, read_root
    from lofarpipe.programs.wsclean.outputs import band_images, channel_images
    from lofarpipe.support.utilities import list_text

    name, directory = read_root(image_root), Path(output_dir or Path(image_root).parent)
    common, angle = read_common_beam(beam_file), _angle_deg(ms_input, angle_deg)
    directory.mkdir(parents=True, exist_ok=True)
    cubes = []
    for kind in (RESTORED, RESIDUAL) if as_boolean("residuals", residuals) else (RESTORED,):
        paths = channel_images(image_root, images, "residual" if kind == RESIDUAL else "image")
        for stokes, of_stokes in common.group_by_stokes(paths).items():
            cube, weights = (str(directory / one(stokes, kind)) for one in (name.cube, name.weights))
            cubes.append((kind, weights, write_channel_cube(of_stokes, common, cube, weights, angle)))
            _print_cube(cubes[-1][2], str(common.beam))
    for warning in noise_warnings(band_images(image_root, images)):
        print(f"WARNING: {warning}")
    if facts_dir:
        restored = [facts for kind, _, facts in cubes if kind == RESTORED]
        write_cube_facts(Path(facts_dir) / f"{name.root}.cubes.json", name.title, common, restored)
    paths, texts = [facts.path for *_, facts in cubes], [weights for _, weights, _ in cubes]
    return {"cubes": list_text(paths), "weights": list_text(texts)}


def _print_cube(facts: CubeFacts, beam: str) -> None:
    for warning in facts.warnings:
        print(f"WARNING: {warning}")
    blank = f", blank: {', '.join(map(str, facts.blank))}" if facts.blank else ""
    print(f"{facts.path}: {len(facts.weights)} planes at {beam}{blank}")


def _angle_deg(ms_input: str, angle_deg: str | float) -> float | None:
    """Return the receptor angle of the cubes, or None."""
    if str(angle_deg):
        return as_number("angle_deg", angle_deg)
    if not ms_input:
        return None
    from lofarpipe.imaging.ms.fix_ms import receptor_angle

    return receptor_angle(ms_input)


def command_line(argv: list[str]) -> int:
    """Run from a shell; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image_root", help="root of the names of the images, with their folder")
    parser.add_argument("beam_file", help="common beam, as common_beam.py wrote it")
    parser.add_argument("--output-dir", default="", help="where cubes and weights are written (beside the images)")
    parser.add_argument("--ms-input", default="", help="measurement set, for the receptor angle in the headers")
    parser.add_argument("--angle-deg", default="", help="that angle itself")
    parser.add_argument("--residuals", action="store_const", const="True", default="False", help="cubes of them too")
    keywords = vars(parser.parse_args(argv))
    return exit_code(lambda: main(**keywords))


if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:]))
