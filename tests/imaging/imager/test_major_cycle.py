"""The loop of cleaning, on visibilities of made-up sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

pytest.importorskip("ducc0")

from lofarpipe.imaging.imager import major_cycle
from lofarpipe.imaging.imager.channels import Channel
from lofarpipe.imaging.imager.major_cycle import Hooks, MajorCycles, State, noise
from lofarpipe.imaging.imager.psf import central_psfs, make_psfs
from lofarpipe.imaging.imager.settings import ImagerSettings
from uv_samples import Field, Source, make_channels, make_gridder

FIELD = Field(rows=1500, noise_jy=1.0)
NOISE_JY = 1 / np.sqrt(2 * 2 * FIELD.rows)  # of the image: 1 / sqrt(sum of weights)
SOURCES = (Source(40, 50, 2.0), Source(90, 100, 0.7), Source(91, 30, 0.4))


@dataclass
class Cleaned:
    state: State
    residual: np.ndarray
    lines: list[str]

    @property
    def model(self) -> np.ndarray:
        return self.state.model[0].mean(axis=0)


def make_settings(**options) -> ImagerSettings:
    given = {
        "size": (FIELD.nx, FIELD.ny), "cell_rad": FIELD.cell_rad, "niter": 20_000, "auto_mask": 5.0,
        "auto_threshold": 3.0, "tiles": 1, "psf_radius": 48,
    }  # fmt: skip
    return ImagerSettings(name="a", sets=("a.ms",), **given | options)


def deconvolution(channels: list[Channel], threads=1, pols=(0,), scales=(0.0,), hooks=None, **options):
    settings, lines = make_settings(**options), []
    gridder = make_gridder(FIELD, channels, threads)
    psfs = make_psfs(channels, gridder, central_psfs(channels, gridder, 48), settings.tiles, 48, scales)
    residual = np.empty((len(pols), len(channels), FIELD.ny, FIELD.nx), np.float32)
    for place, pol in enumerate(pols):
        for chan, channel in enumerate(channels):
            gridder.dirty(channel, channel.vis[pol], 1e-4, residual[place, chan])
    hooks = replace(hooks or Hooks(), notice=lines.append)
    return MajorCycles(channels, gridder, settings, psfs, residual, hooks, pols), lines


def clean(channels: list[Channel], **options) -> Cleaned:
    loop, lines = deconvolution(channels, **options)
    return Cleaned(loop.run(), loop.residual, lines)


@pytest.fixture(scope="module")
def channels():
    return make_channels(FIELD, SOURCES)


@pytest.fixture(scope="module")
def cleaned(channels):
    return clean(channels)


def box(image: np.ndarray, source: Source, half: int = 2) -> float:
    y, x = int(source.y), int(source.x)
    return float(image[y - half : y + half + 1, x - half : x + half + 1].sum())


def test_sources_are_found(cleaned):
    for source in SOURCES:
        assert box(cleaned.model, source) == pytest.approx(source.flux_jy, abs=5 * NOISE_JY)
    elsewhere = cleaned.model.sum() - sum(box(cleaned.model, source) for source in SOURCES)
    assert abs(elsewhere) < 8 * NOISE_JY


def test_residual_is_noise_of_natural_weights(cleaned):
    mean = cleaned.residual[0].mean(axis=0)
    assert mean.std() == pytest.approx(NOISE_JY, rel=0.05)
    assert cleaned.state.sigma_jy == pytest.approx(noise(mean))
    assert cleaned.state.majors <= 4
    assert cleaned.state.reason == "the residual is at the threshold"


def test_progress_lines_follow_wsclean(cleaned):
    assert cleaned.lines[0] == " == Deconvolving (1) =="
    assert cleaned.lines[1].startswith("Initial peak: 2")
    assert cleaned.lines[1].endswith(" mJy")
    assert cleaned.lines[2].startswith("Estimated standard deviation of background noise: ")
    assert cleaned.lines[-2:] == [
        f"{cleaned.state.majors} major iterations were performed.",
        "Cleaning ended: the residual is at the threshold.",
    ]


def test_threads_give_equal_images(channels, cleaned):
    other = clean(channels, threads=2)
    np.testing.assert_allclose(other.residual, cleaned.residual, atol=2e-5)
    np.testing.assert_allclose(other.state.model, cleaned.state.model, atol=2e-5)


def test_tiles_barely_change_images(channels, cleaned):
    other = clean(channels, tiles=3)
    np.testing.assert_allclose(other.residual, cleaned.residual, atol=3 * NOISE_JY)
    assert other.state.majors == cleaned.state.majors


def test_major_cycle_ends_above_far_sidelobes(channels):
    loop, _ = deconvolution(channels)
    loop.far_sidelobe = 0.3
    loop.clean_turns()
    views = loop.view_scales()
    peak = max(view.peak(None) for view in views)
    assert loop.start_jy == pytest.approx(loop.state.brightest_jy)
    assert loop.floor_jy == pytest.approx(1.2 * 0.3 * loop.start_jy)
    assert 0.3 * loop.start_jy < peak <= 1.2 * loop.floor_jy
    loop.far_sidelobe = 0.9
    assert loop.floor_jy == pytest.approx(0.5 * loop.start_jy)
    assert not loop.state.is_masked


def test_mask_waits_for_major_cycle_at_the_noise(channels):
    loop, _ = deconvolution(channels)
    loop.state.majors, loop.start_jy = 1, 1.0
    views = loop.view_scales()
    loop.far_sidelobe = 0.5
    assert not loop.is_at_noise(views)
    loop.grow_mask(views, 1)
    assert not loop.state.is_masked
    loop.far_sidelobe = 0.001
    assert loop.is_at_noise(views)
    loop.grow_mask(views, 1)
    assert loop.state.is_masked


def test_pure_noise_ends_cleaning_at_once():
    nothing = clean(make_channels(FIELD, []))
    assert nothing.state.majors == 1
    assert nothing.state.iterations < 20
    assert noise(nothing.residual[0].mean(axis=0)) == pytest.approx(NOISE_JY, rel=0.03)


@pytest.mark.parametrize("field", [replace(FIELD, noise_jy=0.0), replace(FIELD, rows=0)], ids=["zero", "flagged"])
def test_empty_visibilities_end_cleaning_at_once(field):
    nothing = clean(make_channels(field, []))
    assert (nothing.state.majors, nothing.state.iterations) == (1, 0)
    assert nothing.state.reason == "nothing is left above the threshold"
    assert not nothing.residual.any()


def test_single_bright_source_ends_below_auto_threshold():
    one = clean(make_channels(FIELD, [Source(64, 64, 3.0)]))
    assert one.state.majors <= 3
    # Cleaned to 3, not 5, sigma where it was found.
    mean = np.abs(one.residual[0].mean(axis=0))
    assert mean[60:69, 60:69].max() < 4 * NOISE_JY


def test_channel_without_visibilities_is_ignored():
    full = make_channels(replace(FIELD, channels=1), SOURCES)
    empty = make_channels(replace(FIELD, rows=0), [])[1]
    both = clean([*full, empty])
    assert box(both.state.model[0, 0], SOURCES[0]) == pytest.approx(2.0, abs=8 * NOISE_JY)
    assert not both.residual[0, 1].any()


def test_mask_bounds_components(channels):
    mask = np.zeros((FIELD.ny, FIELD.nx), bool)
    mask[:64] = True
    masked = clean(channels, hooks=Hooks(mask=mask))
    assert box(masked.model, SOURCES[0]) > 1.5
    assert not masked.model[64:].any()


def test_niter_limits_components(channels):
    few = clean(channels, niter=10)
    assert few.state.iterations == 10
    assert few.state.reason == "10 components were made"


def test_settings_limit_major_cycles(channels):
    assert clean(channels, majors=1).state.reason == "1 major cycles were made"


def test_absolute_threshold_ends_loop(channels):
    coarse = clean(channels, auto_mask=0.0, auto_threshold=0.0, threshold_jy=0.5)
    assert coarse.state.reason == "the residual is at the threshold"
    assert box(coarse.model, SOURCES[0]) == pytest.approx(1.5, abs=0.1)
    assert box(coarse.model, SOURCES[2]) == 0


def test_loop_without_thresholds_goes_to_niter(channels):
    deep = clean(channels, auto_mask=0.0, auto_threshold=0.0, niter=500)
    assert deep.state.iterations == 500


def test_thresholds_follow_local_noise(channels):
    """With noise declared 100 times as large in the upper half, its sources are not cleaned."""
    factors = np.ones((FIELD.ny, FIELD.nx), np.float32)
    factors[64:] = 0.01
    local = clean(channels, hooks=Hooks(local_factors=lambda image, sigma_jy: factors))
    assert box(local.model, SOURCES[0]) == pytest.approx(2.0, abs=5 * NOISE_JY)
    assert not local.model[64:].any()


def test_rising_residual_ends_loop(channels):
    loop, _ = deconvolution(channels)
    loop.state = State(np.zeros_like(loop.residual), [np.ones((128, 128), bool)], True, 3, 100, 1.0, 0.001)
    for peaks, diverges in (([0.3, 0.2, 0.25, 0.3], True), ([0.3, 0.2, 0.3], False), ([0.2, 0.3, 0.25], False)):
        loop.state.residual_peaks_jy = peaks
        assert ("diverges" in loop.reason_to_stop(found_nothing=False)) is diverges


def test_saved_state_resumes_cleaning(channels, cleaned):
    saved = []

    def save(_: Sequence[int], state: State) -> None:
        if state.majors == 1:
            found = [one.copy() for one in state.component_masks]
            peaks = list(state.residual_peaks_jy)
            saved.append(replace(state, model=state.model.copy(), component_masks=found, residual_peaks_jy=peaks))

    clean(channels, hooks=Hooks(save=save))
    loop, _ = deconvolution(channels, hooks=Hooks(load=lambda pols, shape: saved[0]))
    state = loop.run()
    assert state.majors == cleaned.state.majors
    np.testing.assert_allclose(state.model, cleaned.state.model, atol=NOISE_JY)


def test_visibilities_beyond_model_are_subtracted(channels):
    def add_all(pol, chan, model, vis):
        vis += channels[chan].vis[pol]

    loop, _ = deconvolution(channels, hooks=Hooks(beyond=add_all))
    loop.update_residual()
    assert np.abs(loop.residual).max() < 1e-5


def test_joined_parameters_share_positions():
    """Q has a tenth of the flux: too faint alone, and found where I is."""
    first = make_channels(FIELD, [Source(40, 50, 2.0)])
    second = make_channels(FIELD, [Source(40, 50, -0.1)])
    for one, other in zip(first, second, strict=True):
        one.vis.append(other.vis[0])
    joined = clean(first, pols=(0, 1))
    assert box(joined.state.model[1].mean(axis=0), Source(40, 50, 0)) == pytest.approx(-0.1, abs=5 * NOISE_JY)
    assert (joined.state.model[1] != 0).any(axis=0)[40, 50]


@pytest.mark.parametrize("fwhm", [0.0, 8.0])
def test_source_of_a_scale_is_recovered(fwhm):
    """A point takes no large scale; a Gaussian of a scale is recovered with its flux."""
    y, x = np.mgrid[-12:13:2, -12:13:2]
    profile = np.exp(-4 * np.log(2) * (x * x + y * y) / max(fwhm, 0.1) ** 2)
    profile /= profile.sum()
    parts = [
        Source(64 + dy, 64 + dx, 3.0 * flux)
        for dy, dx, flux in zip(y.ravel(), x.ravel(), profile.ravel(), strict=True)
        if flux > 1e-4
    ]
    result = clean(make_channels(FIELD, parts), scales=(0.0, 8.0))
    assert result.model.sum() == pytest.approx(3.0, rel=0.03)
    wide_share = np.abs(result.model[56:73, 56:73]).sum() - np.abs(result.model[62:67, 62:67]).sum()
    assert bool(wide_share > 0.5) is (fwhm > 0)


def test_last_minor_cycles_go_down_to_threshold(channels, monkeypatch):
    monkeypatch.setattr(major_cycle, "END_SIGMAS", 15.0)
    loop, _ = deconvolution(channels, auto_mask=0.0)
    state = loop.run()
    assert state.reason == "the residual is at the threshold"
    assert state.residual_peaks_jy[-1] > 5 * state.sigma_jy  # of the last exact residual
    assert loop.view_scales()[0].peak(loop.mask_of(0)) <= 1.2 * 3 * state.sigma_jy
    stamped = loop.residual.copy()
    loop.update_residual()
    assert (stamped - loop.residual).std() < NOISE_JY / 2
