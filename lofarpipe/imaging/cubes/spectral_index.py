"""Map of the spectral index of total intensity, from the model of a cleaning with spectral fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.cubes.beams import FWHM2_PER_VARIANCE
from lofarpipe.imaging.quality.statistics import robust_rms

LEAST_SIGMA = 5.0  # of total intensity, lower limit of the map


def write_spectral_index(image: Path, models: Sequence[Path], residuals: Sequence[Path], path: Path) -> None:
    """Write a FITS file of two planes: spectral index and its error, where total intensity exceeds 5 times the noise.

    S ~ frequency^index between the models of the lowest and highest output channel, which have the fitted
    spectrum; both are smoothed with the image's beam. The error follows from the noise of their residuals. NaN
    elsewhere.

    Raises
    ------
    PipelineError
        If there are fewer than two output channels.
    """
    if len(models) < 2:
        raise PipelineError(f"{path}: a spectral index needs two output channels, and there is {len(models)}")
    total, header = _read(image)
    sigmas = [header[key] * math.sqrt(1 / FWHM2_PER_VARIANCE) / abs(header["CDELT2"]) for key in ("BMAJ", "BMIN")]
    fluxes, frequencies_hz, noises = [], [], []
    for model, residual in ((models[0], residuals[0]), (models[-1], residuals[-1])):
        pixels, model_header = _read(model)
        fluxes.append(_smoothed(pixels, math.sqrt(sigmas[0] * sigmas[1])))
        frequencies_hz.append(float(model_header["CRVAL3"]))
        noises.append(robust_rms(_read(residual)[0]))
    span = math.log(frequencies_hz[1] / frequencies_hz[0])
    good = (total > LEAST_SIGMA * robust_rms(total)) & (fluxes[0] > 0) & (fluxes[1] > 0)
    index = np.full(total.shape, np.nan, np.float32)
    error = index.copy()
    index[good] = np.log(fluxes[1][good] / fluxes[0][good]) / span
    error[good] = np.hypot(noises[0] / fluxes[0][good], noises[1] / fluxes[1][good]) / abs(span)
    header["BUNIT"] = ""
    header["CTYPE4"], header["CRVAL4"], header["CDELT4"] = "PLANE", 1.0, 1.0
    header["COMMENT"] = "planes: spectral index of total intensity, and its error"
    fits.PrimaryHDU(np.stack([index, error])[:, None], header).writeto(path, overwrite=True, checksum=True)


def _read(path: Path) -> tuple[NDArray[np.float32], fits.Header]:
    with fits.open(path, memmap=False) as hdus:
        plane = np.asarray(hdus[0].data, np.float32)
        return plane.reshape(plane.shape[-2:]), hdus[0].header.copy()


def _smoothed(pixels: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Convolve a model, Jy/pixel, to Jy/beam of a round beam."""
    import scipy.ndimage

    return np.asarray(scipy.ndimage.gaussian_filter(pixels, sigma, mode="constant") * (2 * math.pi * sigma**2))
