"""Sources in an image: source lists by PyBDSF, and Gaussian fits at given positions.

The list has the text format of makesourcedb, DP3 and WSClean.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.quality.sky_image import INDEX_KEY, SkyImage
from lofarpipe.imaging.quality.statistics import ISLAND_SIGMA, PEAK_SIGMA
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import unfinished_directory

# Header of an empty source list, which PyBDSF does not write.
EMPTY_LIST = (
    "FORMAT = Name, Type, Patch, Ra, Dec, I, Q, U, V, MajorAxis, MinorAxis, Orientation, "
    "ReferenceFrequency='{frequency_hz:.6g}', SpectralIndex='[]'\n"
)


class CatalogueError(PipelineError):
    """A source list cannot be created."""


@dataclass(frozen=True)
class FindingOptions:
    """Options of source finding: thresholds in units of the local rms, boxes as (size, step) in pixels.

    Source of the defaults: doc/spec/imaging.md, section 6.1.
    """

    threshold_island: float = ISLAND_SIGMA
    threshold_peak: float = PEAK_SIGMA
    rms_box: tuple[int, int] | None = (60, 20)  # None: PyBDSF chooses it
    rms_box_bright: tuple[int, int] = (35, 7)
    adaptive_rms_box: bool = True
    adaptive_threshold: float = 150.0

    def keywords(self) -> dict[str, Any]:
        """Return the options under PyBDSF's names, with fixed ones added."""
        return {
            "thresh": "hard",
            "thresh_isl": self.threshold_island,
            "thresh_pix": self.threshold_peak,
            "rms_box": self.rms_box,
            "rms_box_bright": self.rms_box_bright,
            "adaptive_rms_box": self.adaptive_rms_box,
            "adaptive_thresh": self.adaptive_threshold,
            "mean_map": "zero",
            "rms_map": True,
            "atrous_do": False,
        }


def pybdsf() -> ModuleType:
    """Import PyBDSF.

    Raises
    ------
    CatalogueError
        If it is not installed.
    """
    try:
        import bdsf
    except ImportError as err:
        raise CatalogueError(
            f"PyBDSF, which makes the source list, cannot be imported ({err}); "
            "pip install 'genericpipeline[catalogue]', or set make_source_list = False"
        ) from err
    return bdsf  # type: ignore[no-any-return]


def write_source_list(
    image_pb: str | Path,
    image_flat: str | Path,
    outfile: str | Path,
    options: FindingOptions | None = None,
    cores: int = 1,
) -> int:
    """Write the source list of an image, one patch of Gaussians per source, and return their number.

    Sources are detected in ``image_flat``, with uniform noise, and measured in ``image_pb``, with true fluxes. The list
    appears only when complete.

    Raises
    ------
    CatalogueError
        If PyBDSF is not installed, or fails.
    """
    target = Path(outfile).absolute()
    with unfinished_directory(target) as folder:
        image = _find_sources(folder, image_pb, image_flat, options or FindingOptions(), cores)
        unfinished = folder / "sources"
        if image.ngaus == 0:
            unfinished.write_text(EMPTY_LIST.format(frequency_hz=image.frequency))
        elif not image.write_catalog(
            outfile=str(unfinished), format="bbs", bbs_patches="source", srcroot="source", clobber=True
        ):
            raise CatalogueError(f"{outfile}: PyBDSF could not write the source list; is the disk full?")
        _name_spectral_index(unfinished, Path(image_pb))
        unfinished.replace(target)
    return int(image.nsrc) if image.ngaus else 0


def _name_spectral_index(source_list: Path, image: Path) -> None:
    """Write the assumed spectral index into a list, so that fluxes hold at the effective frequency, too."""
    from astropy.io import fits

    index = fits.getheader(image).get(INDEX_KEY)
    if isinstance(index, float):
        text = source_list.read_text()
        source_list.write_text(text.replace("SpectralIndex='[]'", f"SpectralIndex='[{index:g}]'", 1))


def _find_sources(
    folder: Path, image_pb: str | Path, image_flat: str | Path, options: FindingOptions, cores: int
) -> Any:
    """Run PyBDSF in a directory on links to the images, as it writes logs beside them; return its image object."""
    links = {name: folder / f"{name}.fits" for name in ("true_sky", "flat_noise")}
    links["true_sky"].symlink_to(Path(image_pb).resolve())
    links["flat_noise"].symlink_to(Path(image_flat).resolve())
    keywords = options.keywords() | {"ncores": cores, "quiet": True}
    try:
        return pybdsf().process_image(
            str(links["true_sky"]), detection_image=str(links["flat_noise"]), outdir=str(folder), **keywords
        )
    except (RuntimeError, ValueError, IndexError, OSError) as err:
        raise CatalogueError(f"{image_pb}: PyBDSF failed: {err}; are rms_box and the thresholds right for it?") from err


def measured_sources(
    image_pb: str | Path, image_flat: str | Path, options: FindingOptions | None = None, cores: int = 1
) -> list[SourceFit]:
    """Return the sources of an image, detected in ``image_flat`` and measured in ``image_pb``.

    Raises
    ------
    CatalogueError
        If PyBDSF is not installed, or fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        image = _find_sources(Path(folder), image_pb, image_flat, options or FindingOptions(), cores)
        return [_as_source(one) for one in image.sources] if image.ngaus else []


def _as_source(source: Any) -> SourceFit:
    (ra_deg, dec_deg), (ra_error_deg, dec_error_deg) = source.posn_sky_centroid, source.posn_sky_centroidE
    major_deg, minor_deg, angle_deg = source.size_sky
    return SourceFit(
        flux_jy=float(source.total_flux),
        flux_error_jy=float(source.total_fluxE),
        peak_jy=float(source.peak_flux_max),
        right_ascension_deg=float(ra_deg) % 360,
        declination_deg=float(dec_deg),
        position_error_arcsec=3600 * max(float(ra_error_deg), float(dec_error_deg)),
        major_arcsec=3600 * float(major_deg),
        minor_arcsec=3600 * float(minor_deg),
        angle_deg=float(angle_deg),
    )


Floats = NDArray[np.float64]
FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
FIT_RADIUS_BEAMS = 1.0


"""Radius of the fit in beam widths, where the Gaussian is above 6 % of its peak.

Among 0.6 to 1.5, this value gives the least biased fluxes of cleaned point sources (-0.3 to +0.9 %) at small scatter.
"""


FEWEST_PIXELS_ACROSS = 3  # minimum pixels of the cutout: six parameters are fitted
SEARCH_RADIUS_BEAMS = 0.75
MAX_GROWTH = 10.0  # maximum ratio of fitted and beam width


class SourceNotFitted(ValueError):  # noqa: N818 - it names what happened
    """No Gaussian fits at this place."""


@dataclass(frozen=True)
class SourceFit:
    """A fitted Gaussian. Errors are 1 sigma for the given noise; widths are FWHM, arcsec.

    The position error is along the major axis.

    ``angle_deg`` is the position angle of the major axis, north through east.
    """

    flux_jy: float  # integrated
    flux_error_jy: float
    peak_jy: float  # per beam
    right_ascension_deg: float
    declination_deg: float
    position_error_arcsec: float
    major_arcsec: float
    minor_arcsec: float
    angle_deg: float


@dataclass(frozen=True, eq=False)
class Cutout:
    """Finite pixels near a position: values, and x and y offsets in pixels; one array each."""

    values: Floats
    x: Floats
    y: Floats
    origin: tuple[float, float]  # pixel position, from 0

    @property
    def place(self) -> str:
        """The pixel position, for messages."""
        return f"{self.origin[0]:.0f}, {self.origin[1]:.0f}"


def fit_source(image: SkyImage, right_ascension_deg: float, declination_deg: float, noise_jy: float) -> SourceFit:
    """Fit a Gaussian near a position (J2000, degrees).

    Six parameters are fitted: peak, position, two widths and an angle; no background, as an interferometer has none.
    ``noise_jy`` is the noise per beam, for the errors.

    Raises
    ------
    SourceNotFitted
        If there is no restoring beam, the position is outside the image or blank, or no plausible Gaussian is found.

    Source: errors, Condon 1997, PASP 109, 166, for a point source in noise correlated over the beam.
    """
    if not image.has_beam:
        raise SourceNotFitted(f"{image.path}: has no restoring beam, in which fluxes are measured")
    cutout = _cut_out(image, right_ascension_deg, declination_deg)
    start = _first_guess(image, cutout)
    try:
        fitted = scipy.optimize.least_squares(lambda p: gaussian(p, cutout.x, cutout.y) - cutout.values, start)
    except ValueError as err:
        raise SourceNotFitted(f"{image.path}: {err}") from err
    return _as_fit(image, cutout, fitted.x, noise_jy)


def gaussian(parameters: Floats, x: Floats, y: Floats) -> Floats:
    """Return an elliptical Gaussian: peak, x0, y0, and the inverse covariance xx, xy, yy (per pixel^2)."""
    peak, x0, y0, xx, xy, yy = parameters
    dx, dy = x - x0, y - y0
    return np.asarray(peak * np.exp(-0.5 * (xx * dx**2 + 2 * xy * dx * dy + yy * dy**2)))


def beam_matrix(image: SkyImage) -> Floats:
    """Return the inverse covariance (2, 2) of the restoring beam in pixels^-2, x to the right (west), y up (north)."""
    angle = math.radians(image.beam_angle_deg)
    along = np.array([-math.sin(angle), math.cos(angle)])  # north through east, which is left
    across = np.array([along[1], -along[0]])
    major, minor = (
        width / FWHM_PER_SIGMA / image.cell_arcsec for width in (image.beam_major_arcsec, image.beam_minor_arcsec)
    )
    return np.asarray(np.outer(along, along) / major**2 + np.outer(across, across) / minor**2)


def _cut_out(image: SkyImage, right_ascension_deg: float, declination_deg: float) -> Cutout:
    """Return the pixels around a position."""
    x0, y0 = (float(value) for value in image.celestial.wcs_world2pix(right_ascension_deg, declination_deg, 0))
    radius = FIT_RADIUS_BEAMS * image.beam_major_arcsec / image.cell_arcsec
    height, width = image.plane.shape
    if not (radius <= x0 <= width - 1 - radius and radius <= y0 <= height - 1 - radius):
        raise SourceNotFitted(f"{image.path}: pixel {x0:.0f}, {y0:.0f} is outside the image, or too near to its edge")
    if 2 * radius < FEWEST_PIXELS_ACROSS:
        raise SourceNotFitted(f"{image.path}: its beam is {radius:.2g} pixels wide, too few to fit a source to")
    columns = np.arange(math.ceil(x0 - radius), math.floor(x0 + radius) + 1)
    rows = np.arange(math.ceil(y0 - radius), math.floor(y0 + radius) + 1)
    dx, dy = np.meshgrid(columns - x0, rows - y0)
    values = image.plane[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(float)
    inside = (np.hypot(dx, dy) <= radius) & np.isfinite(values)
    if inside.sum() < np.size(dx) / 2:
        raise SourceNotFitted(f"{image.path}: pixels around {x0:.0f}, {y0:.0f} are blank")
    return Cutout(values[inside], dx[inside], dy[inside], (x0, y0))


def _first_guess(image: SkyImage, cutout: Cutout) -> Floats:
    """Return start parameters: the beam at the highest pixel near the position."""
    near = np.hypot(cutout.x, cutout.y) <= max(1.0, SEARCH_RADIUS_BEAMS * image.beam_major_arcsec / image.cell_arcsec)
    highest = np.flatnonzero(near)[np.argmax(cutout.values[near])]
    if not cutout.values[highest] > 0:
        raise SourceNotFitted(f"{image.path}: nothing positive around pixel {cutout.place}")
    matrix = beam_matrix(image)
    shape = (matrix[0, 0], matrix[0, 1], matrix[1, 1])
    return np.array([cutout.values[highest], cutout.x[highest], cutout.y[highest], *shape])


def _as_fit(image: SkyImage, cutout: Cutout, parameters: Floats, noise_jy: float) -> SourceFit:
    """Return fitted parameters as flux, position and widths.

    Raises
    ------
    SourceNotFitted
        If size or position are implausible for the source.
    """
    peak, dx, dy, xx, xy, yy = parameters
    inverse_variances, axes = np.linalg.eigh(np.array([[xx, xy], [xy, yy]]))
    beam_variances = np.linalg.eigvalsh(beam_matrix(image))
    grown = inverse_variances / beam_variances
    outside = math.hypot(dx, dy) > np.hypot(cutout.x, cutout.y).max()
    if outside or peak <= 0 or grown.min() < MAX_GROWTH**-2 or grown.max() > MAX_GROWTH**2:
        raise SourceNotFitted(f"{image.path}: no source is near pixel {cutout.place}")
    major_arcsec, minor_arcsec = (image.cell_arcsec * FWHM_PER_SIGMA / math.sqrt(value) for value in inverse_variances)
    area_pixels = 2 * math.pi / math.sqrt(math.prod(inverse_variances))
    x, y = cutout.origin[0] + dx, cutout.origin[1] + dy
    ra, dec = image.celestial.wcs_pix2world(x, y, 0)
    return SourceFit(
        flux_jy=float(peak * area_pixels / image.beam_area_pixels),
        flux_error_jy=noise_jy * math.sqrt(3),
        peak_jy=float(peak),
        right_ascension_deg=float(ra) % 360,
        declination_deg=float(dec),
        position_error_arcsec=noise_jy / float(peak) * major_arcsec / FWHM_PER_SIGMA,
        major_arcsec=major_arcsec,
        minor_arcsec=minor_arcsec,
        angle_deg=math.degrees(math.atan2(-axes[0, 0], axes[1, 0])) % 180,
    )
