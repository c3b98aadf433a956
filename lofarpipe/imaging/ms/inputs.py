"""Checks of measurement sets before imaging, individually and together; reports all problems."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from lofarpipe.errors import counted, list_names, nearest
from lofarpipe.imaging.ms.copy import repeats_differ
from lofarpipe.imaging.ms.grouping import set_disagreements, time_blocks
from lofarpipe.imaging.ms.measurement_set import LARGEST_WEIGHT, SMALLEST_WEIGHT, SetMetadata, elevation_rad
from lofarpipe.imaging.ms.names import AUTO, other_case_hint
from lofarpipe.imaging.ms.rows import MOST_CELLS
from lofarpipe.imaging.ms.survey import SetSurvey, survey_set, unusable_reason
from lofarpipe.imaging.ms.tables import SUBTABLES, MeasurementSetError, opened
from lofarpipe.support.dataclass import dataclass

PLACEHOLDER = "{set}"  # placeholder of the set's path in a finding
AVERAGED_CORRELATIONS = 4
ORDERS = (("XX", "XY", "YX", "YY"), ("RR", "RL", "LR", "LL"))
LONGEST_NAMES = 150  # characters for the names of further sets with the same problem
ELEVATION_TIMES = 9
MOST_FILLED_ROWS = 20_000_000
FIRST_MJD_S, LAST_MJD_S = 26500 * 86400.0, 88070 * 86400.0  # years 1931 (first radio astronomy) and 2100


@dataclass(frozen=True)
class SetFinding:
    """A problem of one set; ``PLACEHOLDER`` in ``what`` stands for its path. Findings of one kind are merged."""

    path: str
    what: str
    kind: str = ""  # shared by findings that differ only in a number; default: the text itself

    def __str__(self) -> str:
        return f"{self.path}: {self.what.replace(PLACEHOLDER, self.path)}"


def summarise_findings(findings: Iterable[SetFinding]) -> list[str]:
    """Return one line per kind of finding: the first affected set, and the number of others."""
    kinds: dict[str, list[SetFinding]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind or finding.what, []).append(finding)
    return [_merged_line(same) for same in kinds.values()]


def _merged_line(same: Sequence[SetFinding]) -> str:
    first, paths = same[0], list(dict.fromkeys(finding.path for finding in same))
    if len(paths) == 1:
        return str(first)
    others, names = f"and {counted(len(paths) - 1, 'other')}", list_names((Path(path).name for path in paths[1:]), 3)
    others += f": {names}" if len(names) < LONGEST_NAMES else ""
    return f"{first.path} ({others}): {first.what.replace(PLACEHOLDER, first.path)}"


def check_sets(
    paths: Sequence[str], data_column: str = "", station_diameter_m: float = 0.0, field: str = AUTO
) -> tuple[list[SetSurvey], list[str]]:
    """Return surveys of the readable sets, and one line per problem, starting with the set's path.

    Parameters
    ----------
    paths
        Absolute paths of measurement sets.
    data_column
        Column required in all sets; empty: not checked.
    station_diameter_m
        Station diameter that overrides ANTENNA.DISH_DIAMETER; 0: not overridden.
    field
        Number or name of the field to image, for sets with several.
    """
    if "HOME" not in os.environ:
        return [], ["HOME is not set, and casacore, DP3 and WSClean need it; export HOME=<a directory of yours>"]
    unique, repeated = _remove_duplicates(paths)
    findings = [SetFinding(path, f"{reason}; rename it", reason) for path in unique if (reason := _path_problem(path))]
    surveys: list[SetSurvey] = []
    for path in unique:
        if set("*?") & set(path) and not Path(path).exists():
            hint = other_case_hint(path) or "; correct data_input_filenames"
            findings.append(SetFinding(path, f"no measurement set matches this pattern{hint}"))
            continue
        try:
            surveys.append(survey_set(path, data_column, field))
            findings += _set_findings(surveys[-1], data_column, station_diameter_m)
        except MeasurementSetError as err:
            findings.append(SetFinding(path, str(err).removeprefix(f"{path}: ").replace(path, PLACEHOLDER)))
    sets = [survey.metadata for survey in surveys]
    together = [*_joint_findings(sets), *_beam_findings(surveys), *_horizon_findings(surveys)]
    return surveys, repeated + summarise_findings([*findings, *together])


def _path_problem(path: str) -> str:
    """Return why DP3 cannot parse a path; "" if it can.

    Source: tests with DP3 6.6, which parses paths as parset values: a comma separates two; quotes are removed; brackets
    must be balanced, and [] or {} in the name of a single set are a pattern.
    """
    if "," in path:
        return "a comma in a name separates two sets for DP3"
    signs = [sign for sign in "'\"[]{}" if sign in path]
    if not signs and path.count("(") != path.count(")"):
        signs = [sign for sign in "()" if sign in path]
    return f"DP3 cannot read a name with {' or '.join(signs)} in it" if signs else ""


def _remove_duplicates(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the distinct sets, however their paths are written, and a finding per duplicate."""
    first: dict[str, str] = {}
    findings = []
    for path in paths:
        real = os.path.realpath(path)
        if real in first:
            same = "" if first[real] == path else f", the same as {first[real]}"
            findings.append(f"{path}: is given twice{same}; give each measurement set once")
        first.setdefault(real, path)
    return list(first.values()), findings


def _set_findings(survey: SetSurvey, data_column: str, station_diameter_m: float) -> Iterator[SetFinding]:
    """Yield the problems of one set."""
    path, columns = survey.path, survey.visibility_columns
    if data_column and data_column not in columns:
        yield _column_finding(survey, data_column)
    yield from _table_findings(survey)
    yield from _missing_columns(survey)
    yield from _row_findings(survey, data_column)
    if not station_diameter_m > 0:
        yield from _diameter_findings(survey)
    weight = survey.usability.usual_weight
    if weight and not SMALLEST_WEIGHT <= weight <= LARGEST_WEIGHT:
        factor = 10.0 ** -round(math.log10(weight))
        yield SetFinding(
            path,
            f"its weights are about {weight:.2g}, and sums of such weights overflow or underflow in WSClean; "
            f"multiply {survey.weight_column} by the same number in all sets, such as {factor:g}, so that they are "
            f"between {SMALLEST_WEIGHT:g} and {LARGEST_WEIGHT:g}",
            "scale of weights",
        )
    elif survey.usability.usable == 0:
        column = data_column if data_column in columns else ""
        reason = unusable_reason(path, column, survey.metadata.field_id)
        if reason:
            yield SetFinding(path, f"{reason}, so there is nothing to image; leave it out")


def _column_finding(survey: SetSurvey, data_column: str) -> SetFinding:
    columns = survey.visibility_columns
    problem = f"its column {data_column} holds no visibilities"
    if data_column not in survey.metadata.columns:
        problem = f"has no column {data_column}{nearest(data_column, columns)}"
    return SetFinding(survey.path, f"{problem}; it has {', '.join(columns) or 'no data column'}; correct data_column")


def _table_findings(survey: SetSurvey) -> Iterator[SetFinding]:
    """Yield problems of the tables for DP3 or EveryBeam."""
    path, metadata = survey.path, survey.metadata
    for name in survey.dangling_subtables:
        yield SetFinding(
            path,
            f"its keyword {name} names a subtable that does not exist, so DP3 cannot copy the set; remove it: from "
            f"casacore.tables import table; table('{PLACEHOLDER}', readonly=False).removekeyword('{name}')",
        )
    for name in survey.missing_subtables:
        yield SetFinding(path, f"has no {name} subtable, which DP3 needs; copy it from another set of the observation")
    if survey.visibility_columns and "DATA" not in metadata.columns:
        yield SetFinding(
            path,
            f"has no column DATA, in which DP3 looks for the shape of the visibilities; it has "
            f"{', '.join(survey.visibility_columns)}; rename one: from casacore.tables import table; "
            f"table('{PLACEHOLDER}', readonly=False).renamecol('{survey.visibility_columns[0]}', 'DATA'), and correct "
            "data_column",
        )
    if metadata.windows != 1:
        yield SetFinding(
            path,
            f"has {metadata.windows} spectral windows and 1 data description, which DP3 refuses; split it first, so "
            "that the windows without data are left out",
        )
    if len(metadata.correlations) != AVERAGED_CORRELATIONS:
        yield SetFinding(
            path,
            f"has {counted(len(metadata.correlations), 'correlation')} ({', '.join(metadata.correlations)}), and DP3 "
            "reads sets with four; export all four from the correlator's or the archive's copy, or leave it out",
        )
    elif metadata.correlations not in ORDERS:
        yield SetFinding(
            path,
            f"its correlations are {', '.join(metadata.correlations)}, and DP3 takes those of a set for XX, XY, "
            "YX, YY, or RR, RL, LR, LL, in that order; correct POLARIZATION.CORR_TYPE, or the order in the columns",
        )
    yield from _station_findings(survey)


def _station_findings(survey: SetSurvey) -> Iterator[SetFinding]:
    """Yield findings about stations without a beam in EveryBeam."""
    path = survey.path
    if survey.phased_up and len(survey.phased_up) == len(survey.metadata.antenna_names):
        yield SetFinding(
            path,
            f"{list_names(survey.phased_up, 3)}: EveryBeam knows stations of LOFAR by names such as CS002HBA0, and "
            "none of these is one; correct ANTENNA.NAME",
            "names of stations",
        )
    elif "" in survey.phased_up:
        number = survey.metadata.antenna_names.index("")
        yield SetFinding(
            path,
            f"ANTENNA.NAME of antenna {number} is empty, and EveryBeam knows stations of LOFAR by names such as "
            "CS002HBA0; give it its name, even if it has no data",
            "names of stations",
        )
    elif survey.phased_up:
        exclude = ";".join(f"!{name}" for name in survey.phased_up)
        yield SetFinding(
            path,
            f"{list_names(survey.phased_up, 3)}: made from several stations, for which EveryBeam has no beam; leave "
            f"such stations out: DP3 msin={PLACEHOLDER} msout=<new> steps=[filter] filter.baseline='{exclude}' "
            "filter.remove=true",
        )


def _missing_columns(survey: SetSurvey) -> Iterator[SetFinding]:
    """Yield missing columns of subtables. Source: casacore, whose classes of these tables require them."""
    for name in SUBTABLES:
        with opened(f"{survey.path}::{name}") as subtable:
            missing = required_columns(name) - set(subtable.colnames())
        if missing:
            yield SetFinding(
                survey.path,
                f"its {name} subtable has no {list_names(sorted(missing))}, and casacore does not open it without; "
                "copy it from another set of the observation",
                f"columns of {name}",
            )


@functools.cache
def required_columns(subtable: str) -> frozenset[str]:
    """Return the columns that the measurement set standard requires in a subtable."""
    from casacore.tables import required_ms_desc

    return frozenset(name for name in required_ms_desc(subtable) if not name.startswith("_"))


def _row_findings(survey: SetSurvey, data_column: str) -> Iterator[SetFinding]:
    """Yield the problems of the times and the order of the rows."""
    times, layout = survey.times, survey.layout
    if not FIRST_MJD_S < times.first_s < LAST_MJD_S:
        yield SetFinding(
            survey.path,
            f"its times begin at MJD {times.first_s / 86400:.3f}, which is implausible; TIME is MJD in seconds: "
            "correct the column",
            "times",
        )
    if times.slots * layout.pairs > MOST_CELLS * layout.rows:
        yield SetFinding(
            survey.path,
            "its time slots depend on the baseline (baseline-dependent averaging), and DP3 cannot average it again "
            "with others; give the set as it was before that averaging",
            "baseline-dependent averaging",
        )
    elif (times.grid_slots - times.slots) * layout.pairs > max(MOST_FILLED_ROWS, 20 * layout.rows):
        yield SetFinding(
            survey.path,
            f"has {times.slots} time slots within {(times.last_s - times.first_s) / 3600:.0f} h, and DP3 fills all of "
            f"that with slots of {times.step_s:g} s; split it at its gaps, of which the longest has "
            f"{times.longest_gap_s / 3600:.1f} h",
            "long gaps",
        )
    elif survey.uvw_problem:
        yield SetFinding(
            survey.path,
            f"{survey.uvw_problem}; images would be wrong: compute UVW anew, for example with chgcentre -f of WSClean "
            "or fixvis of CASA, or correct the positions or the phase centre",
            "UVW",
        )
    elif layout.repeated and data_column in survey.visibility_columns and repeats_differ(survey, data_column):
        yield SetFinding(
            survey.path,
            f"{counted(layout.repeated, 'row')} have time and baseline of another row, and other values; split the set "
            "into what was observed at the same time (spectral windows, fields, arrays), or leave it out",
            "repeated rows",
        )


def _diameter_findings(survey: SetSurvey) -> Iterator[SetFinding]:
    """Yield antennas with data but without a diameter; antennas without data are ignored."""
    metadata = survey.metadata
    without = [metadata.antenna_names[one] or f"antenna {one}" for one in survey.antennas if not _has_size(survey, one)]
    if without:
        others = f" and {counted(len(without) - 1, 'other')}" if len(without) > 1 else ""
        yield SetFinding(
            survey.path,
            f"ANTENNA.DISH_DIAMETER of {without[0]}{others} is 0 m, so the beam width is undefined; correct the "
            "ANTENNA table, or set station_diameter_m",
        )


def _has_size(survey: SetSurvey, antenna: int) -> bool:
    return bool(survey.metadata.dish_diameters_m[antenna] > 0)


def _joint_findings(sets: Sequence[SetMetadata]) -> list[SetFinding]:
    """Return inconsistencies between the sets, or else sets that cover the same time and frequency."""
    findings = [SetFinding(*line.split(": ", 1)) for line in set_disagreements(sets)]
    if findings:
        return findings
    try:
        time_blocks(sets)
    except MeasurementSetError as err:
        return [SetFinding(*str(err).split(": ", 1))]
    return []


def _beam_findings(surveys: Sequence[SetSurvey]) -> Iterator[SetFinding]:
    """Yield sets whose applied beam differs from the first set's: an image has one correction."""
    for survey in surveys[1:]:
        if conflict := survey.applied_beam.conflict(surveys[0].applied_beam, surveys[0].path):
            yield SetFinding(survey.path, conflict, "beam")


def _horizon_findings(surveys: Sequence[SetSurvey]) -> Iterator[SetFinding]:
    """Yield sets during which the field is below the horizon; sets with the same times are checked once."""
    lowest_rad: dict[object, float] = {}
    for survey in surveys:
        one = survey.metadata
        when = (round(one.start_s), round(one.end_s), one.phase_centre_rad)
        if when not in lowest_rad:
            times_s = np.linspace(one.start_s, one.end_s, ELEVATION_TIMES)
            lowest_rad[when] = float(elevation_rad(one, times_s).min())
        if lowest_rad[when] <= 0:
            yield SetFinding(
                one.path,
                f"the field is below the horizon: its elevation is {math.degrees(lowest_rad[when]):.1f} deg; check the "
                "phase centre and the times, or leave the set out",
                "horizon",
            )
