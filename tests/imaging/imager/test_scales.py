"""Scale maps, and the patches of the PSFs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("ducc0")

from lofarpipe.imaging.imager.psf import between_scales, central_psfs, make_psfs, middle, tile_centres
from lofarpipe.imaging.imager.scales import automatic_scales, gaussian_patch, scale_maps, smooth, stride
from uv_samples import Field, make_channel, make_gridder

# Wide, with large w: the response changes over the field.
FIELD = Field(nx=320, ny=256, cell_rad=4 * Field.cell_rad, rows=3000, longest_m=500.0, w_share=1.0)
RADIUS = 32


@pytest.fixture(scope="module")
def wide():
    channel = make_channel(FIELD, [])
    return channel, make_gridder(FIELD, [channel])


def exact_response(gridder, channel, y, x):
    model, image = (np.zeros((FIELD.ny, FIELD.nx), np.float32) for _ in range(2))
    model[y, x] = 1.0
    vis = gridder.predict(channel, model, 1e-5)
    gridder.dirty(channel, vis, 1e-5, image)
    return image[y - RADIUS : y + RADIUS + 1, x - RADIUS : x + RADIUS + 1]


def test_tile_psf_is_local_response(wide):
    channel, gridder = wide
    central = central_psfs([channel], gridder, RADIUS)
    psfs = make_psfs([channel], gridder, central, 3, RADIUS, (0.0,))
    assert psfs.radius == RADIUS
    for tile, (y, x) in enumerate(tile_centres((FIELD.ny, FIELD.nx), 3)):
        exact = exact_response(gridder, channel, y, x)
        error = np.abs(psfs.local[tile, :, :, 0] - exact / exact[RADIUS, RADIUS]).max()
        error_of_centre = np.abs(middle(central[0], RADIUS) - exact / exact[RADIUS, RADIUS]).max()
        assert error < 0.03
        if tile != 4:
            assert error_of_centre > 2 * error  # so that the signs of the shift are right


def test_tiles_are_row_by_row():
    assert tile_centres((100, 200), 2) == [(25, 50), (25, 150), (75, 50), (75, 150)]


def test_single_tile_has_central_psf(wide):
    channel, gridder = wide
    central = central_psfs([channel], gridder, RADIUS)
    assert central.shape == (1, 4 * RADIUS, 4 * RADIUS)
    psfs = make_psfs([channel], gridder, central, 1, RADIUS, (0.0,))
    np.testing.assert_array_equal(psfs.local[0, :, :, 0], middle(central[0], RADIUS))


def test_atoms_have_unit_norm(wide):
    channel, gridder = wide
    central = central_psfs([channel], gridder, RADIUS)
    scales = (0.0, 6.0, 12.0)
    flux, cross = between_scales(central, RADIUS, scales, 1)
    np.testing.assert_allclose([cross[scale, scale, RADIUS, RADIUS, 0] for scale in range(3)], 1, rtol=1e-5)
    assert flux[0, 0] == pytest.approx(1)
    # An atom of scale s is seen by the map of scale t as the PSF smoothed by both, in units of their norms.
    expected = middle(smooth(smooth(central[0], 6.0, 1), 12.0, 1), RADIUS) * flux[1, 0] * flux[2, 0]
    np.testing.assert_allclose(cross[1, 2, :, :, 0], expected, atol=1e-4)
    np.testing.assert_array_equal(cross[1, 2], cross[2, 1])


def test_channel_without_visibilities_has_no_psf():
    flux, cross = between_scales(np.zeros((1, 128, 128), np.float32), 32, (0.0, 6.0), 1)
    assert (flux == 1).all()
    assert not cross.any()


@pytest.mark.parametrize("shape", [(240, 360), (60, 90), (66, 99)])
def test_scale_map_is_strided_smoothed_residual(shape):
    cube = np.random.default_rng(1).standard_normal((2, *shape)).astype(np.float32)
    flux = np.array([[1.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    maps = scale_maps(cube, (0.0, 9.0, 36.0), flux, 1)
    assert maps[0] is cube
    for scale, fwhm in ((1, 9.0), (2, 36.0)):
        step = stride(shape, fwhm)
        assert step > 1
        for plane in range(2):
            expected = flux[scale, plane] * smooth(cube[plane], fwhm, 1)[::step, ::step]
            np.testing.assert_allclose(maps[scale][plane], expected, atol=2e-4 * flux[scale, plane])


def test_stride_divides_both_sides():
    assert stride((240, 360), 36.0) == 12
    assert stride((242, 360), 36.0) == 2
    assert stride((240, 360), 2.0) == 1
    assert stride((97, 101), 96.0) == 1


def test_smoothing_keeps_flux_and_widens():
    image = np.zeros((90, 120), np.float32)
    image[45, 60] = 1
    smoothed = smooth(image, 10.0, 1)
    assert smoothed.sum() == pytest.approx(1, abs=1e-5)
    assert smoothed[45, 65] == pytest.approx(smoothed[45, 60] / 2, rel=1e-3)
    np.testing.assert_allclose(smoothed[30:61, 45:76], gaussian_patch(10.0), atol=2e-5)


def test_scales_double_up_to_largest():
    assert automatic_scales(6.0, 96.0) == pytest.approx((0.0, 12.0, 24.0, 48.0, 96.0))
    assert automatic_scales(6.0, 90.0) == pytest.approx((0.0, 12.0, 23.49, 45.98, 90.0), rel=1e-3)
    assert automatic_scales(6.0, 13.0) == pytest.approx((0.0, 12.0))
    assert automatic_scales(6.0, 5.0) == (0.0,)


def test_sampled_tile_psf_is_close(monkeypatch):
    field = replace(FIELD, w_share=0.05)
    channel = make_channel(field, [])
    gridder = make_gridder(field, [channel])
    central = central_psfs([channel], gridder, RADIUS)
    local = make_psfs([channel], gridder, central, 3, RADIUS, (0.0,)).local
    monkeypatch.setattr("lofarpipe.imaging.imager.psf.TILE_ROWS", 300)
    sampled = make_psfs([channel], gridder, central, 3, RADIUS, (0.0,)).local
    alone = central_psfs([channel.sample(300)], gridder, RADIUS)  # the error of a sample's own PSF
    error, error_alone = np.abs(sampled - local).max(), np.abs(alone - central).max()
    assert 0 < error < error_alone / 3
    assert np.abs(sampled[4] - local[4]).max() < 1e-2  # in the centre there is no difference
    assert sampled[:, RADIUS, RADIUS] == pytest.approx(np.ones((9, 1)), abs=1e-5)
