"""Beams over a band: by hand, with few channels."""

import numpy as np
import pytest

from lofarpipe.imaging.beam.spectral import BandBeam, BandPart, SpectralIndex, channel_beam, mean_frequency_hz

PARTS = [BandPart(1.0, 120e6), BandPart(3.0, 160e6)]
F0 = 150e6  # (120 + 3 * 160) / 4


def planes(*values: float) -> list[np.ndarray]:
    return [np.full((2, 2), value, np.float32) for value in values]


def test_mean_frequency_uses_part_weights():
    assert mean_frequency_hz(PARTS) == F0


@pytest.mark.parametrize("index", [-0.7, 0.0, 1.5])
def test_beam_corrects_power_law_spectrum(index):
    given = SpectralIndex(str(index), index)
    beam = channel_beam(PARTS, planes(0.5, 0.25), given, F0)
    seen = (1 * 0.5 * (120 / 150) ** index + 3 * 0.25 * (160 / 150) ** index) / 4
    assert beam.indexed == pytest.approx(seen, rel=1e-6)
    assert beam.mean == pytest.approx((0.5 + 3 * 0.25) / 4)
    assert beam.frequency / beam.mean == pytest.approx((0.5 * 120e6 + 0.75 * 160e6) / 1.25, rel=1e-6)


def test_pixels_can_have_spectral_indices():
    indices = np.array([[-0.7, 0.0], [1.0, -2.0]], np.float32)
    beam = channel_beam(PARTS, planes(0.5, 0.25), SpectralIndex("map", indices), F0)
    for place, index in np.ndenumerate(indices):
        alone = channel_beam(PARTS, planes(0.5, 0.25), SpectralIndex("", float(index)), F0)
        assert beam.indexed[place] == pytest.approx(alone.indexed[place], rel=1e-6)


def test_channels_sum_to_the_band():
    index, band = SpectralIndex("-0.7", -0.7), BandBeam()
    for part, plane in zip(PARTS, planes(0.5, 0.25), strict=True):
        band.add(part.weight, channel_beam([part], [plane], index, F0))
    together = channel_beam(PARTS, planes(0.5, 0.25), index, F0)
    assert band.indexed == pytest.approx(together.indexed, rel=1e-6)
    assert band.effective_frequency_hz == pytest.approx(together.frequency / together.mean, rel=1e-6)
