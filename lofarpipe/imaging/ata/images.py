"""Images of a session's fields: cell size, cleaning rounds, masks, and calibrator fluxes."""

from __future__ import annotations

import glob
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import casacore.tables
import numpy as np
import scipy.ndimage
import scipy.optimize
from astropy.io import fits
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.ata.averaged import SetFacts
from lofarpipe.imaging.ata.calibrators import session_facts
from lofarpipe.imaging.ata.session import Session
from lofarpipe.imaging.plan.fft_size import smooth_even_size
from lofarpipe.imaging.quality.sky_image import SkyImage, read_sky_image
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import write_atomically

Plane = NDArray[np.float32]

LIGHT_M_S = 299792458.0
DISH_M = 6.1  # Source: DISH_DIAMETER of the telescope's files
NULL_FACTOR, HPBW_FACTOR = 1.22, 1.2  # lambda / D: first null, half power. Source: doc/spec/calibration.md, section 4
CELLS_PER_BEAM, ORIGINAL_CELLS = 5, 8
LARGEST_SIZE, SMALLEST_SIZE = 2048, 256
CLEAN_SIGMA = 5.0
FEWEST_ROUNDS, MOST_ROUNDS, LEAST_GAIN = 2, 6, 0.05
FEWEST_MASKS, MOST_MASKS = 2, 4
MASK_SIGMA, MASK_BOX = 6.0, 50
MAD_TO_SIGMA = 1.4826
CAREFUL_SIGMA, CAREFUL_GAIN = 3.0, 0.4  # of the repeated cleaning after a divergence
HALF_POWER = 0.5
FIT_BEAMS = 5.0
PSF_SIZE = 512
SYSTEMATIC_FRACTION = 0.1
LOWEST_POWER = 0.1  # of the beam, below which the corrected image is blank


@dataclass(frozen=True)
class Cleaning:
    """Cleaning parameters of an image.

    Attributes
    ----------
    threshold_jy: stopping threshold; 0: ``noise_sigma`` times the noise.
    mask: mask image; "": clean everywhere, or above ``mask_sigma`` times the noise if that is not 0.
    gain: of a major iteration.
    """

    threshold_jy: float = 0.0
    noise_sigma: float = 0.0
    mask_sigma: float = 0.0
    mask: str = ""
    gain: float = 0.8


@dataclass(frozen=True)
class Images:
    """Paths of an imager's products: cleaned image, residual, and beam-corrected image."""

    image: str
    residual: str
    corrected: str


@dataclass(frozen=True)
class Grid:
    """Cell size and width of an image."""

    cell_arcsec: float
    side: int


#: Imager: takes root name, grid, and cleaning parameters (None for a dirty image); returns the images.
Imager = Callable[[str, Grid, Cleaning | None], Images]


class ImageError(PipelineError):
    """An image cannot be made or measured."""


@dataclass(frozen=True)
class Band:
    """Tunings imaged together, and their frequencies."""

    suffix: str  # of the directory: _b where tunings are far apart
    tunings: tuple[str, ...]
    lowest_hz: float
    highest_hz: float
    longest_m: float  # baseline with unflagged data, projected


def bands_of(session: Session, field: str) -> list[Band]:
    """Return the bands of a field: one per tuning if these are far apart, else one of all.

    Tunings are far apart if the gap between them is wider than the wider of the two.

    Raises
    ------
    ImageError
        If there is no unflagged data of the field.

    Source: doc/spec/calibration.md, section 4.
    """
    folders = [scan.name for scan in session.scans if scan.field == field]
    facts_by_tuning: dict[str, list[SetFacts]] = {}
    for (folder, tuning), facts in session_facts(session).items():
        if folder in folders and facts.is_usable:
            facts_by_tuning.setdefault(tuning, []).append(facts)
    if not facts_by_tuning:
        raise ImageError(f"{field}: all of its data are flagged; there is nothing to image")
    ranges = {t: _unflagged_range(facts) for t, facts in facts_by_tuning.items()}
    lengths = {t: max(one.uv_m[1] for one in facts) for t, facts in facts_by_tuning.items()}
    if are_far_apart(list(ranges.values())):
        return [Band(f"_{t}", (t,), *ranges[t], lengths[t]) for t in ranges]
    lowest, highest = min(low for low, _ in ranges.values()), max(high for _, high in ranges.values())
    return [Band("", tuple(facts_by_tuning), lowest, highest, max(lengths.values()))]


def windows_of(ms: str, band: Band) -> tuple[int, ...]:
    """Return the spectral windows of a set that have unflagged channels of a band."""
    with closing(casacore.tables.table(f"{ms}/SPECTRAL_WINDOW", ack=False)) as windows:
        channels = [np.asarray(windows.getcell("CHAN_FREQ", row)) for row in range(windows.nrows())]
    inside = [(hz >= band.lowest_hz - 1) & (hz <= band.highest_hz + 1) for hz in channels]
    return tuple(place for place, some in enumerate(inside) if some.any())


def _unflagged_range(facts: Sequence[SetFacts]) -> tuple[float, float]:
    hz = [f for one in facts for f, share in zip(one.frequencies_hz, one.flagged_by_channel, strict=True) if share < 1]
    return min(hz), max(hz)


def are_far_apart(ranges: Sequence[tuple[float, float]]) -> bool:
    """Whether any two adjacent frequency ranges, Hz, are separated by more than the wider of the two."""
    ordered = sorted(ranges)
    return any(
        upper[0] - lower[1] > max(lower[1] - lower[0], upper[1] - upper[0])
        for lower, upper in itertools.pairwise(ordered)
    )


def cell_arcsec(rule: str, band: Band, beam_minor_arcsec: float = 0.0, beam_hz: float = 0.0) -> tuple[float, str]:
    """Return the cell size, arcsec, rounded to two decimals, and the reason.

    ``beam``: a fifth of the minor axis of the PSF, scaled from ``beam_hz`` to the highest unflagged channel.
    ``original``: an eighth of wavelength over longest baseline.
    """
    fringe = math.degrees(LIGHT_M_S / band.highest_hz / band.longest_m) * 3600
    if rule == "original":
        cell = fringe / ORIGINAL_CELLS
        return _two_decimals(cell), f"wavelength / {band.longest_m:.1f} m / {ORIGINAL_CELLS} = {cell:.4f} arcsec"
    minor = beam_minor_arcsec * beam_hz / band.highest_hz
    reason = f"minor axis of the PSF at {band.highest_hz / 1e6:.2f} MHz, {minor:.2f} arcsec, / {CELLS_PER_BEAM}"
    return _two_decimals(minor / CELLS_PER_BEAM), reason


def _two_decimals(cell: float) -> float:
    return max(0.01, round(cell, 2))


def image_side(cell: float, lowest_hz: float) -> tuple[int, str]:
    """Return the image width, pixels, and the reason: out to the first null of the dish, 2048 at most."""
    null_arcsec = math.degrees(NULL_FACTOR * LIGHT_M_S / lowest_hz / DISH_M) * 3600
    side = smooth_even_size(math.ceil(2 * null_arcsec / cell))
    if side >= LARGEST_SIZE:
        return LARGEST_SIZE, f"{LARGEST_SIZE} pixels; the first null of a {DISH_M} m dish would need {side}"
    return max(
        side, SMALLEST_SIZE
    ), f"to the first null of a {DISH_M} m dish, {null_arcsec / 3600:.2f} deg on both sides"


@dataclass(frozen=True)
class ImagePlan:
    """Grid of an image, and the reasons for its cell size and width."""

    grid: Grid
    cell_reason: str
    side_reason: str

    def described(self, root: str, rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the content of plan.json: the plan, the root name of the images, and the cleaning rounds."""
        cell = {"cell_arcsec": self.grid.cell_arcsec, "cell_reason": self.cell_reason}
        return {"root": root, **cell, "size": self.grid.side, "size_reason": self.side_reason, "rounds": [*rounds]}


def plan_image(band: Band, rule: str, directory: Path, imager: Imager) -> ImagePlan:
    """Return the plan of an image; the rule ``beam`` makes a temporary PSF in the directory."""
    cell, reason = cell_arcsec("original", band)
    if rule != "original":
        psf = read_sky_image(imager(str(directory / "psf_only"), Grid(cell, PSF_SIZE), None).image)
        cell, reason = cell_arcsec(rule, band, psf.beam_minor_arcsec, psf.frequency_hz)
        for path in directory.glob("psf_only-*.fits"):
            path.unlink()
    side, side_reason = image_side(cell, band.lowest_hz)
    return ImagePlan(Grid(cell, side), reason, side_reason)


def write_plan(directory: Path, entry: Mapping[str, Any]) -> None:
    """Write plan.json of an image."""
    write_atomically(directory / "plan.json", json.dumps(entry, indent=1))


def image_noise(path: str | Path) -> float:
    """Return the noise of an image, Jy per beam: 1.4826 times the median absolute deviation of all pixels."""
    plane = read_sky_image(path).plane
    return float(MAD_TO_SIGMA * np.nanmedian(np.abs(plane - np.nanmedian(plane))))


def clean_rounds(root: str, grid: Grid, imager: Imager) -> tuple[Images, list[dict[str, float]]]:
    """Clean in rounds, each down to 5 times the previous residual noise; return the last images and all rounds.

    Rounds end when the noise falls by less than 5 %: two at least, six at most.

    Source: doc/spec/calibration.md, section 4.
    """
    images = imager(f"{root}_dirty", grid, None)
    noise_jy = image_noise(images.image)
    rounds = [{"noise_jy": noise_jy}]
    for number in range(1, MOST_ROUNDS + 1):
        threshold_jy = CLEAN_SIGMA * noise_jy
        images = imager(f"{root}_clean_iter{number}", grid, Cleaning(threshold_jy))
        previous_jy, noise_jy = noise_jy, image_noise(images.residual)
        rounds.append({"noise_jy": noise_jy, "threshold_jy": threshold_jy})
        if number >= FEWEST_ROUNDS and noise_jy > (1 - LEAST_GAIN) * previous_jy:
            break
    return images, rounds


#: Mask writer: writes a mask of the sources in an image; returns their number.
Masker = Callable[[str, str], int]


def mask_rounds(root: str, grid: Grid, imager: Imager, write_mask: Masker) -> tuple[Images, list[dict[str, Any]]]:
    """Clean in rounds, each with a mask from the previous image, until the number of islands is stable.

    Source: doc/spec/calibration.md, section 4.
    """
    dirty = imager(f"{root}_dirty", grid, None).image
    cleaning, mask = Cleaning(noise_sigma=1, mask_sigma=3, gain=0.6), f"{root}_mask.fits"
    images, fallback = careful_clean(imager, f"{root}_clean", grid, cleaning, dirty)
    rounds: list[dict[str, Any]] = []
    for _ in range(MOST_MASKS):
        islands = write_mask(images.image, mask)
        noise_jy = image_noise(images.residual)
        rounds.append({"islands": islands, "noise_jy": noise_jy, "fallback": fallback, "dirty": dirty})
        if not islands or (len(rounds) > FEWEST_MASKS and islands == rounds[-2]["islands"]):
            break
        cleaning = Cleaning(noise_sigma=1, mask=mask, gain=0.6)
        images, fallback = careful_clean(imager, f"{root}_clean", grid, cleaning, dirty)
    return images, rounds


def careful_clean(imager: Imager, root: str, grid: Grid, cleaning: Cleaning, dirty: str) -> tuple[Images, str]:
    """Clean, and repeat with cautious parameters after a divergence; return the images, and the divergence or "".

    Phase errors leave sidelobes as high as sources, so that cleaning diverges. The repeat is restricted to the half
    power of the dish's beam, with a smaller gain, down to three times the noise. ``dirty`` has the same grid.
    """
    try:
        return imager(root, grid, cleaning), ""
    except PipelineError as err:
        reason = str(err)
    mask = f"{root}_half_power.fits"
    _write_half_power(dirty, cleaning.mask, mask)
    return imager(root, grid, Cleaning(noise_sigma=CAREFUL_SIGMA, mask=mask, gain=CAREFUL_GAIN)), reason


def _write_half_power(image: str, islands: str, mask: str) -> None:
    """Write a mask of the islands within the half power of the dish's beam, or of the whole half power without any."""
    inside = beam_power(read_sky_image(image))[0] > HALF_POWER
    if islands:
        within = inside & (fits.getdata(islands).reshape(inside.shape) > 0)
        inside = within if within.any() else inside
    write_plane(image, inside.astype(np.float32), mask)


def local_noise(plane: Plane, box: int = MASK_BOX) -> Plane:
    """Return the local noise of each pixel: 1.4826 MAD in boxes, linearly interpolated between their centres."""
    height, width = plane.shape
    rows, columns = max(1, height // box), max(1, width // box)
    tiles = np.empty((rows, columns))
    for row, column in np.ndindex(rows, columns):
        cut = plane[
            row * height // rows : (row + 1) * height // rows,
            column * width // columns : (column + 1) * width // columns,
        ]
        tiles[row, column] = MAD_TO_SIGMA * np.nanmedian(np.abs(cut - np.nanmedian(cut)))
    y, x = (
        np.arange(size) * count / size - 0.5 + 0.5 * count / size for size, count in ((height, rows), (width, columns))
    )
    points = np.meshgrid(y, x, indexing="ij")
    return np.asarray(scipy.ndimage.map_coordinates(tiles, points, order=1, mode="nearest"), np.float32)


def islands_of(plane: Plane, sigma: float) -> tuple[NDArray[np.int32], int]:
    """Return connected regions above the local noise (0 outside), and their number."""
    labels, number = scipy.ndimage.label(plane > sigma * local_noise(plane), np.ones((3, 3)))
    return np.asarray(labels, np.int32), int(number)


def write_island_mask(image: str, mask: str) -> int:
    """Write a mask of the islands of an image above 6 times the local noise; return their number."""
    labels, number = islands_of(read_sky_image(image).plane, MASK_SIGMA)
    write_plane(image, (labels > 0).astype(np.float32), mask)
    return number


def count_islands(mask: str) -> int:
    """Return the number of connected regions of a mask."""
    plane = np.squeeze(fits.getdata(mask)) > 0
    return int(scipy.ndimage.label(plane, np.ones((3, 3)))[1])


def write_plane(image: str, plane: Plane, path: str, **keys: tuple[float, str]) -> None:
    """Write a plane with the header and axes of an image, and additional keywords with comments."""
    with fits.open(image) as hdus:
        header, shape = hdus[0].header, hdus[0].data.shape
        header.update(keys)
        fits.PrimaryHDU(plane.reshape(shape), header).writeto(path, overwrite=True)


# ---- fluxes


@dataclass(frozen=True)
class CalibratorFit:
    """Fit of a source in the middle of an image; the content of fitting_results.json."""

    flux_jy: float
    error_jy: float
    systematic_fraction: float
    position_deg: tuple[float, float]
    position_error_arcsec: float
    beam: tuple[float, float, float]  # arcsec, arcsec, deg
    image: str


def fit_calibrator(path: str | Path) -> CalibratorFit:
    """Return flux and position of the source in the middle of an image: a Gaussian with the shape of the beam.

    Flux and position are fitted in a box 5 beams wide. The error is the scatter of the fit's residual.

    Raises
    ------
    ImageError
        If the box has no positive peak.
    """
    image = read_sky_image(path)
    x, y, values, centre = _middle(image)
    shape = beam_exponent(image)
    peak = int(np.argmax(values))
    if not values[peak] > 0:
        raise ImageError(f"{path}: nothing positive is in its middle; look at the calibration")

    def residual(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(numbers[0] * np.exp(-shape(x - numbers[1], y - numbers[2])) - values)

    fitted = scipy.optimize.least_squares(residual, [values[peak], x[peak], y[peak]], x_scale=[values[peak], 1, 1])
    flux_jy, dx, dy = (float(number) for number in fitted.x)
    error_jy = float(np.std(residual(fitted.x)))
    ra, dec = image.celestial.wcs_pix2world(centre[0] + dx, centre[1] + dy, 0)
    beam = (image.beam_major_arcsec, image.beam_minor_arcsec, image.beam_angle_deg)
    position_error = error_jy / abs(flux_jy) * beam[0] / (2 * math.sqrt(2 * math.log(2)))
    place = (float(ra) % 360, float(dec))
    return CalibratorFit(flux_jy, error_jy, SYSTEMATIC_FRACTION, place, position_error, beam, Path(path).name)


def _middle(image: SkyImage) -> tuple[Any, Any, Any, tuple[int, int]]:
    """Return x and y (pixels from the middle) and values of a central box 5 beams wide, and the middle pixel."""
    half = math.ceil(FIT_BEAMS / 2 * image.beam_major_arcsec / image.cell_arcsec)
    height, width = image.plane.shape
    row, column = height // 2, width // 2
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    values = image.plane[row - half : row + half + 1, column - half : column + half + 1].astype(float)
    return columns.ravel(), rows.ravel(), values.ravel(), (column, row)


def beam_exponent(image: SkyImage) -> Callable[[Any, Any], Any]:
    """Return a function of x and y, pixels: the exponent of the restoring beam, 4 ln 2 (r / FWHM)^2."""
    cell, angle = image.cell_arcsec, math.radians(image.beam_angle_deg)
    major, minor = image.beam_major_arcsec, image.beam_minor_arcsec

    def exponent(x: Any, y: Any) -> Any:
        east, north = -x * cell, y * cell  # right ascension grows to the left
        along, across = (
            north * math.cos(angle) + east * math.sin(angle),
            east * math.cos(angle) - north * math.sin(angle),
        )
        return 4 * math.log(2) * ((along / major) ** 2 + (across / minor) ** 2)

    return exponent


def write_fit(directory: Path, fit: CalibratorFit) -> None:
    """Write fitting_results.txt, flux and error, and the whole fit as fitting_results.json."""
    write_atomically(directory / "fitting_results.txt", f"{fit.flux_jy:.6f},{fit.error_jy:.6f}\n")
    write_atomically(directory / "fitting_results.json", json.dumps(asdict(fit), indent=1))


# ---- primary beam


def correct_beam(image: str, corrected: str) -> None:
    """Write an image corrected for the dish's power beam, a Gaussian of 1.2 lambda / D; blank below 10 %.

    Source: doc/spec/calibration.md, section 4.
    """
    sky = read_sky_image(image)
    power, width_deg = beam_power(sky)
    plane = np.where(power >= LOWEST_POWER, sky.plane / np.maximum(power, LOWEST_POWER), np.nan).astype(np.float32)
    write_plane(image, plane, corrected, PBHPBW=(width_deg, "deg, Gaussian beam that was divided by"))


def beam_power(sky: SkyImage) -> tuple[NDArray[np.float64], float]:
    """Return the dish's power beam over an image, 1 in the middle, and its full width at half power, degrees."""
    height, width = sky.plane.shape
    rows, columns = np.mgrid[:height, :width]
    distance_deg = np.hypot(rows - height // 2, columns - width // 2) * sky.cell_arcsec / 3600
    width_deg = math.degrees(HPBW_FACTOR * LIGHT_M_S / sky.frequency_hz / DISH_M)
    return np.exp(-4 * math.log(2) * (distance_deg / width_deg) ** 2), width_deg


def image_root(directory: Path, field: str, robust: float, grid: Grid) -> str:
    """Return the root name of the images of a field."""
    return f"{directory}/{field}_briggs{robust:g}_{grid.cell_arcsec:g}arcsec"


def image_directory(session: Session, field: str, band: Band) -> Path:
    """Return the directory of the images of a field and band."""
    return Path(session.outdir, "IMAGES", field + band.suffix)


def remove_images(directory: Path, field: str) -> None:
    """Remove the images of an earlier run; another cell size means other names."""
    for path in directory.glob(f"{glob.escape(field)}_briggs*arcsec_*"):
        path.unlink()
