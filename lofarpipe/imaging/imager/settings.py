"""Settings of one imaging run, with the meaning of WSClean's options.

Angles are in radians, flux densities in Jy, uv distances in wavelengths, image lengths in pixels. A value of 0, "" or
() means none, or automatic if the comment says so.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from lofarpipe.support.dataclass import dataclass

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Weighting = Literal["natural", "uniform"] | tuple[Literal["briggs"], float]  # with its robustness
KINDS = ("image", "residual", "model", "dirty", "psf")

LARGEST_SCALE = 0.28  # times 1 / the shortest uv distance: a Gaussian with 0.76 of its flux there
LARGEST_SHARE = 4  # smallest image width in units of the largest scale
SMALLEST_RADIUS = 8  # pixels, of a PSF patch: the gridder needs 32 pixels
LARGEST_RADIUS = 256  # with scales: 25 patches of 5 channels are 130 MB
PAIR_REACH = 1.8  # largest scales: the response between two of them is 1 % there


@dataclass(frozen=True, eq=False, kw_only=True)
class ImagerSettings:
    """All parameters of one imaging run."""

    name: str  # path prefix of the images: the part before -MFS-image.fits
    sets: tuple[str, ...]
    column: str = ""  # of the visibilities; "": CORRECTED_DATA if every set has it, else DATA
    field_id: int = 0

    size: tuple[int, int]  # nx (right ascension), ny (declination)
    cell_rad: float
    channels_out: int = 1
    pol: tuple[str, ...] = ("I",)  # of I, Q, U, V
    join_pols: bool = False  # find peaks in sqrt(I^2 + Q^2 + U^2 + V^2)

    weighting: Weighting = "uniform"
    padding: float = 1.2  # the uv grid of the weights has cells of 1 / (padding x size x cell)
    rank_filter: float = 3.0  # limit of a cell's weight, times the mean of its surroundings; below 1: no limit
    rank_filter_size: int = 16  # cells per side of the surroundings
    min_uv_lambda: float = 0.0
    max_uv_lambda: float = 0.0  # 0: no limit
    taper_gaussian_rad: float = 0.0  # FWHM of the image-plane Gaussian of the taper
    taper_tukey_lambda: float = 0.0
    taper_inner_tukey_lambda: float = 0.0
    taper_edge_lambda: float = 0.0
    taper_edge_tukey_lambda: float = 0.0

    niter: int = 0  # components at most; 0: dirty images only
    gain: float = 0.1
    mgain: float = 1.0  # accepted, no effect: the accuracy of the PSF patches sets the depth of a major cycle
    majors: int = 8  # major cycles at most
    auto_mask: float = 0.0  # in sigma
    auto_threshold: float = 0.0  # in sigma
    threshold_jy: float = 0.0
    local_rms: bool = False  # thresholds follow the local noise
    local_rms_window: float = 25.0  # in beams
    fits_mask: str = ""
    multiscale: bool = False
    scales: tuple[float, ...] = ()  # FWHM of Gaussians, pixels, 0 for points; (): automatic
    fit_spectral_terms: int = 0  # polynomial terms; 0: independent channels
    station_beams_jy: float = 0.0  # apparent flux of sources predicted with each station's beam; 0: none
    beams: NDArray[np.float64] | None = None  # power beam (channel, y, x) on a coarse grid over the image; None: 1

    tiles: int = 5  # tiles x tiles PSF patches
    psf_radius: int = 128  # pixels, of a patch between points; more with larger scales
    depth: float = 0.005  # of the first major cycle, as a fraction of the brightest peak
    averaging_loss: float = 0.01  # permitted loss by averaging at the edge of the image; 0: no averaging
    average_channels: bool = False  # in frequency as well as in time

    threads: int = 1
    memory_bytes: int = 0  # 0: no limit
    scratch: str = ""  # directory of temporary files; "": beside the images

    products: tuple[str, ...] = KINDS
    channel_products: bool = True  # images of each output channel beside the MFS ones
    save_model_data: bool = False  # predict the model into MODEL_DATA of the sets
    component_list: bool = False

    @property
    def largest_scale(self) -> float:
        """Largest scale, pixels: of those given, else by the shortest uv distance and the image; 0: points only."""
        if not self.multiscale:
            return 0.0
        if self.scales:
            return max(self.scales)
        largest = min(self.size) / LARGEST_SHARE
        if self.min_uv_lambda > 0:
            largest = min(largest, LARGEST_SCALE / self.min_uv_lambda / self.cell_rad)
        return largest

    @property
    def patch_radius(self) -> int:
        """Radius of the PSF patches, pixels: as far as the largest scale's response reaches, within the image."""
        radius = max(self.psf_radius, min(math.ceil(PAIR_REACH * self.largest_scale), LARGEST_RADIUS))
        return max(SMALLEST_RADIUS, min(radius, max(self.size) // 2))
