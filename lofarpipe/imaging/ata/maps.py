"""Mapfiles of pipelines over sessions: scans to read, calibrators to solve, sets to correct, fields to image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lofarpipe.imaging.ata.calibrators import AVERAGED, CALIBRATED, Tables
from lofarpipe.imaging.ata.session import (
    FLUXCAL,
    PHASECAL,
    TARGET,
    Session,
    SessionOptions,
    load_session,
    read_session,
)
from lofarpipe.support.data_map import DataMap, DataProduct

READING = ("sessions", "folders", "tunings", "full", "averaged")
SOLVING = (
    *("fluxcal_sets", "fluxcal_models", "fluxcal_solved", "calibrator_sets", "calibrator_models", "calibrator_solved"),
    *("calibrator_g0", "calibrator_k0", "calibrator_b0", "apply_sets", "apply_g0", "apply_k0", "apply_b0"),
    *("apply_gains", "calibrated"),
)
FIELDS = ("field_sessions", "field_names", "field_sets")


def write_session_maps(directory: Path, stem: str, columns: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Write a map for each column, and return their names by ``<column>.mapfile``."""
    outputs = {}
    for key, files in columns.items():
        path = str(directory / f"{stem}.{key}.mapfile")
        DataMap([DataProduct("localhost", file, False) for file in files]).save(path)
        outputs[f"{key}.mapfile"] = path
    return outputs


def session_file(directory: Path, session: str) -> Path:
    """Return the path of a session's JSON file beside the maps."""
    return directory / f"{session.replace('/', '_')}.session.json"


def reading_maps(
    directories: Sequence[Path], outdir: Path, options: SessionOptions, mapfile_dir: Path, stem: str
) -> dict[str, str]:
    """Write the sessions, and the maps of all scans and tunings in use.

    Raises
    ------
    SessionError
        If a session cannot be worked on.
    """
    columns: dict[str, list[str]] = {key: [] for key in READING}
    for directory in directories:
        session = read_session(directory, outdir, options)
        path = session_file(mapfile_dir, session.name)
        session.write(path)
        columns["sessions"].append(str(path))
        for scan in session.scans:
            for tuning in session.tunings:
                if scan.tuning_files(tuning):
                    full, averaged = session.set_path(scan, tuning), session.set_path(scan, tuning, AVERAGED)
                    for key, value in zip(READING[1:], (scan.folder, tuning, full, averaged), strict=True):
                        columns[key].append(value)
    return write_session_maps(mapfile_dir, stem, columns)


def solving_maps(sessions: Sequence[str], present: Sequence[str], mapfile_dir: Path, stem: str) -> dict[str, str]:
    """Write the maps of sets to solve and to correct: scans with their averaged set in ``present``."""
    columns: dict[str, list[str]] = {key: [] for key in SOLVING}
    for path in sessions:
        session = load_session(path)
        for tuning in session.tunings:
            _append_tuning(columns, session, tuning, set(present))
    return write_session_maps(mapfile_dir, stem, columns)


def _append_tuning(columns: dict[str, list[str]], session: Session, tuning: str, present: set[str]) -> None:
    tables = Tables(session)
    products = {kind: tables.table_path(tuning, kind) for kind in ("G0", "K0", "B0")}
    for scan in session.scans:
        ms, kind = session.set_path(scan, tuning, AVERAGED), session.kind(scan)
        if ms not in present:
            continue
        rows = {"apply_sets": ms, "apply_gains": tables.applied(scan, tuning)}
        rows |= {"calibrated": session.set_path(scan, tuning, CALIBRATED)}
        rows |= {f"apply_{name.lower()}": file for name, file in products.items()}
        if kind in (FLUXCAL, PHASECAL):
            rows |= {"calibrator_sets": ms, "calibrator_models": tables.model(scan)}
            rows |= {"calibrator_solved": tables.solved(scan, tuning, "gain")}
            rows |= {f"calibrator_{name.lower()}": file for name, file in products.items()}
        if kind == FLUXCAL:
            rows |= {"fluxcal_sets": ms, "fluxcal_models": tables.model(scan)}
            rows |= {"fluxcal_solved": tables.solved(scan, tuning, "bandpass")}
        for key, value in rows.items():
            columns[key].append(value)


def field_maps(sessions: Sequence[str], kinds: Sequence[str], mapfile_dir: Path, stem: str) -> dict[str, str]:
    """Write the maps of the fields of some kinds: session, name, and set of calibrated visibilities."""
    columns: dict[str, list[str]] = {key: [] for key in FIELDS}
    for path in sessions:
        session = load_session(path)
        for name in field_names(session, kinds):
            for key, value in zip(FIELDS, (path, name, calibrated_set(session, name)), strict=True):
                columns[key].append(value)
    return write_session_maps(mapfile_dir, stem, columns)


def field_names(session: Session, kinds: Sequence[str]) -> list[str]:
    """Return the fields of some kinds, in order of time."""
    names_by_kind = {
        FLUXCAL: [session.roles.fluxcal],
        PHASECAL: [session.roles.phasecal],
        TARGET: [*session.roles.targets],
    }
    selection = [name for kind in kinds for name in names_by_kind[kind]]
    return [name for name in dict.fromkeys(scan.field for scan in session.scans) if name in selection]


def calibrated_set(session: Session, name: str) -> str:
    """Return the path of a field's calibrated measurement set."""
    return f"{session.outdir}/{name}_noauto_1GC.ms"


def combined_set(session: Session) -> str:
    """Return the path of the combined set of all scans, named after the first target."""
    return f"{session.outdir}/{session.roles.targets[0]}.ms"
