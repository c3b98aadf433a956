"""Skies whose truth is known: isolated points, points with Gaussians, and a realistic field, seen through one beam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REFERENCE_HZ = 144e6
BEAM_DEG_HZ = 3.95 * REFERENCE_HZ  # width of the Gaussian beam at half power, degrees x Hz
GAUSSIANS = (  # arcsec, arcsec, Jy
    *((60, 40, 1.0), (120, 90, 2.0), (180, 120, 3.0), (300, 200, 5.0)),
    *((480, 360, 8.0), (720, 500, 10.0), (90, 20, 1.5), (240, 30, 3.0)),
)
KINDS = ("pts", "ext", "real")


@dataclass(frozen=True)
class SkySource:
    """A point or Gaussian: direction cosines, flux at 144 MHz (Jy), spectral index, widths (arcsec), angle (deg)."""

    l: float  # noqa: E741 - the field's own name
    m: float
    flux: float
    index: float = 0.0
    major: float = 0.0
    minor: float = 0.0
    pa: float = 0.0


def place(radius_deg: float, angle_deg: float, *shape: float) -> SkySource:
    """Return a source at a distance from the phase centre and an angle from north through east."""
    radius, angle = np.sin(np.radians(radius_deg)), np.radians(angle_deg)
    return SkySource(float(radius * np.sin(angle)), float(radius * np.cos(angle)), *map(float, shape))


def draw_sky(kind: str, seed: int = 1) -> list[SkySource]:
    """Return the sources of a sky: ``pts``, ``ext`` or ``real``."""
    rng = np.random.default_rng([42, seed])
    if kind == "real":
        return realistic_sources(rng)
    sources = isolated_points(rng)
    return [*sources, *extended_sources(rng)] if kind == "ext" else sources


def isolated_points(rng: np.random.Generator, number: int = 40) -> list[SkySource]:
    """Return points of 0.05 to 6 Jy, the brightest near the centre; two are 1.2 degrees of angle apart."""
    radius = 2.4 * np.sqrt(rng.uniform(0, 1, number))
    angle = rng.uniform(0, 360, number)
    flux = 10 ** rng.uniform(np.log10(0.05), np.log10(6), number)
    index = rng.normal(-0.7, 0.2, number)
    radius[0], flux[0], index[0] = 0.3, 6.0, -0.7
    radius[1], angle[1] = radius[2], angle[2] + 1.2
    return [place(*values) for values in zip(radius, angle, flux, index, strict=True)]


def extended_sources(rng: np.random.Generator) -> list[SkySource]:
    """Return Gaussians of 1 to 12 arcmin around the centre."""
    sources = []
    for number, (major, minor, flux) in enumerate(GAUSSIANS):
        radius, angle = 0.35 + 1.2 * rng.uniform(0, 1), 45 * number + 20 * rng.uniform()
        sources.append(place(radius, angle, flux, -0.7, major, minor, 180 * rng.uniform()))
    return sources


def realistic_sources(rng: np.random.Generator, number: int = 1500, slope: float = 0.7) -> list[SkySource]:
    """Return sources of 4 mJy to 5 Jy with counts dN/dS ~ S^-1.7, 12 % of them resolved."""
    faint, bright = 0.004**-slope, 5.0**-slope
    flux = (faint - (faint - bright) * rng.uniform(0, 1, number)) ** (-1 / slope)
    radius = 3.0 * np.sqrt(rng.uniform(0, 1, number))
    angle = rng.uniform(0, 360, number)
    index = rng.normal(-0.75, 0.25, number)
    resolved = rng.uniform(size=number) < 0.12
    sources = []
    for one in range(number):
        major = 8 + 42 * rng.uniform() ** 2 if resolved[one] else 0.0
        shape = (major, major * rng.uniform(0.3, 1), 180 * rng.uniform())
        sources.append(place(radius[one], angle[one], flux[one], index[one], *shape))
    return sources


def beam_power(sources: Sequence[SkySource], frequencies_hz: Floats) -> Floats:
    """Return the power beam at the sources, shape (source, frequency)."""
    radius_deg = np.degrees(np.arcsin(np.hypot(*np.array([(one.l, one.m) for one in sources]).T)))[:, None]
    return np.asarray(np.exp(-4 * np.log(2) * (radius_deg * frequencies_hz / BEAM_DEG_HZ) ** 2))


def apparent_fluxes(sources: Sequence[SkySource], frequencies_hz: Floats, beam: bool = True) -> Floats:
    """Return the fluxes seen through the beam in Jy, shape (source, frequency)."""
    flux, index = np.array([(one.flux, one.index) for one in sources]).T[..., None]
    fluxes = flux * (frequencies_hz / REFERENCE_HZ) ** index
    return np.asarray(fluxes * beam_power(sources, frequencies_hz) if beam else fluxes)
