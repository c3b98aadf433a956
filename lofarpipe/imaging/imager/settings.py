"""The settings of one imaging run: a frozen record, with the meaning that WSClean's options have.

Angles are radians, flux densities Jy, uv distances wavelengths, lengths in the image pixels. A value of 0, "" or ()
means: none, or automatic where the comment says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lofarpipe.support.dataclass import dataclass

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Weighting = Literal["natural", "uniform"] | tuple[Literal["briggs"], float]  # with its robustness
KINDS = ("image", "residual", "model", "dirty", "psf")


@dataclass(frozen=True, eq=False, kw_only=True)
class ImagerSettings:
    """Everything that decides the images of one run."""

    name: str  # of the images, with their directory: what stands before -MFS-image.fits
    sets: tuple[str, ...]
    column: str = ""  # of the visibilities; "": CORRECTED_DATA where every set has it, else DATA
    field_id: int = 0

    size: tuple[int, int]  # nx (right ascension), ny (declination)
    cell_rad: float
    channels_out: int = 1
    pol: tuple[str, ...] = ("I",)  # of I, Q, U, V
    join_pols: bool = False  # peaks of sqrt(I^2 + Q^2 + U^2 + V^2)

    weighting: Weighting = "uniform"
    padding: float = 1.2  # the uv grid of the weights has cells of 1 / (padding x size x cell)
    rank_filter: float = 3.0  # times the mean of its surroundings, that the weight of a cell may be; below 1: no limit
    rank_filter_size: int = 16  # cells, of the side of these surroundings
    min_uv_lambda: float = 0.0
    max_uv_lambda: float = 0.0  # 0: no limit
    taper_gaussian_rad: float = 0.0  # FWHM of the Gaussian that the taper convolves the image with
    taper_tukey_lambda: float = 0.0
    taper_inner_tukey_lambda: float = 0.0
    taper_edge_lambda: float = 0.0
    taper_edge_tukey_lambda: float = 0.0

    niter: int = 0  # components at most; 0: dirty images only
    gain: float = 0.1
    mgain: float = 1.0  # accepted; has no meaning here: a major cycle goes as deep as its PSF patches are right
    majors: int = 8  # major cycles at most
    auto_mask: float = 0.0  # in sigma
    auto_threshold: float = 0.0  # in sigma
    threshold_jy: float = 0.0
    local_rms: bool = False  # thresholds follow the noise of the surroundings
    local_rms_window: float = 25.0  # in beams
    fits_mask: str = ""
    multiscale: bool = False
    scales: tuple[float, ...] = ()  # FWHM of Gaussians, pixels, 0 for points; (): automatic
    fit_spectral_terms: int = 0  # of a polynomial; 0: channels are free
    beams: NDArray[np.float64] | None = None  # power beam (channel, y, x) on a coarse grid over the image; None: 1

    tiles: int = 5  # tiles x tiles PSF patches
    psf_radius: int = 128  # of a patch
    depth: float = 0.005  # of the first major cycle, as a part of the brightest peak
    averaging_loss: float = 0.01  # of a source at the edge of the image, by averaging in time; 0: no averaging

    threads: int = 1
    memory_bytes: int = 0  # 0: no limit
    scratch: str = ""  # directory of temporary files; "": beside the images

    products: tuple[str, ...] = KINDS
    channel_products: bool = True  # images of each output channel beside the MFS ones
    save_model_data: bool = False  # predict the model into MODEL_DATA of the sets
    component_list: bool = False
