"""WSClean as the imager of a script that makes images in rounds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lofarpipe.imaging.ata.images import Cleaning, Grid, Imager, Images
from lofarpipe.jobs import Resources
from lofarpipe.programs.child import run_program

MOST_ITERATIONS = "1000000"
NAME = "wsclean"
IMAGE = "-image.fits"


def field_imager(
    sets: Sequence[str], windows: Sequence[int], robust: float, column: str = "DATA", with_sources: bool = False
) -> Imager:
    """Return an imager of sets, Stokes I with Briggs weights, that raises PipelineError where it fails.

    Parameters
    ----------
    windows: spectral windows to use; none: all.
    with_sources: whether it writes the clean components as a source list.
    """
    common = {"weight": f"briggs {robust:g}", "pol": "I", "data-column": column}
    common |= {"spws": ",".join(map(str, windows))} if windows else {}
    extra = ["-save-source-list"] if with_sources else []

    def image(root: str, grid: Grid, cleaning: Cleaning | None) -> Images:
        keywords = {**common, "name": root, "scale": f"{grid.cell_arcsec:g}asec", "size": f"{grid.side} {grid.side}"}
        # Sets of several windows cannot be read without being reordered.
        flags = [*extra, "-no-update-model-required", "-reorder", *sets]
        run_program(NAME, keywords | _cleaning(cleaning), flags, share_of_job(), Path.cwd())
        return Images(root + IMAGE, f"{root}-residual.fits", f"{root}-image-pb.fits")

    return image


def share_of_job() -> Resources:
    """Return the cores of this job, and as large a part of the memory."""
    cores = int(os.environ.get("OMP_NUM_THREADS") or 1)
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return Resources(cores, memory_gb * min(1.0, cores / (os.cpu_count() or 1)))


def _cleaning(cleaning: Cleaning | None) -> dict[str, str]:
    if cleaning is None:
        return {"niter": "0"}
    options = {"niter": MOST_ITERATIONS, "mgain": f"{cleaning.gain:g}"}
    options |= {"threshold": f"{cleaning.threshold_jy:.6g}"} if cleaning.threshold_jy else {}
    options |= {"auto-threshold": f"{cleaning.noise_sigma:g}"} if cleaning.noise_sigma else {}
    options |= {"auto-mask": f"{cleaning.mask_sigma:g}"} if cleaning.mask_sigma else {}
    return options | ({"fits-mask": cleaning.mask} if cleaning.mask else {})


def source_list(root: str) -> str:
    """Return the source list of a root name."""
    return f"{root}-sources.txt"


def root_of(image: str) -> str:
    """Return the root name of an image."""
    return image.removesuffix(IMAGE)
