"""The minor cycle and its kernels."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from lofarpipe.imaging.imager.active import TILE, join_scales, select_pixels, tile_grid
from lofarpipe.imaging.imager.minor_cycle import Patches, Rules, find_components
from lofarpipe.imaging.imager.stamps import add_patches

SHAPE = (100, 70)  # y, x: tiles of 32 at the edges are cut
RADIUS = 40
CHANNELS = 2
WEIGHTS = np.array([0.25, 0.75], np.float32)


def gaussian(fwhm: float, radius: int = RADIUS) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.exp(-4 * np.log(2) * (x * x + y * y) / fwhm**2)


def make_patches(tiles: int = 1, scales: int = 1) -> Patches:
    """Round lobes, wider in the first channel; each tile's differs; between scales they are flatter."""
    lobes = np.stack([gaussian(6), gaussian(4)], axis=-1)
    local = np.array([lobes ** (1 + 0.1 * tile) for tile in range(tiles * tiles)])
    cross = np.array(
        [[lobes ** (1 / (1 + a + b)) * (1.0 if a == b else 0.7) for a in range(scales)] for b in range(scales)]
    )
    return Patches(local.astype(np.float32), cross.astype(np.float32))


def make_rules(thresholds=(0.05,), gain=0.2, fits=None, scales_flux=None) -> Rules:
    identity = np.eye(CHANNELS, dtype=np.float32)[None, None]
    flux = np.ones((len(thresholds), CHANNELS), np.float32) if scales_flux is None else scales_flux
    return Rules(
        WEIGHTS,
        identity if fits is None else fits,
        flux,
        np.array(thresholds, np.float32),
        np.float32(gain),
        SHAPE,
        tile_grid(SHAPE),
    )


def select(planes, rules, steps=(1,), factors=None):
    """The active pixels of some scales; planes (scale)(plane, y, x)."""
    selections, values, weights = [], [], []
    for scale, (cube, step) in enumerate(zip(planes, steps, strict=True)):
        means = (cube.reshape(-1, CHANNELS, *cube.shape[1:]) * WEIGHTS[:, None, None]).sum(axis=1)
        strength = np.sqrt((means**2).sum(axis=0)).astype(np.float32)
        strength = strength if factors is None else strength * factors
        selection = select_pixels(strength, None, float(rules.thresholds[scale]), step, 2, tile_grid(SHAPE))
        selections.append(selection)
        y, x = selection[0] // step, selection[1] // step
        values.append(np.ascontiguousarray(cube[:, y, x].T))
        weights.append(np.ones(len(y), np.float32) if factors is None else factors[y, x])
    return join_scales(selections, values, weights)


def clean_plainly(pixels, patches, rules, scales, most):
    """The same in numpy, over all pixels in every step. Returns components, values, steps."""
    values, components = pixels.values.astype(float), np.zeros(pixels.values.shape)
    tiles = round(len(patches.local) ** 0.5)
    limits = rules.thresholds[scales]
    for step in range(most):
        means = (values.reshape(len(values), -1, CHANNELS) * WEIGHTS).sum(axis=2)
        strength = np.sqrt((means**2).sum(axis=1)) * pixels.factors
        strength[strength <= limits] = 0
        best = int(strength.argmax())
        if strength[best] == 0:
            return components, values, step
        y, x, scale = pixels.y[best], pixels.x[best], scales[best]
        fit = rules.fits[y * rules.fits.shape[0] // SHAPE[0], x * rules.fits.shape[1] // SHAPE[1]]
        spectrum = values[best].reshape(-1, CHANNELS) * rules.flux[scale]
        found = rules.gain * ((spectrum @ fit.T) / rules.flux[scale]).ravel()
        components[best] += found
        for other in range(len(rules.thresholds)):
            near = np.flatnonzero((scales == other) & (abs(pixels.y - y) <= RADIUS) & (abs(pixels.x - x) <= RADIUS))
            patch = patches.cross[scale, other]
            if scale == other == 0:
                patch = patches.local[y * tiles // SHAPE[0] * tiles + x * tiles // SHAPE[1]]
            response = patch[pixels.y[near] - y + RADIUS, pixels.x[near] - x + RADIUS]
            values[near] -= found * np.tile(response, values.shape[1] // CHANNELS)
    return components, values, most


def noise_planes(planes=CHANNELS, shape=SHAPE, seed=5):
    return np.random.default_rng(seed).standard_normal((planes, *shape)).astype(np.float32)


def scale_numbers(pixels):
    return np.repeat(np.arange(len(pixels.starts)), pixels.starts[:, -1] - pixels.starts[:, 0])


@pytest.mark.parametrize("tiles", [1, 3])
@pytest.mark.parametrize("pols", [1, 2])
def test_components_agree_with_plain_cleaning(tiles, pols):
    patches, rules = make_patches(tiles), make_rules((1.2,))
    pixels = select([noise_planes(CHANNELS * pols)], rules)
    expected = clean_plainly(pixels, patches, rules, scale_numbers(pixels), 300)
    assert 100 < expected[2] <= 300
    components, steps = find_components(pixels, patches, rules, 300)
    assert steps == expected[2]
    np.testing.assert_allclose(components, expected[0], atol=1e-4)
    np.testing.assert_allclose(pixels.values, expected[1], atol=1e-4)


def test_scales_and_spectra_agree_with_plain_cleaning():
    patches = make_patches(2, scales=2)
    fits = np.random.default_rng(6).uniform(0.2, 0.8, (3, 2, CHANNELS, CHANNELS)).astype(np.float32)
    rules = make_rules((1.3, 1.1), 0.1, fits, np.array([[1.0, 1.0], [2.0, 3.0]], np.float32))
    pixels = select([noise_planes(), noise_planes(shape=(50, 35), seed=7)], rules, steps=(1, 2))
    scales = scale_numbers(pixels)
    assert set(scales) == {0, 1}
    expected = clean_plainly(pixels, patches, rules, scales, 60)
    components, steps = find_components(pixels, patches, rules, 60)
    assert steps == expected[2] == 60
    assert (components[scales == 1] != 0).any()
    np.testing.assert_allclose(components, expected[0], atol=2e-4)


def test_factors_favour_quiet_regions():
    planes = np.zeros((CHANNELS, *SHAPE), np.float32)
    planes[:, 20, 20], planes[:, 80, 50] = 2.0, 1.0
    factors = np.ones(SHAPE, np.float32)
    factors[:50] = 0.1  # noise is ten times as large there
    rules = make_rules((0.5,))
    pixels = select([planes], rules, factors=factors)
    assert list(zip(pixels.y, pixels.x, strict=True)) == [(80, 50)]


def test_single_source_is_cleaned_to_threshold():
    truth = np.array([-3.0, -2.0])
    planes = np.zeros((CHANNELS, *SHAPE), np.float32)
    patches, rules = make_patches(), make_rules((0.01,), 0.1)
    amplitudes = truth[None].astype(np.float32)
    add_patches(
        np.array([50], np.int32), np.array([4], np.int32), amplitudes, patches.local, 1, planes
    )  # near the edge
    components, steps = find_components(select([planes], rules), patches, rules, 1000)
    # The mean is 2.25; each step leaves 0.9 of it.
    assert steps == int(np.ceil(np.log(0.01 / 2.25) / np.log(0.9)))
    assert (components != 0).any(axis=1).sum() == 1
    np.testing.assert_allclose(components.sum(axis=0), truth, rtol=0.005)


def test_step_limit_ends_minor_cycle():
    rules = make_rules((0.1,))
    components, steps = find_components(select([noise_planes()], rules), make_patches(), rules, 7)
    assert steps == 7
    assert 0 < (components != 0).any(axis=1).sum() <= 7


def test_selection_is_sorted_by_tiles():
    planes = noise_planes(1)[0]
    mask = np.random.default_rng(8).uniform(size=SHAPE) < 0.5
    rows, columns = tile_grid(SHAPE)
    assert (rows, columns) == (4, 3)
    y, x, starts = select_pixels(np.abs(planes), mask, 1.0, 1, 3, (rows, columns))
    inner = np.zeros(SHAPE, bool)
    inner[3:-3, 3:-3] = True
    expected = (np.abs(planes) > 1) & mask & inner
    found = np.zeros(SHAPE, bool)
    found[y, x] = True
    np.testing.assert_array_equal(found, expected)
    tile = y // TILE * columns + x // TILE
    assert (np.diff(tile) >= 0).all()
    np.testing.assert_array_equal(starts, np.searchsorted(tile, np.arange(rows * columns + 1)))


def test_selection_of_strided_map_is_on_full_grid():
    strength = np.zeros((25, 35), np.float32)
    strength[20, 30] = 1
    y, x, starts = select_pixels(strength, None, 0.5, 4, 2, tile_grid((100, 140)))
    assert (y.tolist(), x.tolist()) == ([80], [120])
    assert starts[80 // TILE * 5 + 120 // TILE + 1] == 1


def test_patches_are_cut_at_edges():
    patches = make_patches(2).local
    ys, xs = np.array([3, 60, 99], np.int32), np.array([5, 40, 69], np.int32)
    amplitudes = np.random.default_rng(9).uniform(-1, 1, (3, 2 * CHANNELS)).astype(np.float32)
    out = np.zeros((2 * CHANNELS, *SHAPE), np.float32)
    add_patches(ys, xs, amplitudes, patches, 2, out)
    padded = np.zeros((2 * CHANNELS, SHAPE[0] + 2 * RADIUS, SHAPE[1] + 2 * RADIUS))
    for y, x, amplitude in zip(ys, xs, amplitudes, strict=True):
        patch = patches[y * 2 // SHAPE[0] * 2 + x * 2 // SHAPE[1]]
        response = amplitude[:, None, None] * np.concatenate([np.moveaxis(patch, 2, 0)] * 2)
        padded[:, y : y + 2 * RADIUS + 1, x : x + 2 * RADIUS + 1] += response
    np.testing.assert_allclose(out, padded[:, RADIUS:-RADIUS, RADIUS:-RADIUS], atol=1e-6)
