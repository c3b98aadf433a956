"""The operators against direct Fourier sums in double precision, and the PSF patches against exact responses."""

import numpy as np
import pytest

pytest.importorskip("ducc0")

from imager_runs import CELL_ARCSEC, SIZE, direct_dirty, direct_vis, make_set, pixel_source, run_settings
from lofarpipe.imaging.imager.operators import Gridder
from lofarpipe.imaging.imager.psf import central_psfs, middle, tile_centres
from lofarpipe.imaging.imager.resampler import Resampler
from lofarpipe.imaging.imager.visibilities import read_channels

CELL = np.radians(CELL_ARCSEC / 3600)
PLACES = {"centre": (128, 128), "half way": (64, 170), "near the edge": (20, 236)}  # y, x
EPSILON = 1e-5


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("operators")
    sources = [pixel_source(x, y, flux) for (y, x), flux in zip(PLACES.values(), (1.0, 2.0, 3.0), strict=True)]
    return run_settings(make_set(folder / "a.ms", sources), folder / "image", averaging_loss=0.0)


@pytest.fixture(scope="module")
def channels(settings):
    return read_channels(settings)


@pytest.fixture(scope="module")
def gridder(channels):
    made = Gridder.for_channels(channels, (SIZE, SIZE), CELL, 2)
    assert made.resampler.shape[0] < SIZE  # the coarse grid is one
    return made


def direction(y, x):
    return -(x - SIZE // 2) * CELL, (y - SIZE // 2) * CELL


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_prediction_is_fourier_sum(channels, gridder, place):
    model = np.zeros((SIZE, SIZE), np.float32)
    model[place] = 2.5
    for channel in channels:
        vis = gridder.predict(channel, model, EPSILON)
        expected = direct_vis(channel, np.array([direction(*place)]), np.array([2.5]))
        assert np.abs(vis - expected)[channel.mask == 1].max() < 1e-4 * 2.5


def test_dirty_image_is_fourier_sum(channels, gridder):
    pixels = [*PLACES.values(), (3, 3), (252, 128), (100, 4), (90, 77)]
    for channel in channels:
        image = np.empty((SIZE, SIZE), np.float32)
        gridder.dirty(channel, channel.vis[0], EPSILON, image)
        expected = direct_dirty(channel, channel.vis[0], np.array([direction(*pixel) for pixel in pixels]))
        assert np.abs([image[pixel] for pixel in pixels] - expected).max() < 1e-4 * image.max()


def test_prediction_is_adjoint_of_dirty_image(channels, gridder):
    rng, channel = np.random.default_rng(1), channels[0]
    model = rng.normal(size=(SIZE, SIZE)).astype(np.float32)
    vis = (rng.normal(size=channel.weights.shape) + 1j * rng.normal(size=channel.weights.shape)).astype(np.complex64)
    image = np.empty((SIZE, SIZE), np.float32)
    gridder.dirty(channel, vis, EPSILON, image)
    left = float((image.astype(float) * model).sum()) * channel.weight_sum
    right = float((channel.weights * (vis.conj() * gridder.predict(channel, model, EPSILON))).real.sum(dtype=float))
    size = np.sqrt((np.abs(vis) ** 2 * channel.weights).sum() * channel.weights.sum()) * np.linalg.norm(model)
    assert abs(left - right) < 1e-5 * size


@pytest.mark.parametrize("size", [(256, 256), (200, 301)])
def test_resampling_is_adjoint(size):
    resampler = Resampler(size, CELL, 800.0, 2)
    rng = np.random.default_rng(2)
    image = rng.normal(size=size[::-1]).astype(np.float32)
    coarse = rng.normal(size=resampler.shape).astype(np.float32)
    up = np.empty_like(image)
    resampler.up(coarse, up)
    left, right = (
        float((one.astype(float) * other).sum()) for one, other in ((resampler.down(image), coarse), (up, image))
    )
    assert left == pytest.approx(right, abs=1e-6 * float(np.linalg.norm(up) * np.linalg.norm(image)))


def test_residual_of_true_model_is_zero(channels, gridder):
    model, image = np.zeros((SIZE, SIZE), np.float32), np.empty((SIZE, SIZE), np.float32)
    fluxes = np.array([1.0, 2.0, 3.0])
    for place, flux in zip(PLACES.values(), fluxes, strict=True):
        model[place] = flux
    channel = channels[1]
    apparent = channel.vis[0] * 0 + direct_vis(channel, np.array([direction(*p) for p in PLACES.values()]), fluxes)
    channel = type(channel)(
        channel.band, channel.frequencies_hz, channel.vuw_m, [apparent.astype("c8")], channel.weights
    )
    gridder.residual(channel, 0, model, EPSILON, image)
    assert np.abs(image).max() < 2e-4 * fluxes.max()

    def add_apparent(vis: np.ndarray) -> None:
        vis += apparent.astype("c8")

    gridder.residual(channel, 0, model, EPSILON, image, add_apparent)
    other = np.empty_like(image)
    gridder.dirty(channel, -apparent.astype("c8"), EPSILON, other)
    np.testing.assert_allclose(image, other, atol=2e-4 * fluxes.max())


@pytest.mark.parametrize("place", tile_centres((SIZE, SIZE), 3)[:3])
def test_tile_psf_is_exact_response(channels, gridder, place):
    radius, channel = 8, channels[0]  # 8 arcmin: the error grows with the square of the distance
    vis = direct_vis(channel, np.array([direction(*place)]), np.ones(1)).astype(np.complex64)
    image = np.empty((SIZE, SIZE), np.float32)
    gridder.dirty(channel, vis, EPSILON, image)
    y, x = place
    exact = image[y - radius : y + radius + 1, x - radius : x + radius + 1]
    errors = [
        np.abs(middle(psf, radius) / psf.max() - exact / exact[radius, radius]).max()
        for psf in (gridder.local_psf(channel, place, 64, 1e-4), central_psfs([channel], gridder, 16)[0])
    ]
    assert errors[0] <= 2e-3
    assert errors[0] < 0.5 * errors[1]  # the shift has the right sign


def test_channel_without_visibilities_is_blank(channels, gridder):
    empty = channels[0]
    empty = type(empty)(empty.band, empty.frequencies_hz, empty.vuw_m, empty.vis, empty.weights * 0)
    image = np.ones((SIZE, SIZE), np.float32)
    gridder.dirty(empty, empty.vis[0], EPSILON, image)
    assert not image.any()
    assert not gridder.predict(empty, image + 1, EPSILON).any()
    assert not gridder.local_psf(empty, (10, 10), 64, EPSILON).any()
