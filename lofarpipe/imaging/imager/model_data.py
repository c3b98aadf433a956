"""Prediction of the model into the sets' MODEL_DATA column, for every row without averaging."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.imager.bands import BandRange
from lofarpipe.imaging.imager.channels import GRIDDER_AXES, Channel
from lofarpipe.imaging.imager.operators import Gridder
from lofarpipe.imaging.imager.sets import RowSource, read_sources
from lofarpipe.imaging.imager.settings import ImagerSettings
from lofarpipe.imaging.ms.measurement_set import CORRELATION_NAMES
from lofarpipe.imaging.ms.tables import opened
from lofarpipe.imaging.plan.smearing import SPEED_OF_LIGHT_M_S

COLUMN = "MODEL_DATA"
EPSILON = 1e-4
SAMPLES_PER_BLOCK = 4_000_000  # (row, chan) samples predicted at a time
TILE_SAMPLES = 131_072  # of a storage tile of the column, over all correlations
# Stokes parameters in a correlation. Source: casacore, class StokesConverter; the inverse of stokes.SUMS.
CORRELATIONS: dict[str, dict[str, complex]] = {
    **{name: {name: 1} for name in "IQUV"},
    "XX": {"I": 1, "Q": 1},
    "XY": {"U": 1, "V": 1j},
    "YX": {"U": 1, "V": -1j},
    "YY": {"I": 1, "Q": -1},
    "RR": {"I": 1, "V": 1},
    "RL": {"Q": 1, "U": 1j},
    "LR": {"Q": 1, "U": -1j},
    "LL": {"I": 1, "V": -1},
}


def write_model_data(
    settings: ImagerSettings, bands: Sequence[BandRange], models: Sequence[NDArray[np.float32]]
) -> None:
    """Predict models (chan, y, x), one per Stokes parameter, Jy/pixel, into MODEL_DATA of the sets.

    Autocorrelations, and baselines beyond the resolution of the image's pixels, get 0.

    Raises
    ------
    MeasurementSetError
        If a set cannot be written.
    """
    for source in read_sources(settings):
        with source.opened() as rows:
            numbers, uvw_m = np.asarray(rows.rownumbers()), np.asarray(rows.getcol("UVW"), float)
        uvw_m[~np.isfinite(uvw_m).all(axis=1)] = 0
        gridder = _gridder(settings, source, uvw_m)
        with opened(source.path, readonly=False) as table:
            _make_column(table, source)
            step = max(1, SAMPLES_PER_BLOCK // len(source.frequencies_hz))
            for first in range(0, len(numbers), step):
                block = slice(first, first + step)
                cross = source.antenna1[block] != source.antenna2[block]
                cells = _predict(settings, source, bands, gridder, uvw_m[block], models)
                cells[~cross] = 0
                with closing(table.selectrows(numbers[block])) as selected:
                    selected.putcol(COLUMN, cells)


def _gridder(settings: ImagerSettings, source: RowSource, uvw_m: NDArray[np.float64]) -> Gridder:
    """Return a gridder for all baselines within the resolution of the image's pixels."""
    everything = _rows_as_channel(source.frequencies_hz, uvw_m, settings.cell_rad)
    return Gridder.for_channels([everything], settings.size, settings.cell_rad, settings.threads)


def _rows_as_channel(frequencies_hz: NDArray[np.float64], uvw_m: NDArray[np.float64], cell_rad: float) -> Channel:
    """Return rows as a channel without visibilities; its mask excludes uv beyond the image's resolution."""
    longest = np.abs(uvw_m[:, :2]).max(axis=1, initial=0)[:, None] * frequencies_hz / SPEED_OF_LIGHT_M_S
    weights = (longest < 0.5 / cell_rad).astype(np.float32)
    band = BandRange(float(frequencies_hz[0]), float(frequencies_hz[-1]), tuple(frequencies_hz.tolist()))
    return Channel(band, frequencies_hz, np.ascontiguousarray(uvw_m[:, GRIDDER_AXES]), [], weights)


def _predict(
    settings: ImagerSettings,
    source: RowSource,
    bands: Sequence[BandRange],
    gridder: Gridder,
    uvw_m: NDArray[np.float64],
    models: Sequence[NDArray[np.float32]],
) -> NDArray[np.complex64]:
    """Return the predicted correlations (row, chan, corr) of rows, channels in the order of the set."""
    names = [CORRELATION_NAMES.get(code, "") for code in source.correlation_types]
    cells = np.zeros((len(uvw_m), len(source.frequencies_hz), len(names)), np.complex64)
    for chan, band in enumerate(bands):
        columns = band.columns(source.frequencies_hz)
        frequencies_hz = source.frequencies_hz[columns]
        if len(frequencies_hz) == 0:
            continue
        rows = _rows_as_channel(frequencies_hz, uvw_m, settings.cell_rad)
        for pol, stokes in enumerate(settings.pol):
            if not models[pol][chan].any():
                continue
            vis = gridder.predict(rows, models[pol][chan], EPSILON)
            for corr, name in enumerate(names):
                factor = CORRELATIONS.get(name, {}).get(stokes, 0)
                if factor:
                    cells[:, source.channel_order[columns], corr] += np.complex64(factor) * vis
    return cells


def _make_column(table: Any, source: RowSource) -> None:
    """Add the column, filled with 0, to a set without it."""
    if COLUMN in table.colnames():
        return
    channels, correlations = len(source.frequencies_hz), len(source.correlation_types)
    description = dict(table.getcoldesc(source.column)) | {"dataManagerType": "", "dataManagerGroup": "", "comment": ""}
    is_fixed = "shape" in description
    tile = [correlations, channels, max(1, TILE_SAMPLES // (correlations * channels))]
    manager = {
        "TYPE": "TiledColumnStMan" if is_fixed else "TiledShapeStMan",
        "NAME": "TiledModelData",
        "SEQNR": 0,
        "SPEC": {"DEFAULTTILESHAPE": np.array(tile, np.int32)},
    }
    table.addcols({COLUMN: description}, manager)
    if not is_fixed:  # undefined cells cannot be read
        for row in range(table.nrows()):
            if table.iscelldefined(source.column, row):
                table.putcell(COLUMN, row, np.zeros_like(table.getcell(source.column, row)))
