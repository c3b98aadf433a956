"""Image sizes of a field from the beam width."""

from __future__ import annotations

import math

from lofarpipe.imaging.plan import historical
from lofarpipe.imaging.plan.fft_size import SMALLEST_IDG_SIDE, SMALLEST_SIDE, image_size, smooth_even_size
from lofarpipe.imaging.plan.options import PlanError, PlanOptions
from lofarpipe.support.dataclass import dataclass

Size = tuple[int, int]


@dataclass(frozen=True)
class FieldWidth:
    """Half-power width of the beam along x (right ascension) and y (declination), degrees, at one frequency."""

    x_deg: float
    y_deg: float
    frequency_hz: float

    def at(self, frequency_hz: float) -> FieldWidth:
        """Return the widths at another frequency, proportional to wavelength."""
        factor = self.frequency_hz / frequency_hz
        return FieldWidth(self.x_deg * factor, self.y_deg * factor, frequency_hz)


@dataclass(frozen=True)
class ImageSizes:
    """Sizes, (width, height) in pixels, of the high and the low resolution image, without and with padding."""

    high: Size
    high_padded: Size
    low: Size
    low_padded: Size


@dataclass(frozen=True)
class FieldAngles:
    """Angles from the phase centre, radians: to half the FWHM, to the middle of an image's edge, and to its corner."""

    half_power_rad: float
    edge_rad: float
    corner_rad: float


def image_sizes(width: FieldWidth, options: PlanOptions) -> ImageSizes:
    """Return the sizes of the images at the frequency of the beam's width.

    Raises
    ------
    ValueError
        If a field is smaller than a pixel.
    """
    make = _historical_size if options.averaging == "historical" else _size
    high = make(width, options.fieldsize_highres, options.cellsize_highres_deg, options)
    low = make(width, options.fieldsize_lowres, options.cellsize_lowres_deg, options)
    return ImageSizes(high[0], high[1], low[0], low[1])


def _size(width: FieldWidth, fieldsize: float, cellsize_deg: float, options: PlanOptions) -> tuple[Size, Size]:
    """Return a size from the beam's width along each axis, and the padded size."""
    stretch = 1.0 if options.gridder == "idg" else options.y_axis_stretch
    nx = image_size(fieldsize * width.x_deg, cellsize_deg, _smallest_side(options))
    ny = image_size(fieldsize * width.y_deg * stretch, cellsize_deg, _smallest_side(options))
    if options.wants_square:
        nx = ny = max(nx, ny)
    padded = (smooth_even_size(int(nx * options.image_padding)), smooth_even_size(int(ny * options.image_padding)))
    return (nx, ny), padded


def _historical_size(
    width: FieldWidth, fieldsize: float, cellsize_deg: float, options: PlanOptions
) -> tuple[Size, Size]:
    """Return a size and the padded size by the historical rule, without a minimum."""
    smallest = _smallest_side(options)
    fieldsize = max(fieldsize, (smallest + 0.5) * cellsize_deg / width.x_deg)
    sizes = historical.historical_image_sizes(
        fieldsize, width.x_deg, cellsize_deg, options.image_padding, options.y_axis_stretch
    )
    (nx, ny), (padded_x, padded_y) = sizes
    return (nx, max(ny, smallest)), (padded_x, max(padded_y, smallest))


def _smallest_side(options: PlanOptions) -> int:
    return SMALLEST_IDG_SIDE if options.gridder == "idg" else SMALLEST_SIDE


def coarse_cells(cellsize_deg: float, longest_lambda: float) -> str:
    """Return a note if pixels are wider than half the fringe of the longest baseline, wavelengths; otherwise ""."""
    widest_deg = math.degrees(1 / (2 * longest_lambda))
    if cellsize_deg <= widest_deg:
        return ""
    return (
        f"cellsize_highres_deg is {cellsize_deg:g} deg ({cellsize_deg * 3600:.3g} arcsec), wider than half the fringe "
        f"of the longest baseline ({longest_lambda:.0f} wavelengths), {widest_deg:.3g} deg, so that fine structure is "
        "lost; make it smaller"
    )


def field_angles(size: Size, cellsize_deg: float, width: FieldWidth) -> FieldAngles:
    """Return the angles for loss predictions; pixels are steps in direction cosines.

    Raises
    ------
    PlanError
        If the image's corner is beyond the horizon of the projection.
    """
    half_widths = [npix / 2 * math.radians(cellsize_deg) for npix in size]
    corner = math.hypot(*half_widths)
    if corner >= 1:
        raise PlanError(
            f"an image of {size[0]} x {size[1]} pixels of {cellsize_deg} deg is wider than the sky; "
            "make fieldsize or cellsize smaller"
        )
    half_power_rad = math.radians(math.sqrt(width.x_deg * width.y_deg)) / 2
    return FieldAngles(half_power_rad, math.asin(max(half_widths)), math.asin(corner))
