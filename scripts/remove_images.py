#!/usr/bin/env python3
"""Remove the channel images of a beam once its cubes are made; images of the whole band stay."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lofarpipe.imaging.scripts import exit_code

OUTPUTS = ("removed",)
KINDS = ("dirty", "image", "model", "psf", "residual")


def main(image_root: str, images: str | list[str], cubes: str = "") -> dict[str, str]:  # noqa: ARG001 - made before
    """Remove the files; return their number as ``removed``.

    Parameters
    ----------
    image_root
        The root of the names of the images.
    images
        The imager's files of that root: a list or its text.
    cubes
        Outputs required before the removal; not used.
    """
    from lofarpipe.programs.base import MFS
    from lofarpipe.programs.wsclean.outputs import read_products
    from lofarpipe.support.utilities import files_of

    paths = files_of(images) if isinstance(images, str) else images
    band = f"{image_root}-{MFS}-"
    several = any(path.startswith(band) for path in paths)
    products = [one for one in read_products(image_root, paths) if one.kind in KINDS]
    removed = [one.path for one in products if several and one.channel is not None]
    for path in removed:
        Path(path).unlink(missing_ok=True)
    print(f"{image_root}: {len(removed)} images removed")
    return {"removed": str(len(removed))}


def command_line(argv: list[str]) -> int:
    """Run from a shell; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image_root", help="root of the names of the images, with their folder")
    parser.add_argument("images", nargs="+", help="the images")
    keywords = vars(parser.parse_args(argv))
    return exit_code(lambda: main(**keywords))


if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:]))
