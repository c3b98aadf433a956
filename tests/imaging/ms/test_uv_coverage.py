"""The uv coverage: visibilities, flags and figures."""

from __future__ import annotations

import casacore.tables as ct
import matplotlib.image
import numpy as np
import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.ms import uv_coverage
from lofarpipe.imaging.ms.measurement_set import sample_visibilities
from lofarpipe.imaging.ms.uv_coverage import (
    UVCoverage,
    draw_uv_coverage,
    plot_uv_coverage,
    read_uv_coverage,
    unflagged_by_distance,
)
from small_sets import C_M_S, SetShape, count_reading, make_set, set_flags

SHAPE = SetShape(nantennas=5, ntimes=6, nchan=3)
ROWS, CROSS = 15 * 6, 10 * 6


def made_coverage(distances, flagged):
    distances = np.asarray(distances, float)
    return UVCoverage(distances, np.zeros_like(distances), np.asarray(flagged), "made up", 1.0)


def test_flagged_fraction_uses_flag_column(hba_set):
    """In this set 31 % of the samples are flagged, and no row."""
    with ct.table(str(hba_set), ack=False) as table:
        assert not table.getcol("FLAG_ROW").any()
    assert read_uv_coverage([str(hba_set)]).flagged_fraction == pytest.approx(0.3095, abs=1e-4)


def test_points_are_wavelengths_per_channel(tmp_path):
    path = make_set(tmp_path / "a.MS", SHAPE)
    coverage = read_uv_coverage([path])
    uvw_m = sample_visibilities(path).uvw_m
    assert len(coverage.u_klambda) == CROSS * 3
    for channel, frequency_hz in enumerate(SHAPE.frequencies_hz):
        assert coverage.u_klambda.reshape(CROSS, 3)[:, channel] == pytest.approx(
            uvw_m[:, 0] * frequency_hz / C_M_S / 1e3
        )


def test_flags_stay_with_their_points(tmp_path):
    """With several channels: flag one channel of one baseline, and find it at that baseline's place."""
    path = make_set(tmp_path / "a.MS", SHAPE)
    flags = np.zeros((ROWS, 3), bool)
    flags[1, 2] = True  # the first cross-correlation, 0-1
    set_flags(path, flags)
    coverage = read_uv_coverage([path])
    assert np.flatnonzero(coverage.flagged).tolist() == [2]
    with ct.table(path, ack=False) as table:
        u_m = table.getcell("UVW", 1)[0]
    assert coverage.u_klambda[2] == pytest.approx(u_m * SHAPE.frequencies_hz[2] / C_M_S / 1e3)


def test_zero_weights_count_as_flagged(tmp_path):
    assert read_uv_coverage([make_set(tmp_path / "a.MS", SHAPE, weight=0.0)]).flagged_fraction == 1


def test_several_sets_are_combined(tmp_path):
    paths = [make_set(tmp_path / f"{n}.MS", SetShape(**vars(SHAPE) | {"start_s": 5e9 + n * 1000})) for n in range(3)]
    coverage = read_uv_coverage(paths)
    assert len(coverage.u_klambda) == 3 * CROSS * 3
    assert coverage.title == "0.MS ... 2.MS (3 sets)"


def test_missing_sets_are_refused():
    with pytest.raises(PipelineError, match="no measurement sets given"):
        read_uv_coverage([])


def test_large_set_is_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr(uv_coverage, "SAMPLED_VISIBILITIES", 3000)
    path = make_set(tmp_path / "a.MS", SetShape(nantennas=5, ntimes=4000, nchan=3), with_uvw=False)
    reading = count_reading(monkeypatch)
    coverage = read_uv_coverage([path])
    assert 0 < reading.rows < 60_000  # of all columns together not as many as one column has
    assert len(coverage.u_klambda) < 3000
    assert coverage.fraction == pytest.approx(1 / 60, rel=0.1)


def test_histogram_equals_hand_calculation():
    coverage = made_coverage([0.5, 0.6, 1.5, 3.5, 4.0], [True, False, False, True, False])
    edges, fraction = unflagged_by_distance(coverage, bins=4)
    assert edges == pytest.approx([0, 1, 2, 3, 4])
    assert fraction[[0, 1, 3]] == pytest.approx([0.5, 1.0, 0.5])
    assert np.isnan(fraction[2])


def test_zero_length_baselines_have_a_histogram():
    edges, fraction = unflagged_by_distance(made_coverage([0.0, 0.0], [False, True]), bins=2)
    assert edges == pytest.approx([0, 0.5, 1])
    assert fraction[0] == 0.5


def test_both_conjugates_are_drawn_with_their_flags():
    plane = draw_uv_coverage(made_coverage([2.0, 5.0], [True, False])).axes[0]
    (cells,) = plane.collections
    found = {round(float(x)): float(c) for (x, _), c in zip(cells.get_offsets(), cells.get_array(), strict=True)}
    assert found == {-5: 0.0, -2: 1.0, 2: 1.0, 5: 0.0}


def test_east_is_drawn_left():
    left, right = draw_uv_coverage(made_coverage([2.0], [False])).axes[0].get_xlim()
    assert left > right


def test_many_points_are_thinned(monkeypatch):
    monkeypatch.setattr(uv_coverage, "DRAWN_POINTS", 100)
    rng = np.random.default_rng(1)
    u, _, flagged = uv_coverage._thinned(made_coverage(rng.random(10_000), rng.random(10_000) < 0.3))
    assert len(u) == 200
    assert flagged.mean() == pytest.approx(0.3, abs=0.15)


def texts_of_legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_axes_end_beyond_longest_imaged_baseline():
    figure = draw_uv_coverage(made_coverage([0.05, 1.0, 60.0], [True, False, True]), 0.08, 5.0)
    plane, _, _, histogram = figure.axes
    assert plane.get_xlim() == pytest.approx((5.6, -5.6))  # 1.12 x 5
    assert plane.get_ylim() == pytest.approx((-5.6, 5.6))
    assert histogram.get_xlim() == pytest.approx((0, 5.6))
    assert [axes.get_xlabel() for axes in (plane, histogram)] == [r"$u$  (k$\lambda$)", r"uv distance  (k$\lambda$)"]


def test_uv_limits_are_labelled_circles():
    figure = draw_uv_coverage(made_coverage([1.0, 9.0], [False, True]), 0.08, 7.0)
    plane, _, histogram = figure.axes
    assert [patch.radius for patch in plane.patches] == [0.08, 7.0]
    assert texts_of_legend(plane) == [r"minuv 0.08 k$\lambda$", r"maxuv 7 k$\lambda$"]
    lines = [line.get_xdata()[0] for line in histogram.lines if line.get_color() == "black"]
    assert lines == [0.08, 7.0]


def test_single_uv_limit_is_drawn():
    figure = draw_uv_coverage(made_coverage([1.0, 9.0], [False, True]), minuv_klambda=2.0)
    plane, _, _ = figure.axes
    assert [patch.radius for patch in plane.patches] == [2.0]
    assert texts_of_legend(plane) == [r"minuv 2 k$\lambda$"]
    assert plane.get_xlim() == pytest.approx((9.36, -9.36))  # 1.04 x 9


def test_missing_limits_draw_whole_coverage():
    plane, _, histogram = draw_uv_coverage(made_coverage([1.0, 9.0], [False, True])).axes
    assert not plane.patches
    assert plane.get_legend() is None
    assert plane.get_xlim() == pytest.approx((9.36, -9.36))
    assert texts_of_legend(histogram) == ["mean", "no baselines"]


def test_distant_limit_leaves_no_empty_rim():
    plane = draw_uv_coverage(made_coverage([1.0, 3.0], [False, True]), 0.0, 7.0).axes[0]
    assert plane.get_xlim() == pytest.approx((3.12, -3.12))  # 1.04 x 3


@pytest.mark.parametrize(("longest", "panels"), [(7.5, 0), (7.51, 1)])
def test_distant_points_add_a_panel(longest, panels):
    """That is, beyond 1.5 times the longest baseline imaged."""
    figure = draw_uv_coverage(made_coverage([1.0, longest], [False, True]), 0.0, 5.0)
    whole = [axes for axes in figure.axes if axes.get_title(loc="left") == "whole coverage"]
    assert len(whole) == panels
    for axes in whole:
        assert axes.get_xlim() == pytest.approx((1.04 * longest, -1.04 * longest))
        assert [patch.radius for patch in axes.patches] == [5.0]


def test_large_panel_excludes_distant_points():
    """With maxuv 5 that ends at 5.6; the point at 60 is in the small panel only."""
    figure = draw_uv_coverage(made_coverage([1.0, 5.2, 60.0], [False, True, True]), 0.0, 5.0)
    drawn = [sorted({round(abs(float(x))) for x, _ in axes.collections[0].get_offsets()}) for axes in figure.axes[:3:2]]
    assert drawn[0] == [1, 5]
    assert drawn[1][-1] == pytest.approx(60, abs=1.3)  # a cell: 124.8 over 100 of them


def test_thinning_keeps_points_in_view(monkeypatch):
    """Of 1000 points 10 are in view, and 100 are drawn at most."""
    monkeypatch.setattr(uv_coverage, "DRAWN_POINTS", 100)
    distances = [*np.linspace(0.5, 4.5, 10), *np.linspace(50, 60, 990)]
    plane = draw_uv_coverage(made_coverage(distances, np.zeros(1000, bool)), 0.0, 5.0).axes[0]
    assert len(plane.collections[0].get_offsets()) == 20  # with their conjugates


def test_bounded_histogram_equals_hand_calculation():
    coverage = made_coverage([0.5, 1.5, 1.6, 60.0], [False, True, False, True])
    edges, fraction = unflagged_by_distance(coverage, bins=2, span_klambda=2.0)
    assert edges == pytest.approx([0, 1, 2])
    assert fraction == pytest.approx([1.0, 0.5])


def test_title_names_flags_and_correlations():
    title = draw_uv_coverage(made_coverage([1.0, 2.0], [True, False])).axes[0].get_title(loc="left")
    assert title == "made up\n50.0% flagged\ncross-correlations, both conjugates; all data"


def test_title_separates_flags_of_imaged_data():
    """Three of five are flagged, and one of the three between 1 and 7, limits included."""
    coverage = made_coverage([0.5, 1.0, 6.0, 7.0, 9.0], [True, True, False, False, True])
    plane, _, histogram = draw_uv_coverage(coverage, 1.0, 7.0).axes
    assert plane.get_title(loc="left").splitlines()[1] == "60.0% flagged, 33.3% of what is imaged"
    (mean,) = [line for line in histogram.lines if line.get_label() == "mean of what is imaged"]
    assert mean.get_ydata()[0] == pytest.approx(2 / 3)


def test_empty_uv_range_has_no_mean():
    """Limits between which there is no baseline: the figure shows it, and no mean of nothing."""
    plane, _, histogram = draw_uv_coverage(made_coverage([1.0, 9.0], [True, False]), 6.0, 7.0).axes
    assert plane.get_title(loc="left").splitlines()[1] == "50.0% flagged"
    assert texts_of_legend(histogram) == ["no baselines"]


def test_recorded_set_is_plotted(hba_set, tmp_path):
    plot_uv_coverage(read_uv_coverage([str(hba_set)]), tmp_path / "uv.png")
    assert matplotlib.image.imread(tmp_path / "uv.png").shape[0] > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["uv.png"]
