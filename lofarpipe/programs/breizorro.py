"""breizorro: masks of the sources in an image."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.ata.images import MASK_BOX, MASK_SIGMA, count_islands
from lofarpipe.programs.find import find, quiet_environment

NAME = "breizorro"
INSTALL = "pip install 'genericpipeline[masks]', or set masks = threshold"


class BreizorroError(PipelineError):
    """breizorro is not installed, or failed."""


def find_breizorro() -> Path:
    """Return its path.

    Raises
    ------
    BreizorroError
        If it is not installed.
    """
    try:
        return find(NAME)
    except PipelineError as err:
        raise BreizorroError(f"masks: {NAME} is not installed; {INSTALL}") from err


def write_breizorro_mask(image: str, mask: str) -> int:
    """Write a mask of the islands of an image above 6 times the noise in boxes of 50 pixels; return their number.

    Raises
    ------
    BreizorroError
        If it is not installed, or fails.
    """
    unfinished = f"{mask}.{os.getpid()}.fits"
    argv: list[str | Path] = [
        find_breizorro(),
        "-r",
        image,
        "-t",
        f"{MASK_SIGMA:g}",
        "-b",
        str(MASK_BOX),
        "-o",
        unfinished,
    ]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", env=quiet_environment(), check=False)
    if done.returncode or not Path(unfinished).is_file():
        reason = (done.stdout + done.stderr).strip().splitlines()[-1:] or ["it wrote nothing"]
        raise BreizorroError(f"{image}: {NAME} exited with {done.returncode}: {reason[0]}")
    Path(unfinished).replace(mask)
    return count_islands(mask)
