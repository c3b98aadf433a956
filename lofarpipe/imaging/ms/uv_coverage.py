"""The uv coverage of an observation and its flagged fraction, as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.ms.measurement_set import read_metadata, sample_set
from lofarpipe.imaging.ms.names import AUTO
from lofarpipe.imaging.quality.figures import STYLE, save_figure
from lofarpipe.imaging.weighting.noise import baselines_lambda
from lofarpipe.support.dataclass import dataclass

Floats = NDArray[np.float64]

SAMPLED_VISIBILITIES = 4_000_000  # over all sets: about 0.2 GB of flags and weights, and 10 s
DRAWN_POINTS = 1_000_000  # before conjugates
CELLS_ACROSS, FEW_CELLS_ACROSS, FEW_POINTS = 300, 150, 20_000  # coarser for small sets
SMALL_CELLS_ACROSS = 100  # of the small panel
USABLE_COLOUR, FLAGGED_COLOUR = "#1b3a6b", "#e8622c"
LIMIT_LINES: tuple[Literal[":", "--"], ...] = (":", "--")  # of minuv and maxuv
BEYOND_LIMIT, BEYOND_DATA = 1.12, 1.04  # axis limits relative to maxuv, and to the data
MUCH_FURTHER = 1.5  # times maxuv: above, the whole coverage gets a separate panel
DISTANCE_BINS = 50
FIGURE_INCHES, DPI = (6.4, 8.4), 150  # legible at the report's width of about 500 pixels


@dataclass(frozen=True, eq=False)
class UVCoverage:
    """Sampled visibilities, (n,): u and v in kilo-wavelengths, and flags of unusable ones.

    ``title`` names the sampled data; ``fraction`` is the sampled part.
    """

    u_klambda: Floats
    v_klambda: Floats
    flagged: NDArray[np.bool_]
    title: str
    fraction: float

    @property
    def flagged_fraction(self) -> float:
        """The fraction of the sampled visibilities that is flagged or has no weight."""
        return float(self.flagged.mean())

    @property
    def distance_klambda(self) -> Floats:
        """Distance from the origin of the uv plane."""
        return np.hypot(self.u_klambda, self.v_klambda)


def read_uv_coverage(paths: Sequence[str], field: str = AUTO) -> UVCoverage:
    """Return the combined uv coverage of one field of several sets: sampled time slots, all channels.

    The cost is independent of the size of the sets. A visibility is flagged if FLAG of any correlation or FLAG_ROW is
    set, or if its weight is not positive.

    Raises
    ------
    MeasurementSetError
        If a set cannot be read.
    PipelineError
        If no set is given.
    """
    if not paths:
        raise PipelineError("plot_uvcov: no measurement sets given")
    pieces, names, looked, total = [], [], 0, 0.0
    for path in paths:
        metadata = read_metadata(path, field)
        max_rows = max(1, SAMPLED_VISIBILITIES // len(paths) // len(metadata.frequencies_hz))
        sample = sample_set(metadata, max_rows)
        u_lambda, v_lambda = baselines_lambda(metadata, sample)
        pieces.append(np.stack([u_lambda.ravel(), v_lambda.ravel(), sample.flags.ravel()]))
        names.append(metadata.name)
        looked, total = looked + sample.flags.size, total + sample.flags.size / sample.fraction
    u_lambda, v_lambda, flagged = np.concatenate(pieces, axis=1)
    title = names[0] if len(names) == 1 else f"{names[0]} ... {names[-1]} ({len(names)} sets)"
    return UVCoverage(u_lambda / 1e3, v_lambda / 1e3, flagged > 0, title, looked / total)


def unflagged_by_distance(
    coverage: UVCoverage, bins: int = DISTANCE_BINS, span_klambda: float | None = None
) -> tuple[Floats, Floats]:
    """Return bin edges in kilo-wavelengths, (bins + 1,), and the unflagged fraction in each bin; NaN where empty.

    The bins reach to ``span_klambda``, or to the longest baseline.
    """
    distance = coverage.distance_klambda
    longest = float(distance.max()) * (1 + 1e-9) or 1.0
    edges = np.linspace(0, span_klambda or longest, bins + 1)
    everything = np.histogram(distance, edges)[0]
    usable = np.histogram(distance[~coverage.flagged], edges)[0]
    fraction = np.divide(usable, everything, out=np.full(bins, np.nan), where=everything > 0)
    return edges, fraction


def _thinned(coverage: UVCoverage) -> tuple[Floats, Floats, Floats]:
    """Return u, v and flagged (0 or 1) of at most DRAWN_POINTS visibilities and their conjugates."""
    every = max(1, -(-coverage.flagged.size // DRAWN_POINTS))
    if every > 1:  # random: a regular selection would alias with the number of channels
        chosen = np.random.default_rng(1).permutation(coverage.flagged.size)[::every]
    else:
        chosen = np.arange(coverage.flagged.size)
    u, v, flagged = coverage.u_klambda[chosen], coverage.v_klambda[chosen], coverage.flagged[chosen].astype(float)
    return np.concatenate([u, -u]), np.concatenate([v, -v]), np.concatenate([flagged, flagged])


def _select_range(coverage: UVCoverage, nearest_klambda: float, farthest_klambda: float) -> UVCoverage:
    """Return the samples between two uv distances."""
    distance = coverage.distance_klambda
    chosen = (nearest_klambda <= distance) & (distance <= farthest_klambda)
    u, v, flagged = coverage.u_klambda[chosen], coverage.v_klambda[chosen], coverage.flagged[chosen]
    return replace(coverage, u_klambda=u, v_klambda=v, flagged=flagged)


def draw_uv_coverage(coverage: UVCoverage, minuv_klambda: float = 0.0, maxuv_klambda: float = 0.0) -> Figure:
    """Return the figure: the uv plane coloured by flagged fraction, and the unflagged fraction by uv distance.

    ``minuv_klambda`` and ``maxuv_klambda`` are the shortest and the longest baseline imaged; 0: no such limit. Both
    panels end just beyond the longest; if the coverage extends MUCH_FURTHER, an inset shows all of it.
    """
    reach = float(coverage.distance_klambda.max())
    is_cut = 0 < maxuv_klambda < reach
    span = maxuv_klambda * BEYOND_LIMIT if is_cut else reach * BEYOND_DATA or 1.0
    circles = {"minuv": minuv_klambda, "maxuv": maxuv_klambda}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
        FigureCanvasAgg(figure)
        rows = figure.add_gridspec(2, 1, height_ratios=[2.6, 1])
        plane = figure.add_subplot(rows[0])
        cells = _draw_plane(plane, coverage, span, CELLS_ACROSS)
        _mark_limits(plane, circles)
        figure.colorbar(cells, ax=plane, label="flagged fraction", pad=0.02, aspect=30)
        imaged = _select_range(coverage, minuv_klambda, maxuv_klambda or reach)
        plane.set_title(_title(coverage, imaged), loc="left", fontsize=9, linespacing=1.5)
        below = rows[1]
        if is_cut and reach > MUCH_FURTHER * maxuv_klambda:
            columns = rows[1].subgridspec(1, 2, width_ratios=[1, 1.5])
            _draw_whole(figure.add_subplot(columns[0]), coverage, reach * BEYOND_DATA, circles)
            below = columns[1]
        histogram = figure.add_subplot(below)
        _draw_histogram(histogram, coverage, imaged, span)
        for limit, line in zip(circles.values(), LIMIT_LINES, strict=True):
            if limit:
                histogram.axvline(limit, linestyle=line, **_limit_style())
    return figure


def _title(coverage: UVCoverage, imaged: UVCoverage) -> str:
    """Return the title: extent of the sample, flagged fractions of it and of the imaged range."""
    sampled = "all data" if coverage.fraction > 0.999 else f"{coverage.fraction:.2g} of the time slots sampled"
    flagged = f"{coverage.flagged_fraction:.1%} flagged"
    if 0 < imaged.flagged.size < coverage.flagged.size:
        flagged += f", {imaged.flagged_fraction:.1%} of what is imaged"
    return f"{coverage.title}\n{flagged}\ncross-correlations, both conjugates; {sampled}"


def _draw_plane(axes: Axes, coverage: UVCoverage, span_klambda: float, across: int) -> PolyCollection:
    """Draw the flagged fraction in cells of the uv plane out to a distance; return the cells."""
    u, v, flagged = _thinned(_select_range(coverage, 0, span_klambda * 2**0.5))  # to the corners
    extent = (-span_klambda, span_klambda, -span_klambda, span_klambda)
    colours = LinearSegmentedColormap.from_list("flagged", [USABLE_COLOUR, "#a05195", FLAGGED_COLOUR])
    in_view = (np.abs(u) <= span_klambda) & (np.abs(v) <= span_klambda)
    cells = axes.hexbin(
        u[in_view], v[in_view], C=flagged[in_view], reduce_C_function=np.mean, extent=extent,
        gridsize=across if u.size > FEW_POINTS else min(across, FEW_CELLS_ACROSS),
        cmap=colours, vmin=0, vmax=1, linewidths=0.1, mincnt=1,
    )  # fmt: skip
    axes.set(xlim=(span_klambda, -span_klambda), ylim=(-span_klambda, span_klambda), aspect="equal")  # east is left
    axes.set(xlabel=r"$u$  (k$\lambda$)", ylabel=r"$v$  (k$\lambda$)")
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.tick_params(direction="in", top=True, right=True)
    return cells


def _mark_limits(plane: Axes, circles: Mapping[str, float]) -> None:
    """Draw the limits of the imaged uv range as circles labelled with their radius; 0: no limit."""
    lines = []
    for (name, radius), line in zip(circles.items(), LIMIT_LINES, strict=True):
        if radius:
            plane.add_patch(Circle((0, 0), radius, fill=False, linestyle=line, **_limit_style()))
            lines.append(Line2D([], [], linestyle=line, label=rf"{name} {radius:g} k$\lambda$", **_limit_style()))
    if lines:
        plane.legend(handles=lines, loc="upper right", fontsize=9, framealpha=1, borderaxespad=0.2)


def _limit_style() -> dict[str, Any]:
    """Return the style of limit lines: black with a white edge, visible on any background."""
    return {"color": "black", "linewidth": 1.3, "path_effects": [withStroke(linewidth=3, foreground="white")]}


def _draw_whole(axes: Axes, coverage: UVCoverage, span_klambda: float, circles: Mapping[str, float]) -> None:
    """Draw the whole coverage in an inset, with the imaged range as a circle."""
    _draw_plane(axes, coverage, span_klambda, SMALL_CELLS_ACROSS)
    axes.add_patch(Circle((0, 0), circles["maxuv"], fill=False, linestyle=LIMIT_LINES[1], **_limit_style()))
    axes.set_title("whole coverage", loc="left", fontsize=9)


def _draw_histogram(axes: Axes, coverage: UVCoverage, imaged: UVCoverage, span_klambda: float) -> None:
    """Draw the unflagged fraction by uv distance; bins without data stay empty."""
    edges, fraction = unflagged_by_distance(coverage, span_klambda=span_klambda)
    has_data = np.isfinite(fraction)
    widths = np.diff(edges)
    axes.bar(edges[:-1][has_data], fraction[has_data], widths[has_data], align="edge", color=USABLE_COLOUR,
             edgecolor="white", linewidth=0.4)  # fmt: skip
    if not has_data.all():
        axes.bar(edges[:-1][~has_data], np.ones((~has_data).sum()), widths[~has_data], align="edge", color="none",
                 edgecolor="#bbbbbb", hatch="///", linewidth=0, label="no baselines")  # fmt: skip
    if imaged.flagged.size:
        label = "mean" if imaged.flagged.size == coverage.flagged.size else "mean of what is imaged"
        mean = 1 - imaged.flagged_fraction
        axes.axhline(mean, color=FLAGGED_COLOUR, linewidth=1.2, linestyle="--", label=label)
    axes.set(xlim=(0, edges[-1]), ylim=(0, 1.05), xlabel=r"uv distance  (k$\lambda$)", ylabel="unflagged fraction")
    axes.grid(alpha=0.3, linewidth=0.6, axis="y")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 0.98), ncols=2, fontsize=9, frameon=False)


def plot_uv_coverage(
    coverage: UVCoverage, outfile: str | Path, minuv_klambda: float = 0.0, maxuv_klambda: float = 0.0
) -> None:
    """Write the uv coverage as PNG; it appears under its name only when complete."""
    save_figure(draw_uv_coverage(coverage, minuv_klambda, maxuv_klambda), outfile, DPI)
