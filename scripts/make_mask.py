#!/usr/bin/env python3
"""Write a mask of the pixels of an image above a multiple of its noise."""

from __future__ import annotations

from lofarpipe.imaging.scripts import as_number

OUTPUTS = ("mask",)


def main(products: str, root: str, mask: str, sigma: str = "8") -> dict[str, str]:
    """Write ``mask`` from the image of total intensity among ``products``, the files of a run named after ``root``.

    Raises
    ------
    PipelineError
        If there is no such image.
    """
    from pathlib import Path

    from lofarpipe.errors import PipelineError
    from lofarpipe.imaging.cubes.stokes_images import write_threshold_mask
    from lofarpipe.programs.wsclean.stokes import TOTAL, stokes_images
    from lofarpipe.support.utilities import files_of

    image = stokes_images(f"{root}{TOTAL}", files_of(products)).get("I")
    if image is None:
        raise PipelineError(f"{root}: there is no image of the whole band among the files of the step before")
    number = write_threshold_mask(image, Path(mask), as_number("sigma", sigma, 1))
    print(f"{mask}: {number} pixels above {sigma} times the noise")
    return {"mask": mask}
