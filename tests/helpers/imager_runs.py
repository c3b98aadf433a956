"""Small runs of the imager: a set of a few points without noise, settings for it, and direct Fourier sums."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.imager.channels import Channel
from lofarpipe.imaging.imager.settings import ImagerSettings
from yardstick_set import C_M_S, Observation, write_set
from yardstick_sky import SkySource

Floats = NDArray[np.float64]

CELL_ARCSEC, SIZE = 60.0, 256
MAX_UV = 500.0
OBSERVATION = Observation(stations=14, pairs=2, blocks=2, slots=6, noise=0)


def pixel_source(x: int, y: int, flux: float, size: int = SIZE, index: float = 0.0) -> SkySource:
    """Return a point in the middle of a pixel, numbered as in an array [y, x]."""
    cell = np.radians(CELL_ARCSEC / 3600)
    return SkySource(-(x - size // 2) * cell, (y - size // 2) * cell, flux, index)


def make_set(path: Path, sources: Sequence[SkySource], **changes: Any) -> str:
    """Write a set of some sources, and return its name."""
    write_set(path, Observation(**{**OBSERVATION.__dict__, **changes}), sources)
    return str(path)


def run_settings(ms: str, name: Path, **changes: Any) -> ImagerSettings:
    """Return settings of an image of SIZE pixels that are cleaned; WSClean's options have the same meaning."""
    values: dict[str, Any] = {
        "name": str(name),
        "sets": (ms,),
        "size": (SIZE, SIZE),
        "cell_rad": np.radians(CELL_ARCSEC / 3600),
        "weighting": ("briggs", 0.0),
        "max_uv_lambda": MAX_UV,
        "channels_out": 2,
        "niter": 10_000,
        "auto_mask": 5.0,
        "auto_threshold": 3.0,
        "tiles": 3,
        "threads": 2,
    }
    return ImagerSettings(**values | changes)


def direct_dirty(channel: Channel, vis: NDArray[np.complex64], lm: Floats) -> Floats:
    """Return 1 / W sum w Re(v exp(2 pi i (u l + v m + w (n - 1)))) at directions (place, 2), in double precision."""
    wavelengths = channel.vuw_m[:, None, :] * (channel.frequencies_hz / C_M_S)[None, :, None]
    weights, values = channel.weights.astype(float), vis.astype(complex)
    sums = []
    for l, m in lm:  # noqa: E741 - the field's own name
        n = np.sqrt(1 - l * l - m * m)
        phase = wavelengths @ np.array([m, l, n - 1])
        sums.append((weights * (values * np.exp(-2j * np.pi * phase)).real).sum())
    return np.array(sums) / weights.sum()


def direct_vis(channel: Channel, lm: Floats, fluxes: Floats) -> NDArray[np.complex128]:
    """Return the visibilities (row, chan) of points at directions (source, 2), in double precision."""
    wavelengths = channel.vuw_m[:, None, :] * (channel.frequencies_hz / C_M_S)[None, :, None]
    total = np.zeros(wavelengths.shape[:2], complex)
    for (l, m), flux in zip(lm, fluxes, strict=True):  # noqa: E741
        total += flux * np.exp(2j * np.pi * (wavelengths @ np.array([m, l, np.sqrt(1 - l * l - m * m) - 1])))
    return total
