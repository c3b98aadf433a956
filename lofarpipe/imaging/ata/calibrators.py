"""Calibrators of a session: checks of their data, sky models, and names of solution tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError, list_names
from lofarpipe.imaging.ata.averaged import SetFacts, facts_path, load_facts
from lofarpipe.imaging.ata.session import FLUXCAL, PHASECAL, Scan, Session, parallactic_rad
from lofarpipe.imaging.ata.uvh5 import load_notes
from lofarpipe.imaging.calibration.flux_scale import polarised_stokes, primary_calibrator, unit_source
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.parset import split_list
from lofarpipe.support.utilities import write_atomically

TABLES = "caltables"
AVERAGED, CALIBRATED = "_averaged", "_calibrated"
CLEARLY_POLARISED = 0.01  # fraction above which a warning gives the bias of XX and YY


class CalibrationError(PipelineError):
    """A session that cannot be calibrated."""


@dataclass(frozen=True)
class Tables:
    """Names of a session's solution tables and sky models."""

    session: Session

    @property
    def directory(self) -> str:
        """The directory of the tables and sky models."""
        return f"{self.session.outdir}/{TABLES}"

    def table_path(self, tuning: str, ending: str) -> str:
        """Return the path of a table of a tuning; ``ending`` is K0, G0, B0 and so on."""
        return f"{self.directory}/{self.session.roles.fluxcal}_{tuning}.{ending}.h5"

    def model(self, scan: Scan) -> str:
        """Return the sky model of a calibrator scan."""
        return f"{self.directory}/models/{scan.name}.skymodel"

    def solved(self, scan: Scan, tuning: str, kind: str) -> str:
        """Return the path of DP3's ``bandpass`` or ``gain`` solutions, beside the sets: DP3 makes no directories."""
        return f"{self.session.set_path(scan, tuning).removesuffix('.ms')}.{kind}.h5"

    def applied(self, scan: Scan, tuning: str) -> str:
        """Return the path of the gains interpolated to the times of a scan."""
        return f"{self.directory}/applied/{scan.name}_{tuning}.h5"


def present_sets(session: Session) -> list[tuple[Scan, str]]:
    """Return the scans and tunings with a verified averaged set."""
    return [
        (scan, tuning)
        for scan in session.scans
        for tuning in session.tunings
        if facts_path(ms := session.set_path(scan, tuning, AVERAGED)).is_file()
        and Path(ms).is_dir()
        and (not session.present or ms in session.present)
    ]


def session_facts(session: Session) -> dict[tuple[str, str], SetFacts]:
    """Return the facts of all verified averaged sets, by folder and tuning."""
    present = present_sets(session)
    return {(scan.name, tuning): load_facts(session.set_path(scan, tuning, AVERAGED)) for scan, tuning in present}


def dead_antennas(session: Session) -> list[str]:
    """Return the antennas with exactly zero data in all nodes, tunings and scans."""
    notes = [load_notes(facts_path(session.set_path(scan, tuning))) for scan, tuning in present_sets(session)]
    dead = set.intersection(*(one.dead for one in notes)) if notes else set()
    return sorted(dead)


def reading_problems(session: Session) -> list[str]:
    """Return the findings in the files of a session, and the changes made when reading them."""
    lines: list[str] = []
    silent: dict[tuple[str, str, str], list[str]] = {}
    garbage = bad = 0
    dead = set(dead_antennas(session))
    for scan, tuning in present_sets(session):
        notes = load_notes(facts_path(session.set_path(scan, tuning)))
        garbage, bad = garbage + notes.garbage_counts, bad + notes.bad_values
        for node, names in notes.silent.items():
            for name in set(names) - dead:
                silent.setdefault((name, tuning, node), []).append(scan.name)
    if garbage:
        lines.append(f"{garbage} invalid sample counts were set to 1")
    if bad:
        lines.append(f"{bad} huge or non-finite values were flagged")
    lines += [f"antenna {name}: no data in any node" for name in sorted(dead)]
    for (name, tuning, node), folders in sorted(silent.items()):
        lines.append(f"antenna {name}: is 0 in Lo{tuning.upper()}.{node} of {len(folders)} scans; it is flagged there")
    return lines


def check_calibrators(session: Session, polarisation: tuple[float, float]) -> list[str]:
    """Write the sky models of all calibrator scans, and return warnings.

    Raises
    ------
    CalibrationError
        If a calibrator has no scan, or no unflagged data in a tuning; the message names scans and flags.
    """
    facts, tables = session_facts(session), Tables(session)
    calibrator = primary_calibrator(session.roles.fluxcal)
    for kind, name in ((FLUXCAL, session.roles.fluxcal), (PHASECAL, session.roles.phasecal)):
        _require_data(session, facts, kind, name)
    for scan in session.scans_of(FLUXCAL):
        shares = polarised_stokes(*polarisation, parallactic_rad(scan)) if polarisation[0] else (0.0, 0.0)
        _write(tables.model(scan), calibrator.sky_model(*shares))
    for scan in session.scans_of(PHASECAL):
        _write(tables.model(scan), unit_source(scan.field, *scan.direction_rad))
    frequencies = [hz for one in facts.values() for hz in one.frequencies_hz]
    warnings = calibrator.warnings(min(frequencies), max(frequencies))
    fraction = calibrator.polarisation[0]
    if fraction > CLEARLY_POLARISED and not polarisation[0]:
        warnings.append(
            f"flux calibrator {calibrator.name}: it is {fraction:.1%} polarised, its model unpolarised: XX and YY are "
            f"biased by up to {fraction:.1%} with opposite signs, fluxes in Stokes I by {fraction**2:.2%}; set "
            "fluxcal_polarisation"
        )
    warnings.append("parallactic angle and instrumental polarisation are not corrected")
    return warnings


def _write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if not Path(path).is_file() or Path(path).read_text() != text:
        write_atomically(Path(path), text)


def _require_data(session: Session, facts: Mapping[tuple[str, str], SetFacts], kind: str, name: str) -> None:
    option = "fluxcal" if kind == FLUXCAL else "phasecal"
    scans = session.scans_of(kind)
    if not any((scan.name, tuning) in facts for scan in scans for tuning in session.tunings):
        raise CalibrationError(f"{option}: {name} has no scan that could be read in session {session.name}")
    for tuning in session.tunings:
        of_tuning = {scan.name: facts[scan.name, tuning] for scan in scans if (scan.name, tuning) in facts}
        if not any(one.is_usable for one in of_tuning.values()):
            flags = list_names(f"{folder}: {one.flagged:.0%} flagged" for folder, one in of_tuning.items())
            raise CalibrationError(
                f"{option}: {name} has no unflagged data in Lo{tuning.upper()} ({flags or 'no set'}), so "
                "nothing can be solved; use another scan (fluxcal_scans) or tuning, or inspect the raw data"
            )


@dataclass(frozen=True)
class SolvingScans:
    """Calibrator scans with unflagged data, by tuning: the input of DP3's solves."""

    session: Session
    facts: Mapping[tuple[str, str], SetFacts]

    def of(self, kinds: Sequence[str], tuning: str) -> list[Scan]:
        """Return the solvable scans of some kinds of field."""
        tables = Tables(self.session)

        def solved(scan: Scan) -> set[str]:
            return {tables.solved(scan, tuning, name) for name in ("bandpass", "gain")}

        return [
            scan
            for scan in self.session.scans
            if self.session.kind(scan) in kinds
            and (scan.name, tuning) in self.facts
            and self.facts[scan.name, tuning].is_usable
            and (not self.session.solved or solved(scan) & {*self.session.solved})
        ]


def unflagged_by_antenna(facts: Sequence[SetFacts], names: Sequence[str]) -> NDArray[np.float64]:
    """Return the mean unflagged fraction of antennas over sets."""
    by_set = [dict(zip(one.antennas, one.flagged_by_antenna, strict=True)) for one in facts]
    return np.array([1 - np.mean([flags.get(name, 1.0) for flags in by_set]) for name in names])


def bandpass_summary_path(session: Session) -> Path:
    """Return the path of the bandpass step's summary, read by the gain step."""
    return Path(Tables(session).directory, "bandpass.json")


def polarisation_of(text: str) -> tuple[float, float]:
    """Parse an option such as ``[0.095, 33]``: polarised fraction and position angle, degrees; zeros if empty.

    Raises
    ------
    CalibrationError
        If the text is not such a pair, or out of range.
    """
    parts = split_list(text)
    if not parts:
        return (0.0, 0.0)
    try:
        fraction, angle_deg = map(float, parts)
    except ValueError:
        fraction = angle_deg = math.nan
    if not (0 <= fraction <= 1 and math.isfinite(angle_deg)):
        raise CalibrationError(
            f"fluxcal_polarisation: is {text}; a fraction from 0 to 1 and an angle in degrees are needed, [0.095, 33]"
        )
    return fraction, angle_deg
