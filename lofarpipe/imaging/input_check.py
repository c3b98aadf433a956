"""Whether measurement sets can be imaged, each alone and together; every problem found, not the first one only."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from lofarpipe.errors import nearest
from lofarpipe.imaging.frequency_groups import set_disagreements, time_blocks
from lofarpipe.imaging.measurement_set import (
    SetMetadata,
    dangling_subtables,
    elevation_rad,
    read_metadata,
    visibility_columns,
    why_unusable,
)
from lofarpipe.imaging.set_tables import MeasurementSetError


def check_sets(
    paths: Sequence[str], data_column: str = "", station_diameter_m: float = 0.0
) -> tuple[list[SetMetadata], list[str]]:
    """Return the sets that can be read, and one line for each problem, which starts with the set's path.

    Parameters
    ----------
    paths
        Absolute paths of measurement sets.
    data_column
        Column that all must have; empty for no check.
    station_diameter_m
        Diameter of a station that takes the place of ANTENNA.DISH_DIAMETER; 0 if none does.
    """
    if "HOME" not in os.environ:
        return [], ["HOME is not set, and casacore, DP3 and WSClean need it; export HOME=<a directory of yours>"]
    unique, findings = _without_repetitions(paths)
    findings += [f"{path}: {why}; rename it" for path in unique if (why := _why_unreadable(path))]
    sets: list[SetMetadata] = []
    for path in unique:
        if set("*?") & set(path) and not Path(path).exists():
            findings.append(f"{path}: no measurement set matches this pattern; correct data_input_filenames")
            continue
        try:
            sets.append(read_metadata(path))
            findings += _set_findings(sets[-1], data_column, station_diameter_m)
        except MeasurementSetError as err:
            findings.append(str(err))
    return sets, findings + _joint_findings(sets) + _horizon_findings(sets)


def _why_unreadable(path: str) -> str:
    """Return why DP3 cannot be given a path; "" if it can.

    Source: tried with DP3 6.6, which reads a path as it reads any value of a parset: , separates two; quotes are taken
    off; brackets have to be in pairs, and [] or {} in the name of a single set are a pattern.
    """
    if "," in path:
        return "a comma in a name separates two sets for DP3"
    found = [sign for sign in "'\"[]{}" if sign in path]
    if not found and path.count("(") != path.count(")"):
        found = [sign for sign in "()" if sign in path]
    return f"DP3 cannot read a name with {' or '.join(found)} in it" if found else ""


def _without_repetitions(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return each set once, whichever way its path was written, and a finding for each repetition."""
    first: dict[str, str] = {}
    findings = []
    for path in paths:
        real = os.path.realpath(path)
        if real in first:
            same = "" if first[real] == path else f", the same as {first[real]}"
            findings.append(f"{path}: is given twice{same}; give each measurement set once")
        first.setdefault(real, path)
    return list(first.values()), findings


def _set_findings(metadata: SetMetadata, data_column: str, station_diameter_m: float) -> list[str]:
    """Return the problems of one set."""
    columns = visibility_columns(metadata.path) if data_column else []
    findings = _column_findings(metadata, data_column, columns) if data_column else []
    findings += _diameter_findings(metadata, station_diameter_m)
    findings += [
        f"{metadata.path}: its keyword {name} names a subtable that does not exist, so DP3 cannot copy the set; remove "
        f"it: from casacore.tables import table; table('{metadata.path}', readonly=False).removekeyword('{name}')"
        for name in dangling_subtables(metadata.path)
    ]
    reason = why_unusable(metadata.path, data_column if data_column in columns else "")
    if reason:
        findings.append(f"{metadata.path}: {reason}, so there is nothing to image; leave it out")
    return findings


def _column_findings(metadata: SetMetadata, data_column: str, columns: Sequence[str]) -> list[str]:
    if data_column in columns:
        return []
    what = f"its column {data_column} holds no visibilities"
    if data_column not in metadata.columns:
        what = f"has no column {data_column}{nearest(data_column, columns)}"
    return [f"{metadata.path}: {what}; it has {', '.join(columns) or 'no data column'}; correct data_column"]


def _diameter_findings(metadata: SetMetadata, station_diameter_m: float) -> list[str]:
    without = [name for name, d in zip(metadata.antenna_names, metadata.dish_diameters_m, strict=True) if not d > 0]
    if not without or station_diameter_m > 0:
        return []
    others = f" and {len(without) - 1} others" if len(without) > 1 else ""
    return [
        f"{metadata.path}: ANTENNA.DISH_DIAMETER of {without[0]}{others} is 0 m, so the beam width is undefined; "
        "correct the ANTENNA table, or set station_diameter_m"
    ]


def _joint_findings(sets: Sequence[SetMetadata]) -> list[str]:
    """Return in what the sets differ, or else which of them cover the same time and frequency."""
    findings = set_disagreements(sets)
    if findings:
        return findings
    try:
        time_blocks(sets)
    except MeasurementSetError as err:
        return [str(err)]
    return []


def _horizon_findings(sets: Sequence[SetMetadata]) -> list[str]:
    """Return the sets during which the field is not up; sets of the same times are looked at once."""
    findings = []
    seen = set()
    for one in sets:
        when = (round(one.start_s), round(one.end_s), one.phase_centre_rad)
        if when in seen:
            continue
        seen.add(when)
        lowest = float(elevation_rad(one, [one.start_s, (one.start_s + one.end_s) / 2, one.end_s]).min())
        if lowest <= 0:
            findings.append(
                f"{one.path}: the field is below the horizon: its elevation is {math.degrees(lowest):.1f} deg; check "
                "the phase centre and the times, or leave the set out"
            )
    return findings
