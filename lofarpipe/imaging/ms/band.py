"""A measurement set with any number of spectral windows: its channels, feeds, field and flags."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.ms.measurement_set import CORRELATION_NAMES, EQUATORIAL_FRAMES, read_flags, read_weights
from lofarpipe.imaging.ms.names import AUTO
from lofarpipe.imaging.ms.rows import choose_field, read_field_rows
from lofarpipe.imaging.ms.tables import MeasurementSetError, opened, opened_set, visibility_columns
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.patterns import lazy_pattern

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
LINEAR, CIRCULAR = ("XX", "XY", "YX", "YY"), ("RR", "RL", "LR", "LL")
SUFFIXES = (".ms", ".mms")
CALIBRATED, RECORDED = "CORRECTED_DATA", "DATA"
SAMPLED_ROWS = 40_000  # per window; larger windows are sampled in blocks spread over the set
BLOCKS = 40
SAMPLED_VISIBILITIES = 20_000_000  # limit for windows with many channels: 5000 rows of 4096
ROWS_AT_ONCE, VISIBILITIES_AT_ONCE = 20_000, 2_000_000  # 64 MB
_PARALLACTIC = lazy_pattern(r"\bparang\s*=\s*(True|False)", re.I)


@dataclass(frozen=True, eq=False)
class Window:
    """A row of DATA_DESCRIPTION that has visibilities: its spectral window and channel centres, in the set's order."""

    description: int
    number: int  # row of SPECTRAL_WINDOW
    frequencies_hz: Floats
    width_hz: float
    rows: int  # cross-correlations of the field


@dataclass(frozen=True, eq=False)
class BandSet:
    """Properties of a measurement set for full-Stokes imaging.

    ``parallactic`` is ``corrected``, ``not corrected`` or ``not recorded``: the ``parang`` setting of the applied
    calibration in CASA's HISTORY. ``receptor_angles_deg`` are the distinct receptor angles in the FEED table.
    """

    path: str
    base: str
    telescope: str
    field_id: int
    field_name: str
    nfields: int
    phase_centre_rad: tuple[float, float]
    data_column: str
    columns: frozenset[str]
    correlations: tuple[str, ...]
    receptors: tuple[str, ...]
    receptor_angles_deg: tuple[float, ...]
    mounts: tuple[str, ...]
    parallactic: str
    windows: tuple[Window, ...]
    dish_m: float

    @property
    def feeds(self) -> str:
        """The kind of the feeds: linear or circular."""
        return "circular" if self.correlations == CIRCULAR else "linear"


def base_name(path: str) -> str:
    """Return the last part of a path without one suffix ``.ms`` or ``.mms``."""
    name = Path(path).name
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def read_band(path: str, data_column: str = AUTO, field: str = AUTO) -> BandSet:
    """Return the properties of a measurement set; reads no more of the main table than column names and row counts.

    Raises
    ------
    MeasurementSetError
        If the set cannot be read, does not have four correlations of one feed type, lacks the column, or has several
        fields and none was selected.
    """
    with opened_set(path) as table:
        columns = frozenset(table.colnames())
        filled = [name for name in visibility_columns(table) if not table.nrows() or table.iscelldefined(name, 0)]
        column = choose_column(path, filled, data_column)
        field_id, names = _chosen_field(path, table, field)
        windows = tuple(_windows(path, table, field_id))
    correlations = _correlations(path, windows)
    feeds, angles = _feeds(path)
    with opened(f"{path}::ANTENNA") as antennas:
        mounts = tuple(sorted({str(mount) for mount in antennas.getcol("MOUNT")}))
        dish_m = float(np.median(antennas.getcol("DISH_DIAMETER")))
    return BandSet(
        path=path,
        base=base_name(path),
        telescope=_telescope(path),
        field_id=field_id,
        field_name=names[field_id],
        nfields=len(names),
        phase_centre_rad=_phase_centre(path, field_id),
        data_column=column,
        columns=columns,
        correlations=correlations,
        receptors=feeds,
        receptor_angles_deg=angles,
        mounts=mounts,
        parallactic=_parallactic(path),
        windows=windows,
        dish_m=dish_m,
    )


def choose_column(path: str, visibilities: Sequence[str], choice: str) -> str:
    """Return the visibility column: the requested one, or by default the calibrated one if present.

    Raises
    ------
    MeasurementSetError
        If the set lacks the column.
    """
    name = choice if choice != AUTO else CALIBRATED if CALIBRATED in visibilities else RECORDED
    if name not in visibilities:
        column_names = ", ".join(visibilities) or "none"
        raise MeasurementSetError(
            f"{path}: has no column {name} of visibilities; it has {column_names}; correct data_column"
        )
    return name


def _chosen_field(path: str, table: Any, choice: str) -> tuple[int, list[str]]:
    with opened(f"{path}::FIELD") as fields:
        names = [str(name) for name in fields.getcol("NAME")] if fields.nrows() else []
    return choose_field(path, names, read_field_rows(table, len(names)), choice), names


def _phase_centre(path: str, field_id: int) -> tuple[float, float]:
    with opened(f"{path}::FIELD") as fields:
        frame = str(fields.getcolkeywords("PHASE_DIR").get("MEASINFO", {}).get("Ref", "J2000"))
        direction = np.asarray(fields.getcell("PHASE_DIR", field_id), float).reshape(-1, 2)[0]
    if frame.upper() not in EQUATORIAL_FRAMES:
        raise MeasurementSetError(f"{path}: the phase centre is given in frame {frame}; J2000 or ICRS is needed")
    return float(direction[0]), float(direction[1])


def _windows(path: str, table: Any, field_id: int) -> Iterator[Window]:
    with opened(f"{path}::DATA_DESCRIPTION") as descriptions:
        numbers = [int(number) for number in descriptions.getcol("SPECTRAL_WINDOW_ID")]
    with opened(f"{path}::SPECTRAL_WINDOW") as spectrum:
        for description, number in enumerate(numbers):
            with closing(selected_rows(table, description, field_id)) as rows:
                count = int(rows.nrows())
            if count:
                frequencies_hz = np.asarray(spectrum.getcell("CHAN_FREQ", number), float)
                width_hz = abs(float(np.median(spectrum.getcell("CHAN_WIDTH", number))))
                yield Window(description, number, frequencies_hz, width_hz, count)


def selected_rows(table: Any, description: int, field_id: int) -> Any:
    """Return the cross-correlations of one window and field of an open main table."""
    return table.query(f"DATA_DESC_ID=={description} && FIELD_ID=={field_id} && ANTENNA1!=ANTENNA2")


def _correlations(path: str, windows: Sequence[Window]) -> tuple[str, ...]:
    if not windows:
        raise MeasurementSetError(f"{path}: has no cross-correlations of the field; there is nothing to image")
    with opened(f"{path}::DATA_DESCRIPTION") as descriptions, opened(f"{path}::POLARIZATION") as polarizations:
        products = []
        for window in windows:
            row = int(descriptions.getcell("POLARIZATION_ID", window.description))
            codes = polarizations.getcell("CORR_TYPE", row)
            products.append(tuple(CORRELATION_NAMES.get(int(code), str(code)) for code in codes))
    wrong = [names for names in products if names not in (LINEAR, CIRCULAR)]
    if wrong or len(set(products)) > 1:
        texts = " and ".join(sorted({" ".join(names) for names in products}))
        raise MeasurementSetError(
            f"{path}: has the correlations {texts}; images in I, Q, U and V need {' '.join(LINEAR)}, or "
            f"{' '.join(CIRCULAR)}, in all windows; give the set with all of them"
        )
    return products[0]


def _feeds(path: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return types and angles (deg) of the receptors; empty without a FEED table or rows in it."""
    try:
        with opened(f"{path}::FEED") as feeds:
            if not feeds.nrows():
                return (), ()
            kinds = feeds.getcell("POLARIZATION_TYPE", 0)
            angles = {round(math.degrees(float(a)), 3) for a in np.ravel(feeds.getcol("RECEPTOR_ANGLE"))}
    except (MeasurementSetError, RuntimeError):
        return (), ()
    names = kinds["array"] if isinstance(kinds, dict) else kinds
    return tuple(str(kind) for kind in np.ravel(names)), tuple(sorted(angles))


def _telescope(path: str) -> str:
    with opened(f"{path}::OBSERVATION") as table:
        return str(table.getcell("TELESCOPE_NAME", 0)) if table.nrows() else ""


def _parallactic(path: str) -> str:
    """Return whether the last calibration in HISTORY took the parallactic angle into account."""
    try:
        with opened(f"{path}::HISTORY") as history:
            texts = [str(text) for text in history.getcol("MESSAGE")] if history.nrows() else []
    except MeasurementSetError:
        texts = []
    settings = [match[1].lower() for text in texts for match in _PARALLACTIC.finditer(text)]
    return "not recorded" if not settings else "corrected" if settings[-1] == "true" else "not corrected"


# ------------------------------------------------------------------------------------------------ what can be imaged
class VisibilityCounts(NamedTuple):
    """Numbers of visibilities per channel, (chan,): usable, and unflagged with a weight that is NaN or infinite.

    One of the latter makes WSClean's image NaN. Source: doc/spec/meerkat.md, section 2.
    """

    usable: Counts
    unweighted: Counts


def count_visibilities(band: BandSet, most_rows: int = SAMPLED_ROWS) -> list[VisibilityCounts]:
    """Return the numbers of visibilities per channel of each window in a sample of rows.

    ``most_rows`` 0 reads all rows; windows with many channels are sampled with fewer rows.
    """
    with opened_set(band.path) as table:
        counts = []
        for window in band.windows:
            nchan = len(window.frequencies_hz)
            most = most_rows and min(most_rows, max(BLOCKS, SAMPLED_VISIBILITIES // nchan))
            with closing(selected_rows(table, window.description, band.field_id)) as rows:
                counts.append(sum_visibilities(rows, band.data_column, nchan, most))
    return counts


def sum_visibilities(rows: Any, data_column: str, nchan: int, most_rows: int = 0) -> VisibilityCounts:
    """Return the numbers of visibilities per channel in the rows of a table, or in a sample of them."""
    counts = VisibilityCounts(np.zeros(nchan, np.int64), np.zeros(nchan, np.int64))
    for start, number in _stretches(int(rows.nrows()), most_rows, nchan):
        for count, mask in zip(counts, _judged(rows, start, number, data_column), strict=True):
            count += mask.sum(axis=0)
    return counts


def _judged(rows: Any, first: int, number: int, data_column: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return two masks (row, chan) of unflagged visibilities: usable ones, and those without a finite weight.

    Usable ones have weight, and values that are finite and not all 0.
    """
    flags = read_flags(rows, first, number)
    if flags.all():
        return ~flags, ~flags
    weights = read_weights(rows, first, number, flags.shape[1])
    values = np.moveaxis(np.asarray(rows.getcol(data_column, first, number)), 2, 0)
    has_values = reduce(np.logical_and, np.isfinite(values)) & reduce(np.logical_or, values != 0)  # all() takes longer
    return np.asarray(has_values & (weights > 0) & ~flags), np.isnan(weights) & ~flags


def flag_unweighted(path: str) -> None:
    """Flag the visibilities of a copied set whose weight is NaN or infinite."""
    with opened(path, readonly=False) as table:
        for start, number in _stretches(int(table.nrows()), 0, int(table.getcell("FLAG", 0).shape[0])):
            flags = table.getcol("FLAG", start, number)
            flags |= np.isnan(read_weights(table, start, number, flags.shape[1]))[:, :, None]
            table.putcol("FLAG", flags, start, number)


def empty_reason(band: BandSet, low_hz: float = 0.0, high_hz: float = math.inf) -> str:
    """Return why no visibility of a frequency range can be imaged; "" as soon as one is found that can."""
    has_unflagged = False
    with opened_set(band.path) as table:
        for window in band.windows:
            inside = (window.frequencies_hz >= low_hz) & (window.frequencies_hz < high_hz)
            nchan = len(inside) if inside.any() else 0
            with closing(selected_rows(table, window.description, band.field_id)) as rows:
                for start, number in _stretches(int(rows.nrows()) if nchan else 0, 0, nchan):
                    if _judged(rows, start, number, band.data_column)[0][:, inside].any():
                        return ""
                    has_unflagged = has_unflagged or not read_flags(rows, start, number)[:, inside].all()
    more = f", has weight 0, or is NaN, infinite or 0 in {band.data_column}" if has_unflagged else ""
    return f"every visibility is flagged{more}"


def _stretches(nrows: int, most_rows: int, nchan: int = 1) -> list[tuple[int, int]]:
    """Return first row and number of rows of the blocks to read: all rows in pieces, or blocks spread over them."""
    if not most_rows or nrows <= most_rows:
        step = max(1, min(ROWS_AT_ONCE, VISIBILITIES_AT_ONCE // max(1, nchan)))
        return [(start, min(step, nrows - start)) for start in range(0, nrows, step)]
    size = max(1, most_rows // BLOCKS)
    return [(round(block * (nrows - size) / (BLOCKS - 1)), size) for block in range(BLOCKS)]


def sampled_uv(band: BandSet, most_rows: int = SAMPLED_ROWS) -> tuple[Floats, Floats]:
    """Return u and v, m, of a sample of the cross-correlations of the first window."""
    window = band.windows[0]
    with opened_set(band.path) as table, closing(selected_rows(table, window.description, band.field_id)) as rows:
        parts = [rows.getcol("UVW", start, number) for start, number in _stretches(int(rows.nrows()), most_rows)]
    uvw = np.concatenate(parts)
    return uvw[:, 0], uvw[:, 1]
