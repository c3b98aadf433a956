"""The subtables and columns that only LOFAR has: what EveryBeam makes station beams from, and who observed when."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lofarpipe.imaging.simulation import columns
from lofarpipe.imaging.simulation.stations import TILES, Station
from lofarpipe.imaging.simulation.tables import SetLayout

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
