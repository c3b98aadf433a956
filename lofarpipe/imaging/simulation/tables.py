"""The subtables that every MeasurementSet has, one function each. Layout: casacore note 229, MeasurementSet 2.0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lofarpipe.imaging.simulation import columns
from lofarpipe.imaging.simulation.settings import SUBBAND_WIDTH_HZ, ObservationSettings
from lofarpipe.imaging.simulation.stations import TILES, Station

CLOCK_MHZ = 200.0
OBSERVATION_COLUMNS = (
    columns.scalar("LOFAR_OBSERVATION_ID", ""),
    columns.scalar("LOFAR_ANTENNA_SET", ""),
    columns.scalar("LOFAR_FILTER_SELECTION", ""),
    columns.array("LOFAR_TARGET", "", 1),
    columns.scalar("LOFAR_PROJECT_TITLE", ""),
    columns.scalar("LOFAR_CLOCK_FREQUENCY", 0.0, columns.MEGAHERTZ),
    columns.scalar("LOFAR_NOF_BITS_PER_SAMPLE", 0),
    columns.scalar("LOFAR_SUB_ARRAY_POINTING", 0),
    columns.scalar("LOFAR_OBSERVATION_START", 0.0, columns.EPOCH),
    columns.scalar("LOFAR_OBSERVATION_END", 0.0, columns.EPOCH),
    columns.scalar("LOFAR_OBSERVATION_FREQUENCY_CENTER", 0.0, columns.MEGAHERTZ),
    columns.scalar("LOFAR_FILENAME", ""),
)
ANTENNA_FIELD_COLUMNS = (
    columns.scalar("ANTENNA_ID", 0),
    columns.scalar("NAME", ""),
    columns.array("POSITION", 0.0, [3], columns.POSITION),
    columns.array("COORDINATE_AXES", 0.0, [3, 3], columns.AXES),
    columns.array("ELEMENT_OFFSET", 0.0, 2, columns.POSITION),
    columns.array("ELEMENT_RCU", 0, 2),
    columns.array("ELEMENT_FLAG", False, 2),
    columns.scalar("TILE_ROTATION", 0.0, columns.RADIANS),
    columns.array("TILE_ELEMENT_OFFSET", 0.0, 2, columns.POSITION),
)


def write_observation(path: str, layout: SetLayout) -> None:
    """Write OBSERVATION: telescope, time range, and LOFAR's own description of the observation."""
    with columns.subtable(path, "OBSERVATION") as table:
        columns.add_columns(table, OBSERVATION_COLUMNS)
        table.addrows(1)
        columns.put_row(
            table,
            0,
            TELESCOPE_NAME="LOFAR",
            TIME_RANGE=np.array([layout.start_s, layout.end_s]),
            OBSERVER="simulation",
            PROJECT="SIMULATION",
            RELEASE_DATE=layout.end_s,
            SCHEDULE=["none"],
            SCHEDULE_TYPE="LOFAR",
            FLAG_ROW=False,
            LOG=[""],
        )
        _describe_observation(table, path, layout)


def _describe_observation(table: object, path: str, layout: SetLayout) -> None:
    """Fill the LOFAR columns of OBSERVATION. The id has the seed, so that two simulations can be told apart."""
    columns.put_row(
        table,
        0,
        LOFAR_OBSERVATION_ID=str(layout.settings.seed),
        LOFAR_ANTENNA_SET=layout.settings.antenna_set,
        LOFAR_FILTER_SELECTION="HBA_110_190",
        LOFAR_TARGET=["SIMULATED"],
        LOFAR_PROJECT_TITLE="simulated observation",
        LOFAR_CLOCK_FREQUENCY=CLOCK_MHZ,
        LOFAR_NOF_BITS_PER_SAMPLE=8,
        LOFAR_SUB_ARRAY_POINTING=0,
        LOFAR_OBSERVATION_START=layout.start_s,
        LOFAR_OBSERVATION_END=layout.end_s,
        LOFAR_OBSERVATION_FREQUENCY_CENTER=layout.frequency_hz / 1e6,
        LOFAR_FILENAME=Path(path).name,
    )


def write_station(path: str, layout: SetLayout) -> None:
    """Write LOFAR_STATION: a row per station, whose number ANTENNA.LOFAR_STATION_ID holds; the core shares a clock."""
    families = sorted({station.family for station in layout.stations})
    clocks = [0 if family.startswith("CS") else number + 1 for number, family in enumerate(families)]
    described = [columns.scalar("NAME", ""), columns.scalar("CLOCK_ID", 0), columns.scalar("FLAG_ROW", False)]
    with columns.new_subtable(path, "LOFAR_STATION", described, len(families)) as table:
        table.putcol("NAME", families)
        table.putcol("CLOCK_ID", np.array(clocks, np.int32))


def write_antenna_field(path: str, layout: SetLayout) -> None:
    """Write LOFAR_ANTENNA_FIELD: axes, tiles and their dipoles, from which the station beam follows."""
    with columns.new_subtable(path, "LOFAR_ANTENNA_FIELD", ANTENNA_FIELD_COLUMNS, len(layout.stations)) as table:
        for row, station in enumerate(layout.stations):
            _put_antenna_field(table, row, station)


def _put_antenna_field(table: object, row: int, station: Station) -> None:
    """Fill one station's row. The tiles' rotation is in the offsets of the dipoles, as in LOFAR's own sets."""
    columns.put_row(
        table,
        row,
        ANTENNA_ID=row,
        NAME=station.field,
        POSITION=station.position_m,
        COORDINATE_AXES=station.axes.copy(),
        ELEMENT_OFFSET=station.tiles_m,
        ELEMENT_FLAG=np.repeat(station.tile_unused[:, None], 2, axis=1),
        ELEMENT_RCU=np.arange(2 * TILES, dtype=np.int32).reshape(TILES, 2),
        TILE_ROTATION=0.0,
        TILE_ELEMENT_OFFSET=station.dipoles_m,
    )


def write_element_failure(path: str) -> None:
    """Write LOFAR_ELEMENT_FAILURE, empty: nothing is broken."""
    described = [
        columns.scalar("ANTENNA_FIELD_ID", 0),
        columns.scalar("ELEMENT_INDEX", 0),
        columns.scalar("TIME", 0.0, columns.EPOCH),
    ]
    with columns.new_subtable(path, "LOFAR_ELEMENT_FAILURE", described, 0):
        pass


LINEAR_CORRELATIONS = (9, 10, 11, 12)
"""XX, XY, YX, YY in POLARIZATION.CORR_TYPE. Source: casacore, class Stokes."""

TOPOCENTRIC = 5
"""TOPO in SPECTRAL_WINDOW.MEAS_FREQ_REF. Source: casacore, class MFrequency."""


@dataclass(frozen=True, eq=False)
class SetLayout:
    """One set of an observation: which subband, from when to when (UTC, MJD seconds), with which stations."""

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


def write_antenna(path: str, layout: SetLayout) -> None:
    """Write ANTENNA: one row per station field."""
    families = sorted({station.family for station in layout.stations})
    with columns.subtable(path, "ANTENNA") as table:
        columns.add_columns(
            table,
            [columns.scalar("LOFAR_STATION_ID", 0), columns.array("LOFAR_PHASE_REFERENCE", 0.0, [3], columns.POSITION)],
        )
        table.addrows(len(layout.stations))
        for row, station in enumerate(layout.stations):
            columns.put_row(
                table,
                row,
                NAME=station.name,
                STATION="LOFAR",
                TYPE="GROUND-BASED",
                MOUNT="X-Y",
                POSITION=station.position_m,
                OFFSET=np.zeros(3),
                DISH_DIAMETER=station.diameter_m,
                FLAG_ROW=False,
                LOFAR_STATION_ID=families.index(station.family),
                LOFAR_PHASE_REFERENCE=station.position_m,
            )


def write_feed(path: str, layout: SetLayout) -> None:
    """Write FEED: two linear receptors per station, turned by -45 degrees as LOFAR's dipoles are."""
    with columns.subtable(path, "FEED") as table:
        table.addrows(len(layout.stations))
        for row in range(len(layout.stations)):
            columns.put_row(
                table,
                row,
                ANTENNA_ID=row,
                FEED_ID=0,
                SPECTRAL_WINDOW_ID=-1,
                TIME=(layout.start_s + layout.end_s) / 2,
                INTERVAL=layout.end_s - layout.start_s,
                NUM_RECEPTORS=2,
                BEAM_ID=-1,
                BEAM_OFFSET=np.zeros((2, 2)),
                POLARIZATION_TYPE=["X", "Y"],
                POL_RESPONSE=np.eye(2, dtype=np.complex64),
                POSITION=np.zeros(3),
                RECEPTOR_ANGLE=np.full(2, -math.pi / 4),
            )


def write_field(path: str, layout: SetLayout) -> None:
    """Write FIELD: one pointing, also as the direction of the tile beams that EveryBeam reads."""
    direction = np.array([layout.settings.phase_centre_rad])
    with columns.subtable(path, "FIELD") as table:
        columns.add_columns(table, [columns.array("LOFAR_TILE_BEAM_DIR", 0.0, 2, columns.DIRECTION)])
        table.addrows(1)
        columns.put_row(
            table,
            0,
            NAME="SIMULATED",
            CODE="",
            TIME=layout.start_s,
            NUM_POLY=0,
            DELAY_DIR=direction,
            PHASE_DIR=direction,
            REFERENCE_DIR=direction,
            LOFAR_TILE_BEAM_DIR=direction,
            SOURCE_ID=-1,
            FLAG_ROW=False,
        )


def write_polarization(path: str) -> None:
    """Write POLARIZATION: XX, XY, YX, YY."""
    with columns.subtable(path, "POLARIZATION") as table:
        table.addrows(1)
        columns.put_row(
            table,
            0,
            NUM_CORR=len(LINEAR_CORRELATIONS),
            CORR_TYPE=np.array(LINEAR_CORRELATIONS, np.int32),
            CORR_PRODUCT=np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.int32),
            FLAG_ROW=False,
        )


def write_data_description(path: str) -> None:
    """Write DATA_DESCRIPTION: the one combination of spectral window and polarisations."""
    with columns.subtable(path, "DATA_DESCRIPTION") as table:
        table.addrows(1)
        columns.put_row(table, 0, SPECTRAL_WINDOW_ID=0, POLARIZATION_ID=0, FLAG_ROW=False)


def write_spectral_window(path: str, layout: SetLayout) -> None:
    """Write SPECTRAL_WINDOW: the channels of one subband; REF_FREQUENCY is its centre."""
    widths_hz = np.full(layout.settings.nchannels, layout.settings.channel_width_hz)
    with columns.subtable(path, "SPECTRAL_WINDOW") as table:
        table.addrows(1)
        columns.put_row(
            table,
            0,
            NUM_CHAN=layout.settings.nchannels,
            NAME=f"SB{layout.subband:03d}",
            REF_FREQUENCY=layout.frequency_hz,
            CHAN_FREQ=np.array(layout.channel_frequencies_hz()),
            CHAN_WIDTH=widths_hz,
            EFFECTIVE_BW=widths_hz,
            RESOLUTION=widths_hz,
            MEAS_FREQ_REF=TOPOCENTRIC,
            TOTAL_BANDWIDTH=SUBBAND_WIDTH_HZ,
            NET_SIDEBAND=0,
            IF_CONV_CHAIN=0,
            FREQ_GROUP=0,
            FREQ_GROUP_NAME="",
            FLAG_ROW=False,
        )
