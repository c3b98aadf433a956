"""Small measurement sets from nothing, for tests: a made-up array near the LOFAR core, true uvw, no sky."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import casacore.tables as ct
import numpy as np
import pytest

EARTH_ROTATION_RAD_S = 7.2921159e-5
C_M_S = 299792458.0
START_S = 5.0e9  # MJD seconds
CORE_M = np.array([3826577.0, 461022.9, 5064892.8])
FIXED_CELL = 5  # casacore's option for a column whose cells have one shape


@dataclass(frozen=True)
class SetShape:
    """Shape of a synthetic set; times in s, frequencies in Hz, directions in rad."""

    nantennas: int = 12
    ntimes: int = 40
    timestep_s: float = 10.0
    nchan: int = 8
    channel_width_hz: float = 24414.0625
    first_channel_hz: float = 144e6
    start_s: float = START_S
    ra_rad: float = 1.0
    dec_rad: float = 0.9
    dish_diameter_m: float = 31.0
    telescope: str = "LOFAR"
    correlations: tuple[int, ...] = (9, 10, 11, 12)
    extent_m: float = 8000.0

    @property
    def frequencies_hz(self) -> np.ndarray:
        return self.first_channel_hz + self.channel_width_hz * np.arange(self.nchan)

    @property
    def times_s(self) -> np.ndarray:
        return self.start_s + self.timestep_s * (np.arange(self.ntimes) + 0.5)


def antenna_xyz_m(shape: SetShape) -> np.ndarray:
    """Equatorial offsets of the antennas, denser in the middle."""
    rng = np.random.default_rng(4)
    radius = shape.extent_m * rng.random(shape.nantennas) ** 1.5
    angle = 2 * np.pi * rng.random(shape.nantennas)
    return np.stack([radius * np.cos(angle) * 0.6, radius * np.sin(angle), radius * np.cos(angle) * 0.8], axis=1)


def uvw_at(shape: SetShape, baselines_m: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """uvw (time, baseline, 3), metres, by turning the hour angle; right ascension 1 transits 2000 s after START_S."""
    angle = EARTH_ROTATION_RAD_S * (times_s - START_S - 2000.0) - (shape.ra_rad - SetShape.ra_rad)
    sin_h, cos_h = np.sin(angle)[:, None], np.cos(angle)[:, None]
    sin_d, cos_d = np.sin(shape.dec_rad), np.cos(shape.dec_rad)
    x, y, z = baselines_m.T
    outward = x * cos_h - y * sin_h
    u = x * sin_h + y * cos_h
    return np.stack([u, -sin_d * outward + cos_d * z, cos_d * outward + sin_d * z], axis=2)


def to_itrf() -> np.ndarray:
    """Rotation (3, 3) about the Earth's axis, after which the offsets in ITRF have the uvw of ``uvw_at``."""
    days = (START_S + 2000.0) / 86400 - 51544.5  # since J2000
    greenwich_rad = 2 * np.pi * (0.7790572732640 + 1.00273781191135448 * days)  # Earth rotation angle
    angle = SetShape.ra_rad - greenwich_rad  # minus the hour angle at Greenwich, which is 0 in uvw_at
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def pairs(shape: SetShape) -> tuple[np.ndarray, np.ndarray]:
    """Antenna numbers of the baselines, autocorrelations included."""
    return np.triu_indices(shape.nantennas)


def _spectral_window(path: str, shape: SetShape) -> None:
    with ct.table(f"{path}/SPECTRAL_WINDOW", readonly=False, ack=False) as table:
        table.addrows(1)
        table.putcell("CHAN_FREQ", 0, shape.frequencies_hz)
        for column in ("CHAN_WIDTH", "EFFECTIVE_BW", "RESOLUTION"):
            table.putcell(column, 0, np.full(shape.nchan, shape.channel_width_hz))
        table.putcell("REF_FREQUENCY", 0, float(shape.frequencies_hz.mean()))
        table.putcell("NUM_CHAN", 0, shape.nchan)
        table.putcell("TOTAL_BANDWIDTH", 0, shape.nchan * shape.channel_width_hz)
        table.putcell("MEAS_FREQ_REF", 0, 5)


def _antennas(path: str, shape: SetShape) -> None:
    with ct.table(f"{path}/ANTENNA", readonly=False, ack=False) as table:
        table.addrows(shape.nantennas)
        table.putcol("NAME", [f"CS{number:03d}HBA0" for number in range(shape.nantennas)])
        table.putcol("STATION", ["LOFAR"] * shape.nantennas)
        table.putcol("MOUNT", ["X-Y"] * shape.nantennas)
        table.putcol("POSITION", CORE_M + antenna_xyz_m(shape) @ to_itrf().T)
        table.putcol("DISH_DIAMETER", np.full(shape.nantennas, shape.dish_diameter_m))


def _other_subtables(path: str, shape: SetShape) -> None:
    with ct.table(f"{path}/FIELD", readonly=False, ack=False) as table:
        table.addrows(1)
        for column in ("PHASE_DIR", "DELAY_DIR", "REFERENCE_DIR"):
            table.putcell(column, 0, np.array([[shape.ra_rad, shape.dec_rad]]))
    with ct.table(f"{path}/POLARIZATION", readonly=False, ack=False) as table:
        table.addrows(1)
        table.putcell("CORR_TYPE", 0, np.array(shape.correlations, np.int32))
        products = [[0, 0], [0, 1], [1, 0], [1, 1]] if len(shape.correlations) == 4 else [[0, 0], [1, 1]]
        table.putcell("CORR_PRODUCT", 0, np.array(products[: len(shape.correlations)], np.int32))
        table.putcell("NUM_CORR", 0, len(shape.correlations))
    for name in ("DATA_DESCRIPTION", "OBSERVATION"):
        with ct.table(f"{path}/{name}", readonly=False, ack=False) as table:
            table.addrows(1)
            if name == "OBSERVATION":
                table.putcell("TELESCOPE_NAME", 0, shape.telescope)
                table.putcell("TIME_RANGE", 0, np.array([shape.times_s[0], shape.times_s[-1]]))


def _main_table(path: str, shape: SetShape, with_data: bool, with_spectrum: bool):
    description = ct.required_ms_desc()
    cells = [shape.nchan, len(shape.correlations)]
    extra = []
    if with_spectrum:
        extra.append(ct.makearrcoldesc("WEIGHT_SPECTRUM", 0.0, 2, cells, valuetype="float"))
    if with_data:
        extra.append(ct.makearrcoldesc("DATA", 0j, 2, cells, valuetype="complex"))
    description.update(ct.maketabdesc(extra))
    for column, size in (("UVW", [3]), ("FLAG", cells), ("WEIGHT", cells[1:]), ("SIGMA", cells[1:])):
        description[column].update(shape=size, ndim=len(size), option=FIXED_CELL)
    constant = [name for name in description if name[0] != "_" and name not in ("DATA", "UVW", "ANTENNA1", "ANTENNA2")]
    managers = {
        f"*{number}": {"TYPE": kind, "NAME": f"{kind} of test", "SEQNR": number, "SPEC": spec, "COLUMNS": columns}
        for number, (kind, spec, columns) in enumerate(
            (
                ("IncrementalStMan", {}, constant),
                ("TiledColumnStMan", {"DEFAULTTILESHAPE": np.array([3, 1024])}, ["UVW"]),
                ("StandardStMan", {"BUCKETSIZE": 32768}, ["ANTENNA1", "ANTENNA2"]),
            )
        )
    }
    # As in sets of LOFAR, which casacore's default is not: it makes 3 million buckets of 13 million rows.
    table = ct.default_ms(path, description, managers)
    table.putcolkeyword("UVW", "MEASINFO", {"type": "uvw", "Ref": "J2000"})
    return table


def _fill_rows(table, shape: SetShape, weight: float) -> None:
    antenna1, antenna2 = pairs(shape)
    table.addrows(len(antenna1) * shape.ntimes)
    table.putcol("ANTENNA1", np.tile(antenna1, shape.ntimes).astype(np.int32))
    table.putcol("ANTENNA2", np.tile(antenna2, shape.ntimes).astype(np.int32))
    cells = (shape.nchan, len(shape.correlations))
    for column, value in (
        ("INTERVAL", shape.timestep_s),
        ("EXPOSURE", shape.timestep_s),
        ("FLAG_ROW", False),
        ("FLAG", np.zeros(cells, bool)),
        ("WEIGHT_SPECTRUM", np.full(cells, weight, np.float32)),
        ("WEIGHT", np.full(cells[1], weight, np.float32)),
        ("SIGMA", np.ones(cells[1], np.float32)),
    ):
        if column in table.colnames():
            table.putcell(column, 0, value)
    if "DATA" in table.colnames():
        # Unwritten cells hold old memory, such as NaN. The first rows suffice; a million would be slow.
        rows = min(table.nrows(), 20_000)
        table.putcol("DATA", np.zeros((rows, *cells), np.complex64), 0, rows)
    for number, time_s in enumerate(shape.times_s):
        for column in ("TIME", "TIME_CENTROID"):
            table.putcell(column, number * len(antenna1), time_s)


def make_set(
    path: Path,
    shape: SetShape,
    weight: float = 1.0,
    with_uvw: bool = True,
    with_data: bool = False,
    with_spectrum: bool = True,
) -> str:
    """Write a set; all rows unflagged. ``with_uvw`` False leaves uvw at 0, which makes a million rows cheap."""
    with _main_table(str(path), shape, with_data, with_spectrum) as table:
        _fill_rows(table, shape, weight)
        if with_uvw:
            antenna1, antenna2 = pairs(shape)
            xyz_m = antenna_xyz_m(shape)
            table.putcol("UVW", uvw_at(shape, xyz_m[antenna2] - xyz_m[antenna1], shape.times_s).reshape(-1, 3))
    _spectral_window(str(path), shape)
    _antennas(str(path), shape)
    _other_subtables(str(path), shape)
    return str(path)


def set_flags(path: str, flags: np.ndarray) -> None:
    """Flag whole samples: ``flags`` (row, chan)."""
    with ct.table(path, readonly=False, ack=False) as table:
        ncorr = table.getcell("FLAG", 0).shape[1]
        table.putcol("FLAG", np.repeat(flags[:, :, None], ncorr, axis=2))


@dataclass
class Reading:
    """How many tables were opened, and how many rows were read of columns, each column for itself."""

    opened: int = 0
    rows: int = 0


def count_reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    """Count reads of tables from here on, as a measure of cost that no machine changes."""
    reading = Reading()

    class Counting(ct.table):
        def __init__(self, *args: object, **kwargs: object) -> None:
            reading.opened += 1
            super().__init__(*args, **kwargs)

        def getcol(self, name: str, startrow: int = 0, nrow: int = -1, rowincr: int = 1) -> object:
            reading.rows += -(-(self.nrows() - startrow) // rowincr) if nrow < 0 else nrow
            return super().getcol(name, startrow, nrow, rowincr)

    monkeypatch.setattr(ct, "table", Counting)
    return reading


def keep_rows(path: str, rows: Sequence[int]) -> None:
    """Leave only these rows in a set, in this order; a number that comes twice makes two rows."""
    with ct.table(path, ack=False) as table:
        table.selectrows(list(map(int, rows))).copy(f"{path}.new", deep=True).close()
    shutil.rmtree(path)
    Path(f"{path}.new").rename(path)


def change_column(path: str, column: str, change: Callable[[Any], Any]) -> None:
    """Replace a column of a table by the result of ``change``."""
    with ct.table(path, readonly=False, ack=False) as table:
        table.putcol(column, change(table.getcol(column)))


def add_field(path: str, name: str, dec_offset_rad: float = 0.0) -> None:
    """Add a row to FIELD, like the first one but for name and declination."""
    with ct.table(f"{path}/FIELD", readonly=False, ack=False) as table:
        table.addrows(1)
        row = table.nrows() - 1
        table.putcell("NAME", row, name)
        for column in ("PHASE_DIR", "DELAY_DIR", "REFERENCE_DIR"):
            table.putcell(column, row, table.getcell(column, 0) + np.array([[0.0, dec_offset_rad]]))


def drop_column(path: str, column: str) -> None:
    """Write a set again without a column, also where casacore does not remove it."""
    with ct.table(path, ack=False) as table:
        with table.select(",".join(name for name in table.colnames() if name != column)) as others:
            others.copy(f"{path}.new", deep=True).close()
        keywords = table.getkeywords()
    with ct.table(f"{path}.new", readonly=False, ack=False) as table:
        for name in keywords:
            if not Path(path, name).is_dir():
                continue
            if not Path(f"{path}.new", name).is_dir():
                shutil.copytree(f"{path}/{name}", f"{path}.new/{name}")
            table.putkeyword(name, f"Table: {path}.new/{name}")
    shutil.rmtree(path)
    Path(f"{path}.new").rename(path)
