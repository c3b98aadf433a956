"""Small full-Stokes measurement sets with several spectral windows, for tests: one polarised source, a little noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import casacore.tables as ct
import numpy as np

from small_sets import C_M_S, SetShape, antenna_xyz_m, pairs, uvw_at

STOKES_JY = (1.0, 0.2, -0.1, 0.05)  # of the source in the middle
OFFSET_JY, OFFSET_RAD = 0.5, (2e-4, 1.5e-4)  # of an unpolarised one elsewhere


@dataclass(frozen=True)
class BandShape:
    """Shape of a synthetic set: windows as lowest edge (MHz), channels, width (MHz), in the order of the set."""

    windows: tuple[tuple[float, int, float], ...] = ((900.0, 4, 10.0), (960.0, 4, 10.0))
    flagged: tuple[tuple[int, int], ...] = ()  # (window, channel) with every visibility flagged
    correlations: tuple[int, ...] = (9, 10, 11, 12)
    corrected: bool = True
    fields: tuple[str, ...] = ("FIELD",)
    noise_jy: float = 0.02
    nantennas: int = 10
    ntimes: int = 6
    history: str = ""


def _shape(band: BandShape) -> SetShape:
    return SetShape(
        nantennas=band.nantennas,
        ntimes=band.ntimes,
        timestep_s=600.0,
        extent_m=2500.0,
        telescope="MeerKAT",
        correlations=band.correlations,
    )


def make_band_set(path: Path, band: BandShape | None = None) -> Path:
    """Write a set; its column DATA is worthless where it has CORRECTED_DATA."""
    band = band or BandShape()
    shape = _shape(band)
    table = _new_table(str(path), band.corrected)
    antenna1, antenna2 = pairs(shape)
    xyz_m = antenna_xyz_m(shape)
    uvw_m = uvw_at(shape, xyz_m[antenna2] - xyz_m[antenna1], shape.times_s)
    rng = np.random.default_rng(3)
    start = 0
    for time, uvw in zip(shape.times_s, uvw_m, strict=True):
        for window in range(len(band.windows)):
            table.addrows(len(antenna1))
            _put_rows(table, start, band, window, uvw, rng)
            for name, value in (("TIME", time), ("TIME_CENTROID", time), ("INTERVAL", 600.0), ("EXPOSURE", 600.0)):
                table.putcol(name, np.full(len(antenna1), value), start, len(antenna1))
            table.putcol("ANTENNA1", antenna1.astype(np.int32), start, len(antenna1))
            table.putcol("ANTENNA2", antenna2.astype(np.int32), start, len(antenna1))
            table.putcol("DATA_DESC_ID", np.full(len(antenna1), window, np.int32), start, len(antenna1))
            start += len(antenna1)
    if len(band.fields) > 1:  # in turn, by time
        blocks = np.arange(start) // (len(antenna1) * len(band.windows))
        table.putcol("FIELD_ID", (blocks % len(band.fields)).astype(np.int32))
    table.close()
    _put_subtables(str(path), band, shape, xyz_m)
    return path


def _new_table(path: str, corrected: bool) -> ct.table:
    description = ct.required_ms_desc()
    columns = [("DATA", "complex"), ("WEIGHT_SPECTRUM", "float")]
    for name, kind in columns + [("CORRECTED_DATA", "complex")] * corrected:
        description.update(ct.maketabdesc([ct.makearrcoldesc(name, 0.0, ndim=2, valuetype=kind)]))
    names = [*(name for name, _ in columns), "FLAG", *["CORRECTED_DATA"] * corrected]
    managers = {
        f"*{number}": {
            "TYPE": "TiledShapeStMan",
            "NAME": f"Tiled{name}",
            "SEQNR": number,
            "COLUMNS": [name],
            "SPEC": {"DEFAULTTILESHAPE": np.array([4, 8, 256], np.int32)},
        }
        for number, name in enumerate(names)
    }
    table = ct.default_ms(path, description, managers)
    table.putcolkeyword("UVW", "MEASINFO", {"type": "uvw", "Ref": "J2000"})
    return table


def _frequencies_hz(window: tuple[float, int, float]) -> np.ndarray:
    edge, number, width = window
    return (edge + (np.arange(number) + 0.5) * width) * 1e6


def _put_rows(table: ct.table, start: int, band: BandShape, window: int, uvw: np.ndarray, rng: np.random.Generator):
    frequencies_hz, rows = _frequencies_hz(band.windows[window]), len(uvw)
    ell, m = OFFSET_RAD
    path_m = uvw @ [ell, m, np.sqrt(1 - ell**2 - m**2) - 1]
    phase = OFFSET_JY * np.exp(2j * np.pi * np.outer(path_m, frequencies_hz / C_M_S))
    i, q, u, v = STOKES_JY
    hands = {9: i + q, 10: u + 1j * v, 11: u - 1j * v, 12: i - q, 5: i + v, 6: q + 1j * u, 7: q - 1j * u, 8: i - v}
    model = np.array([hands[code] for code in band.correlations]) + np.zeros((rows, len(frequencies_hz), 1))
    model = model + phase[:, :, None] * np.isin(band.correlations, (9, 12, 5, 8))
    noise = rng.normal(0, band.noise_jy, (2, *model.shape))
    data = (model + noise[0] + 1j * noise[1]).astype(np.complex64)
    flags = np.zeros(data.shape, bool)
    for channel in (channel for of_window, channel in band.flagged if of_window == window):
        flags[:, channel] = True
    if band.corrected:
        table.putcol("CORRECTED_DATA", data, start, rows)
        data = np.full_like(data, 100)
    table.putcol("DATA", data, start, rows)
    table.putcol("FLAG", flags, start, rows)
    table.putcol("WEIGHT_SPECTRUM", np.full(data.shape, band.noise_jy**-2, np.float32), start, rows)
    table.putcol("WEIGHT", np.full((rows, data.shape[2]), band.noise_jy**-2, np.float32), start, rows)
    table.putcol("SIGMA", np.full((rows, data.shape[2]), band.noise_jy, np.float32), start, rows)
    table.putcol("UVW", uvw, start, rows)
    table.putcol("FLAG_ROW", np.zeros(rows, bool), start, rows)


def _put(path: str, name: str, rows: int, cells: dict[str, object]) -> None:
    with ct.table(f"{path}::{name}", readonly=False, ack=False) as table:
        table.addrows(rows)
        for column, value in cells.items():
            for row in range(rows):
                table.putcell(column, row, value(row) if callable(value) else value)


def _put_subtables(path: str, band: BandShape, shape: SetShape, xyz_m: np.ndarray) -> None:
    site_m, names = np.array([5109360.0, 2006852.6, -3238948.1]), [f"m{row:03d}" for row in range(band.nantennas)]
    antenna = {"POSITION": lambda row: site_m + xyz_m[row], "DISH_DIAMETER": 13.5, "MOUNT": "ALT-AZ"}
    _put(
        path, "ANTENNA", band.nantennas, {"NAME": lambda row: names[row], "STATION": lambda row: names[row], **antenna}
    )
    kinds = ["X", "Y"] if band.correlations[0] > 8 else ["R", "L"]
    feed = {"NUM_RECEPTORS": 2, "POLARIZATION_TYPE": kinds, "RECEPTOR_ANGLE": np.zeros(2), "SPECTRAL_WINDOW_ID": -1}
    _put(path, "FEED", band.nantennas, {"ANTENNA_ID": lambda row: row, **feed})
    direction = np.array([[shape.ra_rad, -0.5]])
    places = dict.fromkeys(("PHASE_DIR", "DELAY_DIR", "REFERENCE_DIR"), direction)
    _put(path, "FIELD", len(band.fields), {"NAME": lambda row: band.fields[row], **places})
    ncorr = len(band.correlations)
    products = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.int32) if ncorr == 4 else np.array([[0, 0], [1, 1]])
    codes = {"CORR_TYPE": np.array(band.correlations, np.int32), "CORR_PRODUCT": products.astype(np.int32)}
    _put(path, "POLARIZATION", 1, {"NUM_CORR": ncorr, **codes})
    _put(path, "DATA_DESCRIPTION", len(band.windows), {"SPECTRAL_WINDOW_ID": lambda row: row, "POLARIZATION_ID": 0})
    for window in band.windows:
        _put_window(path, window)
    span = np.array([shape.times_s[0], shape.times_s[-1]])
    _put(path, "OBSERVATION", 1, {"TELESCOPE_NAME": "MeerKAT", "TIME_RANGE": span, "OBSERVER": "test"})
    if band.history:
        _put(path, "HISTORY", 1, {"MESSAGE": band.history, "APPLICATION": "applycal"})


def _put_window(path: str, window: tuple[float, int, float]) -> None:
    frequencies_hz, width_hz = _frequencies_hz(window), window[2] * 1e6
    with ct.table(f"{path}::SPECTRAL_WINDOW", readonly=False, ack=False) as table:
        row = table.nrows()
        table.addrows(1)
        for column in ("CHAN_WIDTH", "EFFECTIVE_BW", "RESOLUTION"):
            table.putcell(column, row, np.full(len(frequencies_hz), width_hz))
        table.putcell("CHAN_FREQ", row, frequencies_hz)
        table.putcell("NUM_CHAN", row, len(frequencies_hz))
        table.putcell("REF_FREQUENCY", row, float(frequencies_hz[0]))
        table.putcell("TOTAL_BANDWIDTH", row, width_hz * len(frequencies_hz))
        table.putcell("MEAS_FREQ_REF", row, 5)
