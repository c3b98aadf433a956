"""Plots of a session's solution tables: bandpass, delays, gains against time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import casacore.tables
import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lofarpipe.imaging.ata.calibrators import AVERAGED, Tables, present_sets, session_facts
from lofarpipe.imaging.ata.session import FLUXCAL, PHASECAL, Session
from lofarpipe.imaging.calibration.closure import closure_phases_deg
from lofarpipe.imaging.calibration.h5parm import SolutionTable, read_h5parm
from lofarpipe.imaging.quality.figures import STYLE, save_figure

COLUMNS, PANEL_INCHES, DPI = 4, (3.2, 1.9), 90
POLARISATIONS = ("X", "Y")
BARS = {"G0": "phases", "K0": "delays"}


def plot_solutions(session: Session) -> list[Path]:
    """Write the plots of all tables; return their paths."""
    tables, plots = Tables(session), []
    for tuning in session.tunings:
        band = read_h5parm(Path(tables.table_path(tuning, "B0")))
        gains = read_h5parm(Path(tables.table_path(tuning, "G1")))
        clock = read_h5parm(Path(tables.table_path(tuning, "K0")))["clock000"]
        phases = read_h5parm(Path(tables.table_path(tuning, "G0")))["phase000"]
        for name, tables_by_kind, axis in (("B0", band, "freq"), ("G1", gains, "time")):
            for kind, table in tables_by_kind.items():
                figure = draw_antennas(table, axis, f"Lo{tuning.upper()} {name}: {kind[:-3]}")
                plots.append(_save(figure, session, f"{name}_{kind[:-3]}_{tuning}"))
        for name, table, unit in (("G0", phases, "deg"), ("K0", clock, "ns")):
            figure = draw_bars(table, f"Lo{tuning.upper()} {name}: {BARS[name]}", unit)
            plots.append(_save(figure, session, f"{name}_{BARS[name]}_{tuning}"))
    plots.append(_save(draw_flags(session), session, "flags"))
    plots.append(_save(draw_closures(session), session, "closure"))
    return plots


def _save(figure: Figure, session: Session, name: str) -> Path:
    path = Path(session.outdir, "plots", re.sub(r"[^A-Za-z0-9_]", "_", name) + ".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path, DPI)
    return path


def _figure(panels: int, columns: int = COLUMNS, sharex: bool = True) -> tuple[Figure, list[Any]]:
    columns = min(columns, panels)
    rows = -(-panels // columns)
    figure = Figure(figsize=(PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows + 0.6))
    FigureCanvasAgg(figure)
    return figure, list(np.atleast_1d(figure.subplots(rows, columns, sharex=sharex, squeeze=False)).ravel())


def draw_antennas(table: SolutionTable, axis: str, title: str) -> Figure:
    """Plot solutions against ``freq`` (MHz) or ``time`` (minutes), a panel per antenna."""
    values, weights = table.arranged("ant", "pol", axis)
    along = np.asarray(table.axes[axis], float)
    along = along / 1e6 if axis == "freq" else (along - along.min()) / 60
    values = np.where(weights > 0, np.degrees(values) if table.kind == "phase" else values, np.nan)
    with mpl.rc_context(STYLE):
        figure, panels = _figure(len(values))
        for panel, name, pair in zip(panels, table.axes["ant"], values, strict=False):
            for pol, series in zip(POLARISATIONS, pair, strict=True):
                panel.plot(along, series, ".-", markersize=3, linewidth=0.7, label=pol)
            panel.set_title(name, fontsize=8)
        for panel in panels[len(values) :]:
            panel.set_visible(False)
        panels[0].legend(fontsize=7)
        unit = "deg" if table.kind == "phase" else "gain"
        figure.suptitle(f"{title} ({unit}) against {'MHz' if axis == 'freq' else 'minutes'}", fontsize=10)
    return figure


def draw_bars(table: SolutionTable, title: str, unit: str) -> Figure:
    """Plot delays, ns, or phases, deg, as bars: a pair per antenna."""
    values, weights = table.arranged("ant", "pol")
    factor = 1e9 if unit == "ns" else np.degrees(1)
    with mpl.rc_context(STYLE):
        figure, (panel,) = _figure(1)
        figure.set_size_inches(8, 3.2)
        places = np.arange(len(values))
        for pol, label in enumerate(POLARISATIONS):
            bars = np.where(weights[:, pol] > 0, values[:, pol] * factor, 0)
            panel.bar(places + 0.4 * (pol - 0.5), bars, 0.4, label=label)
        panel.set_xticks(places, table.axes["ant"], fontsize=8)
        panel.set(ylabel=unit)
        panel.legend(fontsize=7)
        figure.suptitle(title, fontsize=10)
    return figure


def draw_flags(session: Session) -> Figure:
    """Plot the flagged fractions per antenna and per channel, mean of all scans; a line per tuning."""
    facts = session_facts(session)
    with mpl.rc_context(STYLE):
        figure, panels = _figure(2, columns=2, sharex=False)
        figure.set_size_inches(10, 3.4)
        for tuning in session.tunings:
            tuning_facts = [one for (_, t), one in facts.items() if t == tuning]
            if tuning_facts:
                _flag_line(panels, tuning, tuning_facts)
        panels[0].set(ylabel="flagged, %")
        panels[0].tick_params(axis="x", labelsize=6, rotation=60)
        panels[1].set(xlabel="MHz")
        panels[0].legend(fontsize=7)
        figure.suptitle("Flags per antenna and per channel", fontsize=10)
    return figure


def _flag_line(panels: Sequence[Any], tuning: str, facts: Sequence[Any]) -> None:
    names = list(facts[0].antennas)
    by_antenna = [dict(zip(one.antennas, one.flagged_by_antenna, strict=True)) for one in facts]
    share = [100 * float(np.mean([flags.get(name, 1.0) for flags in by_antenna])) for name in names]
    panels[0].plot(names, share, "o-", markersize=3, label=f"Lo{tuning.upper()}")
    same = [one for one in facts if len(one.frequencies_hz) == len(facts[0].frequencies_hz)]
    channels = 100 * np.mean([one.flagged_by_channel for one in same], axis=0)
    panels[1].plot(np.array(facts[0].frequencies_hz) / 1e6, channels, label=f"Lo{tuning.upper()}")


def draw_closures(session: Session) -> Figure:
    """Plot the closure phases of all antenna triangles for each calibrator scan, with their rms.

    They should be near 0: antenna gains cancel, which leaves noise, source structure, and baseline errors.
    """
    with mpl.rc_context(STYLE):
        figure, panels = _figure(len(session.tunings), columns=2, sharex=False)
        figure.set_size_inches(5 * min(2, len(session.tunings)), 3.4 * -(-len(session.tunings) // 2))
        for panel, tuning in zip(panels, session.tunings, strict=False):
            kinds = (FLUXCAL, PHASECAL)
            scans = [scan for scan, t in present_sets(session) if t == tuning and session.kind(scan) in kinds]
            closures = [scan_closures_deg(session.set_path(scan, tuning, AVERAGED)) for scan in scans]
            for place, phases in enumerate(closures):
                finite = phases[np.isfinite(phases)]
                panel.plot(
                    place + np.linspace(-0.3, 0.3, len(finite)), finite, ".", markersize=2, color=f"C{place % 10}"
                )
            rms = f"{np.sqrt(np.nanmean(np.concatenate(closures) ** 2)):.1f} deg rms" if closures else "no data"
            panel.set(title=f"Lo{tuning.upper()}: {rms}", ylabel="closure phase, deg")
            panel.set_xticks(range(len(scans)), [scan.field for scan in scans], fontsize=6, rotation=20)
    return figure


def scan_closures_deg(ms: str) -> Any:
    """Return the closure phases of a scan in XX and YY, degrees, (triangle, pol)."""
    with closing(casacore.tables.table(ms, ack=False)) as table:
        first, second = table.getcol("ANTENNA1"), table.getcol("ANTENNA2")
        values = np.where(table.getcol("FLAG"), np.nan, table.getcol("DATA"))[:, :, [0, -1]]
    cross, antennas = first != second, int(second.max()) + 1
    return closure_phases_deg(values[cross], first[cross], second[cross], antennas)
