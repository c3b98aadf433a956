"""Sources of known flux, and images of them."""

from __future__ import annotations

import numpy as np
from astropy.io import fits

from lofarpipe.imaging.simulation.sky import Source, Truth
from lofarpipe.imaging.simulation.stations import ObservationSettings
from made_sources import header

SOURCES = (
    Source("far", 218.1, 48.1, 2.0, 0.0),
    Source("near", 218.0, 48.0, 1.0, -1.0),
    Source("outside", 220.0, 48.0, 1.0, 0.0),
)


TRUTH = Truth(ObservationSettings(), SOURCES, (), True, {})


FREQUENCY_HZ = 120e6


def write(path, pixels):
    made = header()
    made.update({"NAXIS": 3, "NAXIS3": 1, "CTYPE3": "FREQ", "CRPIX3": 1.0, "CRVAL3": FREQUENCY_HZ, "CDELT3": 1e6})
    fits.PrimaryHDU(pixels[None].astype(np.float32), made).writeto(path)
    return path
