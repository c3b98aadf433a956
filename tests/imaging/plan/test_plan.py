"""The imaging plan: decisions and reasons."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from lofarpipe.imaging.beam.width import FieldBeam
from lofarpipe.imaging.ms.measurement_set import read_metadata
from lofarpipe.imaging.ms.tables import MeasurementSetError
from lofarpipe.imaging.plan.losses import LossAt
from lofarpipe.imaging.plan.options import PlanError, PlanOptions
from lofarpipe.imaging.plan.plan import group_observation, make_plan, weight_bits
from lofarpipe.imaging.plan.report import (
    MAP_SUFFIXES,
    map_payloads,
    plan_as_dict,
    plan_quantities,
    write_json,
    write_maps,
)
from lofarpipe.imaging.plan.sizes import FieldWidth, field_angles, image_sizes
from lofarpipe.imaging.plan.smearing import PeakLoss, peak_limits, worst_limits
from small_sets import SetShape, make_set

BEAM = FieldBeam(4.0, 5.0, "everybeam", "made up")
CELL_DEG = 0.01  # images of some hundred pixels
OPTIONS = PlanOptions(cellsize_highres_deg=CELL_DEG, cellsize_lowres_deg=0.05)


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """Two subbands at two times: 4 sets, given in disorder."""
    folder = tmp_path_factory.mktemp("field")
    sets = []
    for name, first_hz, start_s in (
        ("b2", 148e6, 5.0e9 + 600),
        ("a1", 144e6, 5.0e9),
        ("b1", 148e6, 5.0e9),
        ("a2", 144e6, 5.0e9 + 600),
    ):
        shape = SetShape(first_channel_hz=first_hz, start_s=start_s, ntimes=60, timestep_s=1.0)
        sets.append(read_metadata(make_set(folder / f"{name}.MS", shape)))
    return sets


@pytest.fixture(scope="module")
def plan(field):
    return make_plan(group_observation(field), BEAM, OPTIONS)


def besides_the_cell(plan):
    """Return the warnings without those on the width of the pixels, which is chosen here for small images."""
    return [text for text in plan.warnings if not text.startswith("cellsize_highres_deg")]


def names(text_or_path):
    return [part.rsplit("/", 1)[-1] for part in text_or_path.strip("[]").split(",")]


@pytest.mark.parametrize(
    ("widths", "says"),
    [
        (0.99, "pixels wide, and cleaning wants at least 3; make it smaller"),
        (1.01, "wider than half the fringe of the longest baseline"),
        (0.1, ""),
    ],
)
def test_too_wide_pixels_give_a_warning(field, plan, widths, says):
    half_fringe_deg = math.degrees(0.5 / plan.predictor.sample.longest_lambda)
    options = PlanOptions(cellsize_highres_deg=widths * half_fringe_deg, cellsize_lowres_deg=0.05)
    found = [
        text for text in make_plan(group_observation(field), BEAM, options).warnings if "cellsize_highres_deg" in text
    ]
    assert len(found) == bool(says)
    assert says in "".join(found)
    if says.startswith("wider"):
        assert f"{half_fringe_deg:.3g} deg, so that fine structure is lost" in found[0]


def test_observation_is_sorted(field):
    seen = group_observation(field)
    assert [[one.name for one in group] for group in seen.groups] == [["a1.MS", "a2.MS"], ["b2.MS", "b1.MS"]]
    assert [[one.name for one in block] for block in seen.blocks] == [["a1.MS", "b1.MS"], ["a2.MS", "b2.MS"]]
    assert seen.lowest_hz == pytest.approx(144e6 - 24414.0625 / 2)
    assert seen.lowest_channel_hz == pytest.approx(144e6)
    assert seen.highest_hz == pytest.approx(148e6 + 7.5 * 24414.0625)


def test_missing_and_incompatible_sets_are_refused(field, tmp_path):
    with pytest.raises(PlanError, match="no measurement sets were given"):
        group_observation([])
    other = read_metadata(make_set(tmp_path / "other.MS", SetShape(nchan=4, ntimes=2, timestep_s=1.0)))
    with pytest.raises(PlanError, match=r"other.MS: has 4 channels"):
        group_observation([*field, other])
    with pytest.raises(MeasurementSetError, match="covers the same time and frequency"):
        group_observation([*field, field[0]])


def test_sizes_follow_both_beam_axes():
    width = FieldWidth(4.0, 5.0, 144e6)
    options = PlanOptions(cellsize_highres_deg=CELL_DEG, gridder="wgridder", image_padding=1.2)
    sizes = image_sizes(width, options)
    assert sizes.high == (600, 750)  # 1.5 * 4 / 0.01, 1.5 * 5 / 0.01
    assert sizes.high_padded == (720, 900)
    assert image_sizes(width, PlanOptions(cellsize_highres_deg=CELL_DEG)).high == (750, 750)  # auto may be IDG
    assert width.at(288e6) == FieldWidth(2.0, 2.5, 288e6)


def test_stretch_makes_rectangle_except_for_idg():
    width = FieldWidth(4.0, 4.0, 144e6)
    for gridder, size in (("auto", (600, 720)), ("wgridder", (600, 720)), ("idg", (600, 600))):
        options = PlanOptions(cellsize_highres_deg=CELL_DEG, gridder=gridder, y_axis_stretch=1.2)
        assert image_sizes(width, options).high == size


@pytest.mark.parametrize("averaging", ["physics", "historical"])
@pytest.mark.parametrize(("gridder", "side"), [("auto", 16), ("idg", 128)])
def test_smallest_fields_have_minimum_size(averaging, gridder, side):
    narrow = {"cellsize_highres_deg": 1.0, "fieldsize_highres": 0.01, "y_axis_stretch": 0.1}
    sizes = image_sizes(FieldWidth(4.0, 4.0, 144e6), PlanOptions(**narrow, averaging=averaging, gridder=gridder))
    assert sizes.high == (side, side)
    assert min(sizes.high_padded) == side


def test_angles_reach_edge_and_corner():
    angles = field_angles((600, 400), CELL_DEG, FieldWidth(4.0, 1.0, 144e6))
    assert math.degrees(angles.half_power_rad) == pytest.approx(1.0)
    assert math.degrees(angles.edge_rad) == pytest.approx(3.0, rel=1e-3)
    assert math.degrees(angles.corner_rad) == pytest.approx(3.6056, rel=1e-3)
    with pytest.raises(PlanError, match="wider than the sky"):
        field_angles((600, 600), 1.0, FieldWidth(4.0, 1.0, 144e6))


def test_criterion_determines_averaging_limits(field):
    for criterion, make_limits in (("peak", peak_limits), ("worst", worst_limits)):
        options = PlanOptions(cellsize_highres_deg=CELL_DEG, smearing_criterion=criterion)
        plan = make_plan(group_observation(field), BEAM, options)
        lengths = plan.predictor.baselines
        length = lengths.rms_uniform_lambda if criterion == "peak" else lengths.max_lambda
        expected = make_limits(0.05, plan.angles.edge_rad, plan.predictor.frequency_hz, length)
        assert plan.limits.channel_width_hz == pytest.approx(expected.channel_width_hz)
        assert plan.freqstep_hz <= plan.limits.channel_width_hz
        assert plan.timestep_s <= plan.limits.timestep_s
    assert plan.losses["image_edge"].worst_baseline <= 0.05  # the strict criterion: no baseline loses more


def test_time_limit_shortens_near_equator(tmp_path):
    shape = SetShape(ntimes=20, timestep_s=1.0, dec_rad=math.radians(5))
    plan = make_plan(group_observation([read_metadata(make_set(tmp_path / "low.MS", shape))]), BEAM, OPTIONS)
    length = plan.predictor.baselines.rms_uniform_lambda
    polar = peak_limits(0.05, plan.angles.edge_rad, plan.predictor.frequency_hz, length)
    assert plan.limits.timestep_s == pytest.approx(polar.timestep_s / math.sqrt(1.3))


def test_added_loss_is_ratio_of_peaks():
    given, averaged = PeakLoss(0.1, 0, 0.10, 0.10), PeakLoss(0.28, 0, 0.28, 0.28)
    assert LossAt(0.1, given, averaged, averaged, 0.5).added == pytest.approx(0.2)  # 0.72 / 0.90 = 0.8


def test_worst_criterion_averages_less(field):
    peak, worst = (
        make_plan(
            group_observation(field), BEAM, PlanOptions(cellsize_highres_deg=CELL_DEG, smearing_criterion=criterion)
        )
        for criterion in ("peak", "worst")
    )
    assert worst.freqstep_hz < peak.freqstep_hz
    assert worst.timestep_s < peak.timestep_s
    assert worst.losses["image_edge"].averaged.total < peak.losses["image_edge"].averaged.total


def test_losses_grow_outward_within_limit(plan):
    half, edge, corner = (plan.losses[place] for place in ("half_fwhm", "image_edge", "image_corner"))
    assert 0 < half.averaged.total < edge.averaged.total < corner.averaged.total
    assert edge.averaged.worst_angle <= 0.05
    assert 0 < edge.unaveraged.total < edge.averaged.total
    assert edge.added == pytest.approx(edge.averaged.total - edge.unaveraged.total, rel=0.1)
    assert besides_the_cell(plan) == []


def test_coarse_input_warns_and_stays_unaveraged(tmp_path):
    shape = SetShape(ntimes=20, timestep_s=60.0, channel_width_hz=500e3, nchan=4)
    plan = make_plan(group_observation([read_metadata(make_set(tmp_path / "coarse.MS", shape))]), BEAM, OPTIONS)
    assert (plan.steps.frequency.step, plan.steps.time.step) == (1, 1)
    channels, slots = besides_the_cell(plan)
    lost = f"{plan.losses['image_edge'].unaveraged.total:.2%}"
    assert "channels of the input are wider than the smearing limit" in channels
    assert "60.0000 s are beyond the limit" in slots
    assert lost in channels
    assert lost in slots


def test_coarse_axis_restricts_both_axes(tmp_path):
    """Channels of 200 kHz use up all that may be lost, so that times are not averaged either."""
    shape = SetShape(ntimes=60, timestep_s=1.0, channel_width_hz=400e3, nchan=4)
    plan = make_plan(group_observation([read_metadata(make_set(tmp_path / "wide.MS", shape))]), BEAM, OPTIONS)
    assert (plan.steps.frequency.step, plan.steps.time.step) == (1, 1)
    assert "less than the limit allows" in plan.steps.time.reason
    assert len(besides_the_cell(plan)) == 1


def test_predicted_loss_reduces_averaging(field, monkeypatch):
    """With limits far too wide the predicted loss still decides, in both axes."""
    from lofarpipe.imaging.plan.losses import LossPredictor
    from lofarpipe.imaging.plan.smearing import AveragingLimits

    monkeypatch.setattr(LossPredictor, "limits", lambda *_: AveragingLimits(195312.5, 20.0))
    plan = make_plan(group_observation(field), BEAM, OPTIONS)
    assert plan.losses["image_edge"].averaged.worst_angle <= 0.05
    assert 1 <= plan.steps.frequency.step < 8
    assert 1 <= plan.steps.time.step < 20
    assert "would lose up to" in plan.steps.frequency.reason


def test_historical_rules_are_reproduced(field):
    options = PlanOptions(averaging="historical", cellsize_highres_deg=CELL_DEG, cellsize_lowres_deg=0.05)
    plan = make_plan(group_observation(field), FieldBeam(0, 0, "formula", "-"), options, math.radians(60))
    fwhm_deg = math.degrees(1.1 * 3e8 / field[1].ref_frequency_hz / 31.0) / math.sin(math.radians(60))
    assert plan.width.x_deg == pytest.approx(fwhm_deg)
    assert plan.sizes[0].high == (750, 750)  # 1.5 * 4.877 / 0.01 = 731
    assert (plan.freqstep_hz, plan.timestep_s, plan.channels_out) == (195312.5, 16.0, 2)
    assert "more than the 5.00% of max_peak_smearing" in plan.warnings[0]
    assert "historical" in plan.warnings[-1]
    assert "for information, not applied" in {q.name: q.reason for q in plan_quantities(plan)}["timestep_limit_s"]


@pytest.mark.parametrize("averaging", ["physics", "historical"])
def test_channels_out_option_is_bounded_by_channels(field, averaging):
    given = dataclasses.replace(OPTIONS, averaging=averaging)
    for wanted in (1, 2, 4):
        made = make_plan(group_observation(field), BEAM, dataclasses.replace(given, channels_out=wanted))
        assert made.channels_out == wanted <= made.averaged_channels or averaging == "historical"
    with pytest.raises(PlanError, match=r"channels_out: is 99, and \d+ channels are left after averaging"):
        make_plan(group_observation(field), BEAM, dataclasses.replace(given, channels_out=99))


@pytest.mark.parametrize(
    ("channels_out", "gridder", "is_warned"),
    [(1, "idg", True), (1, "wgridder", False), (2, "auto", False), (0, "idg", False)],
)
def test_wide_channels_warn_with_idg(plan, channels_out, gridder, is_warned):
    wide = dataclasses.replace(plan.observation, lowest_hz=130e6, highest_hz=160e6)  # ln(160 / 130) = 0.208
    options = dataclasses.replace(OPTIONS, channels_out=channels_out, gridder=gridder)
    changed = dataclasses.replace(plan, observation=wide, options=options, channels_out=channels_out or 4)
    found = [text for text in changed.warnings if text.startswith("channels_out = 1 makes output channels 21% wide")]
    assert bool(found) is is_warned


def test_historical_rules_need_a_diameter(tmp_path):
    one = read_metadata(make_set(tmp_path / "a.MS", SetShape(ntimes=4, dish_diameter_m=0.0)))
    with pytest.raises(ValueError, match="DISH_DIAMETER must be positive"):
        make_plan(group_observation([one]), BEAM, PlanOptions(averaging="historical"))
    given = PlanOptions(averaging="historical", station_diameter_m=31.0, cellsize_highres_deg=CELL_DEG)
    assert make_plan(group_observation([one]), BEAM, given).width.x_deg > 4


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        (PlanOptions(gridder="idg", y_axis_stretch=1.2), "IDG makes square images only"),
        (PlanOptions(gridder="auto", y_axis_stretch=1.2), "which IDG refuses"),
    ],
)
def test_idg_and_stretch_give_warnings(field, options, warning):
    (text,) = besides_the_cell(make_plan(group_observation(field[:1]), BEAM, options))
    assert warning in text


def test_formula_beam_gives_a_warning(field):
    beam = FieldBeam(4, 4, "formula", "1.09 wavelength / 30.75 m")
    (text,) = besides_the_cell(make_plan(group_observation(field[:1]), beam, OPTIONS))
    assert text == "the width of the beam is by formula, not measured: 1.09 wavelength / 30.75 m"


def test_plan_gives_every_map(plan):
    payloads = map_payloads(plan)
    assert list(map(names, payloads["groupmap"])) == [["a1.MS", "a2.MS"], ["b2.MS", "b1.MS"]]
    assert list(map(names, payloads["timegroups"])) == [["a1.MS", "b1.MS"], ["a2.MS", "b2.MS"]]
    assert [names(text)[0] for text in payloads["single_mapfile"]] == ["a1.MS", "a2.MS", "b2.MS", "b1.MS"]
    assert payloads["freqstep"] == [repr(plan.freqstep_hz)] * 4
    assert payloads["timestep"] == [repr(plan.timestep_s)] * 4
    assert payloads["high_size_mapfile"] == ["750 750", "750 750"]  # 730 pixels at 148 MHz
    assert payloads["deep_high_size_mapfile"] == ["750 750"]
    assert payloads["low_size_mapfile"] == ["672 672", "640 640"]  # 6.5 * 5 / 0.05 = 650 at 144 MHz, 632 at 148
    assert payloads["deep_low_size_mapfile"] == ["672 672"]
    assert (payloads["nbands"], payloads["nchansout_clean1"]) == (["0"], ["2"])
    assert set(payloads) == set(MAP_SUFFIXES)


def test_maps_are_written(plan, tmp_path):
    from lofarpipe.support.data_map import DataMap

    written = write_maps(plan, tmp_path / "do_magic.datamap")
    assert set(written) == set(MAP_SUFFIXES)
    (product,) = DataMap.load(written["deep_high_size_mapfile"]).data
    assert (product.host, product.file, product.skip) == ("localhost", "750 750", False)
    assert written["deep_high_padsize_mapfile"].endswith("do_magic.datamap_deep_high_padded_size")
    assert len(DataMap.load(written["single_mapfile"]).data) == 4
    assert len(DataMap.load(written["groupmap"]).data) == 2


def test_quantities_have_source_and_reason(plan):
    quantities = list(plan_quantities(plan))
    assert len({quantity.name for quantity in quantities}) == len(quantities) > 20
    for quantity in quantities:
        assert quantity.source, quantity.name
        assert quantity.reason, quantity.name
        for ending, unit in (("_hz", "Hz"), ("_deg", "deg"), ("_s", "s"), ("_lambda", "wavelengths")):
            assert not quantity.name.endswith(ending) or quantity.unit == unit


def test_plan_is_written_as_json(plan, tmp_path):
    path = tmp_path / "plan.json"
    path.write_text("an older plan")
    write_json(plan, path)
    read = json.loads(path.read_text())
    assert read == json.loads(json.dumps(plan_as_dict(plan)))
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.json"]
    assert read["quantities"]["freqstep_hz"]["value"] == plan.freqstep_hz
    assert read["quantities"]["freqstep_hz"]["unit"] == "Hz"
    edge = read["predicted_loss"]["image_edge"]
    assert edge["averaged"]["total"] == pytest.approx(plan.losses["image_edge"].averaged.total, abs=1e-6)
    assert set(edge) >= {"distance_deg", "input", "added_by_averaging", "closed_form_total", "worst_baseline"}
    assert max(map(len, path.read_text().splitlines())) < 800  # one line for each number


@pytest.mark.parametrize(
    ("weights", "timestep_s", "bits", "reason"),
    [
        ({"a": (0.5, 1.0)}, 10.0, 12, "the highest weight is 2 times the low ones; rounding changes these by 1.3 %"),
        ({"a": (0.5, 1.0), "b": (5.0, 60.0)}, 10.0, 16, "the highest weight is 120 times the low ones; rounding"),
        ({"a": (1.0, 1.0), "b": (1e4, 1e4)}, 10.0, 0, "the highest weight is 1e+04 times the low ones, which Dysco"),
        ({"a": (0.0, 0.0), "b": (1.0, 1.0)}, 10.0, 12, "the highest weight is 1 times"),
        ({}, 10.0, 12, "the highest weight is 1 times"),
        ({}, 200.0, 0, "one time slot, whose weights Dysco cannot hold"),
    ],
)
def test_weight_bits_follow_data(tmp_path, weights, timestep_s, bits, reason):
    one = read_metadata(make_set(tmp_path / "a.MS", SetShape(nantennas=3, ntimes=20)))
    found = weight_bits([dataclasses.replace(one, path=name) for name in ("a", "b")], timestep_s, weights)
    assert found[0] == bits
    assert found[1].startswith(reason)
