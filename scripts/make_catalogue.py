#!/usr/bin/env python3
"""Make catalogues of the sources in images: CSV, FITS table and DS9 regions."""

from __future__ import annotations

import sys

OUTPUTS = ("catalogues",)


def main(images: str, finder: str = "pybdsf") -> dict[str, str]:
    """Write a catalogue of each image beside it, and return their list; right ascensions are from 0 to 360 degrees.

    Parameters
    ----------
    finder: pybdsf, or islands above the local noise, measured with the shape of the beam.

    Raises
    ------
    PipelineError
        If PyBDSF is not installed, or fails.
    """
    from lofarpipe.imaging.ata.catalogue import FINDERS, write_catalogue
    from lofarpipe.programs.wsclean.imager import root_of
    from lofarpipe.support.utilities import files_of

    written = []
    for image in files_of(images):
        sources = FINDERS[finder](image)
        written.append(write_catalogue(root_of(image).removesuffix("_clean"), sources))
        print(f"{image}: {len(sources)} sources")
    return {"catalogues": f"[{','.join(written)}]"}


if __name__ == "__main__":
    from lofarpipe.imaging.scripts import exit_code

    sys.exit(exit_code(lambda: main(*sys.argv[1:])))
