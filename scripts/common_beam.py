#!/usr/bin/env python3
"""Find the smallest common beam of all channel images of an observation, in all polarisations."""

from __future__ import annotations

import argparse
import sys

from lofarpipe.imaging.scripts import as_number, exit_code

OUTPUTS = ("beam",)


def main(
    image_root: str, beam_file: str, images: str | list[str] = "", cutoff_arcsec: str | float = "none"
) -> dict[str, str]:
    """Write ``beam_file`` (JSON: the beam, and each image with its own); return its name as ``beam``.

    Parameters
    ----------
    image_root
        Root name of the images: the imager's name argument, with the folder.
    beam_file
        Where the beam is written.
    images
        Files of that root: a list or its text, of which only channel images count. Default: all existing files.
    cutoff_arcsec
        Images with a larger beam are ignored, and blank in the cubes; ``none`` for no cutoff.

    Raises
    ------
    PipelineError
        If there are no images, one is unreadable, or no beam remains.
    """
    from lofarpipe.imaging.cubes.channels import find_common_beam, write_common_beam
    from lofarpipe.programs.wsclean.outputs import channel_images

    cutoff = None if str(cutoff_arcsec).lower() in ("", "none") else as_number("cutoff_arcsec", cutoff_arcsec, 0)
    common = find_common_beam(channel_images(image_root, images), cutoff)
    write_common_beam(common, beam_file)
    used = sum(map(common.is_used, common.images))
    print(f"{image_root}: common beam {common.beam}, of {used} of {len(common.images)} images")
    return {"beam": beam_file}


def command_line(argv: list[str]) -> int:
    """Run from a shell; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image_root", help="root of the names of the images, with their folder")
    parser.add_argument("beam_file", help="JSON file to write")
    parser.add_argument("--cutoff-arcsec", default="none", help="leave out larger beams (%(default)s)")
    keywords = vars(parser.parse_args(argv))
    return exit_code(lambda: main(**keywords))


if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:]))
