"""The uv coverage of an observation: where it measured, and how much of that is flagged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.figures import STYLE, save_figure
from lofarpipe.imaging.measurement_set import read_metadata, sample_visibilities
from lofarpipe.imaging.noise import baselines_lambda, natural_weights

Floats = NDArray[np.float64]

SAMPLED_VISIBILITIES = 4_000_000  # over all sets: about 0.2 GB of flags and weights, and 10 s
DRAWN_POINTS = 1_000_000  # before conjugates
CELLS_ACROSS, FEW_CELLS_ACROSS, FEW_POINTS = 300, 150, 20_000  # so that a small set can be seen
USABLE_COLOUR, FLAGGED_COLOUR = "#1b3a6b", "#e8622c"
DISTANCE_BINS = 50
DPI = 150


@dataclass(frozen=True, eq=False)
class UVCoverage:
    """Sampled visibilities, (n,): u and v in kilo-wavelengths, and whether each cannot be used.

    ``title`` says what was sampled; ``fraction`` how much of it.
    """

    u_klambda: Floats
    v_klambda: Floats
    flagged: NDArray[np.bool_]
    title: str
    fraction: float

    @property
    def flagged_fraction(self) -> float:
        """The part of the sampled visibilities that is flagged or has no weight."""
        return float(self.flagged.mean())

    @property
    def distance_klambda(self) -> Floats:
        """Distance from the origin of the uv plane."""
        return np.hypot(self.u_klambda, self.v_klambda)


def read_uv_coverage(paths: Sequence[str]) -> UVCoverage:
    """Return the uv coverage of measurement sets together, from evenly spread time slots and all channels.

    The cost does not grow with the size of the sets. A visibility is flagged if FLAG of any correlation or FLAG_ROW is
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
    pieces, names, looked, there = [], [], 0, 0.0
    for path in paths:
        metadata = read_metadata(path)
        max_rows = max(1, SAMPLED_VISIBILITIES // len(paths) // len(metadata.frequencies_hz))
        sample = sample_visibilities(path, max_rows)
        u_lambda, v_lambda = baselines_lambda(metadata, sample)
        pieces.append(np.stack([u_lambda.ravel(), v_lambda.ravel(), (natural_weights(sample) == 0).ravel()]))
        names.append(metadata.name)
        looked, there = looked + sample.flags.size, there + sample.flags.size / sample.fraction
    u_lambda, v_lambda, flagged = np.concatenate(pieces, axis=1)
    title = names[0] if len(names) == 1 else f"{names[0]} ... {names[-1]} ({len(names)} sets)"
    return UVCoverage(u_lambda / 1e3, v_lambda / 1e3, flagged > 0, title, looked / there)


def unflagged_by_distance(coverage: UVCoverage, bins: int = DISTANCE_BINS) -> tuple[Floats, Floats]:
    """Return bin edges in kilo-wavelengths, (bins + 1,), and the unflagged fraction in each bin; NaN where empty."""
    distance = coverage.distance_klambda
    edges = np.linspace(0, float(distance.max()) * (1 + 1e-9) or 1.0, bins + 1)
    everything = np.histogram(distance, edges)[0]
    usable = np.histogram(distance[~coverage.flagged], edges)[0]
    fraction = np.divide(usable, everything, out=np.full(bins, np.nan), where=everything > 0)
    return edges, fraction


def _thinned(coverage: UVCoverage) -> tuple[Floats, Floats, Floats]:
    """Return u, v and flagged (0 or 1) of at most DRAWN_POINTS visibilities and their conjugates."""
    every = max(1, -(-coverage.flagged.size // DRAWN_POINTS))
    if every > 1:  # a random choice: a regular one would beat with the number of channels
        chosen = np.random.default_rng(1).permutation(coverage.flagged.size)[::every]
    else:
        chosen = np.arange(coverage.flagged.size)
    u, v, flagged = coverage.u_klambda[chosen], coverage.v_klambda[chosen], coverage.flagged[chosen].astype(float)
    return np.concatenate([u, -u]), np.concatenate([v, -v]), np.concatenate([flagged, flagged])


def draw_uv_coverage(coverage: UVCoverage, limits_klambda: Sequence[float] = ()) -> Figure:
    """Return the figure: the uv plane coloured by flagged fraction, and the unflagged fraction by uv distance.

    ``limits_klambda`` are the shortest and the longest baseline imaged, drawn as dashed lines.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 11.5), layout="constrained")
        FigureCanvasAgg(figure)
        plane, histogram = figure.subplots(2, 1, height_ratios=[3.2, 1])
        _draw_plane(figure, plane, coverage)
        _draw_histogram(histogram, coverage)
        for limit in limits_klambda:
            plane.add_patch(Circle((0, 0), limit, fill=False, linestyle="--", linewidth=1, edgecolor="black"))
            histogram.axvline(limit, linestyle="--", linewidth=1, color="black", label="uv range imaged")
        handles = dict(zip(*reversed(histogram.get_legend_handles_labels()), strict=True))  # one per label
        histogram.legend(handles.values(), handles.keys(), loc="lower right", fontsize=9, framealpha=1)
    return figure


def _draw_plane(figure: Figure, axes: Axes, coverage: UVCoverage) -> None:
    """Draw the uv plane, each cell with its flagged fraction."""
    u, v, flagged = _thinned(coverage)
    reach = float(coverage.distance_klambda.max()) * 1.04 or 1.0
    extent = (-reach, reach, -reach, reach)
    colours = LinearSegmentedColormap.from_list("flagged", [USABLE_COLOUR, "#a05195", FLAGGED_COLOUR])
    across = CELLS_ACROSS if u.size > FEW_POINTS else FEW_CELLS_ACROSS
    cells = axes.hexbin(
        u, v, C=flagged, reduce_C_function=np.mean, gridsize=across, extent=extent,
        cmap=colours, vmin=0, vmax=1, linewidths=0.1, mincnt=1,
    )  # fmt: skip
    axes.set(xlim=(reach, -reach), ylim=(-reach, reach), aspect="equal")  # east is left, as on the sky
    axes.set(xlabel=r"$u$  (k$\lambda$)", ylabel=r"$v$  (k$\lambda$)")
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.tick_params(direction="in", top=True, right=True)
    figure.colorbar(cells, ax=axes, label="flagged fraction", pad=0.02, aspect=30)
    sampled = "all data" if coverage.fraction > 0.999 else f"{coverage.fraction:.2g} of the time slots sampled"
    numbers = f"{coverage.flagged_fraction:.1%} flagged; cross-correlations, both conjugates; {sampled}"
    axes.set_title(f"{coverage.title}\n{numbers}", loc="left", fontsize=9.5, linespacing=1.5)


def _draw_histogram(axes: Axes, coverage: UVCoverage) -> None:
    """Draw the unflagged fraction by uv distance; bins without data stay empty, and look it."""
    edges, fraction = unflagged_by_distance(coverage)
    known = np.isfinite(fraction)
    widths = np.diff(edges)
    axes.bar(edges[:-1][known], fraction[known], widths[known], align="edge", color=USABLE_COLOUR, edgecolor="white",
             linewidth=0.4)  # fmt: skip
    axes.bar(edges[:-1][~known], np.ones((~known).sum()), widths[~known], align="edge", color="none",
             edgecolor="#bbbbbb", hatch="///", linewidth=0, label="no baselines")  # fmt: skip
    axes.axhline(1 - coverage.flagged_fraction, color=FLAGGED_COLOUR, linewidth=1.2, linestyle="--", label="mean")
    axes.set(xlim=(0, edges[-1]), ylim=(0, 1.05), xlabel=r"uv distance  (k$\lambda$)", ylabel="unflagged fraction")
    axes.grid(alpha=0.3, linewidth=0.6, axis="y")


def plot_uv_coverage(coverage: UVCoverage, outfile: str | Path, limits_klambda: Sequence[float] = ()) -> None:
    """Write the uv coverage as PNG; it appears under its name only when complete."""
    save_figure(draw_uv_coverage(coverage, limits_klambda), outfile, DPI)
