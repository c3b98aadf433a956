"""Spectral fits of components: a polynomial times the beam, fitted to the output channels' apparent fluxes.

With A the powers of f / f0 - 1, B the channels' power beam at a position, and W their weights, the apparent fluxes
r become F r, F = B A (A' B W B A)^-1 A' B W: the polynomial describes the true spectrum, not the apparent one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STIFFNESS = 1e-12  # of the trace, added to the diagonal: regularises positions where the beam is 0


def spectral_fits(frequencies_hz: Floats, weights: Floats, terms: int, beams: Floats | None) -> NDArray[np.float32]:
    """Return F (row, column, chan, chan) for each cell of a coarse grid over the image.

    ``weights`` (chan,); ``beams`` (chan, row, column), power beams; None: 1 everywhere. Without ``terms``, or with as
    many as channels, F is the identity.
    """
    channels = len(frequencies_hz)
    if not 0 < terms < channels:
        return np.eye(channels, dtype=np.float32)[None, None]
    powers = np.vander(frequencies_hz / frequencies_hz.mean() - 1, terms, increasing=True)
    beam = np.ones((1, 1, channels)) if beams is None else np.moveaxis(beams, 0, 2)
    basis = beam[..., None] * powers  # (row, column, chan, term)
    normal = np.einsum("yxct,c,yxcu->yxtu", basis, weights, basis)
    trace = np.trace(normal, axis1=2, axis2=3)
    normal += STIFFNESS * trace[..., None, None] * np.eye(terms)
    return np.asarray(basis @ np.linalg.solve(normal, np.swapaxes(basis, 2, 3) * weights), np.float32)
