"""What is observed: the numbers of a simulated observation, checked when they are made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SUBBAND_WIDTH_HZ = 195312.5
"""Width of a LOFAR subband with the 200 MHz clock: 100 MHz / 512. Source: doc/spec/imaging.md, section 2.3."""

BAND_START_HZ = 100e6
"""Where subbands begin in the second Nyquist zone, 100-200 MHz. Source: doc/spec/imaging.md, section 2.3."""

MOST_STATIONS = 62  # 24 core stations of two fields, 14 remote ones
ANTENNA_SETS = ("HBA_DUAL_INNER", "HBA_DUAL")
_LEAST = {
    "seed": 0,
    "nstations": 2,
    "nsubbands": 1,
    "nchannels": 1,
    "timestep_s": 1e-3,
    "slots_per_block": 1,
    "nblocks": 1,
    "span_s": 0,
    "nsources": 1,
    "noise_scale": 0,
    "flagged_fraction": 0,
}


@dataclass(frozen=True)
class ObservationSettings:
    """One observation: when, where to, how finely; every number that is not in it follows from ``seed``.

    The default is the demonstration: it images to the edge of the field within minutes, and its samples are
    finer than the smearing limits of its image, so that averaging is a decision.
    ``transit_s`` (UTC, MJD seconds) is when the middle of the observation falls; blocks are spread evenly over
    ``span_s`` seconds around it.

    Raises
    ------
    ValueError
        If a number is impossible; the message names it.
    """

    seed: int = 1
    nstations: int = 38
    antenna_set: str = "HBA_DUAL_INNER"
    nsubbands: int = 6
    lowest_frequency_hz: float = 144e6
    highest_frequency_hz: float = 156e6
    nchannels: int = 8
    timestep_s: float = 4.00556032  # 4 samples of the correlator's 1.00139008 s
    slots_per_block: int = 100
    nblocks: int = 3
    span_s: float = 6 * 3600.0
    right_ascension_deg: float = 218.0
    declination_deg: float = 48.0
    transit_s: float = 5093712900.0  # 2020-04-16 00:15 UTC, when right ascension 218 deg culminates over LOFAR
    nsources: int = 12
    noise_scale: float = 1.0  # 1: thermal noise by the SEFD table; 0: none
    flagged_fraction: float = 0.01

    def __post_init__(self) -> None:
        """Refuse what cannot be observed."""
        for name, lowest in _LEAST.items():
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= lowest):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {lowest}")
        if self.antenna_set not in ANTENNA_SETS:
            raise ValueError(f"antenna_set is {self.antenna_set!r}; it must be one of {', '.join(ANTENNA_SETS)}")
        if not BAND_START_HZ < self.lowest_frequency_hz <= self.highest_frequency_hz < 2 * BAND_START_HZ:
            raise ValueError(
                f"frequencies are {self.lowest_frequency_hz / 1e6:g} to {self.highest_frequency_hz / 1e6:g} MHz; "
                "they must rise and lie between 100 and 200 MHz"
            )
        if not abs(self.declination_deg) < 90:
            raise ValueError(f"declination_deg is {self.declination_deg}; it must be between -90 and 90")
        if not self.flagged_fraction < 1:
            raise ValueError(f"flagged_fraction is {self.flagged_fraction}; it must be below 1")
        if self.nstations > MOST_STATIONS:
            raise ValueError(f"nstations is {self.nstations}; the Netherlands have {MOST_STATIONS} fields")
        self._check_separations()

    def _check_separations(self) -> None:
        """Refuse subbands or time blocks that would overlap."""
        if len(set(self.subband_numbers())) < self.nsubbands:
            raise ValueError(f"{self.nsubbands} subbands of 0.1953 MHz do not fit between the two frequencies")
        if self.nblocks > 1 and self.span_s < (self.nblocks - 1) * self.block_s:
            needed = f"{self.nblocks} blocks of {self.block_s:.0f} s"
            raise ValueError(f"{needed} do not fit in span_s = {self.span_s:.0f} s")

    @property
    def block_s(self) -> float:
        """Length of one time block, seconds."""
        return self.slots_per_block * self.timestep_s

    @property
    def channel_width_hz(self) -> float:
        """Width of one channel, Hz."""
        return SUBBAND_WIDTH_HZ / self.nchannels

    @property
    def phase_centre_rad(self) -> tuple[float, float]:
        """Right ascension and declination (J2000), radians."""
        return math.radians(self.right_ascension_deg), math.radians(self.declination_deg)

    def subband_numbers(self) -> list[int]:
        """Return the numbers of the subbands, evenly spread between the two frequencies."""
        wanted_hz = np.linspace(self.lowest_frequency_hz, self.highest_frequency_hz, self.nsubbands)
        return [int(number) for number in np.round((wanted_hz - BAND_START_HZ) / SUBBAND_WIDTH_HZ)]

    def subband_frequencies_hz(self) -> list[float]:
        """Return the central frequencies of the subbands in Hz, rising."""
        return [BAND_START_HZ + number * SUBBAND_WIDTH_HZ for number in self.subband_numbers()]

    def block_times_s(self) -> Iterator[NDArray[np.float64]]:
        """Yield, per time block, the mid times of its samples (UTC, MJD seconds)."""
        half_span_s = self.span_s / 2 if self.nblocks > 1 else 0.0
        for middle_s in self.transit_s + np.linspace(-half_span_s, half_span_s, self.nblocks):
            yield middle_s + self.timestep_s * (np.arange(self.slots_per_block) - (self.slots_per_block - 1) / 2)
