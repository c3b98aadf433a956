"""Settings of a simulated observation, validated on creation, and LOFAR's Dutch stations.

Antenna positions are those of lofarantpos.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError
from lofarpipe.support.dataclass import dataclass

SUBBAND_WIDTH_HZ = 195312.5


"""Width of a LOFAR subband with the 200 MHz clock: 100 MHz / 512. Source: doc/spec/imaging.md, section 2.3."""


BAND_START_HZ = 100e6


"""Start of subbands in the second Nyquist zone, 100-200 MHz. Source: doc/spec/imaging.md, section 2.3."""


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
    """Times, pointing and resolution of an observation; all other numbers follow from ``seed``.

    The default is the demonstration: it is imaged to the edge of the field within minutes, and its sampling is finer
    than the image's smearing limits, so that averaging is possible. ``transit_s`` (UTC, MJD seconds) is the middle of
    the observation; blocks are evenly spread over ``span_s`` seconds around it.

    Raises
    ------
    ValueError
        If a number is impossible.
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
        """Refuse impossible observations."""
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


CORE = (
    *("CS001", "CS002", "CS003", "CS004", "CS005", "CS006", "CS007", "CS011", "CS013", "CS017", "CS021", "CS024"),
    *("CS026", "CS028", "CS030", "CS031", "CS032", "CS101", "CS103", "CS201", "CS301", "CS302", "CS401", "CS501"),
)
REMOTE = (
    *("RS106", "RS205", "RS208", "RS210", "RS305", "RS306", "RS307"),
    *("RS310", "RS406", "RS407", "RS409", "RS503", "RS508", "RS509"),
)
TILES = 48
TILES_PER_FIELD = 24
TILE_SPACING_M = 1.25
"""Distance between the 4 x 4 dipoles of an HBA tile. Source: van Haarlem et al. 2013, section 4.2."""
TILE_WIDTH_M = 5.0
"""DISH_DIAMETER of HBA sets minus twice the largest tile radius. Source: doc/spec/imaging.md, section 2.1."""


@dataclass(frozen=True, eq=False)
class Station:
    """One HBA station field. Positions are ITRF metres; offsets are relative to ``position_m``.

    ``axes`` (3, 3) has the field's p, q, r axes as rows; ``tiles_m`` (48, 3), ``tile_unused`` (48,), ``dipoles_m``
    (16, 3, relative to a tile's centre).
    """

    name: str
    position_m: NDArray[np.float64]
    axes: NDArray[np.float64]
    tiles_m: NDArray[np.float64]
    tile_unused: NDArray[np.bool_]
    dipoles_m: NDArray[np.float64]

    @property
    def family(self) -> str:
        """The station without its field, e.g. CS001."""
        return self.name[:5]

    @property
    def field(self) -> str:
        """The field, e.g. HBA0."""
        return self.name[5:]

    @property
    def diameter_m(self) -> float:
        """Diameter over the used tiles, metres, as DISH_DIAMETER in LOFAR's sets."""
        return float(2 * np.linalg.norm(self.tiles_m[~self.tile_unused], axis=1).max() + TILE_WIDTH_M)


def station_names(count: int) -> list[str]:
    """Return the names of ``count`` station fields, evenly picked from core to remote.

    Up to 38, core stations contribute one of their two fields, which maximises distinct baselines.

    Raises
    ------
    ValueError
        If ``count`` is below 2 or above 62.
    """
    if not 2 <= count <= MOST_STATIONS:
        raise ValueError(f"number of stations is {count}; it must be between 2 and {MOST_STATIONS}")
    fields = (0,) if count <= len(CORE) + len(REMOTE) else (0, 1)
    names = [f"{station}HBA{field}" for station in CORE for field in fields] + [f"{station}HBA" for station in REMOTE]
    return [names[index] for index in np.linspace(0, len(names) - 1, count).round().astype(int)]


def load_stations(count: int, antenna_set: str) -> list[Station]:
    """Return ``count`` stations with the tiles of ``antenna_set`` (HBA_DUAL, HBA_DUAL_INNER).

    Raises
    ------
    PipelineError
        If the package lofarantpos is not installed.
    """
    try:
        from lofarantpos.db import LofarAntennaDatabase
    except ImportError as err:
        raise PipelineError(f"simulation: {err}; station positions are needed; pip install 'lofarantpos>=0.8'") from err
    positions = LofarAntennaDatabase()
    return [_station(name, positions, antenna_set) for name in station_names(count)]


def _station(name: str, positions: Any, antenna_set: str) -> Station:
    """Return one station from the position tables."""
    centre_m = positions.phase_centres[name]
    axes = positions.pqr_to_etrs[name].T
    tiles_m = positions.antenna_etrs(f"{name[:5]}HBA") - centre_m
    return Station(
        name=name,
        position_m=centre_m,
        axes=axes,
        tiles_m=tiles_m,
        tile_unused=_unused_tiles(name, tiles_m, antenna_set),
        dipoles_m=_dipole_offsets(positions.hba_rotations[name]) @ axes,
    )


def _unused_tiles(name: str, tiles_m: NDArray[np.float64], antenna_set: str) -> NDArray[np.bool_]:
    """Return a mask of the 48 tiles not in use: the other ear, or the outer half of a remote station."""
    unused = np.zeros(TILES, dtype=bool)
    if name.endswith("HBA0"):
        unused[TILES_PER_FIELD:] = True
    elif name.endswith("HBA1"):
        unused[:TILES_PER_FIELD] = True
    elif antenna_set.endswith("INNER"):
        unused[np.argsort(np.linalg.norm(tiles_m, axis=1))[TILES_PER_FIELD:]] = True
    return unused


def _dipole_offsets(rotation_rad: float) -> NDArray[np.float64]:
    """Return the 16 dipoles of a tile in the station's p, q, r system, metres (16, 3), row by row."""
    steps = TILE_SPACING_M * np.array([-1.5, -0.5, 0.5, 1.5])
    columns, rows = np.meshgrid(steps, steps[::-1])
    p, q = columns.ravel(), rows.ravel()
    cos, sin = np.cos(rotation_rad), np.sin(rotation_rad)
    return np.column_stack([cos * p + sin * q, cos * q - sin * p, np.zeros(16)])
