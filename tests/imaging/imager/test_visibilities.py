"""Reading measurement sets into output channels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import casacore.tables as ct
import numpy as np
import pytest

pytest.importorskip("numba")

from lofarpipe.imaging.imager.bands import band_ranges, frequency_bins
from lofarpipe.imaging.imager.channels import Channel, GrowingArray
from lofarpipe.imaging.imager.errors import ImagerError
from lofarpipe.imaging.imager.settings import ImagerSettings
from lofarpipe.imaging.imager.visibilities import read_channels
from lofarpipe.imaging.ms.tables import MeasurementSetError
from small_sets import SetShape, add_field, change_column, keep_rows, make_set

SHAPE = SetShape(nantennas=6, ntimes=8, nchan=4, extent_m=3000.0)
CROSS = 15  # baselines


def made(path: Path, shape: SetShape = SHAPE, seed: int = 1, **options) -> str:
    """A set with random visibilities and weights; they follow from times, antennas and frequency alone."""
    name = make_set(path, shape, with_data=True, **options)
    table = ct.table(name, readonly=False, ack=False)
    rows, rng = table.nrows(), np.random.default_rng(seed)
    values = (rng.standard_normal((rows, 16, 4)) + 1j * rng.standard_normal((rows, 16, 4))).astype(np.complex64)
    first = round((shape.first_channel_hz - SHAPE.first_channel_hz) / shape.channel_width_hz)
    table.putcol("DATA", values[:, first : first + shape.nchan, : len(shape.correlations)])
    if "WEIGHT_SPECTRUM" in table.colnames():
        table.putcol("WEIGHT_SPECTRUM", np.full((rows, shape.nchan, len(shape.correlations)), 2, np.float32))
    table.close()
    return name


def settings(*sets: str, **options) -> ImagerSettings:
    given = {"size": (64, 64), "cell_rad": 1e-4, "weighting": "natural", "averaging_loss": 0.0, "padding": 40.0}
    return ImagerSettings(name="a", sets=sets, **given | options)


def total(channels: list[Channel]) -> tuple[int, float]:
    return sum(one.count for one in channels), sum(one.weight_sum for one in channels)


def assert_same(one: list[Channel], other: list[Channel]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a.vis[0], b.vis[0], rtol=1e-6)
        np.testing.assert_allclose(a.weights, b.weights, rtol=1e-6)
        np.testing.assert_allclose(a.vuw_m, b.vuw_m, rtol=1e-12)


@pytest.fixture(scope="module")
def one_set(tmp_path_factory):
    return made(tmp_path_factory.mktemp("set") / "a.ms")


def test_all_cross_correlations_are_read(one_set):
    channels = read_channels(settings(one_set, channels_out=2))
    assert total(channels) == (CROSS * 8 * 4, pytest.approx(CROSS * 8 * 4 * 4.0))  # 4: the weight of two of 2
    assert [len(one.frequencies_hz) for one in channels] == [2, 2]
    assert channels[0].band.high_hz == pytest.approx(channels[1].band.low_hz)
    assert channels[0].effective_count == pytest.approx(CROSS * 8 * 2)
    with ct.table(one_set, ack=False) as table, table.query("ANTENNA1!=ANTENNA2") as rows:
        data, uvw_m = rows.getcol("DATA"), rows.getcol("UVW")
    np.testing.assert_allclose(channels[0].vis[0], (data[:, :2, 0] + data[:, :2, 3]) / 2, rtol=1e-6)
    np.testing.assert_allclose(channels[0].vuw_m, uvw_m[:, [1, 0, 2]])


def test_averaging_keeps_sum_of_weights(one_set):
    plain, averaged = (read_channels(settings(one_set, averaging_loss=loss)) for loss in (0.0, 0.2))
    assert averaged[0].count < plain[0].count / 2
    assert averaged[0].weight_sum == pytest.approx(plain[0].weight_sum, rel=1e-5)


def test_channels_are_averaged_on_request(one_set):
    given = {"averaging_loss": 0.05, "max_uv_lambda": 300.0}
    plain, averaged = (read_channels(settings(one_set, average_channels=one, **given))[0] for one in (False, True))
    assert (len(plain.frequencies_hz), len(averaged.frequencies_hz)) == (4, 1)
    np.testing.assert_allclose(averaged.frequencies_hz, plain.frequencies_hz.mean())
    np.testing.assert_allclose(averaged.vis[0][:, 0], plain.vis[0].mean(axis=1), atol=1e-5)


def test_row_order_does_not_matter(tmp_path, one_set):
    shuffled = made(tmp_path / "b.ms")
    with ct.table(shuffled, ack=False) as table:
        rows = table.nrows()
    keep_rows(shuffled, np.random.default_rng(1).permutation(rows))
    expected, channels = (read_channels(settings(name, averaging_loss=0.1)) for name in (one_set, shuffled))
    order = [np.lexsort(one[0].vuw_m.T) for one in (expected, channels)]
    np.testing.assert_allclose(channels[0].vis[0][order[1]], expected[0].vis[0][order[0]], rtol=1e-4, atol=1e-5)


def flag_sample(name):
    change_column(name, "FLAG", lambda flags: np.where(np.arange(flags.shape[2]) == 3, True, flags))


def flag_rows(name):
    change_column(name, "FLAG_ROW", lambda flags: np.arange(len(flags)) % 2 == 1)


def weigh_first(weight):
    def change(name):
        change_column(name, "WEIGHT_SPECTRUM", lambda weights: _changed(weights, weight))

    return change


def _changed(values, value):
    values[:, 0] = value
    return values


def spoil_data(name):
    change_column(name, "DATA", lambda values: _changed(values, np.nan))


def spoil_uvw(name):
    change_column(name, "UVW", lambda values: np.where(np.arange(len(values))[:, None] % 2 == 0, np.nan, values))


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (flag_rows, 60), (weigh_first(-1), 90), (weigh_first(0), 90), (weigh_first(np.nan), 90),
        (weigh_first(np.inf), 90), (spoil_data, 90), (spoil_uvw, 60),
    ],
)  # fmt: skip
def test_unusable_samples_are_dropped(tmp_path, spoil, part):
    """Of 2 slots with 15 baselines and 4 channels: 120; one channel, or every other row, is spoilt."""
    name = made(tmp_path / "a.ms", replace(SHAPE, ntimes=2))
    spoil(name)
    channels = read_channels(settings(name))
    assert channels[0].count == pytest.approx(part, abs=4)  # autocorrelations are among the rows
    assert np.isfinite(channels[0].vis[0]).all()


def test_all_flagged_is_refused(tmp_path):
    name = made(tmp_path / "a.ms")
    flag_sample(name)
    with pytest.raises(ImagerError, match=r"a\.ms: no visibility can be used: all are flagged"):
        read_channels(settings(name))


def test_weight_stands_in_for_weight_spectrum(tmp_path):
    name = made(tmp_path / "a.ms", with_spectrum=False)
    change_column(name, "WEIGHT", lambda weights: np.full_like(weights, 3.0))
    assert read_channels(settings(name))[0].weights.max() == 6


def test_falling_frequencies_are_reversed(tmp_path, one_set):
    name = made(tmp_path / "a.ms")
    for table, column in ((name, "DATA"), (f"{name}/SPECTRAL_WINDOW", "CHAN_FREQ")):
        change_column(table, column, lambda values: np.ascontiguousarray(values[:, ::-1]))
    assert_same(read_channels(settings(name, channels_out=2)), read_channels(settings(one_set, channels_out=2)))


@pytest.fixture(scope="module")
def subbands(tmp_path_factory):
    """Two sets with the halves of the channels, and one with all."""
    place = tmp_path_factory.mktemp("subbands")
    upper_hz = SHAPE.first_channel_hz + 4 * SHAPE.channel_width_hz
    halves = [made(place / "low.ms"), made(place / "high.ms", replace(SHAPE, first_channel_hz=upper_hz))]
    return halves, made(place / "all.ms", replace(SHAPE, nchan=8))


@pytest.mark.parametrize("channels_out", [1, 2, 4])
@pytest.mark.parametrize("turn", [1, -1])
def test_subbands_are_read_side_by_side(subbands, channels_out, turn):
    halves, whole = subbands
    channels = read_channels(settings(*halves[::turn], channels_out=channels_out, averaging_loss=0.05))
    assert_same(channels, read_channels(settings(whole, channels_out=channels_out, averaging_loss=0.05)))


def test_subbands_with_different_rows_share_channel(tmp_path, subbands):
    halves, _whole = subbands
    shifted = made(tmp_path / "high.ms", replace(SHAPE, first_channel_hz=SHAPE.first_channel_hz + 4 * 24414.0625))
    with ct.table(shifted, ack=False) as table:
        rows = table.nrows()
    keep_rows(shifted, range(21, rows))  # without the first slot
    channels = read_channels(settings(halves[0], shifted))
    assert len(channels[0].frequencies_hz) == 1
    expected = read_channels(settings(*halves))[0]
    assert channels[0].count == expected.count - CROSS * 4
    # One row per visibility: u in wavelengths is that of the channel it comes from.
    first_m, first_hz = expected.vuw_m[0], expected.frequencies_hz
    np.testing.assert_allclose(channels[0].vuw_m[:4] * channels[0].frequencies_hz, first_m * first_hz[:4, None])
    np.testing.assert_allclose(channels[0].vis[0][:4, 0], expected.vis[0][0, :4])


def test_blocks_in_time_follow_each_other(tmp_path, one_set):
    later = made(tmp_path / "later.ms", replace(SHAPE, start_s=SHAPE.start_s + 3600), seed=2)
    channels = read_channels(settings(one_set, later, averaging_loss=0.05))
    alone = [read_channels(settings(name, averaging_loss=0.05))[0] for name in (one_set, later)]
    assert channels[0].vis[0].shape[1] == 4
    np.testing.assert_allclose(channels[0].vis[0], np.concatenate([one.vis[0] for one in alone]))


def test_repeated_set_has_double_weight(one_set):
    assert total(read_channels(settings(one_set, one_set)))[1] == 2 * total(read_channels(settings(one_set)))[1]


def test_spectral_windows_are_read_separately(tmp_path, subbands):
    halves, whole = subbands
    name = made(tmp_path / "a.ms")
    with ct.table(halves[1], ack=False) as other, ct.table(name, readonly=False, ack=False) as table:
        first = table.nrows()
        other.copyrows(table, startrowout=-1)
        table.putcol("DATA_DESC_ID", np.full(first, 1, np.int32), first, first)
    for sub in ("SPECTRAL_WINDOW", "DATA_DESCRIPTION"):
        with (
            ct.table(f"{halves[1]}/{sub}", ack=False) as other,
            ct.table(f"{name}/{sub}", readonly=False, ack=False) as to,
        ):
            other.copyrows(to, startrowout=-1)
    change_column(f"{name}/DATA_DESCRIPTION", "SPECTRAL_WINDOW_ID", lambda ids: np.arange(len(ids), dtype=np.int32))
    assert_same(read_channels(settings(name)), read_channels(settings(whole)))


@pytest.mark.parametrize("shape", [replace(SHAPE, ntimes=1), replace(SHAPE, nantennas=2), replace(SHAPE, nchan=1)])
def test_smallest_sets_are_read(tmp_path, shape):
    """One slot, one baseline, one channel; with an INTERVAL of 0."""
    name = made(tmp_path / "a.ms", shape)
    change_column(name, "INTERVAL", np.zeros_like)
    pairs = shape.nantennas * (shape.nantennas - 1) // 2
    assert read_channels(settings(name))[0].count == pairs * shape.ntimes * shape.nchan


def test_arrays_can_be_in_files(tmp_path, subbands):
    halves, _ = subbands
    in_files = read_channels(settings(*halves, channels_out=2), tmp_path)
    assert_same(in_files, read_channels(settings(*halves, channels_out=2)))
    assert isinstance(in_files[0].vis[0], np.memmap)
    assert sorted(path.name for path in tmp_path.iterdir())[:3] == ["0000-0-uvw", "0000-0-vis0", "0000-0-weights"]


def test_growing_array_may_stay_empty(tmp_path):
    assert GrowingArray((3,), np.float32, tmp_path / "a").finish().shape == (0, 3)


def test_field_of_several_is_chosen(tmp_path, one_set):
    name = made(tmp_path / "a.ms")
    add_field(name, "other", 0.01)
    change_column(name, "FIELD_ID", lambda ids: (np.arange(len(ids)) >= 84).astype(np.int32))  # the last 4 slots
    assert total(read_channels(settings(name, field_id=1)))[0] == CROSS * 4 * 4
    with pytest.raises(ImagerError, match="has no field 2; its fields are 0 to 1"):
        read_channels(settings(name, field_id=2))
    with pytest.raises(ImagerError, match=r"its phase centre is 57\.29\d+ \+52\.\d+ deg, that of .*a\.ms 57\.29"):
        read_channels(settings(one_set, made(tmp_path / "b.ms", replace(SHAPE, dec_rad=0.91))))


def test_calibrated_column_is_preferred(tmp_path, one_set):
    name = made(tmp_path / "a.ms")
    with ct.table(name, readonly=False, ack=False) as table:
        table.addcols(ct.makearrcoldesc("CORRECTED_DATA", 0j, 2, [4, 4], valuetype="complex"))
        table.putcol("CORRECTED_DATA", 3 * table.getcol("DATA"))
    calibrated, recorded = (read_channels(settings(name, column=column))[0].vis[0] for column in ("", "DATA"))
    np.testing.assert_allclose(calibrated, 3 * recorded, rtol=1e-5)
    np.testing.assert_allclose(read_channels(settings(name, one_set))[0].vis[0][: len(recorded)], recorded)
    with pytest.raises(MeasurementSetError, match=r"has no column MODEL of visibilities; it has CORRECTED_DATA, DATA"):
        read_channels(settings(name, column="MODEL"))


def test_set_without_parameter_is_refused(tmp_path):
    name = made(tmp_path / "a.ms", replace(SHAPE, correlations=(9, 12)))
    assert read_channels(settings(name, pol=("I", "Q")))[0].count == CROSS * 8 * 4
    with pytest.raises(ImagerError, match=r"Stokes U cannot be made of its correlations XX, YY; leave it out of pol"):
        read_channels(settings(name, pol=("I", "U")))


def test_wrong_frequencies_are_refused(tmp_path):
    name = made(tmp_path / "a.ms")
    change_column(f"{name}/SPECTRAL_WINDOW", "CHAN_FREQ", lambda values: 0 * values)
    with pytest.raises(ImagerError, match="CHAN_FREQ is not positive everywhere"):
        read_channels(settings(name))


def test_band_is_divided_by_channel_index():
    ranges = band_ranges([np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 5.0])], [np.ones(3)] * 2, 2)
    assert [one.frequencies_hz for one in ranges] == [(1.0, 2.0), (3.0, 4.0, 5.0)]
    assert (ranges[1].low_hz, ranges[1].high_hz) == (2.5, 5.5)
    assert ranges[0].columns(np.array([2.0, 2.5, 4.0])) == slice(0, 1)
    with pytest.raises(ImagerError, match="channels_out is 6, and the sets have 5 channels"):
        band_ranges([np.arange(1.0, 6.0)], [np.ones(5)], 6)


def test_empty_list_of_sets_is_refused():
    with pytest.raises(ImagerError, match="sets is empty"):
        read_channels(settings())


def test_bins_are_neighbours_of_one_output_channel():
    frequencies_hz = 140e6 + 1e5 * np.array([0, 1, 2, 3, 4, 8, 9, 10])  # a gap behind the fifth
    widths_hz = np.full(8, 1e5)
    bands = band_ranges([frequencies_hz], [widths_hz], 2)  # 0 to 3, and 4 to 7
    bins, means_hz, spreads_hz = frequency_bins(frequencies_hz, widths_hz, bands, 3)
    assert bins.tolist() == [0, 0, 0, 1, 2, 3, 3, 3]
    np.testing.assert_allclose(means_hz, 140e6 + 1e5 * np.array([1, 3, 4, 9]))
    np.testing.assert_allclose(spreads_hz, 1e5 * np.sqrt([2 / 3, 0, 0, 2 / 3]), atol=1)
    assert frequency_bins(frequencies_hz, widths_hz, bands, 1)[0].tolist() == list(range(8))
