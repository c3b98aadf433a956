"""The names that the images of an imager have, those beside them that are made of them, and what a name says.

They are WSClean's; an imager that names its images otherwise is given these names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

FLAT, CORRECTED, RESIDUAL = "-image.fits", "-image-pb.fits", "-residual.fits"
BEAM, EFFECTIVE_FREQUENCY = "-primary-beam.fits", "-effective-frequency.fits"
#: Between the root of the names and these: the whole band, where there are several channels.
MFS = "MFS"
_OF_THE_BAND = re.compile(rf"-{MFS}(-I)?$")
# A channel or a time, or a polarisation beside I.
_OF_A_PART = re.compile(r"-t?\d{4}(-|$)|-(Q|U|V|[XY]{2}i?|[RL]{2}i?)$")
_OF_A_CHANNEL = re.compile(r"-\d{4}-[\w-]+\.fits$")
_FIRST = (f"-{MFS}{CORRECTED}", f"-{MFS}{FLAT}", CORRECTED, FLAT)


def wholeness(path: Path) -> int:
    """Return 2 for an image of the whole band, 0 for one of a part, 1 for another."""
    name = path.name.removesuffix(FLAT)
    return 2 if _OF_THE_BAND.search(name) else 0 if _OF_A_PART.search(name) else 1


def rank(path: str) -> int:
    """Return the place of a product among others: images come first, those of a channel last."""
    if _OF_A_CHANNEL.search(path):
        return len(_FIRST) + 1
    return next((place for place, ending in enumerate(_FIRST) if path.endswith(ending)), len(_FIRST))


def cleaned(paths: Iterable[Path]) -> Path | None:
    """Return the image in which the imager has written how it cleaned: a residual, else an image."""
    paths = list(paths)
    return next((path for ending in (RESIDUAL, FLAT) for path in paths if path.name.endswith(ending)), None)
