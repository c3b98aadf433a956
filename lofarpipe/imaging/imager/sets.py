"""Row sources of the imager: rows of measurement sets with their times, antennas and channels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.imager.errors import ImagerError
from lofarpipe.imaging.imager.settings import ImagerSettings
from lofarpipe.imaging.ms.tables import MeasurementSetError, opened, opened_field, opened_set, visibility_columns
from lofarpipe.support.dataclass import dataclass

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

RECORDED, CALIBRATED = "DATA", "CORRECTED_DATA"
SAME_PLACE_RAD = 1e-9  # tolerance of equal phase centres


@dataclass(frozen=True, eq=False)
class RowSource:
    """Rows of one field and one spectral window of a set, in order of time.

    ``channel_order`` sorts the channels by frequency; ``frequencies_hz`` and ``widths_hz`` are sorted.
    """

    path: str
    column: str
    field_id: int
    data_desc_id: int  # -1: the set has only one
    in_order: bool  # whether the set's rows are in order of time
    frequencies_hz: Floats
    widths_hz: Floats
    channel_order: Numbers
    correlation_types: tuple[int, ...]
    positions_m: Floats
    phase_centre_rad: tuple[float, float]
    step_s: float
    times_s: Floats
    antenna1: Numbers
    antenna2: Numbers

    @property
    def key(self) -> bytes:
        """Digest of baselines and times, equal for sets with the same rows."""
        parts = (self.times_s, self.antenna1, self.antenna2, self.positions_m, np.array(self.correlation_types))
        return hashlib.blake2b(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).digest()

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """Open a table of these rows."""
        with opened_rows(self.path, self.field_id, self.data_desc_id, self.in_order) as rows:
            yield rows


@contextmanager
def opened_rows(path: str, field_id: int, data_desc_id: int, in_order: bool) -> Iterator[Any]:
    """Open the rows of a field and spectral window; sort them by time unless ``in_order``."""
    with opened_field(path, field_id, in_order) as rows:
        if data_desc_id < 0:
            yield rows
            return
        with closing(rows.query(f"DATA_DESC_ID=={data_desc_id}")) as selected:
            yield selected


def read_sources(settings: ImagerSettings) -> list[RowSource]:
    """Return the row sources to image, one per set and spectral window.

    Raises
    ------
    ImagerError
        If there is no set, or the phase centres differ.
    MeasurementSetError
        If a set cannot be read, or lacks the visibility column.
    """
    column = common_column(settings)
    sources = [one for path in settings.sets for one in _sources_of_set(path, column, settings.field_id)]
    if not sources:
        raise ImagerError("sets is empty, so there is nothing to image; name a measurement set")
    first = sources[0]
    for other in sources[1:]:
        if not np.allclose(other.phase_centre_rad, first.phase_centre_rad, rtol=0, atol=SAME_PLACE_RAD):
            raise ImagerError(
                f"{other.path}: its phase centre is {_degrees(other)}, that of {first.path} {_degrees(first)}; image "
                "them apart, or shift the phase centre of one of them first"
            )
    return sources


def _degrees(source: RowSource) -> str:
    ra, dec = np.degrees(source.phase_centre_rad)
    return f"{ra % 360:.6f} {dec:+.6f} deg"


def common_column(settings: ImagerSettings) -> str:
    """Return the visibility column: from the settings, else CORRECTED_DATA if every set has it, else DATA.

    Raises
    ------
    MeasurementSetError
        If a set lacks the column.
    """
    columns_by_set = {}
    for path in settings.sets:
        with opened_set(path) as table:
            columns_by_set[path] = visibility_columns(table)
    everywhere = all(CALIBRATED in columns for columns in columns_by_set.values())
    column = settings.column or (CALIBRATED if everywhere else RECORDED)
    for path, columns in columns_by_set.items():
        if column not in columns:
            column_names = ", ".join(columns) or "none"
            raise MeasurementSetError(f"{path}: has no column {column} of visibilities; it has {column_names}")
    return column


def _sources_of_set(path: str, column: str, field_id: int) -> Iterator[RowSource]:
    with opened(f"{path}::ANTENNA") as table:
        positions_m = np.asarray(table.getcol("POSITION"), float)
    with opened(f"{path}::FIELD") as table:
        if not 0 <= field_id < table.nrows():
            raise ImagerError(f"{path}: has no field {field_id}; its fields are 0 to {table.nrows() - 1}")
        centre = np.asarray(table.getcell("PHASE_DIR", field_id), float).reshape(-1, 2)[0]
    with opened(f"{path}::DATA_DESCRIPTION") as table:
        windows = [int(one) for one in table.getcol("SPECTRAL_WINDOW_ID")]
        polarizations = [int(one) for one in table.getcol("POLARIZATION_ID")]
    for number, (window, polarization) in enumerate(zip(windows, polarizations, strict=True)):
        data_desc_id = number if len(windows) > 1 else -1
        with opened(f"{path}::POLARIZATION") as table:
            correlation_types = tuple(int(code) for code in table.getcell("CORR_TYPE", polarization))
        rows = _rows(path, field_id, data_desc_id)
        if len(rows["times_s"]):
            yield RowSource(
                path=path,
                column=column,
                field_id=field_id,
                data_desc_id=data_desc_id,
                correlation_types=correlation_types,
                positions_m=positions_m,
                phase_centre_rad=(float(centre[0]), float(centre[1])),
                **_channels(path, window),
                **rows,
            )


def _channels(path: str, window: int) -> dict[str, Any]:
    with opened(f"{path}::SPECTRAL_WINDOW") as table:
        frequencies_hz = np.asarray(table.getcell("CHAN_FREQ", window), float)
        widths_hz = np.abs(np.asarray(table.getcell("CHAN_WIDTH", window), float))
    if not (np.isfinite(frequencies_hz).all() and (frequencies_hz > 0).all()):
        raise ImagerError(f"{path}: CHAN_FREQ is not positive everywhere; correct the SPECTRAL_WINDOW table")
    order = np.argsort(frequencies_hz, kind="stable")
    return {"frequencies_hz": frequencies_hz[order], "widths_hz": widths_hz[order], "channel_order": order}


def _rows(path: str, field_id: int, data_desc_id: int) -> dict[str, Any]:
    """Return times, antennas, time step and time order of the rows."""
    with opened_rows(path, field_id, data_desc_id, True) as table:
        rows = _columns(table)
    in_order = bool((np.diff(rows["times_s"]) >= 0).all())
    if not in_order:
        with opened_rows(path, field_id, data_desc_id, False) as table:
            rows = _columns(table)
    return {"in_order": in_order, **rows}


def _columns(table: Any) -> dict[str, Any]:
    """Return times, antennas and time step of the rows of a table."""
    if not table.nrows():
        none = np.empty(0, np.int64)
        return {"times_s": np.empty(0), "antenna1": none, "antenna2": none, "step_s": _usual_step_s(np.empty(0))}
    times_s = np.asarray(table.getcol("TIME"), float)
    antenna1, antenna2 = (np.asarray(table.getcol(name)).astype(np.int64) for name in ("ANTENNA1", "ANTENNA2"))
    interval_s = float(table.getcell("INTERVAL", 0))
    step_s = interval_s if 0 < interval_s < np.inf else _usual_step_s(times_s)
    return {"times_s": times_s, "antenna1": antenna1, "antenna2": antenna2, "step_s": step_s}


def _usual_step_s(times_s: Floats) -> float:
    """Return the median time between slots, in place of an invalid INTERVAL; 1 s for a single slot."""
    steps_s = np.diff(np.unique(times_s))
    return float(np.median(steps_s)) if len(steps_s) else 1.0


def join_channels(sources: Sequence[RowSource]) -> list[list[RowSource]]:
    """Group sources of equal rows and different channels, for reading side by side as one wide set."""
    groups: dict[tuple[bytes, int], list[RowSource]] = {}
    for source in sources:
        key, level = source.key if len(sources) > 1 else b"", 0
        while _overlaps(groups.get((key, level), []), source):
            level += 1  # overlapping channels: next group
        groups.setdefault((key, level), []).append(source)
    return [sorted(group, key=lambda one: float(one.frequencies_hz[0])) for group in groups.values()]


def _overlaps(group: Sequence[RowSource], source: RowSource) -> bool:
    """Whether the frequency range of a source overlaps a group's, which prevents a rising order."""
    low, high = source.frequencies_hz[0], source.frequencies_hz[-1]
    return any(low <= one.frequencies_hz[-1] and high >= one.frequencies_hz[0] for one in group)
