"""Calibration by CASA tasks, and conversion of CASA's tables to DP3's form of solutions."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.ata.averaged import SetFacts
from lofarpipe.imaging.ata.calibrators import (
    AVERAGED,
    CalibrationError,
    SolvingScans,
    Tables,
    session_facts,
    unflagged_by_antenna,
)
from lofarpipe.imaging.ata.combine import combine_sets, fix_scans
from lofarpipe.imaging.ata.session import FLUXCAL, PHASECAL, Scan, Session, parallactic_rad
from lofarpipe.imaging.calibration.flux_scale import polarised_stokes, primary_calibrator
from lofarpipe.imaging.calibration.h5parm import gain_tables, write_h5parm
from lofarpipe.imaging.ms.tables import opened
from lofarpipe.support.dataclass import dataclass

Task = tuple[str, dict[str, Any]]
Complex = NDArray[np.complex128]

ORDER = ("K0", "G0", "B0", "G1", "fluxscale")  # of the tables; each solve applies all earlier ones


@dataclass(frozen=True)
class CalibratorSet:
    """Measurement set of all calibrator scans of a tuning; CASA tasks write models into it."""

    session: Session
    tuning: str
    flux_scans: tuple[Scan, ...]
    phase_scans: tuple[Scan, ...]

    @property
    def ms(self) -> str:
        """The set."""
        return f"{Tables(self.session).directory}/casa/calibrators_{self.tuning}.ms"

    @property
    def scans(self) -> list[Scan]:
        """All scans in order of time; a scan's index is its number in the set."""
        return sorted([*self.flux_scans, *self.phase_scans], key=lambda scan: scan.start_jd)

    def table(self, ending: str) -> str:
        """Return the path of a CASA table: that of the equivalent H5parm, without its suffix."""
        return Tables(self.session).table_path(self.tuning, ending).removesuffix(".h5")


def calibrator_sets(session: Session) -> list[CalibratorSet]:
    """Return the calibrator sets of all tunings.

    Raises
    ------
    CalibrationError
        If a calibrator has no unflagged data in a tuning.
    """
    facts, sets = session_facts(session), []
    for tuning in session.tunings:
        flux, phase = (tuple(SolvingScans(session, facts).of([kind], tuning)) for kind in (FLUXCAL, PHASECAL))
        if not (flux and phase):
            raise CalibrationError(
                f"Lo{tuning.upper()}: a calibrator has no unflagged data; nothing can be solved for CASA"
            )
        sets.append(CalibratorSet(session, tuning, flux, phase))
    return sets


def write_set(one: CalibratorSet) -> None:
    """Write the measurement set of the calibrator scans, numbered from 0."""
    combine_sets([[one.session.set_path(scan, one.tuning, AVERAGED)] for scan in one.scans], Path(one.ms))
    fix_scans(one.ms)


def remove_calibrator_set(one: CalibratorSet) -> None:
    """Remove it."""
    shutil.rmtree(one.ms, ignore_errors=True)


def preferred_antennas(session: Session, requested: Sequence[str]) -> list[str]:
    """Return candidate reference antennas: the requested ones, then the others by unflagged data, most first."""
    facts = list(session_facts(session).values())
    names = list(facts[0].antennas)
    unflagged = unflagged_by_antenna(facts, names)
    others = sorted(range(len(names)), key=lambda place: -unflagged[place])
    return list(dict.fromkeys([*(name for name in requested if name in names), *(names[place] for place in others)]))


def solving_tasks(one: CalibratorSet, references: Sequence[str], polarisation: tuple[float, float]) -> list[Task]:
    """Return the tasks that solve a tuning: models, K0, G0, B0, G1, fluxscale.

    Antennas are given by number: CASA reads names such as 2a as distances. Delays are solved before phases, so that
    channels are averaged in phase.

    Source: doc/spec/calibration.md, section 5.
    """
    fields, antennas = (_names(one.ms, table) for table in ("FIELD", "ANTENNA"))
    flux, phase = (str(fields.index(scans[0].field)) for scans in (one.flux_scans, one.phase_scans))
    common = {"vis": one.ms, "refant": ",".join(str(antennas.index(name)) for name in references if name in antennas)}
    tasks = _model_tasks(one, (flux, phase), polarisation)
    for path in map(one.table, ORDER):
        shutil.rmtree(path, ignore_errors=True)
    k0, g0, b0, g1, scaled = map(one.table, ORDER)
    whole_scans = {**common, "field": flux, "solint": "inf", "combine": "scan"}
    return [
        *tasks,
        ("gaincal", {**whole_scans, "caltable": k0, "gaintype": "K"}),
        ("gaincal", {**whole_scans, "caltable": g0, "gaintype": "G", "calmode": "p", "gaintable": [k0]}),
        ("bandpass", {**whole_scans, "caltable": b0, "gaintable": [k0, g0]}),
        (
            "gaincal",
            {
                **common,
                "field": f"{flux},{phase}",
                "solint": "inf",
                "gaintype": "G",
                "calmode": "ap",
                "caltable": g1,
                "gaintable": [k0, g0, b0],
                "interp": ["nearest"] * 3,
            },
        ),
        ("fluxscale", {"vis": one.ms, "caltable": g1, "fluxtable": scaled, "reference": flux, "transfer": phase}),
    ]


def _model_tasks(one: CalibratorSet, fields: tuple[str, str], polarisation: tuple[float, float]) -> list[Task]:
    """Return the tasks that write models; the flux calibrator has one per scan, as its parallactic angle changes.

    ``fields`` are the numbers of the flux and the phase calibrator.
    """
    calibrator, tasks = primary_calibrator(one.session.roles.fluxcal), list[Task]()
    jy, *terms = 10 ** calibrator.coefficients[0], *calibrator.coefficients[1:]
    manual = {"vis": one.ms, "standard": "manual", "usescratch": True}
    tasks.append(("setjy", {**manual, "field": fields[1], "fluxdensity": [1.0, 0.0, 0.0, 0.0]}))
    for number, scan in enumerate(one.scans):
        if scan not in one.flux_scans:
            continue
        q, u = polarised_stokes(*polarisation, parallactic_rad(scan)) if polarisation[0] else (0.0, 0.0)
        stokes = [jy, jy * q, jy * u, 0.0]
        place = {"field": fields[0], "scan": str(number)}
        tasks.append(("setjy", {**manual, **place, "fluxdensity": stokes, "spix": terms, "reffreq": "1GHz"}))
    return tasks


def _names(ms: str, table: str) -> list[str]:
    with opened(f"{ms}/{table}") as rows:
        return [str(name) for name in rows.getcol("NAME")]


# ---- tables of CASA as gains


def export_solutions(one: CalibratorSet) -> list[str]:
    """Write the solutions of every scan of a tuning; return the paths.

    The gains of the flux calibrator per channel are the product of K0, G0 and B0; the gains of each scan are G1.
    """
    facts, tables = session_facts(one.session), Tables(one.session)
    band, frequencies_hz = bandpass_gains(*(one.table(ending) for ending in ("K0", "G0", "B0")))
    numbers, gains = read_scan_gains(one.table("G1"))
    names = _names(one.table("G1"), "ANTENNA")
    paths = []
    for number, scan in enumerate(one.scans):
        set_facts = facts[scan.name, one.tuning]
        contents: dict[str, tuple[Any, Any]] = {
            "gain": (gains[numbers.index(number)][None], [float(frequencies_hz.mean())])
        }
        if scan in one.flux_scans:
            contents["bandpass"] = (np.moveaxis(band, 2, 0), frequencies_hz)
        for kind, (values, hz) in contents.items():
            path = tables.solved(scan, one.tuning, kind)
            _write(path, values, hz, names, set_facts)
            paths.append(path)
    return paths


def _write(path: str, gains: Complex, frequencies_hz: Any, names: Sequence[str], facts: SetFacts) -> None:
    """Write gains (chan, ant, pol) of a scan, for the antennas of that scan only."""
    places_m: Mapping[str, Any] = dict(zip(facts.antennas, facts.positions_m, strict=True))
    places = [place for place, name in enumerate(names) if name in places_m]
    ants = [names[place] for place in places]
    axes = {"time": [float(np.mean(facts.times_s))], "freq": frequencies_hz, "ant": ants, "pol": ["XX", "YY"]}
    write_h5parm(Path(path), gain_tables(gains[None][:, :, places], axes), {name: places_m[name] for name in ants})


def bandpass_gains(k0: str, g0: str, b0: str) -> tuple[Complex, NDArray[np.float64]]:
    """Return the product of delays, phases and bandpass (ant, pol, chan), NaN where flagged, and frequencies, Hz.

    CASA's delays (ns) have zero phase at the frequency of the table's spectral window.
    """
    delays_s, phases, band = _column(k0, "FPARAM")[:, 0] * 1e-9, _column(g0)[:, 0], np.moveaxis(_column(b0), 1, 2)
    frequencies_hz, reference_hz = _frequencies(b0), float(_frequencies(k0).mean())
    turns = np.exp(2j * np.pi * delays_s[:, :, None] * (frequencies_hz - reference_hz))
    return np.asarray(band * phases[:, :, None] * turns), frequencies_hz


def read_scan_gains(g1: str) -> tuple[list[int], Complex]:
    """Return scan numbers and gains (scan, ant, pol), NaN where flagged or missing."""
    with opened(g1) as table:
        scans, antennas = table.getcol("SCAN_NUMBER"), table.getcol("ANTENNA1")
    values = _rows(g1, "CPARAM")[:, 0]
    numbers = sorted({*scans.tolist()})
    gains = np.full((len(numbers), len(_names(g1, "ANTENNA")), values.shape[1]), np.nan + 0j)
    for scan, antenna, pair in zip(scans.tolist(), antennas.tolist(), values, strict=True):
        gains[numbers.index(scan), antenna] = pair
    return numbers, gains


def _column(path: str, name: str = "CPARAM") -> Any:
    """Return a column of a table with one row per antenna, by antenna number."""
    with opened(path) as table:
        order = np.argsort(table.getcol("ANTENNA1"), kind="stable")
    return _rows(path, name)[order]


def _rows(path: str, name: str) -> Any:
    with opened(path) as table:
        return np.where(table.getcol("FLAG"), np.nan, table.getcol(name))


def _frequencies(path: str) -> NDArray[np.float64]:
    with opened(f"{path}/SPECTRAL_WINDOW") as windows:
        return np.asarray(windows.getcell("CHAN_FREQ", 0), float)
