"""Closure phases: sums of phases around antenna triangles, in which antenna gains cancel."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray


def closure_phases_deg(
    visibilities: NDArray[np.complex128], first: NDArray[np.int64], second: NDArray[np.int64], antennas: int
) -> NDArray[np.float64]:
    """Return the closure phases of all triangles (triangle, pol), degrees, NaN if a side has no data.

    A point source at the phase centre has 0 for any gains.

    Parameters
    ----------
    visibilities: (row, chan, pol), NaN where flagged; rows of a baseline are averaged.
    first, second: antennas of the rows, first < second.

    Source: Jennison 1958, MNRAS 118, 276.
    """
    _, channels, pols = visibilities.shape
    totals = np.zeros((antennas, antennas, channels, pols), complex)
    counts = np.zeros(totals.shape)
    good = np.isfinite(visibilities)
    np.add.at(totals, (first, second), np.where(good, visibilities, 0))
    np.add.at(counts, (first, second), good)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(counts > 0, totals / np.abs(totals), np.nan)
    phases = []
    for a, b, c in itertools.combinations(range(antennas), 3):
        product = means[a, b] * means[b, c] * np.conj(means[a, c])  # (chan, pol)
        is_finite = np.isfinite(product)
        phases.append(np.where(is_finite.any(axis=0), np.angle(np.where(is_finite, product, 0).sum(axis=0)), np.nan))
    return np.asarray(np.degrees(np.array(phases).reshape(-1, pols)))
