"""Isolated point sources of known flux, from the pointing centre to the edge of the field."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.simulation.stations import ObservationSettings
from lofarpipe.support.dataclass import dataclass

TRUTH_FILE = "truth.json"
REFERENCE_FREQUENCY_HZ = 150e6
FAINTEST_JY, BRIGHTEST_JY = 0.3, 5.0
FAINTEST_APPARENT_JY = 0.6
"""Minimum flux after the beam: noise changes fluxes by less than 1 %, so that imaging errors show."""
OUTERMOST_FWHM = 0.72
"""Radius of the outermost source in units of the beam's width; the image ends at 0.75 along its axes."""
SEPARATION_FWHM = 0.08
"""Minimum separation of sources, about 20 arcmin: isolated at any resolution of the Dutch array."""
MEAN_SPECTRAL_INDEX, SPECTRAL_INDEX_SPREAD = -0.7, 0.2
"""Synchrotron spectra of a low-frequency survey. Source: Shimwell et al. 2022, section 3."""
SKYMODEL_FORMAT = "FORMAT = Name, Type, Ra, Dec, I, Q, U, V, ReferenceFrequency='150e6', SpectralIndex='[]'"
ATTEMPTS = 1000


@dataclass(frozen=True)
class Truth:
    """An observation and its sources; ``sets`` are paths of measurement sets, ``beam``: whether a beam was applied."""

    settings: ObservationSettings
    sources: tuple[Source, ...]
    sets: tuple[str, ...]
    beam: bool
    sefd_jy: Mapping[str, tuple[float, ...]]  # per station, one for each subband

    @property
    def phase_centre_deg(self) -> tuple[float, float]:
        """Right ascension and declination of the pointing, degrees."""
        return self.settings.right_ascension_deg, self.settings.declination_deg


def write_truth(path: Path, truth: Truth) -> None:
    """Write the truth as JSON; the file appears when complete."""
    content = {
        "units": {"flux": "Jy, Stokes I", "position": "deg, J2000", "frequency": "Hz", "sefd": "Jy, one polarization"},
        "reference_frequency_hz": REFERENCE_FREQUENCY_HZ,
        "frequencies_hz": truth.settings.subband_frequencies_hz(),
        **asdict(truth),
    }
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(content, indent=1) + "\n")
    unfinished.replace(path)


def read_truth(path: Path) -> Truth:
    """Read the truth written by `write_truth`.

    Raises
    ------
    PipelineError
        If the file does not exist, is not JSON, or is incomplete.
    """
    try:
        content = json.loads(path.read_text())
        return Truth(
            settings=ObservationSettings(**content["settings"]),
            sources=tuple(Source(**entry) for entry in content["sources"]),
            sets=tuple(content["sets"]),
            beam=bool(content["beam"]),
            sefd_jy=_tuples(content["sefd_jy"]),
        )
    except OSError as err:
        raise PipelineError(f"{path}: {err.strerror}; name the {TRUTH_FILE} of a simulated observation") from err
    except (ValueError, TypeError, KeyError, AttributeError) as err:
        raise PipelineError(f"{path}: not the truth of a simulated observation: {err!r}") from err


def _tuples(lists: Mapping[str, Sequence[Any]]) -> dict[str, tuple[float, ...]]:
    """Return lists of numbers as tuples."""
    return {name: tuple(map(float, values)) for name, values in lists.items()}


@dataclass(frozen=True)
class Source:
    """A point source: J2000 position in degrees, Stokes I in Jy at 150 MHz, spectral index."""

    name: str
    right_ascension_deg: float
    declination_deg: float
    flux_jy: float
    spectral_index: float

    def flux_at_jy(self, frequency_hz: float) -> float:
        """Return the flux density at a frequency, Jy: a power law."""
        return float(self.flux_jy * (frequency_hz / REFERENCE_FREQUENCY_HZ) ** self.spectral_index)


def offset_position(centre_deg: tuple[float, float], radius_deg: float, angle_deg: float) -> tuple[float, float]:
    """Return right ascension and declination (degrees) at a distance and position angle (north through east)."""
    dec0, radius, angle = math.radians(centre_deg[1]), math.radians(radius_deg), math.radians(angle_deg)
    sin_dec = math.sin(dec0) * math.cos(radius) + math.cos(dec0) * math.sin(radius) * math.cos(angle)
    east = math.sin(radius) * math.sin(angle)
    north = math.cos(radius) * math.cos(dec0) - math.sin(radius) * math.sin(dec0) * math.cos(angle)
    ra = centre_deg[0] + math.degrees(math.atan2(east, north))
    return ra % 360, math.degrees(math.asin(sin_dec))


def separation_deg(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Return the angle between two positions (right ascension, declination), degrees, also for the smallest angles."""
    (ra1, dec1), (ra2, dec2) = [(math.radians(ra), math.radians(dec)) for ra, dec in (first, second)]
    haversine = math.sin((dec2 - dec1) / 2) ** 2 + math.cos(dec1) * math.cos(dec2) * math.sin((ra2 - ra1) / 2) ** 2
    return math.degrees(2 * math.asin(math.sqrt(min(1.0, haversine))))


def draw_sources(seed: int, count: int, centre_deg: tuple[float, float], fwhm_deg: float) -> list[Source]:
    """Draw ``count`` isolated sources, reproducible by the arguments.

    Distances grow evenly from 0.05 to 0.72 of the beam's full width at half maximum ``fwhm_deg``; position angles,
    fluxes (0.3 to 5 Jy, evenly in the logarithm) and spectral indices are drawn. A Gaussian beam leaves at least 0.6 Jy
    of every flux.

    Raises
    ------
    ValueError
        If so many sources cannot be separated.
    """
    random = np.random.default_rng([seed, 0])  # 0: the sky; sets draw from [seed, 1, ...]
    placed: list[tuple[float, float]] = []
    sources = []
    for number, radius_fwhm in enumerate(np.linspace(0.05, OUTERMOST_FWHM, count)):
        placed.append(_free_position(random, placed, centre_deg, float(radius_fwhm), fwhm_deg))
        needed_jy = FAINTEST_APPARENT_JY / math.exp(-4 * math.log(2) * radius_fwhm**2)
        flux_jy = math.exp(random.uniform(math.log(max(FAINTEST_JY, needed_jy)), math.log(BRIGHTEST_JY)))
        index = random.normal(MEAN_SPECTRAL_INDEX, SPECTRAL_INDEX_SPREAD)
        sources.append(Source(f"s{number:02d}", *placed[-1], round(flux_jy, 5), round(index, 4)))
    return sources


def _free_position(
    random: np.random.Generator,
    placed: Sequence[tuple[float, float]],
    centre_deg: tuple[float, float],
    radius_fwhm: float,
    fwhm_deg: float,
) -> tuple[float, float]:
    """Draw an isolated position at a given radius, in steps of 1e-6 degree."""
    for _ in range(ATTEMPTS):
        ra, dec = offset_position(centre_deg, radius_fwhm * fwhm_deg, random.uniform(0, 360))
        position = (round(ra, 6), round(dec, 6))
        if all(separation_deg(position, other) >= SEPARATION_FWHM * fwhm_deg for other in placed):
            return position
    raise ValueError(
        f"{len(placed) + 1} sources cannot be kept {SEPARATION_FWHM} beam widths apart; ask for fewer sources"
    )


def _sexagesimal(value: float, separator: str, decimals: int) -> str:
    """Format a positive number of hours or degrees as sexagesimal, rounded before splitting."""
    units = round(value * 3600 * 10**decimals)
    minutes, seconds = divmod(units, 60 * 10**decimals)
    degrees, minutes = divmod(minutes, 60)
    width = decimals + 3
    return separator.join([f"{degrees:02d}", f"{minutes:02d}", f"{seconds / 10**decimals:0{width}.{decimals}f}"])


def skymodel_line(source: Source) -> str:
    """Return a source as a line of a DP3 sky model; positions to 0.02 mas."""
    ra = _sexagesimal(source.right_ascension_deg / 15, ":", 6)
    sign = "-" if source.declination_deg < 0 else "+"
    dec = sign + _sexagesimal(abs(source.declination_deg), ".", 5)
    flux = f"{source.flux_jy:.5f}, 0, 0, 0"
    return f"{source.name}, POINT, {ra}, {dec}, {flux}, {REFERENCE_FREQUENCY_HZ:g}, [{source.spectral_index:.4f}]"


def skymodel_text(sources: Sequence[Source]) -> str:
    """Return the text of a sky model with all sources."""
    return "\n".join([SKYMODEL_FORMAT, *map(skymodel_line, sources)]) + "\n"
