"""Weights of a cube's planes from their noise, in the format of linear mosaicking."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.quality.statistics import MAD_TO_SIGMA
from lofarpipe.support.utilities import write_atomically

HEADING = "# Channel Weight"


def plane_weight(pixels: NDArray[Any]) -> float:
    """Return 1 / noise^2 of a plane, with noise = 1.4826 MAD of all non-blank pixels.

    NaN if every pixel is blank, or more than half have the same value. Memory holds one copy of the plane.

    Source: doc/spec/cubes.md, section 6.
    """
    values = pixels[np.isfinite(pixels)]
    if not values.size:
        return math.nan
    values -= np.asarray(_median(values), values.dtype)
    np.abs(values, out=values)
    sigma = MAD_TO_SIGMA * _median(values)
    return 1 / sigma**2 if sigma > 0 else math.nan


def _median(values: NDArray[Any]) -> float:
    """Return the median of values, reordering them in place."""
    middle = values.size // 2
    values.partition(middle)  # one element: partitioning by two takes three times as long
    above = float(values[middle])
    return above if values.size % 2 else (float(values[:middle].max()) + above) / 2


def write_weights(path: str | Path, weights: Iterable[float]) -> None:
    """Write a text file with a line per plane, numbered from 0; ``nan`` for a blank plane."""
    lines = [f"{number} {weight!r}" for number, weight in enumerate(map(float, weights))]
    write_atomically(Path(path), "\n".join([HEADING, *lines]) + "\n")
