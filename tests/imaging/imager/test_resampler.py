"""The sizes of the coarse grid, and its filter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("ducc0")

from lofarpipe.imaging.imager.operators import Gridder
from lofarpipe.imaging.imager.resampler import Resampler, even_size, low_pass, make_axis
from uv_samples import Field, Source, make_channel, make_gridder

# A field whose coarse grid has less than half the pixels of each side, and whose sides differ.
FIELD = Field(nx=640, ny=512, cell_rad=Field.cell_rad / 3, longest_m=2000.0, rows=1000)


@pytest.fixture(scope="module")
def samples():
    channel = make_channel(FIELD, [Source(240, 300, 1.0)])
    return channel, make_gridder(FIELD, [channel])


def test_coarse_grid_is_smaller_than_image(samples):
    _, gridder = samples
    rows, columns = gridder.resampler.shape
    assert rows < 0.6 * FIELD.ny
    assert columns < 0.6 * FIELD.nx
    assert gridder.resampler.cells_rad[0] * rows == pytest.approx(FIELD.cell_rad * gridder.resampler.y.wide)


def test_coarse_grid_preserves_images(samples):
    channel, gridder = samples
    full = Resampler((FIELD.nx, FIELD.ny), FIELD.cell_rad, 1e9, 1)
    assert full.is_identity
    exact = Gridder((FIELD.nx, FIELD.ny), FIELD.cell_rad, full, 1)
    images = np.empty((2, FIELD.ny, FIELD.nx), np.float32)
    for one, image in zip((gridder, exact), images, strict=True):
        one.dirty(channel, channel.vis[0], 1e-5, image)
    assert np.std(images[0] - images[1]) < 2e-5
    model = np.zeros_like(images[0])
    model[100, 120] = 1.0
    difference = gridder.predict(channel, model, 1e-5) - exact.predict(channel, model, 1e-5)
    assert np.abs(difference).max() < 1e-3


def test_channel_without_visibilities_is_zero():
    empty = make_channel(replace(FIELD, rows=0), [])
    gridder = Gridder((64, 32), 1e-4, Resampler((64, 32), 1e-4, 0.0, 1), 1)
    image = np.ones((32, 64), np.float32)
    gridder.dirty(empty, empty.vis[0], 1e-3, image)
    assert not image.any()
    assert gridder.predict(empty, image, 1e-3).shape == (0, 2)
    assert not gridder.local_psf(empty, (5, 5), 32, 1e-2).any()
    assert empty.reach(0.1) == 0.0


def test_sizes_are_even_and_fast():
    assert even_size(10) == 32  # the gridder's least
    assert even_size(33) == 36  # 34 = 2 x 17 is not fast
    axis = make_axis(101, 1e-4, 1000.0)
    # 10.1 cycles: the edge is 1.4 sqrt(8 / 10.1) = 1.246, four lengths are 32.1 pixels, 16.8 cycles need 75.5 pixels.
    assert (axis.wide, axis.first, axis.coarse) == (168, 84 - 50, 80)


def test_filter_falls_from_highest_to_nyquist():
    keep = low_pass(100, 30.0)
    assert (keep[:30] == 1).all()
    assert keep[50] < 1e-4
    assert keep[40] == pytest.approx(0.5)


def test_reach_includes_uv_and_w():
    channel = make_channel(replace(FIELD, rows=1), [])
    channel.vuw_m[:] = [[300.0, 400.0, 1000.0]]
    wavelength_m = 299792458.0 / channel.frequencies_hz[-1]
    assert channel.reach(0.6) == pytest.approx((500 + 1000 * 0.75) / wavelength_m)  # 0.6 / sqrt(1 - 0.36)
