"""Stokes parameters as sums of correlations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.imager.errors import ImagerError
from lofarpipe.imaging.ms.measurement_set import CORRELATION_NAMES

# Factors of the correlations in a Stokes parameter. Source: casacore, class StokesConverter: XX = I + Q, XY = U + iV,
# YX = U - iV, YY = I - Q; RR = I + V, RL = Q + iU, LR = Q - iU, LL = I - V.
SUMS: dict[str, tuple[dict[str, complex], ...]] = {
    "I": ({"I": 1}, {"XX": 0.5, "YY": 0.5}, {"RR": 0.5, "LL": 0.5}),
    "Q": ({"Q": 1}, {"XX": 0.5, "YY": -0.5}, {"RL": 0.5, "LR": 0.5}),
    "U": ({"U": 1}, {"XY": 0.5, "YX": 0.5}, {"RL": -0.5j, "LR": 0.5j}),
    "V": ({"V": 1}, {"XY": -0.5j, "YX": 0.5j}, {"RR": 0.5, "LL": -0.5}),
}


def coefficients(path: str, correlation_types: Sequence[int], pol: Sequence[str]) -> NDArray[np.complex64]:
    """Return the factors (pol, corr) of a set's correlations in the Stokes parameters.

    Raises
    ------
    ImagerError
        If the set lacks the correlations of a Stokes parameter.
    """
    names = [CORRELATION_NAMES.get(int(code), str(code)) for code in correlation_types]
    return np.array([_row(path, names, one) for one in pol], np.complex64)


def _row(path: str, names: Sequence[str], stokes: str) -> list[complex]:
    for terms in SUMS[stokes]:
        if set(terms) <= set(names):
            return [complex(terms.get(name, 0)) for name in names]
    raise ImagerError(
        f"{path}: Stokes {stokes} cannot be made of its correlations {', '.join(names)}; "
        "leave it out of pol, or take a set with all correlations"
    )
