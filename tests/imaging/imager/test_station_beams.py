"""Bright sources with the stations' own beams: beams by hand, on visibilities of one source."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ducc0")

from imager_runs import make_set, pixel_source, run_settings
from lofarpipe.imaging.imager.averaging import Chunk
from lofarpipe.imaging.imager.beam_times import BeamTimes, list_beam_times
from lofarpipe.imaging.imager.channels import Channel
from lofarpipe.imaging.imager.errors import ImagerError
from lofarpipe.imaging.imager.run import image_sets
from lofarpipe.imaging.imager.sets import join_channels, read_sources
from lofarpipe.imaging.imager.station_beams import StationResponses, bright_sources, frequency_nodes, phase_rates
from small_sets import SetShape, uvw_at
from uv_samples import Field, Source, make_channel, make_gridder, phase

FIELD = Field(rows=600, channels=1)
BRIGHT, FAINT = Source(40, 50, 6.0), Source(90, 100, 0.5)
CENTRE_RAD = (1.0, 0.9)
TIMES = BeamTimes("a.ms", 0, np.array([0.0, 300.0, 600.0]))
DEC_RAD = CENTRE_RAD[1]


def gains(time_s: float, frequency_hz: float) -> np.ndarray:
    """Gains of two stations towards the source: one is steady, the other changes with time and frequency."""
    return np.array([1.0, 0.6 + 0.2j + 4e-4 * time_s - 2e-9 * (frequency_hz - 140e6)])


def hand_made_jones(path, time_s, frequency_hz, direction_rad):
    assert path == "a.ms"
    return (gains(time_s, frequency_hz)[:, None, None] * np.eye(2)).astype(np.complex64)


@pytest.fixture(scope="module")
def times_s():
    return np.random.default_rng(1).uniform(0, 600, FIELD.rows)


def seen_channel(times_s, spreads_s=0.0, spread_hz=0.0) -> Channel:
    """A channel of baselines 0-1 and 0-0, which see the bright source through their beams."""
    channel = make_channel(FIELD, [FAINT])
    pairs = np.array([[0, 1], [0, 0]])
    baselines = np.arange(FIELD.rows) % 2
    chunk = Chunk(None, None, None, baselines, times_s, np.full(FIELD.rows, spreads_s))
    channel.origins = TIMES.origins(chunk, pairs, spread_hz)
    beams = np.array(
        [
            [g[0] * np.conj(g[pairs[b, 1]]) for g in (gains(t, f) for f in channel.frequencies_hz)]
            for b, t in zip(baselines, times_s, strict=True)
        ]
    )
    uvw_m = channel.vuw_m[:, [1, 0, 2]]
    channel.vis[0] += (BRIGHT.flux_jy * beams * phase(FIELD, BRIGHT, uvw_m, channel.frequencies_hz)).astype("c8")
    return channel


def responses(channel: Channel, limit_jy: float = 2.0) -> StationResponses:
    gridder = make_gridder(FIELD, [channel])
    return StationResponses([channel], gridder, [TIMES], CENTRE_RAD, limit_jy, hand_made_jones)


def apparent_model(channel: Channel) -> np.ndarray:
    """The model of apparent fluxes: of the mean beam of all visibilities."""
    first = FIELD.frequencies_hz(0).mean()
    mean = 0.5 * (np.mean(gains(300.0, first)[1].real) + 1)  # half of the baselines see the beam
    model = np.zeros((FIELD.ny, FIELD.nx), np.float32)
    model[int(BRIGHT.y), int(BRIGHT.x)] = BRIGHT.flux_jy * mean
    model[int(FAINT.y), int(FAINT.x)] = FAINT.flux_jy
    return model


def test_residual_has_no_beam_artefacts(times_s):
    channel = seen_channel(times_s)
    hook, model = responses(channel), apparent_model(channel)
    residual = [np.empty((FIELD.ny, FIELD.nx), np.float32) for _ in range(2)]
    hook.gridder.residual(channel, 0, model, 1e-4, residual[0])
    hook.gridder.residual(channel, 0, model, 1e-4, residual[1], lambda vis: hook(0, 0, model, vis))
    without, corrected = (image.std() for image in residual)
    assert without > 0.005 * BRIGHT.flux_jy
    assert corrected < 0.05 * without
    assert hook.sources == {(5, 6)}


def test_visibilities_are_those_of_the_beams(times_s):
    channel = seen_channel(times_s)
    hook, model = responses(channel), apparent_model(channel)
    vis = hook.gridder.predict(channel, model, 1e-4)
    before = vis.copy()
    hook(0, 0, model, vis)
    np.testing.assert_allclose(vis, channel.vis[0], atol=0.02 * BRIGHT.flux_jy)
    assert np.abs(before - channel.vis[0]).max() > 0.2 * BRIGHT.flux_jy


def test_correction_is_zero_at_the_source(times_s):
    channel = seen_channel(times_s)
    hook, model = responses(channel), apparent_model(channel)
    extra = np.zeros_like(channel.vis[0])
    hook(0, 0, model, extra)
    image = np.empty((FIELD.ny, FIELD.nx), np.float32)
    hook.gridder.dirty(channel, extra, 1e-4, image)
    assert abs(image[int(BRIGHT.y), int(BRIGHT.x)]) < 2e-3 * BRIGHT.flux_jy


def test_batches_give_equal_visibilities(times_s, monkeypatch):
    channel = seen_channel(times_s)
    model, results = apparent_model(channel), []
    for samples in (2_000_000, 100):
        monkeypatch.setattr("lofarpipe.imaging.imager.station_beams.SAMPLES_AT_ONCE", samples)
        results.append(np.zeros_like(channel.vis[0]))
        responses(channel)(0, 0, model, results[-1])
    np.testing.assert_allclose(results[1], results[0], atol=1e-2)


def test_faint_sources_and_other_parameters_stay(times_s):
    channel = seen_channel(times_s)
    vis = np.zeros_like(channel.vis[0])
    responses(channel, limit_jy=20.0)(0, 0, apparent_model(channel), vis)
    responses(channel)(1, 0, apparent_model(channel), vis)
    channel.origins = None
    responses(channel)(0, 0, apparent_model(channel), vis)
    assert not vis.any()


def test_averaging_loss_follows_the_turning_of_the_sky():
    """The mean over 60 s of true visibilities, against the loss of second order."""
    shape = SetShape(dec_rad=DEC_RAD)
    east, north = 0.03, -0.02
    times_s = shape.start_s + np.arange(0, 60.0, 0.5)
    uvw_m = uvw_at(shape, np.array([[300.0, 900.0, 200.0], [-700.0, 100.0, 500.0]]), times_s)
    outward = np.sqrt(1 - east**2 - north**2) - 1
    turns = uvw_m @ np.array([east, north, outward]) * 150e6 / 299792458.0
    exact = np.abs(np.exp(2j * np.pi * turns).mean(axis=0))
    vuw_m = uvw_m.mean(axis=0)[:, [1, 0, 2]]
    turning, delays_s = phase_rates(east, north, DEC_RAD) @ vuw_m.T
    assert (exact < 0.997).any()  # 0.9957
    np.testing.assert_allclose(np.exp(-2 * (np.pi * turning * 150e6 * times_s.std()) ** 2), exact, atol=2e-4)
    np.testing.assert_allclose(delays_s, turns.mean(axis=0) / 150e6, rtol=1e-6)


def test_averaged_source_loses_flux_in_the_model(times_s):
    """Averages of 400 s: long baselines see less of the source."""
    longest = np.argmax(np.hypot(*seen_channel(times_s).vuw_m[:, :2].T))
    sharp, vis = seen_channel(times_s), []
    for channel in (sharp, seen_channel(times_s, spreads_s=400.0), seen_channel(times_s, spread_hz=5e6)):
        vis.append(np.zeros_like(channel.vis[0]))
        responses(channel)(0, 0, apparent_model(sharp), vis[-1])
    for blurred in vis[1:]:
        assert np.abs(blurred - vis[0])[longest].max() > 1e-3


def test_windows_are_bright_sources_of_connected_pixels():
    model = np.zeros((40, 40), np.float32)
    model[10, 10], model[10, 12], model[11, 13] = 2.0, 1.5, -0.2  # a gap of one pixel
    model[30, 5] = 1.0
    first, *others = bright_sources(model, 1.5)
    assert not others
    assert (first.y, first.x, first.peak, first.flux_jy) == (10, 10, (10, 10), pytest.approx(3.3))
    assert first.pixels.sum() == pytest.approx(3.3)
    assert len(bright_sources(model, 0.5)) == 2
    assert bright_sources(np.zeros((40, 40), np.float32), 0.5) == []


def test_frequency_nodes_span_the_band():
    assert len(frequency_nodes(140e6, 140.1e6)) == 2
    assert len(frequency_nodes(120e6, 132e6)) == 6


@pytest.fixture(scope="module")
def one_set(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("set") / "a.ms", (pixel_source(100, 60, 2.0),), noise=0.01)


def test_beam_times_cover_a_set(one_set, tmp_path):
    sources = read_sources(run_settings(one_set, tmp_path / "a"))
    first, second = list_beam_times(join_channels(sources) * 2)
    assert (first.first, second.first) == (0, len(first.times_s))
    assert (first.times_s[0], first.times_s[-1]) == pytest.approx((sources[0].times_s[0], sources[0].times_s[-1]))
    assert np.diff(first.times_s).max() <= 300.0


def test_set_without_beam_model_is_refused(one_set, tmp_path):
    with pytest.raises(ImagerError, match="has no beam model of LOFAR's stations"):
        image_sets(run_settings(one_set, tmp_path / "a", station_beams_jy=1.0))
