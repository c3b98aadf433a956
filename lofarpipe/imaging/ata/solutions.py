"""Solution tables of a session: delays and bandpass of the flux calibrator, gains of all scans, and their summary."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import list_names
from lofarpipe.imaging.ata.averaged import SetFacts
from lofarpipe.imaging.ata.calibrators import (
    CalibrationError,
    SolvingScans,
    Tables,
    bandpass_summary_path,
    dead_antennas,
    reading_problems,
    session_facts,
    unflagged_by_antenna,
)
from lofarpipe.imaging.ata.session import FLUXCAL, PHASECAL, Scan, Session, summary_of
from lofarpipe.imaging.calibration.flux_scale import flux_scale, primary_calibrator
from lofarpipe.imaging.calibration.gains import (
    Bandpass,
    bandpass_deviation,
    bootstrap_flux,
    choose_reference,
    flag_channels,
    flag_scans,
    interpolate_gains,
    lost_amplitude,
    ripple_period_hz,
    split_gains,
)
from lofarpipe.imaging.calibration.h5parm import (
    SolutionTable,
    complex_gains,
    gain_tables,
    read_h5parm,
    write_h5parm,
)
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import write_atomically

Complex = NDArray[np.complex128]

SYSTEMATIC_FRACTION = 0.1  # of a flux on this scale. Source: doc/spec/calibration.md, section 2
MOST_DELAY_TURNS = 0.1  # turns of phase across a channel, above which a warning is given
CLEAR_STRUCTURE = 0.1  # of a bandpass


@dataclass(frozen=True, eq=False)
class TuningSolutions:
    """Gains of the flux calibrator in one tuning, over its antennas, X and Y, and channels."""

    tuning: str
    antennas: Mapping[str, Sequence[float]]  # name -> position
    time_s: float
    frequencies_hz: NDArray[np.float64]
    gains: Complex  # (ant, pol, chan), NaN where flagged

    @property
    def solved(self) -> NDArray[np.float64]:
        """Fraction of channels solved in both polarisations, by antenna."""
        return np.asarray(np.isfinite(self.gains).all(axis=1).mean(axis=1), float)


def read_bandpass(session: Session, tuning: str, facts: Mapping[tuple[str, str], SetFacts]) -> TuningSolutions:
    """Return the solved gains of the flux calibrator; several scans are averaged after phase alignment with the last.

    Raises
    ------
    CalibrationError
        If DP3 solved nothing.
    """
    tables, scans = Tables(session), SolvingScans(session, facts).of([FLUXCAL], tuning)
    scan_gains = []
    for scan in scans:
        gains, axes = complex_gains(read_h5parm(Path(tables.solved(scan, tuning, "bandpass"))))
        scan_gains.append((np.moveaxis(gains, (2, 3, 1), (1, 2, 3)).mean(axis=0), axes))
    if not any(np.isfinite(gains).any() for gains, _ in scan_gains):
        raise CalibrationError(f"Lo{tuning.upper()}: DP3 found no gain of {session.roles.fluxcal}; look at its log")
    one = facts[scans[-1].name, tuning]
    axes = scan_gains[-1][1]
    places = dict(zip(one.antennas, one.positions_m, strict=True))
    # Align the scans: each has an arbitrary phase common to all antennas.
    turned = [
        gains * np.exp(-1j * np.angle(np.nansum(gains * np.conj(scan_gains[-1][0]), axis=0))) for gains, _ in scan_gains
    ]
    flagged = flag_channels(np.nanmean(turned, axis=0) if len(turned) > 1 else turned[0])
    time_s = float(np.mean([np.mean(facts[scan.name, tuning].times_s) for scan in scans]))
    antennas = {name: places[name] for name in axes["ant"]}
    return TuningSolutions(tuning, antennas, time_s, np.asarray(axes["freq"], float), flagged)


def make_bandpass(session: Session, references: Sequence[str]) -> dict[str, Any]:
    """Write G0, K0 and B0 of every tuning; return the reference antenna and the reason for it.

    Raises
    ------
    CalibrationError
        If no antenna is solved in enough channels.
    """
    facts = session_facts(session)
    solutions = [read_bandpass(session, tuning, facts) for tuning in session.tunings]
    names = list(solutions[0].antennas)
    reference, reason = choose_reference(
        names,
        list(references),
        np.min(
            [[dict(zip(one.antennas, one.solved, strict=True)).get(n, 0) for n in names] for one in solutions], axis=0
        ),
        unflagged_by_antenna(list(facts.values()), names),
        np.array([*solutions[0].antennas.values()]),
    )
    if not reference:
        raise CalibrationError(
            f"reference_antenna: no antenna is solved in most channels of all tunings ({reason or list_names(names)}); "
            "look at the flags of the flux calibrator"
        )
    for one in solutions:
        _write_bandpass(Tables(session), one, reference)
    summary = {"reference_antenna": reference, "reason": reason}
    write_atomically(bandpass_summary_path(session), json.dumps(summary))
    return summary


def _write_bandpass(tables: Tables, solved: TuningSolutions, reference: str) -> Bandpass:
    names = list(solved.antennas)
    band = split_gains(solved.gains, solved.frequencies_hz, names.index(reference))
    alive = np.asarray(band.solved.any(axis=2))
    polarised = {"ant": names, "pol": ["XX", "YY"]}
    clock = SolutionTable(
        "clock000", {"time": [solved.time_s], **polarised}, band.delays_s[None], alive[None].astype(float)
    )
    turns = np.where(alive, np.exp(1j * band.phases_rad), np.nan)
    middle = {"time": [solved.time_s], "freq": [float(solved.frequencies_hz.mean())], **polarised}
    channels = {"time": [solved.time_s], "freq": solved.frequencies_hz, **polarised}
    rest = np.moveaxis(band.rest, 2, 0)[None]
    for ending, content in (
        ("K0", [clock]),
        ("G0", gain_tables(turns[None, None], middle, ["phase"])),
        ("B0", gain_tables(rest, channels)),
    ):
        write_h5parm(Path(tables.table_path(solved.tuning, ending)), content, solved.antennas)
    return band


# ---- gains


@dataclass(frozen=True, eq=False)
class ScanGains:
    """Gains of calibrator scans in a tuning, with the bandpass applied: (scan, ant, pol), NaN where flagged."""

    scans: tuple[Scan, ...]
    times_s: NDArray[np.float64]
    names: tuple[str, ...]
    frequency_hz: float
    gains: Complex

    def of(self, folders: Sequence[str]) -> Complex:
        """Return the gains of some scans."""
        return self.gains[[scan.name in folders for scan in self.scans]]


def read_gains(session: Session, tuning: str, facts: Mapping[tuple[str, str], SetFacts], reference: str) -> ScanGains:
    """Return the solved gains of all calibrator scans, phases relative to the reference antenna."""
    tables, scans = Tables(session), SolvingScans(session, facts).of([FLUXCAL, PHASECAL], tuning)
    series = []
    axes: dict[str, Any] = {}
    for scan in scans:
        gains, axes = complex_gains(read_h5parm(Path(tables.solved(scan, tuning, "gain"))))
        series.append(gains[0, 0])
    gains = np.array(series)
    gains = gains * np.exp(-1j * np.angle(gains[:, axes["ant"].index(reference)]))[:, None]
    times_s = np.array([np.mean(facts[scan.name, tuning].times_s) for scan in scans])
    return ScanGains(tuple(scans), times_s, tuple(axes["ant"]), float(axes["freq"][0]), gains)


def make_gains(session: Session, options: Mapping[str, Any]) -> dict[str, Any]:
    """Write G1, fluxscale and the gains of every scan, and calibration.json; return its content.

    ``options``: backend, interpolation, requested reference_antenna, warnings of earlier steps, polarisation.

    Raises
    ------
    CalibrationError
        If the flux of the phase calibrator cannot be found.
    """
    facts, chosen = session_facts(session), json.loads(bandpass_summary_path(session).read_text())
    standard, reference, _ = flux_scale()
    calibrator = primary_calibrator(session.roles.fluxcal)
    requested = str(options["reference_antenna"])
    problems = [*session.problems, *options["warnings"], *reading_problems(session)]
    if chosen["reason"]:
        problems.append(
            f"reference antenna: {chosen['reference_antenna']} takes the place of {requested}: {chosen['reason']}"
        )
    tunings = {}
    for tuning in session.tunings:
        scan_gains = read_gains(session, tuning, facts, chosen["reference_antenna"])
        tunings[tuning], lines = _tuning_summary(session, tuning, facts, scan_gains, str(options["interpolation"]))
        problems += lines
    summary = {
        "backend": options["backend"],
        "reference_antenna": chosen["reference_antenna"],
        "reference_antenna_asked": requested,
        "flagged_antennas": dead_antennas(session),
        "flux_scale": {
            "source": session.roles.fluxcal,
            "standard": standard,
            "coefficients": list(calibrator.coefficients),
            "reference": reference,
        },
        **summary_of(session),
        "problems": problems,
        "tunings": tunings,
    }
    write_atomically(Path(session.outdir, "calibration.json"), json.dumps(summary, indent=1))
    return summary


def _tuning_summary(
    session: Session, tuning: str, facts: Mapping[tuple[str, str], SetFacts], solved: ScanGains, interpolation: str
) -> tuple[dict[str, Any], list[str]]:
    """Write the gains of a tuning; return its summary and problems."""
    tables = Tables(session)
    flux_folders, phase_folders = ([scan.name for scan in session.scans_of(kind)] for kind in (FLUXCAL, PHASECAL))
    flux_gains = _mean(solved.of(flux_folders))
    try:
        flux = bootstrap_flux(flag_scans(solved.of(phase_folders)), flux_gains)
    except ValueError as err:
        raise CalibrationError(f"Lo{tuning.upper()}: the flux of {session.roles.phasecal}: {err}") from err
    phase_rows = np.array([scan.name in phase_folders for scan in solved.scans])
    in_scale = flag_scans(solved.gains / np.where(phase_rows, math.sqrt(flux.flux_jy), 1.0)[:, None, None])
    first = facts[solved.scans[0].name, tuning]
    antennas = {name: dict(zip(first.antennas, first.positions_m, strict=True))[name] for name in solved.names}
    _write_gains(tables.table_path(tuning, "G1"), solved, solved.gains, antennas)
    _write_gains(
        tables.table_path(tuning, "fluxscale"),
        solved,
        np.where(phase_rows[:, None, None], in_scale, np.nan),
        antennas,
        phase_rows,
    )
    for scan in session.scans:
        if (scan.name, tuning) in facts:
            times_s = np.array(facts[scan.name, tuning].times_s)
            is_of_scan = np.array([one.name == scan.name for one in solved.scans])
            source = is_of_scan if is_of_scan.any() else phase_rows
            gains = interpolate_gains(solved.times_s[source], in_scale[source], times_s, interpolation)
            axes = {"time": times_s, "freq": [solved.frequency_hz], "ant": list(solved.names), "pol": ["XX", "YY"]}
            write_h5parm(Path(tables.applied(scan, tuning)), gain_tables(gains[:, None], axes), antennas)
    return _described(session, tuning, facts, flux, solved.names)


def _mean(gains: Complex) -> Complex:
    has_gain = np.isfinite(gains).any(axis=0)
    return np.where(has_gain, np.nanmean(np.where(has_gain, gains, 0), axis=0), np.nan)


def _write_gains(
    path: str, solved: ScanGains, gains: Complex, antennas: Mapping[str, Sequence[float]], rows: Any = slice(None)
) -> None:
    axes = {"time": solved.times_s[rows], "freq": [solved.frequency_hz], "ant": list(solved.names), "pol": ["XX", "YY"]}
    write_h5parm(Path(path), gain_tables(gains[rows][:, None], axes), antennas)


def _described(
    session: Session, tuning: str, facts: Mapping[tuple[str, str], SetFacts], flux: Any, names: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the summary and problems of a tuning."""
    tables, of_tuning = Tables(session), [one for (_, t), one in facts.items() if t == tuning]
    frequencies_hz, width_hz = np.array(of_tuning[0].frequencies_hz), of_tuning[0].width_hz
    centre_hz = float(frequencies_hz.mean())
    amplitude, weights = read_h5parm(Path(tables.table_path(tuning, "B0")))["amplitude000"].arranged(
        "ant", "pol", "freq"
    )
    amplitude = np.where(weights > 0, amplitude, np.nan)
    delays_s, clock_weights = read_h5parm(Path(tables.table_path(tuning, "K0")))["clock000"].arranged("ant", "pol")
    delays_s = np.where(clock_weights > 0, delays_s, np.nan)
    deviation = bandpass_deviation(amplitude)
    largest_s = float(np.nanmax(np.abs(delays_s)))
    place = f"Lo{tuning.upper()}"
    problems = []
    if largest_s * width_hz > MOST_DELAY_TURNS:
        problems.append(
            f"{place}: the largest delay is {largest_s * 1e9:.1f} ns; channels of {width_hz / 1e6:g} MHz "
            f"lose {lost_amplitude(largest_s, width_hz):.1%} of the amplitude; lower average_channels"
        )
    outliers = [name for name, pair in zip(names, deviation, strict=True) if (pair > CLEAR_STRUCTURE).any()]
    if outliers:
        problems.append(f"{place}: the bandpass deviates by more than 10 % at {list_names(outliers)}")
    described = {
        "centre_hz": centre_hz,
        "channels": len(frequencies_hz),
        "fluxcal_jy": float(primary_calibrator(session.roles.fluxcal).flux_jy(centre_hz)),
        "phasecal_jy": flux.flux_jy,
        "phasecal_error_jy": flux.error_jy,
        "phasecal_systematic_fraction": SYSTEMATIC_FRACTION,
        "phasecal_by_scan": [_number(value) for value in flux.by_scan_jy],
        "delays_ns": {n: [_number(v * 1e9) for v in pair] for n, pair in zip(names, delays_s, strict=True)},
        "largest_delay_ns": largest_s * 1e9,
        "bandpass_deviation": {
            n: [_number(v) for v in pair] for n, pair in zip(names, deviation, strict=True) if np.isfinite(pair).all()
        },
        "bandpass_period_mhz": {
            n: [_number(ripple_period_hz(band, width_hz) / 1e6) for band in bands]
            for n, bands in zip(names, amplitude, strict=True)
        },
        "bandpass_outliers": outliers,
        "solved_fraction": float(np.isfinite(amplitude).mean()),
        "flagged_fraction": float(np.mean([one.flagged for one in of_tuning])),
        "tables": {ending: tables.table_path(tuning, ending) for ending in ("G0", "K0", "B0", "G1", "fluxscale")},
    }
    return described, problems


def _number(value: float) -> float | None:
    """Return a number for JSON: None for NaN and infinity."""
    return round(float(value), 6) if math.isfinite(value) else None
