"""Output channels of the imager without a measurement set: visibilities of point sources, by a direct Fourier sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lofarpipe.imaging.imager.bands import BandRange
from lofarpipe.imaging.imager.channels import Channel
from lofarpipe.imaging.imager.operators import Gridder

C_M_S = 299792458.0
ARCSEC = np.pi / 180 / 3600


@dataclass(frozen=True)
class Source:
    """A point at a pixel (y, x), of a flux that is the same in all channels."""

    y: float
    x: float
    flux_jy: float


@dataclass(frozen=True)
class Field:
    """An image, and the uv samples of it."""

    nx: int = 128
    ny: int = 128
    cell_rad: float = 40 * ARCSEC
    rows: int = 4000
    longest_m: float = 2000.0
    channels: int = 2
    noise_jy: float = 0.0
    seed: int = 3
    w_share: float = 0.5

    def direction(self, source: Source) -> tuple[float, float]:
        """l and m of a source; the reference pixel is n // 2."""
        return -(source.x - self.nx // 2) * self.cell_rad, (source.y - self.ny // 2) * self.cell_rad

    def uvw_m(self, chan: int) -> np.ndarray:
        """u, v, w of a channel's rows: round, denser in the middle."""
        rng = np.random.default_rng([self.seed, chan])
        radius = self.longest_m * np.sqrt(rng.uniform(0.001, 1, self.rows)) * rng.uniform(0.3, 1, self.rows)
        angle = rng.uniform(0, 2 * np.pi, self.rows)
        w_m = self.w_share * self.longest_m * rng.uniform(-1, 1, self.rows)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle), w_m], axis=1)

    def frequencies_hz(self, chan: int) -> np.ndarray:
        return 140e6 + 10e6 * chan + np.array([0.0, 1e6])


def phase(field: Field, source: Source, uvw_m: np.ndarray, frequencies_hz: np.ndarray) -> np.ndarray:
    """exp(2 pi i (u l + v m + w (n - 1))), (row, chan)."""
    l, m = field.direction(source)  # noqa: E741
    path_m = uvw_m @ np.array([l, m, np.sqrt(1 - l * l - m * m) - 1])
    return np.exp(2j * np.pi * path_m[:, None] * frequencies_hz / C_M_S)


def make_channel(field: Field, sources: Sequence[Source], chan: int = 0) -> Channel:
    """An output channel of two input channels, natural weights of 1 / noise^2 (1 without noise)."""
    uvw_m, frequencies_hz = field.uvw_m(chan), field.frequencies_hz(chan)
    vis = np.zeros((field.rows, 2), complex)
    for source in sources:
        vis += source.flux_jy * phase(field, source, uvw_m, frequencies_hz)
    if field.noise_jy:
        rng = np.random.default_rng([field.seed, chan, 1])
        vis += field.noise_jy * (rng.standard_normal(vis.shape) + 1j * rng.standard_normal(vis.shape))
    weights = np.full(vis.shape, 1 / field.noise_jy**2 if field.noise_jy else 1.0, np.float32)
    band = BandRange(frequencies_hz[0] - 5e5, frequencies_hz[-1] + 5e5, tuple(frequencies_hz))
    vuw_m = np.ascontiguousarray(uvw_m[:, [1, 0, 2]])
    return Channel(band, frequencies_hz, vuw_m, [vis.astype(np.complex64)], weights)


def make_channels(field: Field, sources: Sequence[Source]) -> list[Channel]:
    return [make_channel(field, sources, chan) for chan in range(field.channels)]


def make_gridder(field: Field, channels: list[Channel], threads: int = 1) -> Gridder:
    return Gridder.for_channels(channels, (field.nx, field.ny), field.cell_rad, threads)
