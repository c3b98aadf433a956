"""Point sources in the sets of an array feed, in ASKAP's frame: I = XX + YY, Q and U at the angle of the receptors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import casacore.tables as ct
import numpy as np

from array_feed_sets import SHAPE, make_beam_set
from lofarpipe.imaging.ms.fix_ms import beam_direction
from small_sets import C_M_S, SetShape, change_column

SKY = SetShape(**{**vars(SHAPE), "nantennas": 14, "ntimes": 10, "timestep_s": 1200.0, "extent_m": 1200.0})


@dataclass(frozen=True)
class PolarisedSource:
    """A point source: offsets from the centre of its beam, rad, as direction cosines; fluxes in Jy."""

    l_rad: float
    m_rad: float
    fluxes_jy: tuple[float, float, float, float]  # I, Q, U, V


def make_observed_beam(
    path: Path,
    sources: Sequence[PolarisedSource],
    beam: int = 0,
    receptor_deg: float = -45.0,
    offset_deg: tuple[float, float] = (0.5, -0.25),
    noise_jy: float = 0.01,
    shape: SetShape = SKY,
) -> str:
    """Write a set of one beam that has seen these sources; its FIELD has the direction of the whole feed."""
    made = make_beam_set(path, beam, receptor_deg, offset_deg, feeds=beam + 1, shape=shape)
    with ct.table(made, ack=False) as table:
        uvw = table.getcol("UVW")
    waves = uvw[:, None, :] * (shape.frequencies_hz / C_M_S)[None, :, None]
    rng = np.random.default_rng(beam)
    total = noise_jy * rng.normal(size=(*waves.shape[:2], 4, 2)) @ [1, 1j]
    for source in sources:
        n = np.sqrt(1 - source.l_rad**2 - source.m_rad**2) - 1
        phase = waves @ np.array([source.l_rad, source.m_rad, n])
        total += np.exp(2j * np.pi * phase)[:, :, None] * correlations(source.fluxes_jy, receptor_deg)
    change_column(made, "DATA", lambda old: total.astype(old.dtype))
    return made


def correlations(fluxes_jy: Sequence[float], receptor_deg: float) -> np.ndarray:
    """XX, XY, YX, YY of a source as ASKAP has them, with P = 45 deg - the angle of the receptors.

    I = XX + YY, Q = s (XX - YY) + c (XY + YX), U = -c (XX - YY) + s (XY + YX), V = -i (XY - YX), s, c = sin, cos 2P.
    """
    angle = 2 * np.radians(45 - receptor_deg)
    s, c = np.sin(angle), np.cos(angle)
    i, q, u, v = fluxes_jy
    cross, difference = c * q + s * u, s * q - c * u
    return np.array([i + difference, cross + 1j * v, cross - 1j * v, i - difference]) / 2


def beam_centre(offset_deg: tuple[float, float] = (0.5, -0.25), shape: SetShape = SKY) -> tuple[float, float]:
    """Right ascension and declination of a beam, rad."""
    return beam_direction((shape.ra_rad, shape.dec_rad), tuple(np.radians(offset_deg)))
