"""Channel images as an imager writes them: Gaussian sources and noise, one frequency and one polarisation each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lofarpipe.imaging.cubes.beams import Beam
from made_images import write_image

CELL_ARCSEC = 2.5
CODES = {"I": 1.0, "Q": 2.0, "U": 3.0, "V": 4.0}


def gaussian(npixels: int, beam: Beam, x: float, y: float, peak: float = 1.0) -> np.ndarray:
    """A point source seen with a beam; x grows to the west."""
    rows, columns = np.mgrid[:npixels, :npixels]
    north, east = (rows - y) * CELL_ARCSEC, -(columns - x) * CELL_ARCSEC
    (north2, cross), (_, east2) = np.linalg.inv(beam.covariance)
    return peak * np.exp(-4 * np.log(2) * (north2 * north**2 + 2 * cross * north * east + east2 * east**2))


def write_channel(
    path: Path,
    beam: Beam | None,
    frequency_hz: float,
    stokes: str = "I",
    peak: float = 1.0,
    plane: np.ndarray | None = None,
    npixels: int = 32,
    **header: object,
) -> Path:
    """Write an image with one source in the middle and noise of 0.01."""
    if plane is None:
        rng = np.random.default_rng([round(frequency_hz / 1e4), round(CODES[stokes])])
        sky = gaussian(npixels, beam, npixels // 2, npixels // 2, peak) if beam else np.full((npixels, npixels), np.nan)
        plane = sky + rng.normal(0, 0.01, sky.shape)
    cards: dict[str, object] = dict(beam.cards if beam else {"BMAJ": 0.0, "BMIN": 0.0, "BPA": 0.0})
    cards |= {"CDELT1": -CELL_ARCSEC / 3600, "CDELT2": CELL_ARCSEC / 3600, "CSYER3": 0.0}
    cards |= {"CRVAL3": frequency_hz, "CDELT3": 1e6, "CRVAL4": CODES[stokes]}
    return write_image(path, plane, **cards | header)
