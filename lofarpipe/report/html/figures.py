"""The figures of the page: primary beam, noise over the field, and how an image compares with what is known."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lofarpipe.imaging.quality.figures import STYLE
from lofarpipe.imaging.quality.statistics import tile_rms
from lofarpipe.report.html.sky import NoPictureError, averaged, data_uri, open_plane

SIZE_INCHES = (5.2, 4.3)
DPI = 130
MAP_SIDE = 300  # pixels of a map that is drawn
NOISE_TILES = 24  # along the longer side
NOISE_PIXELS = 4_000_000  # looked at; more would not make the noise of a tile any surer
CONTOURS = (0.1, 0.25, 0.75, 0.9)
RING_WIDTHS = 12
HIGHEST_NOISE = 3.0  # of the map's colours, in units of its median
UV_PIXELS = 1000
INK, EMPHASIS, FAINT = "#1b3a6b", "#c8102e", "#8a94a6"


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _uri(figure: Figure, kind: str) -> str:
    """Return a figure as a data URI: ``svg`` for lines, ``png`` for maps. The same figure gives the same bytes."""
    stream = io.BytesIO()
    if kind == "svg":
        figure.savefig(stream, format="svg", metadata={"Date": None})
        return data_uri(stream.getvalue(), "image/svg+xml")
    figure.savefig(stream, format="png", dpi=DPI)
    return data_uri(stream.getvalue(), "image/png")


def _drawing() -> Any:
    """Return the style of all figures; letters stay letters, so that they can be searched and are small."""
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
        shown = axes.imshow(power, origin="lower", extent=extent, vmin=0, vmax=1, cmap="cividis", aspect="equal")
        across = [np.linspace(extent[i], extent[i + 1], size) for i, size in ((0, power.shape[1]), (2, power.shape[0]))]
        _contour(axes, across, power, CONTOURS, "white", 0.7)
        _contour(axes, across, power, (0.5,), EMPHASIS, 2.0)
        axes.set(xlabel="offset along right ascension (deg)", ylabel="offset along declination (deg)")
        figure.colorbar(shown, ax=axes, label="power, 1 at the centre", aspect=30)
        return _uri(figure, "png")


def _contour(
    axes: Axes, across: Sequence[Any], power: NDArray[Any], levels: Sequence[float], colour: str, width: float
) -> None:
    """Draw those contours that there are."""
    there = [level for level in levels if np.nanmin(power) < level < np.nanmax(power)]
    if there:
        lines = axes.contour(*across, power, levels=there, colors=colour, linewidths=width)
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
        # One tile full of sources must not hide how the rest differs.
        top = min(float(np.nanmax(noise)), HIGHEST_NOISE * float(np.nanmedian(noise))) * 1e3
        shown = axes.imshow(noise * 1e3, origin="lower", extent=extent, cmap="viridis", aspect="equal", vmax=top)
        axes.set(xlabel="offset along right ascension (deg)", ylabel="offset along declination (deg)")
        figure.colorbar(shown, ax=axes, label="rms of each tile (mJy/beam)", aspect=30)
        return _uri(figure, "png"), _noise_by_distance(noise, distance_deg, expected_jy)


def _noise_by_distance(noise: NDArray[Any], distance_deg: NDArray[Any], expected_jy: float | None) -> str:
    figure, axes = _figure()
    known = np.isfinite(noise)
    axes.plot(distance_deg[known], noise[known] * 1e3, ".", color=FAINT, markersize=3, label="tiles")
    edges = np.linspace(0, float(distance_deg.max()) * (1 + 1e-9), RING_WIDTHS + 1)
    rings = [noise[known & (distance_deg >= low) & (distance_deg < high)] for low, high in itertools.pairwise(edges)]
    there = [
        (middle, np.median(ring)) for middle, ring in zip((edges[:-1] + edges[1:]) / 2, rings, strict=True) if ring.size
    ]
    axes.plot(
        *np.transpose([(middle, value * 1e3) for middle, value in there]), "-o", color=INK, label="median of rings"
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
            axes.legend(fontsize=9, loc="upper left")  # what matters is in the middle
        axes.axhline(0, color=FAINT, linewidth=0.7)
        axes.axvline(0, color=FAINT, linewidth=0.7)
        axes.set(xlim=(reach, -reach), ylim=(-reach, reach), aspect="equal")
        axes.set(xlabel="offset to the east (arcsec)", ylabel="offset to the north (arcsec)")
        return _uri(figure, "svg")


def shrunk_picture(path: Path, side: int = UV_PIXELS) -> str:
    """Return a PNG as a data URI, made smaller where it is larger than ``side`` pixels, with 256 colours.

    Raises
    ------
    NoPictureError
        If it cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as err:
        raise NoPictureError(f"{path}: cannot be read as a picture: {err}") from err
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.quantize(256).save(stream, "PNG", optimize=True)
    return data_uri(stream.getvalue(), "image/png")
