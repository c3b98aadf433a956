"""The restoring beam, a Gaussian fitted to the main lobe of the PSF, and restored images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lofarpipe.errors import PipelineError
from lofarpipe.support.dataclass import dataclass

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOBE = 0.3  # of the peak: lower limit of the fit; below it LOFAR's PSFs have a plateau
FEWEST_PIXELS = 9  # for a fit of three unknowns; a smaller lobe is fitted with its surroundings
LARGEST_HALF_BOX = 64  # pixels
MARGIN_BEAMS = 2.5  # around a convolved image: there the beam is 3e-8


@dataclass(frozen=True)
class RestoringBeam:
    """An elliptical Gaussian: full widths at half maximum; position angle of the major axis from north to east."""

    major_rad: float
    minor_rad: float
    angle_deg: float

    def curvature(self, cell_rad: float) -> tuple[float, float, float]:
        """Return a, b, c of exp(-(a x^2 + b x y + c y^2)), x and y in pixels, x towards the west."""
        angle = math.radians(self.angle_deg)
        major, minor = (4 * math.log(2) * (cell_rad / width) ** 2 for width in (self.major_rad, self.minor_rad))
        east, north = math.sin(angle), math.cos(angle)
        a = major * east**2 + minor * north**2
        c = major * north**2 + minor * east**2
        return a, -2 * (major - minor) * east * north, c


def fit_beam(psf: NDArray[np.floating], cell_rad: float) -> RestoringBeam:
    """Fit a Gaussian to the main lobe of a PSF with a peak of 1 at its centre ``shape // 2``.

    Unweighted least squares over the connected pixels above 0.3 of the peak. WSClean fits a box of ten
    theoretical beams; for a PSF with a plateau its beam is wider, by up to 1.3. Source: doc/imager.md.

    Raises
    ------
    PipelineError
        If the PSF has no main lobe: it is not finite, or has no maximum at its centre.
    """
    from scipy.optimize import least_squares

    values, inside, x, y = _main_lobe(psf)
    if not np.isfinite(values).all():
        raise PipelineError("the PSF is not finite: all visibilities are flagged or have no weight; look at the flags")
    x, y, values = x[inside], y[inside], values[inside]

    def misfit(shape: NDArray[np.float64]) -> NDArray[np.float64]:
        form = shape[0] * x * x + shape[1] * x * y + shape[2] * y * y
        difference: NDArray[np.float64] = np.exp(-np.clip(form, -50, 50)) - values
        return difference

    width = math.pi * -math.log(LOBE) / len(values)  # of a round lobe with the same number of pixels
    a, b, c = least_squares(misfit, [width, 0.0, width]).x
    curvatures, axes = np.linalg.eigh([[a, b / 2], [b / 2, c]])
    if curvatures[0] <= 0:
        raise PipelineError("the PSF has no main lobe to which a beam could be fitted; check pixel size and uv range")
    major, minor = 2 * np.sqrt(math.log(2) / curvatures) * cell_rad
    return RestoringBeam(float(major), float(minor), float(np.degrees(np.arctan2(-axes[0, 0], axes[1, 0])) % 180))


def _main_lobe(
    psf: NDArray[np.floating],
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Return the middle of a PSF, the mask of its main lobe, and x and y from the centre."""
    from scipy.ndimage import binary_dilation, label

    y0, x0 = psf.shape[0] // 2, psf.shape[1] // 2
    half = min(y0, x0, psf.shape[0] - 1 - y0, psf.shape[1] - 1 - x0, LARGEST_HALF_BOX)
    values = np.asarray(psf[y0 - half : y0 + half + 1, x0 - half : x0 + half + 1], np.float64)
    lobes, _ = label(values > LOBE)
    inside = lobes == lobes[half, half]
    if inside.sum() < FEWEST_PIXELS:
        inside = binary_dilation(inside, np.ones((3, 3), bool))
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float64)
    return values, inside, x, y


def restore(
    model: NDArray[np.float32], residual: NDArray[np.float32], beam: RestoringBeam, threads: int, cell_rad: float
) -> NDArray[np.float32]:
    """Return the residual with the model, Jy per pixel, convolved with the beam of peak 1."""
    return residual + convolve_model(model, beam, cell_rad, threads)


def convolve_model(
    model: NDArray[np.float32], beam: RestoringBeam, cell_rad: float, threads: int
) -> NDArray[np.float32]:
    """Return a model convolved with a beam of peak 1, padded against wrap-around."""
    from scipy import fft

    margin = math.ceil(MARGIN_BEAMS * beam.major_rad / cell_rad)
    height, width = (fft.next_fast_len(side + margin, real=True) for side in model.shape)
    spectrum = fft.rfft2(model.astype(np.float32, copy=False), (height, width), workers=threads)
    spectrum *= beam_spectrum(beam, cell_rad, (height, width))
    image: NDArray[np.float32] = fft.irfft2(spectrum, (height, width), workers=threads)
    return image[: model.shape[0], : model.shape[1]]


def beam_spectrum(beam: RestoringBeam, cell_rad: float, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return the Fourier transform of a Gaussian of peak 1 on the half plane of a real transform.

    With the curvature matrix K of exp(-x K x) it is pi / sqrt(det K) exp(-pi^2 k K^-1 k).
    """
    a, b, c = beam.curvature(cell_rad)
    determinant = a * c - b * b / 4
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    form = (c * kx * kx - b * kx * ky + a * ky * ky) / determinant
    spectrum: NDArray[np.float32] = (math.pi / math.sqrt(determinant) * np.exp(-(math.pi**2) * form)).astype(np.float32)
    return spectrum
