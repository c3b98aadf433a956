"""Subtables of a simulated set: standard (casacore note 229, version 2.0) and LOFAR-specific."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import casacore.tables
import numpy as np

from lofarpipe.imaging.simulation.stations import SUBBAND_WIDTH_HZ, TILES, ObservationSettings, Station
from lofarpipe.support.dataclass import dataclass

POSITION = {"QuantumUnits": ["m", "m", "m"], "MEASINFO": {"type": "position", "Ref": "ITRF"}}
EPOCH = {"QuantumUnits": ["s"], "MEASINFO": {"type": "epoch", "Ref": "UTC"}}
DIRECTION = {"QuantumUnits": ["rad", "rad"], "MEASINFO": {"type": "direction", "Ref": "J2000"}}
AXES = {"QuantumUnits": ["m", "m"], "MEASINFO": {"type": "direction", "Ref": "ITRF"}}
RADIANS = {"QuantumUnits": ["rad"]}
MEGAHERTZ = {"QuantumUnits": ["MHz"]}
Keywords = Mapping[str, Any]
Row = Mapping[str, Any]  # column -> value
CLOCK_MHZ = 200.0
LINEAR_CORRELATIONS = (9, 10, 11, 12)
"""XX, XY, YX, YY in POLARIZATION.CORR_TYPE. Source: casacore, class Stokes."""
TOPOCENTRIC = 5
"""TOPO in SPECTRAL_WINDOW.MEAS_FREQ_REF. Source: casacore, class MFrequency."""


def scalar(name: str, example: Any, keywords: Keywords | None = None) -> Any:
    """Return a scalar column of the type of ``example``."""
    return casacore.tables.makescacoldesc(name, example, keywords=dict(keywords or {}))


def array(name: str, example: Any, shape: Sequence[int] | int, keywords: Keywords | None = None) -> Any:
    """Return an array column of the type of ``example``: a fixed shape, or only a number of axes."""
    ndim, fixed = (shape, []) if isinstance(shape, int) else (len(shape), list(shape))
    return casacore.tables.makearrcoldesc(name, example, ndim=ndim, shape=fixed, keywords=dict(keywords or {}))


def fill_row(table: Any, row: int, **values: Any) -> None:
    """Fill one row of an open table, one keyword per column."""
    for column, value in values.items():
        table.putcell(column, row, value)


OBSERVATION_COLUMNS = (
    scalar("LOFAR_OBSERVATION_ID", ""),
    scalar("LOFAR_ANTENNA_SET", ""),
    scalar("LOFAR_FILTER_SELECTION", ""),
    array("LOFAR_TARGET", "", 1),
    scalar("LOFAR_PROJECT_TITLE", ""),
    scalar("LOFAR_CLOCK_FREQUENCY", 0.0, MEGAHERTZ),
    scalar("LOFAR_NOF_BITS_PER_SAMPLE", 0),
    scalar("LOFAR_SUB_ARRAY_POINTING", 0),
    scalar("LOFAR_OBSERVATION_START", 0.0, EPOCH),
    scalar("LOFAR_OBSERVATION_END", 0.0, EPOCH),
    scalar("LOFAR_OBSERVATION_FREQUENCY_CENTER", 0.0, MEGAHERTZ),
    scalar("LOFAR_FILENAME", ""),
)
ANTENNA_FIELD_COLUMNS = (
    scalar("ANTENNA_ID", 0),
    scalar("NAME", ""),
    array("POSITION", 0.0, [3], POSITION),
    array("COORDINATE_AXES", 0.0, [3, 3], AXES),
    array("ELEMENT_OFFSET", 0.0, 2, POSITION),
    array("ELEMENT_RCU", 0, 2),
    array("ELEMENT_FLAG", False, 2),
    scalar("TILE_ROTATION", 0.0, RADIANS),
    array("TILE_ELEMENT_OFFSET", 0.0, 2, POSITION),
)


@dataclass(frozen=True, eq=False)
class SetLayout:
    """Layout of one set: subband, time range (UTC, MJD seconds), stations."""

    settings: ObservationSettings
    stations: Sequence[Station]
    frequency_hz: float
    subband: int
    start_s: float
    end_s: float

    def channel_frequencies_hz(self) -> list[float]:
        """Return the centres of the channels in Hz, rising."""
        width_hz, nchannels = self.settings.channel_width_hz, self.settings.nchannels
        return [self.frequency_hz + (channel - (nchannels - 1) / 2) * width_hz for channel in range(nchannels)]


def write_subtables(path: str, layout: SetLayout) -> None:
    """Write all subtables of a set: standard and LOFAR-specific."""
    direction = np.array([layout.settings.phase_centre_rad])
    stations = layout.stations
    families = sorted({station.family for station in stations})
    columns = [scalar("LOFAR_STATION_ID", 0), array("LOFAR_PHASE_REFERENCE", 0.0, [3], POSITION)]
    _fill(path, "ANTENNA", [_antenna(station, families.index(station.family)) for station in stations], columns)
    _fill(path, "FEED", [_feed(row, layout) for row in range(len(stations))])
    # EveryBeam reads the direction of the tile beams.
    directions = dict.fromkeys(("DELAY_DIR", "PHASE_DIR", "REFERENCE_DIR", "LOFAR_TILE_BEAM_DIR"), direction)
    field = {"NAME": "SIMULATED", "CODE": "", "TIME": layout.start_s, "NUM_POLY": 0, "SOURCE_ID": -1, "FLAG_ROW": False}
    _fill(path, "FIELD", [{**field, **directions}], [array("LOFAR_TILE_BEAM_DIR", 0.0, 2, DIRECTION)])
    products = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.int32)
    correlations = {"NUM_CORR": 4, "CORR_TYPE": np.array(LINEAR_CORRELATIONS, np.int32), "CORR_PRODUCT": products}
    _fill(path, "POLARIZATION", [{**correlations, "FLAG_ROW": False}])
    _fill(path, "DATA_DESCRIPTION", [{"SPECTRAL_WINDOW_ID": 0, "POLARIZATION_ID": 0, "FLAG_ROW": False}])
    _fill(path, "SPECTRAL_WINDOW", [_spectral_window(layout)])
    _fill(path, "OBSERVATION", [_observation(layout, Path(path).name)], OBSERVATION_COLUMNS)
    # ANTENNA.LOFAR_STATION_ID is a row number of this table. The core shares a clock.
    clocks = [0 if family.startswith("CS") else number + 1 for number, family in enumerate(families)]
    rows = [{"NAME": family, "CLOCK_ID": clock} for family, clock in zip(families, clocks, strict=True)]
    _add_subtable(path, "LOFAR_STATION", [scalar("NAME", ""), scalar("CLOCK_ID", 0), scalar("FLAG_ROW", False)], rows)
    _add_subtable(
        path, "LOFAR_ANTENNA_FIELD", ANTENNA_FIELD_COLUMNS, [_antenna_field(*item) for item in enumerate(stations)]
    )
    failures = [scalar("ANTENNA_FIELD_ID", 0), scalar("ELEMENT_INDEX", 0), scalar("TIME", 0.0, EPOCH)]
    _add_subtable(path, "LOFAR_ELEMENT_FAILURE", failures, [])  # nothing is broken


def _fill(path: str, name: str, rows: Sequence[Row], columns: Sequence[Any] = ()) -> None:
    """Add rows to an existing subtable, and LOFAR's columns to the standard ones."""
    with closing(casacore.tables.table(f"{path}/{name}", readonly=False, ack=False)) as table:
        if columns:
            table.addcols(casacore.tables.maketabdesc(list(columns)))
        table.addrows(len(rows))
        for number, row in enumerate(rows):
            fill_row(table, number, **row)


def _add_subtable(path: str, name: str, columns: Sequence[Any], rows: Sequence[Row]) -> None:
    """Create a non-standard subtable, and attach it to the set."""
    casacore.tables.table(f"{path}/{name}", casacore.tables.maketabdesc(list(columns)), ack=False).close()
    _fill(path, name, rows)
    with closing(casacore.tables.table(path, readonly=False, ack=False)) as main:
        main.putkeyword(name, f"Table: {path}/{name}")


def _antenna(station: Station, family: int) -> Row:
    return {
        "NAME": station.name,
        "STATION": "LOFAR",
        "TYPE": "GROUND-BASED",
        "MOUNT": "X-Y",
        "FLAG_ROW": False,
        "POSITION": station.position_m,
        "OFFSET": np.zeros(3),
        "DISH_DIAMETER": station.diameter_m,
        "LOFAR_STATION_ID": family,
        "LOFAR_PHASE_REFERENCE": station.position_m,
    }


def _feed(antenna: int, layout: SetLayout) -> Row:
    """Return two linear receptors, turned by -45 degrees as LOFAR's dipoles are."""
    return {
        "ANTENNA_ID": antenna,
        "FEED_ID": 0,
        "SPECTRAL_WINDOW_ID": -1,
        "BEAM_ID": -1,
        "POSITION": np.zeros(3),
        "TIME": (layout.start_s + layout.end_s) / 2,
        "INTERVAL": layout.end_s - layout.start_s,
        "NUM_RECEPTORS": 2,
        "POLARIZATION_TYPE": ["X", "Y"],
        "RECEPTOR_ANGLE": np.full(2, -math.pi / 4),
        "BEAM_OFFSET": np.zeros((2, 2)),
        "POL_RESPONSE": np.eye(2, dtype=np.complex64),
    }


def _spectral_window(layout: SetLayout) -> Row:
    """Return the channels of one subband; REF_FREQUENCY is its centre."""
    widths_hz = np.full(layout.settings.nchannels, layout.settings.channel_width_hz)
    return {
        "NAME": f"SB{layout.subband:03d}",
        "REF_FREQUENCY": layout.frequency_hz,
        "MEAS_FREQ_REF": TOPOCENTRIC,
        "NUM_CHAN": len(widths_hz),
        "CHAN_FREQ": np.array(layout.channel_frequencies_hz()),
        **dict.fromkeys(("CHAN_WIDTH", "EFFECTIVE_BW", "RESOLUTION"), widths_hz),
        "TOTAL_BANDWIDTH": SUBBAND_WIDTH_HZ,
        "NET_SIDEBAND": 0,
        "IF_CONV_CHAIN": 0,
        "FREQ_GROUP": 0,
        "FREQ_GROUP_NAME": "",
        "FLAG_ROW": False,
    }


def _observation(layout: SetLayout, name: str) -> Row:
    """Return telescope, times, and LOFAR's own description. The id contains the seed, so that simulations differ."""
    return {
        "TELESCOPE_NAME": "LOFAR",
        "OBSERVER": "simulation",
        "PROJECT": "SIMULATION",
        "LOG": [""],
        "SCHEDULE": ["none"],
        "SCHEDULE_TYPE": "LOFAR",
        "RELEASE_DATE": layout.end_s,
        "FLAG_ROW": False,
        "TIME_RANGE": np.array([layout.start_s, layout.end_s]),
        "LOFAR_OBSERVATION_ID": str(layout.settings.seed),
        "LOFAR_ANTENNA_SET": layout.settings.antenna_set,
        "LOFAR_FILTER_SELECTION": "HBA_110_190",
        "LOFAR_TARGET": ["SIMULATED"],
        "LOFAR_PROJECT_TITLE": "simulated observation",
        "LOFAR_CLOCK_FREQUENCY": CLOCK_MHZ,
        "LOFAR_NOF_BITS_PER_SAMPLE": 8,
        "LOFAR_SUB_ARRAY_POINTING": 0,
        "LOFAR_FILENAME": name,
        "LOFAR_OBSERVATION_START": layout.start_s,
        "LOFAR_OBSERVATION_END": layout.end_s,
        "LOFAR_OBSERVATION_FREQUENCY_CENTER": layout.frequency_hz / 1e6,
    }


def _antenna_field(number: int, station: Station) -> Row:
    """Return the row that defines the station beam. Dipole offsets include the tiles' rotation, as in LOFAR."""
    return {
        "ANTENNA_ID": number,
        "NAME": station.field,
        "POSITION": station.position_m,
        "COORDINATE_AXES": station.axes.copy(),
        "ELEMENT_OFFSET": station.tiles_m,
        "ELEMENT_FLAG": np.repeat(station.tile_unused[:, None], 2, axis=1),
        "ELEMENT_RCU": np.arange(2 * TILES, dtype=np.int32).reshape(TILES, 2),
        "TILE_ROTATION": 0.0,
        "TILE_ELEMENT_OFFSET": station.dipoles_m,
    }
