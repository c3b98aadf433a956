"""The pictures of the page: sky images, primary beam, noise, and the comparison of an image with a reference.

A sky image is drawn with its axes, for pages without a script and for readers of other programs; and beside that it is
in greys, from which the script of the page makes the one that zooms. The grey of a pixel is the asinh of its flux, so
that noise and the brightest source both keep their digits: steps of less than a tenth of the noise near zero, and of a
few per cent at the peak.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import AsinhNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import AsinhLocator, Locator, MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from lofarpipe.imaging.quality.figures import BLANK_COLOUR, STYLE, draw_beam, label_sky
from lofarpipe.imaging.quality.statistics import averaged, central_part, robust_rms, tile_rms
from lofarpipe.report.html.page import NoPictureError, data_uri, png_uri
from lofarpipe.support.dataclass import dataclass

LARGEST_SIDE = 1400  # pixels of a preview: two of them, of noise alone, take 5 MB
SOFTENING_RMS = 2.0  # below this many times the noise the asinh is nearly linear
LOWEST_RMS = -20.0  # lowest flux of the grey scale, in units of the noise
LEVELS = 254  # 255 is blank
LINEAR_RMS = (-4.0, 16.0)  # from white to black, times the noise; page.js has the same
DRAWN_SIDE = 700  # pixels of a sky image with axes
SKY_INCHES, SKY_PLACE, BAR_PLACE = (6.0, 6.6), (0.17, 0.22, 0.81, 0.7364), (0.17, 0.095, 0.81, 0.02)
MOST_FLUX_STEPS = 5  # of a linear scale
FLUX_GAP = 0.11  # between two fluxes, part of the bar
SIZE_INCHES = (5.2, 4.3)
DPI = 130
MAP_SIDE = 300  # pixels of a drawn map
NOISE_TILES = 24  # along the longer side
NOISE_PIXELS = 4_000_000  # looked at; more would not make the noise of a tile any surer
CONTOURS = (0.1, 0.25, 0.75, 0.9)
RING_WIDTHS = 12
HIGHEST_NOISE = 3.0  # of the map's colours, in units of its median
INK, EMPHASIS, FAINT = "#1b3a6b", "#c8102e", "#8a94a6"

Pixels = NDArray[np.float32]
Tick = tuple[float, float, str]  # place, part of a scale; flux; its text in another unit


@dataclass(frozen=True)
class Preview:
    """A picture of an image and its numbers, as plain values for JSON.

    ``factor`` image pixels along each axis are one pixel of the picture. The flux of a grey level g is
    ``softening_jy * sinh(lowest + (highest - lowest) * (254 - g) / 254)``; g = 255 is blank.
    """

    name: str
    drawn: str  # data URI: with axes, colour bar and beam
    greys: str  # data URI of a PNG, north up
    width: int  # pixels of the greys
    height: int
    factor: int
    image_width: int
    image_height: int
    softening_jy: float
    lowest: float
    highest: float
    noise_jy: float  # of the averaged image: averaging lowers it
    unit: str
    scale_unit: str  # of the fluxes beside a scale
    scales: dict[str, list[Tick]]  # of the script
    reference_pixel: tuple[float, float]  # CRPIX, from 1
    reference_deg: tuple[float, float]  # CRVAL
    increment_deg: tuple[float, float]  # CDELT
    is_sin: bool  # whether the script can compute world coordinates
    beam_deg: tuple[float, float, float] | None  # BMAJ, BMIN, BPA


def open_plane(path: Path) -> tuple[NDArray[Any], fits.Header]:
    """Return the first plane of an image, (y, x), memory-mapped, and the header.

    Raises
    ------
    NoPictureError
        If the file does not exist, or has no image with two or more axes.
    """
    try:
        with fits.open(path, memmap=True) as opened:
            pixels, header = opened[0].data, opened[0].header.copy()
    except (OSError, ValueError, TypeError) as err:
        raise NoPictureError(f"{path}: cannot be read as FITS: {err}") from err
    if pixels is None or pixels.ndim < 2 or not pixels.size:
        raise NoPictureError(f"{path}: holds no image in its first unit")
    return pixels.reshape(-1, *pixels.shape[-2:])[0], header


def figure_preview(path: Path, largest_side: int = LARGEST_SIDE) -> Preview:
    """Return the pictures of an image, and its numbers.

    Raises
    ------
    NoPictureError
        If the image cannot be read, or is blank or constant.
    """
    plane, header = open_plane(path)
    factor = math.ceil(max(plane.shape) / largest_side)
    small = averaged(plane, factor)
    try:
        noise_jy = robust_rms(central_part(small))
    except ValueError as err:
        raise NoPictureError(f"{path}: {err}") from err
    softening_jy = SOFTENING_RMS * noise_jy
    companded = np.arcsinh(small / softening_jy)
    lowest = max(float(np.nanmin(companded)), math.asinh(LOWEST_RMS / SOFTENING_RMS))
    highest = float(np.nanmax(companded))
    low_jy, high_jy = (edge * noise_jy for edge in LINEAR_RMS)
    scale_unit, per_unit = unit_of_scales(str(header.get("BUNIT", "")), noise_jy)
    return Preview(
        name=path.name,
        drawn=_uri(sky_figure(small, header, factor, softening_jy, (lowest, highest)), "png"),
        greys=_grey_png(companded, lowest, highest),
        width=small.shape[1],
        height=small.shape[0],
        factor=factor,
        image_width=plane.shape[1],
        image_height=plane.shape[0],
        softening_jy=softening_jy,
        lowest=lowest,
        highest=highest,
        noise_jy=noise_jy,
        unit=str(header.get("BUNIT", "")),
        scale_unit=scale_unit,
        scales={
            "asinh": flux_ticks(low_jy, softening_jy * math.sinh(highest), softening_jy, per_unit),
            "linear": flux_ticks(low_jy, high_jy, None, per_unit),
        },
        **_coordinates(header),
    )


def _grey_png(companded: Pixels, lowest: float, highest: float) -> str:
    """Return the greys of a picture as a data URI, bright sources dark, its first row at the top."""
    part = np.clip((companded - lowest) / (highest - lowest), 0, 1)
    greys = np.where(np.isfinite(part), LEVELS - np.rint(part * LEVELS), 255)
    return png_uri(Image.fromarray(np.flipud(greys).astype(np.uint8)))


def sky_figure(
    small: Pixels, header: fits.Header, factor: int, softening_jy: float, companded: tuple[float, float]
) -> Figure:
    """Return a sky image with coordinates, as far as the header has them, a colour bar, and the restoring beam.

    ``small`` is the image of the header, averaged by ``factor``; white and black are ``companded``, as in `Preview`.
    """
    coarser = math.ceil(max(small.shape) / DRAWN_SIDE)
    stretched = np.arcsinh(averaged(small, coarser) / softening_jy)
    height, width = (factor * coarser * size for size in stretched.shape)
    facts, world = _coordinates(header), _world(header)
    with _drawing():
        figure = Figure(figsize=SKY_INCHES)
        FigureCanvasAgg(figure)
        axes = figure.add_axes(SKY_PLACE, projection=world)
        grey = mpl.colormaps["gray_r"].with_extremes(bad=BLANK_COLOUR)
        low, high = companded
        extent = (-0.5, width - 0.5, -0.5, height - 0.5)
        drawn = axes.imshow(stretched, origin="lower", extent=extent, cmap=grey, vmin=low, vmax=high)
        if world is None:
            axes.set(xlabel="pixels", ylabel="pixels")
        else:
            label_sky(axes)
        if facts["beam_deg"] and facts["increment_deg"][1]:
            major, minor = (size / abs(facts["increment_deg"][1]) for size in facts["beam_deg"][:2])
            draw_beam(axes, width, (major, minor), facts["beam_deg"][2])
        unit, per_unit = unit_of_scales(str(header.get("BUNIT", "")), softening_jy / SOFTENING_RMS)
        ticks = flux_ticks(softening_jy * math.sinh(low), softening_jy * math.sinh(high), softening_jy, per_unit)
        bar = figure.colorbar(drawn, cax=figure.add_axes(BAR_PLACE), orientation="horizontal", label=unit)
        bar.set_ticks([math.asinh(flux / softening_jy) for _, flux, _ in ticks], labels=[text for *_, text in ticks])
    return figure


def _world(header: fits.Header) -> WCS | None:
    """Return the world coordinates of an image, or None if unknown."""
    keys = (f"{name}{axis}" for name in ("CRPIX", "CRVAL", "CDELT") for axis in (1, 2))
    if any(key in header and _number(header, key) is None for key in keys):  # astropy would take it for 0
        return None
    try:
        world = WCS(header, fix=False).celestial
        world.wcs.set()
    except ValueError:  # an unknown projection, or pixels without a size
        return None
    return world if world.naxis == 2 else None


def unit_of_scales(unit: str, noise_jy: float) -> tuple[str, float]:
    """Return a flux unit suitable for faint greys, and its number per image unit."""
    if unit.upper() != "JY/BEAM":
        return unit, 1.0
    units = ((1.0, ""), (1e3, "m"))
    bright_jy = LINEAR_RMS[1] * noise_jy
    factor, prefix = next(((many, name) for many, name in units if bright_jy * many >= 1), (1e6, "μ"))
    return f"{prefix}Jy/beam", factor


def flux_ticks(low: float, high: float, softening: float | None, per_unit: float = 1.0) -> list[Tick]:
    """Return round fluxes along a grey scale; ``softening`` is the asinh parameter, None for linear.

    Powers of ten come before their multiples, and each keeps its distance from the others.
    """
    norm: Normalize
    locators: Sequence[Locator]
    if softening is None:
        norm, locators = Normalize(low, high), [MaxNLocator(MOST_FLUX_STEPS, steps=(1, 2, 5, 10))]
    else:
        norm = AsinhNorm(softening, low, high)
        locators = [AsinhLocator(softening, symthresh=0, subs=subs) for subs in (None, (5,), (2,))]
    ticks: dict[float, float] = {}
    for locator in locators:
        for flux in sorted(map(float, locator.tick_values(low, high)), key=abs):
            at = round(float(norm(flux)), 6)
            if 0 <= at <= 1 and all(abs(at - other) >= FLUX_GAP for other in ticks):
                ticks[at] = flux
    return [(at, flux, f"{flux * per_unit:.6g}".replace("-", "−")) for at, flux in sorted(ticks.items())]


def _coordinates(header: fits.Header) -> dict[str, Any]:
    """Return the page's parameters for world coordinates, and the restoring beam."""
    numbers = {
        key: [_number(header, f"{name}{axis}") for axis in (1, 2)]
        for key, name in (("reference_pixel", "CRPIX"), ("reference_deg", "CRVAL"), ("increment_deg", "CDELT"))
    }
    is_sin = str(header.get("CTYPE1", "")) == "RA---SIN" and str(header.get("CTYPE2", "")) == "DEC--SIN"
    beam = [_number(header, key) for key in ("BMAJ", "BMIN", "BPA")]
    everything = [number for pair in numbers.values() for number in pair]
    return {
        **{key: tuple(0.0 if number is None else number for number in pair) for key, pair in numbers.items()},
        # Rotated or sheared axes, and slanted projections, are for programs that know all of the standard.
        "is_sin": is_sin and None not in everything and not any(key.startswith(("PC", "CD1_", "PV")) for key in header),
        "beam_deg": tuple(beam) if beam[0] and beam[1] and beam[2] is not None else None,
    }


def _number(header: fits.Header, key: str) -> float | None:
    """Return a header value if it is a finite number."""
    value = header.get(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _uri(figure: Figure, kind: str) -> str:
    """Return a figure as a data URI: ``svg`` for lines, ``png`` for maps. The same figure gives the same bytes."""
    if kind == "svg":
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
        return data_uri(stream.getvalue(), "image/svg+xml")
    figure.set_dpi(DPI)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    return png_uri(Image.fromarray(pixels).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE))


def _drawing() -> Any:
    """Return the style of all figures; text stays text, which is searchable and small."""
    return mpl.rc_context(STYLE | {"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "report"})


def _extent_deg(header: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Return left, right, bottom and top of an image as offsets from its reference pixel, degrees, along the plane."""
    height, width = shape
    edges = [
        (edge + 0.5 - float(header.get(f"CRPIX{axis}", 0.5))) * float(header.get(f"CDELT{axis}", 1.0))
        for axis, length in ((1, width), (2, height))
        for edge in (0, length)
    ]
    return edges[0], edges[1], edges[2], edges[3]


def beam_figure(path: Path) -> str:
    """Return the primary beam with its half-power contour, as a data URI.

    Raises
    ------
    NoPictureError
        If the file cannot be read, or is blank.
    """
    plane, header = open_plane(path)
    power = averaged(plane, math.ceil(max(plane.shape) / MAP_SIDE))
    if not np.isfinite(power).any():
        raise NoPictureError(f"{path}: every pixel is blank")
    with _drawing():
        figure, axes = _figure()
        extent = _extent_deg(header, plane.shape)
        picture = axes.imshow(power, origin="lower", extent=extent, vmin=0, vmax=1, cmap="cividis", aspect="equal")
        across = [np.linspace(extent[i], extent[i + 1], size) for i, size in ((0, power.shape[1]), (2, power.shape[0]))]
        _contour(axes, across, power, CONTOURS, "white", 0.7)
        _contour(axes, across, power, (0.5,), EMPHASIS, 2.0)
        axes.set(xlabel="offset along right ascension (deg)", ylabel="offset along declination (deg)")
        figure.colorbar(picture, ax=axes, label="power, 1 at the centre", aspect=30)
        return _uri(figure, "png")


def _contour(
    axes: Axes, across: Sequence[Any], power: NDArray[Any], levels: Sequence[float], colour: str, width: float
) -> None:
    """Draw the contours, if any."""
    levels_in_range = [level for level in levels if np.nanmin(power) < level < np.nanmax(power)]
    if levels_in_range:
        lines = axes.contour(*across, power, levels=levels_in_range, colors=colour, linewidths=width)
        axes.clabel(lines, fontsize=8, fmt="%g")


def noise_tiles(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float, float, float]]:
    """Return the noise of tiles (row, column), and of each the distance from the centre; and the extent; in degrees.

    Of a large image every n-th row and column is looked at.

    Raises
    ------
    NoPictureError
        If the image cannot be read, or no tile has noise.
    """
    plane, header = open_plane(path)
    every = max(1, math.isqrt(plane.size // NOISE_PIXELS))
    extent = _extent_deg(header, plane.shape)
    thinned = plane[::every, ::every]
    noise = tile_rms(thinned, max(1, max(thinned.shape) // NOISE_TILES))
    if not np.isfinite(noise).any():
        raise NoPictureError(f"{path}: no part of it has noise to measure")
    middles = [
        extent[i] + (np.arange(size) + 0.5) * (extent[i + 1] - extent[i]) / size
        for i, size in ((2, noise.shape[0]), (0, noise.shape[1]))
    ]
    return noise, np.hypot(middles[0][:, np.newaxis], middles[1][np.newaxis, :]), extent


def noise_figures(path: Path, expected_jy: float | None) -> tuple[str, str]:
    """Return a map of the noise of a flat-noise image, and the noise by distance from the centre, as data URIs.

    Raises
    ------
    NoPictureError
        As `noise_tiles`.
    """
    noise, distance_deg, extent = noise_tiles(path)
    with _drawing():
        figure, axes = _figure()
        # One tile full of sources must not hide the differences of the others.
        top = min(float(np.nanmax(noise)), HIGHEST_NOISE * float(np.nanmedian(noise))) * 1e3
        picture = axes.imshow(noise * 1e3, origin="lower", extent=extent, cmap="viridis", aspect="equal", vmax=top)
        axes.set(xlabel="offset along right ascension (deg)", ylabel="offset along declination (deg)")
        figure.colorbar(picture, ax=axes, label="rms of each tile (mJy/beam)", aspect=30)
        return _uri(figure, "png"), _noise_by_distance(noise, distance_deg, expected_jy)


def _noise_by_distance(noise: NDArray[Any], distance_deg: NDArray[Any], expected_jy: float | None) -> str:
    figure, axes = _figure()
    is_finite = np.isfinite(noise)
    axes.plot(distance_deg[is_finite], noise[is_finite] * 1e3, ".", color=FAINT, markersize=3, label="tiles")
    edges = np.linspace(0, float(distance_deg.max()) * (1 + 1e-9), RING_WIDTHS + 1)
    rings = [
        noise[is_finite & (distance_deg >= low) & (distance_deg < high)] for low, high in itertools.pairwise(edges)
    ]
    medians = [
        (middle, np.median(ring)) for middle, ring in zip((edges[:-1] + edges[1:]) / 2, rings, strict=True) if ring.size
    ]
    axes.plot(
        *np.transpose([(middle, value * 1e3) for middle, value in medians]), "-o", color=INK, label="median of rings"
    )
    if expected_jy is not None:
        axes.axhline(expected_jy * 1e3, color=EMPHASIS, linestyle="--", label="expected thermal noise")
    axes.set(xlabel="distance from the centre (deg)", ylabel="rms, flat noise (mJy/beam)", ylim=(0, None))
    axes.grid(alpha=0.25)
    axes.legend(fontsize=9, framealpha=1)
    return _uri(figure, "svg")


def smearing_figure(predicted: Sequence[tuple[float, float]], measured: Sequence[Mapping[str, Any]]) -> str:
    """Return the loss of peak flux against distance from the centre, predicted and measured, as a data URI.

    ``predicted`` are (distance in degrees, lost part), ``measured`` entries of a comparison.
    """
    with _drawing():
        figure, axes = _figure()
        at_deg, lost = np.transpose(predicted)
        # Small losses grow with the square of the distance: so they do between the places.
        between_deg = np.linspace(at_deg[0], at_deg[-1], 100)
        between = np.interp(between_deg**2, at_deg**2, lost)
        axes.plot(between_deg, between * 100, color=INK, label="predicted")
        axes.plot(at_deg, lost * 100, "s", color=INK, markersize=4)
        if measured:
            distance, loss, error = (
                np.array([entry[key] for entry in measured], float)
                for key in ("distance_deg", "peak_loss", "peak_loss_error")
            )
            axes.errorbar(distance, loss * 100, error * 100, fmt="o", color=EMPHASIS, markersize=4, label="measured")
        axes.set(xlabel="distance from the centre (deg)", ylabel="loss of peak flux (%)")
        axes.grid(alpha=0.25)
        axes.legend(fontsize=9)
        return _uri(figure, "svg")


def flux_figure(measured: Sequence[Mapping[str, Any]]) -> str:
    """Return the ratio of measured to reference flux against distance from the centre, as a data URI."""
    with _drawing():
        figure, axes = _figure()
        distance, ratio, error = (
            np.array([entry[key] for entry in measured], float) for key in ("distance_deg", "ratio", "ratio_error")
        )
        axes.axhline(1, color=FAINT, linewidth=1)
        axes.errorbar(distance, ratio, error, fmt="o", color=INK, ecolor=FAINT, markersize=4)
        reach = max(0.05, float(np.max(np.abs(ratio - 1) + np.minimum(error, 1))) * 1.15)
        axes.set(xlabel="distance from the centre (deg)", ylabel="measured / reference flux")
        axes.set(ylim=(1 - reach, 1 + reach), xlim=(0, float(distance.max()) * 1.05 or 1))
        axes.grid(alpha=0.25)
        return _uri(figure, "svg")


def position_figure(measured: Sequence[Mapping[str, Any]], beam_arcsec: float | None) -> str:
    """Return the offsets of measured from reference positions, east to the left, as a data URI."""
    with _drawing():
        figure, axes = _figure()
        east, north = (np.array([entry[key] for entry in measured], float) for key in ("east_arcsec", "north_arcsec"))
        axes.plot(east, north, "o", color=INK, markersize=4)
        reach = max(float(np.abs([*east, *north]).max()) * 1.2, 1e-3)
        if beam_arcsec:
            reach = max(reach, beam_arcsec * 0.11)
            circle = np.linspace(0, 2 * np.pi, 100)
            tenth = beam_arcsec / 10
            axes.plot(tenth * np.cos(circle), tenth * np.sin(circle), "--", color=FAINT, label="a tenth of the beam")
            axes.legend(fontsize=9, loc="upper left")  # the important part of the plot is in the middle
        axes.axhline(0, color=FAINT, linewidth=0.7)
        axes.axvline(0, color=FAINT, linewidth=0.7)
        axes.set(xlim=(reach, -reach), ylim=(-reach, reach), aspect="equal")
        axes.set(xlabel="offset to the east (arcsec)", ylabel="offset to the north (arcsec)")
        return _uri(figure, "svg")
