"""Images of one made source."""

from __future__ import annotations

import math

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from lofarpipe.imaging.quality.catalogue import FWHM_PER_SIGMA
from lofarpipe.imaging.quality.sky_image import SkyImage

CELL_DEG = 10 / 3600


BEAM_ARCSEC = (50.0, 35.0)


CENTRE_DEG = (218.0, 48.0)


NPIX = 128


def header(angle_deg=30.0):
    made = fits.Header()
    made.update(
        {"NAXIS": 2, "NAXIS1": NPIX, "NAXIS2": NPIX, "BUNIT": "JY/BEAM", "RADESYS": "FK5", "EQUINOX": 2000.0}
        | {"CTYPE1": "RA---SIN", "CRPIX1": NPIX / 2 + 1, "CRVAL1": CENTRE_DEG[0], "CDELT1": -CELL_DEG, "CUNIT1": "deg"}
        | {"CTYPE2": "DEC--SIN", "CRPIX2": NPIX / 2 + 1, "CRVAL2": CENTRE_DEG[1], "CDELT2": CELL_DEG, "CUNIT2": "deg"}
        | {"BMAJ": BEAM_ARCSEC[0] / 3600, "BMIN": BEAM_ARCSEC[1] / 3600, "BPA": angle_deg}
    )
    return made


def restored(flux_jy, ra_deg, dec_deg, widen=1.0, angle_deg=30.0):
    """An image of one Gaussian, the beam with both axes times ``widen``, of that integrated flux."""
    made = header(angle_deg)
    x0, y0 = WCS(made).wcs_world2pix(ra_deg, dec_deg, 0)
    y, x = np.indices((NPIX, NPIX))
    west, north = (x - x0) * 10, (y - y0) * 10  # arcsec; east is left
    angle = math.radians(angle_deg)
    along, across = -west * math.sin(angle) + north * math.cos(angle), west * math.cos(angle) + north * math.sin(angle)
    shape = sum((d * FWHM_PER_SIGMA / (w * widen)) ** 2 for d, w in zip((along, across), BEAM_ARCSEC, strict=True))
    return SkyImage("made.fits", made, (flux_jy / widen**2 * np.exp(-0.5 * shape)).astype(np.float32))
