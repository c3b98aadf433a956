"""Conversion of ASKAP sets for other imagers: the beam's direction, and correlations of an equatorial receptor.

One set holds one beam. Its FIELD has the direction of the whole phased-array feed, and its correlations are in the
frame of the feed. Directions are corrected in FIELD and FEED, from backups of both; corrected correlations go into a
separate column, so that DATA is never written. A second pass changes nothing; an interrupted pass is repeated.

Source: doc/spec/cubes.md, section 1; compared with PyPI's fixms 0.4.1 in tests/imaging/ms/test_fix_ms.py.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from casacore.tables import makearrcoldesc, maketabdesc
from numpy.typing import NDArray

from lofarpipe.errors import Finding, PipelineError, findings_of, list_names
from lofarpipe.imaging.ms.measurement_set import CORRELATION_NAMES
from lofarpipe.imaging.ms.tables import MeasurementSetError, opened, opened_set
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import remove_unfinished, unfinished_name

Floats = NDArray[np.float64]

RECORDED, CORRECTED = "DATA", "CORRECTED_DATA"
MOUNT = "equatorial"
LINEAR = (9, 10, 11, 12)  # XX, XY, YX, YY in POLARIZATION.CORR_TYPE. Source: casacore, class Stokes
DIRECTIONS = ("PHASE_DIR", "DELAY_DIR", "REFERENCE_DIR")
COPIED_TABLES = ("FIELD", "FEED")  # backed up as NAME_OLD
ANGLE, INSTRUMENT_ANGLE = "RECEPTOR_ANGLE", "INSTRUMENT_RECEPTOR_ANGLE"
EQUATORIAL_RAD = math.pi / 4  # the receptor angle of the corrected column
SAME_RAD = 1e-13  # tolerance of angle comparisons: fixms rounds differently
UNFINISHED_KEYWORD = "FIX_UNFINISHED"  # keyword of an incomplete column
ROTATED_PER_BLOCK = 250_000
BLOCK_ROWS = 1_000_000  # block size for scalar columns
TILE_VISIBILITIES = 32_768  # per tile of the new column: 1 MB


@dataclass(frozen=True)
class SetBeam:
    """The beam of a set: its FEED1 and field name; ``channels`` of the first window."""

    beam: int
    field: str
    channels: int


def read_beam(path: str) -> SetBeam:
    """Return number and field of the beam of a set.

    Raises
    ------
    MeasurementSetError
        If the set cannot be read, or has several feeds or fields.
    """
    with opened_set(path) as table:
        beam = _feed_number(path, table)
    with opened(f"{path}::FIELD") as fields:
        if fields.nrows() != 1:
            raise MeasurementSetError(f"{path}: has {fields.nrows()} fields; one per set is needed; split it first")
        name = str(fields.getcell("NAME", 0))
    with opened(f"{path}::SPECTRAL_WINDOW") as window:
        return SetBeam(beam, name, int(window.getcell("NUM_CHAN", 0)))


def findings(path: str, column: str = CORRECTED, skip: bool = False) -> list[Finding]:
    """Return all reasons why a set cannot be corrected; changes nothing.

    With ``skip`` the set is imaged unchanged, and the column must exist.
    """
    try:
        with opened_set(path) as table:
            return [Finding(path, text) for text in _problems(path, table, column, skip)]
    except PipelineError as err:
        return findings_of(err)


def _problems(path: str, table: Any, column: str, skip: bool) -> Iterator[str]:
    feeds = _feed_numbers(table)
    if len(feeds) > 1:
        yield _many_feeds(feeds)
    elif problem := _feed_problem(path, feeds[0], skip):
        yield problem
    if skip:
        if column not in table.colnames():
            yield f"has no column {column}; leave out --skip_fix_ms to make it, or name another with --data_column"
        elif _is_unfinished(table, column):
            yield f"its column {column} is only half written: FixMS was interrupted; leave out --skip_fix_ms"
        return
    yield from _column_problems(table, column)
    with opened(f"{path}::ANTENNA") as antennas:
        mount = str(antennas.getcell("MOUNT", 0)) if antennas.nrows() else ""
    if mount != MOUNT:
        yield f"ANTENNA.MOUNT is '{mount}'; FixMS needs antennas that are {MOUNT}, as ASKAP's with a third axis are"
    with opened(f"{path}::POLARIZATION") as polarization:
        codes = tuple(int(code) for code in polarization.getcell("CORR_TYPE", 0))
    if codes != LINEAR:
        names = ", ".join(CORRELATION_NAMES.get(code, str(code)) for code in codes)
        yield f"its correlations are {names}; XX, XY, YX, YY are needed"
    if not all(os.access(place, os.W_OK) for place in (path, f"{path}/table.dat", f"{path}/FIELD", f"{path}/FEED")):
        yield "may not be written; FixMS changes sets in place: copy it, or give yourself write permission"


def _column_problems(table: Any, column: str) -> Iterator[str]:
    """Yield why the corrected column cannot be made."""
    names = table.colnames()
    if column == RECORDED:
        yield f"FixMS never writes {RECORDED}; name another column with --data_column, or set --skip_fix_ms"
    elif RECORDED not in names:
        yield f"has no column {RECORDED}, of which FixMS makes {column}"
    elif column in names and not (_is_fixed(table) or _is_unfinished(table, column)):
        yield (
            f"has a column {column} that is not of FixMS (FEED has no {INSTRUMENT_ANGLE}); set --skip_fix_ms to image "
            "it as it is, or name a new one with --data_column"
        )


def _feed_problem(path: str, feed: int, skip: bool) -> str:
    """Return the problem of a feed in FEED; "" if there is none."""
    with opened(f"{path}::FEED") as feeds:
        rows = np.flatnonzero(feeds.getcol("FEED_ID") == feed) if feeds.nrows() else np.array([])
        if not rows.size:
            return f"FEED has no row with FEED_ID {feed}, which is FEED1 of the set; its receptor angle is unknown"
        if not (skip or (feeds.getcol("ANTENNA_ID")[rows] == 0).any()):
            return f"FEED has no row with FEED_ID {feed} for ANTENNA_ID 0; the offset of the beam is unknown"
    return ""


def _is_fixed(table: Any) -> bool:
    """Whether FEED records the original receptor angles, which are written once a column is complete."""
    with opened(f"{table.name()}::FEED") as feeds:
        return INSTRUMENT_ANGLE in feeds.colnames()


def _is_unfinished(table: Any, column: str) -> bool:
    return column in table.colnames() and UNFINISHED_KEYWORD in table.getcolkeywords(column)


def _feed_numbers(table: Any) -> list[int]:
    """Return the numbers in FEED1."""
    nrows = int(table.nrows())
    blocks = (table.getcol("FEED1", first, min(BLOCK_ROWS, nrows - first)) for first in range(0, nrows, BLOCK_ROWS))
    return sorted({int(feed) for block in blocks for feed in np.unique(block)})


def _many_feeds(feeds: list[int]) -> str:
    return f"FEED1 has {len(feeds)} numbers ({list_names(map(str, feeds))}); one beam per set is needed; split it first"


def _feed_number(path: str, table: Any) -> int:
    feeds = _feed_numbers(table)
    if len(feeds) > 1:
        raise MeasurementSetError(f"{path}: {_many_feeds(feeds)}")
    return feeds[0]


def fix_ms(path: str, column: str = CORRECTED) -> list[str]:
    """Correct directions and correlations of a set; return one text per change.

    Raises
    ------
    MeasurementSetError
        If the set cannot be corrected: see `findings`.
    """
    if problems := findings(path, column):
        raise MeasurementSetError("\n".join(map(str, problems)))
    remove_unfinished([Path(path)])
    with opened_set(path) as table:
        beam, is_whole = _feed_number(path, table), column in table.colnames() and not _is_unfinished(table, column)
    for name in COPIED_TABLES:
        _keep_copy(path, name)
    return _write_directions(path, beam) + ([] if is_whole else _write_column(path, column, beam))


def restore_ms(path: str) -> list[str]:
    """Restore the original directions and offsets; the corrected column and the angles stay.

    Raises
    ------
    MeasurementSetError
        If there are no backups.
    """
    with opened_set(path):
        pass
    if missing := [f"{name}_OLD" for name in COPIED_TABLES if not Path(path, f"{name}_OLD", "table.dat").is_file()]:
        raise MeasurementSetError(f"{path}: has no {' and no '.join(missing)}: FixMS has changed no directions in it")
    changed = []
    for name, columns in zip(COPIED_TABLES, (DIRECTIONS, ("BEAM_OFFSET",)), strict=True):
        with opened(f"{path}/{name}_OLD") as copy:
            values = {column: copy.getcol(column) for column in columns}
        changed += _put_columns(path, name, values)
    return changed


def _keep_copy(path: str, name: str) -> None:
    """Back up a subtable as NAME_OLD, once."""
    target = Path(path, f"{name}_OLD")
    if (target / "table.dat").is_file():
        return
    shutil.rmtree(target, ignore_errors=True)
    unfinished = unfinished_name(target)
    with opened(f"{path}::{name}") as table:
        table.copy(str(unfinished), deep=True, valuecopy=True).close()
    unfinished.rename(target)


def _put_columns(path: str, subtable: str, values: dict[str, Any]) -> list[str]:
    """Write the columns of a subtable that differ; return the changes."""
    with opened(f"{path}::{subtable}") as table:
        other = [
            name for name, new in values.items() if not np.allclose(table.getcol(name), new, rtol=0, atol=SAME_RAD)
        ]
    if other:
        with opened(f"{path}::{subtable}", readonly=False) as table:
            for name in other:
                table.putcol(name, values[name])
    return [f"{subtable}.{name}" for name in other]


def beam_direction(centre_rad: tuple[float, float], offset_rad: tuple[float, float]) -> tuple[float, float]:
    """Return right ascension (-pi to pi) and declination of a beam offset from the feed's centre.

    Source: doc/spec/cubes.md, section 1; fixms 0.4.1 turns vectors about three axes, with the same result to 2e-15.
    """
    right_ascension, declination = centre_rad
    across, up = -offset_rad[0], declination + offset_rad[1]
    turned = right_ascension + math.atan2(math.sin(across), math.cos(across) * math.cos(up))
    return math.remainder(turned, 2 * math.pi), math.asin(math.cos(across) * math.sin(up))


def _write_directions(path: str, beam: int) -> list[str]:
    """Write the beam's direction into FIELD and zero offsets into FEED; return the changes."""
    offsets_rad = _field_offsets(path, beam)
    with opened(f"{path}/FIELD_OLD") as fields:
        directions = np.array(fields.getcol("PHASE_DIR"), np.float64)
    for number, offset_rad in offsets_rad.items():
        centre_rad = (float(directions[number, 0, 0]), float(directions[number, 0, 1]))
        directions[number, 0] = beam_direction(centre_rad, offset_rad)
    with opened(f"{path}/FEED_OLD") as feeds:
        offsets = np.zeros_like(feeds.getcol("BEAM_OFFSET"))
    changed = _put_columns(path, "FIELD", dict.fromkeys(DIRECTIONS, directions))
    return changed + _put_columns(path, "FEED", {"BEAM_OFFSET": offsets})


def _field_offsets(path: str, beam: int) -> dict[int, tuple[float, float]]:
    """Return the offset of the beam, radians, at the first time of each field that has rows."""
    with opened(f"{path}/FEED_OLD") as feeds:
        rows = np.flatnonzero((feeds.getcol("FEED_ID") == beam) & (feeds.getcol("ANTENNA_ID") == 0))
        times_s, intervals_s = feeds.getcol("TIME")[rows], feeds.getcol("INTERVAL")[rows]
        offsets_rad = np.array(feeds.getcol("BEAM_OFFSET"))[rows, 0]
    chosen = {}
    for field, first_s in _first_times(path).items():
        holding = np.flatnonzero(np.abs(first_s - times_s) <= intervals_s / 2)
        offset_rad = offsets_rad[holding[0] if holding.size else -1]
        chosen[field] = (float(offset_rad[0]), float(offset_rad[1]))
    return chosen


def _first_times(path: str) -> dict[int, float]:
    """Return the time of the first row of each field that has rows, s."""
    first_s: dict[int, float] = {}
    with opened_set(path) as table:
        nrows = int(table.nrows())
        for first in range(0, nrows, BLOCK_ROWS):
            rows = min(BLOCK_ROWS, nrows - first)
            numbers, places = np.unique(table.getcol("FIELD_ID", first, rows), return_index=True)
            for field, place in zip(numbers.tolist(), places.tolist(), strict=True):
                if field not in first_s:
                    first_s[field] = float(table.getcell("TIME", first + place))
    return first_s


def correlation_matrix(receptor_rad: float) -> Floats:
    """Return the (4, 4) matrix that rotates XX, XY, YX, YY to an equatorial receptor, scaled for imagers.

    It is 2 kron(R, R) with R the rotation by the angle, expressed in 2 P as in fixms for identical rounding. The factor
    2: Stokes I is XX + YY for ASKAP, and (XX + YY) / 2 for imagers.

    Source: doc/spec/cubes.md, section 1.
    """
    angle = 2 * (EQUATORIAL_RAD - receptor_rad)
    sine, cosine = math.sin(angle), math.cos(angle)
    return np.array(
        [
            [1 + sine, cosine, cosine, 1 - sine],
            [-cosine, 1 + sine, sine - 1, cosine],
            [-cosine, sine - 1, 1 + sine, cosine],
            [1 - sine, -cosine, -cosine, 1 + sine],
        ]
    )


def _write_column(path: str, column: str, beam: int) -> list[str]:
    """Write the corrected column, then the angles; remove the incomplete-column keyword last."""
    angles_rad, receptor_rad = _instrument_angles(path, beam)
    matrix = correlation_matrix(receptor_rad)
    with opened(path, readonly=False) as table:
        if column in table.colnames():
            table.removecols(column)
        _add_column(table, column)
        table.flush()
        nrows, step = int(table.nrows()), max(1, ROTATED_PER_BLOCK // len(table.getcell(RECORDED, 0)))
        for first in range(0, nrows, step):
            rows = min(step, nrows - first)
            turned = np.einsum("ij,...j->...i", matrix, table.getcol(RECORDED, first, rows))
            table.putcol(column, turned.astype(np.complex64), first, rows)
        table.flush()
    changed = _write_angles(path, angles_rad, receptor_rad)
    with opened(path, readonly=False) as table:
        table.removecolkeyword(column, UNFINISHED_KEYWORD)
    return [column, *changed]


def _add_column(table: Any, column: str) -> None:
    channels, correlations = table.getcell(RECORDED, 0).shape
    description = makearrcoldesc(
        column, 0j, ndim=2, shape=[channels, correlations], valuetype="complex", keywords={UNFINISHED_KEYWORD: True}
    )
    across = min(channels, TILE_VISIBILITIES)
    tile = np.array([correlations, across, max(1, TILE_VISIBILITIES // across)], np.int32)
    manager = {"TYPE": "TiledColumnStMan", "NAME": f"Tiled{column}", "SPEC": {"DEFAULTTILESHAPE": tile}}
    table.addcols(maketabdesc([description]), manager)


def _instrument_angles(path: str, beam: int) -> tuple[Floats, float]:
    """Return the original receptor angles of all rows of FEED, and that of the beam's first row."""
    with opened(f"{path}/FEED_OLD") as feeds:
        name = INSTRUMENT_ANGLE if INSTRUMENT_ANGLE in feeds.colnames() else ANGLE
        angles_rad = np.array(feeds.getcol(name), np.float64)
        row = int(np.flatnonzero(feeds.getcol("FEED_ID") == beam)[0])
    return angles_rad, float(angles_rad[row, 0])


def _write_angles(path: str, angles_rad: Floats, receptor_rad: float) -> list[str]:
    with opened(f"{path}::FEED", readonly=False) as feeds:
        if INSTRUMENT_ANGLE not in feeds.colnames():
            units = {"QuantumUnits": np.array(["rad"])}
            feeds.addcols(maketabdesc([makearrcoldesc(INSTRUMENT_ANGLE, 0.0, 1, valuetype="double", keywords=units)]))
        feeds.putcol(INSTRUMENT_ANGLE, angles_rad)
        feeds.putcol(ANGLE, angles_rad + (EQUATORIAL_RAD - receptor_rad))
    return [f"FEED.{ANGLE}"]


def receptor_angle(path: str) -> float:
    """Return the position angle P of the receptors, degrees: 45 minus the receptor angle of the set's feed.

    Raises
    ------
    MeasurementSetError
        If the set cannot be read, or FEED lacks a row for its feed.
    """
    with opened_set(path) as table:
        beam = _feed_number(path, table)
    if problem := _feed_problem(path, beam, skip=True):
        raise MeasurementSetError(f"{path}: {problem}")
    with opened(f"{path}::FEED") as feeds:
        name = INSTRUMENT_ANGLE if INSTRUMENT_ANGLE in feeds.colnames() else ANGLE
        row = int(np.flatnonzero(feeds.getcol("FEED_ID") == beam)[0])
        receptor_rad = float(feeds.getcell(name, row)[0])
    return math.degrees(EQUATORIAL_RAD - receptor_rad)
