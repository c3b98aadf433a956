"""The observation report of a session: one page on fields, scans, tracks, uv coverage, flags and problems."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import casacore.tables
import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lofarpipe.imaging.ata.averaged import SetFacts
from lofarpipe.imaging.ata.calibrators import AVERAGED, present_sets, session_facts
from lofarpipe.imaging.ata.images import LIGHT_M_S
from lofarpipe.imaging.ata.maps import field_names
from lofarpipe.imaging.ata.session import FLUXCAL, LOWEST_DEG, PHASECAL, TARGET, Scan, Session, altitude_azimuth_deg
from lofarpipe.imaging.quality.figures import STYLE, save_figure
from lofarpipe.imaging.quality.sky_image import SkyImageError, read_sky_image
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import write_atomically

DPI, TRACK_POINTS, MOST_UV_ROWS = 90, 9, 4000
LONGEST_RATIO = 3.0  # of the axes of a beam, above which a warning is given. Source: doc/spec/calibration.md, section 4
KINDS = (FLUXCAL, PHASECAL, TARGET)


def observation_of(session: Session) -> dict[str, Any]:
    """Return the content of observation.json: numbers of every field, and warnings."""
    facts, fields, warnings = session_facts(session), {}, []
    for name in field_names(session, KINDS):
        scans = [scan for scan in session.scans if scan.field == name and scan.start_jd]
        scan_facts = [one for (folder, _), one in facts.items() if folder in {scan.name for scan in scans}]
        fields[name] = _field_numbers(scans, scan_facts)
        if fields[name]["elevation_deg"][0] < LOWEST_DEG:
            warnings.append(f"{name}: its elevation goes down to {fields[name]['elevation_deg'][0]:.1f} deg")
    warnings += beam_warnings(session)
    return {"session": session.name, "fields": fields, "warnings": warnings}


def _field_numbers(scans: Sequence[Scan], facts: Sequence[SetFacts]) -> dict[str, Any]:
    elevations, azimuths = [], []
    for scan in scans:
        angles = altitude_azimuth_deg(
            scan.direction_rad, np.linspace(scan.start_jd, scan.end_jd, TRACK_POINTS).tolist()
        )
        elevations += angles[0]
        azimuths += angles[1]
    lengths = [length for one in facts if one.is_usable for length in one.uv_m]
    highest_hz = max((hz for one in facts for hz in one.frequencies_hz), default=math.nan)
    shortest, longest = (min(lengths), max(lengths)) if lengths else (math.nan, math.nan)
    return {
        "scans": len(scans),
        "minutes": round(sum((scan.end_jd - scan.start_jd) * 1440 + scan.integration_s / 60 for scan in scans), 2),
        "elevation_deg": [round(min(elevations), 3), round(max(elevations), 3)] if elevations else [0, 0],
        "azimuth_deg": [round(azimuths[0], 3), round(azimuths[-1], 3)] if azimuths else [0, 0],
        "uv_m": [_number(shortest), _number(longest)],
        "resolution_arcsec": _number(math.degrees(LIGHT_M_S / highest_hz / longest) * 3600),
        "largest_scale_arcmin": _number(math.degrees(LIGHT_M_S / highest_hz / shortest) * 60),
        "flagged_fraction": round(float(np.mean([one.flagged for one in facts])), 5) if facts else 1.0,
    }


def _number(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None


def beam_warnings(session: Session) -> list[str]:
    """Return warnings of images with strongly elongated beams."""
    lines = []
    for path in sorted(Path(session.outdir, "IMAGES").glob("*/*_dirty-*.fits")):
        try:
            image = read_sky_image(path)
            major, minor = image.beam_major_arcsec, image.beam_minor_arcsec
        except SkyImageError:  # a PSF without a beam
            continue
        if path.name.endswith(ENDING) and major > LONGEST_RATIO * minor:
            lines.append(
                f"{path.parent.name}: the beam is {major:.0f} x {minor:.0f} arcsec; observe at other hour angles"
            )
    return lines


ENDING = "image.fits"


def draw_tracks(session: Session) -> Figure:
    """Plot the fields, their elevations and azimuths against time."""
    start_jd = min(scan.start_jd for scan in session.scans if scan.start_jd)
    names = field_names(session, KINDS)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 7))
        FigureCanvasAgg(figure)
        timeline, elevation, azimuth = figure.subplots(3, 1, sharex=True)
        for scan in (scan for scan in session.scans if scan.start_jd):
            times = np.linspace(scan.start_jd, scan.end_jd, TRACK_POINTS)
            angles = altitude_azimuth_deg(scan.direction_rad, times.tolist())
            minutes, colour = (times - start_jd) * 1440, f"C{names.index(scan.field)}"
            timeline.plot(minutes[[0, -1]], [names.index(scan.field)] * 2, color=colour, linewidth=6)
            elevation.plot(minutes, angles[0], color=colour)
            azimuth.plot(minutes, angles[1], color=colour)
        timeline.set_yticks(range(len(names)), names)
        elevation.set(ylabel="elevation, deg")
        azimuth.set(ylabel="azimuth, deg", xlabel="minutes")
    return figure


def draw_uv(session: Session) -> Figure:
    """Plot the uv coverage of every field, kilo-wavelengths, from unflagged cross-correlations."""
    names = field_names(session, KINDS)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * len(names), 3.8))
        FigureCanvasAgg(figure)
        panels = np.atleast_1d(figure.subplots(1, len(names)))
        for panel, name in zip(panels, names, strict=True):
            points = [_uv_points(session.set_path(s, t, AVERAGED)) for s, t in present_sets(session) if s.field == name]
            u, v = np.concatenate([*points, np.zeros((2, 0))], axis=1)
            panel.plot(np.r_[u, -u], np.r_[v, -v], ",", color="C0")
            panel.set(title=name, xlabel="u, klambda", aspect="equal")
    return figure


def _uv_points(ms: str) -> Any:
    with closing(casacore.tables.table(ms, ack=False)) as table:
        uvw_m, flags = table.getcol("UVW"), table.getcol("FLAG")
        cross = table.getcol("ANTENNA1") != table.getcol("ANTENNA2")
    with closing(casacore.tables.table(f"{ms}::SPECTRAL_WINDOW", ack=False)) as windows:
        hz = float(np.mean(windows.getcell("CHAN_FREQ", 0)))
    rows = np.flatnonzero(cross & ~flags.all(axis=(1, 2)))
    rows = rows[:: max(1, len(rows) // MOST_UV_ROWS)]
    return uvw_m[rows, :2].T * hz / LIGHT_M_S / 1e3


@dataclass(frozen=True)
class Page:
    """The content of a page on an observation.

    Attributes
    ----------
    problems: sentences.
    tables: title, column headings and rows of texts.
    pictures: title and file.
    """

    title: str
    problems: tuple[str, ...]
    tables: tuple[tuple[str, Sequence[str], Sequence[Sequence[str]]], ...]
    pictures: tuple[tuple[str, str], ...]


def write_report(session: Session, run_file: Path) -> Path:
    """Write observation.json, its plots, and report.html of a session; return the path of report.html.

    ``run_file`` gets the content of the page, for the report of the run.
    """
    observation = observation_of(session)
    root = Path(session.outdir)
    write_atomically(root / "observation.json", json.dumps(observation, indent=1))
    (root / "plots").mkdir(exist_ok=True)
    for name, draw in (("tracks", draw_tracks), ("uv_coverage", draw_uv)):
        save_figure(draw(session), root / "plots" / f"{name}.png", DPI)
    calibration = root / "calibration.json"
    summary = json.loads(calibration.read_text()) if calibration.is_file() else {}
    page = page_content(observation, summary, sorted((root / "plots").glob("*.png")))
    write_atomically(root / "report.html", observation_page(page))
    write_atomically(run_file, json.dumps(asdict(page), indent=1))
    return root / "report.html"


CALIBRATION_ROWS = (
    *("fluxcal_jy", "phasecal_jy", "phasecal_error_jy"),
    *("largest_delay_ns", "solved_fraction", "flagged_fraction"),
)
TITLES = {
    "tracks": "Fields, elevations and azimuths",
    "uv_coverage": "uv coverage",
    "flags": "Flags",
    "closure": "Closure phases",
}


def page_content(observation: Mapping[str, Any], summary: Mapping[str, Any], plots: Sequence[Path]) -> Page:
    """Return the page of an observation and its calibration; ``summary`` is {} without calibration."""
    keys: list[str] = list(next(iter(observation["fields"].values()), {}))
    rows = [[name, *map(_cell, numbers.values())] for name, numbers in observation["fields"].items()]
    tables = [("Fields", ["field", *map(_words, keys)], rows)]
    if tunings := summary.get("tunings", {}):
        rows = [
            [f"Lo{name.upper()}", *(_cell(entry.get(key)) for key in CALIBRATION_ROWS)]
            for name, entry in tunings.items()
        ]
        title = f"Calibration by {summary['backend']}, reference antenna {summary['reference_antenna']}"
        tables.append((title, ["tuning", *map(_words, CALIBRATION_ROWS)], rows))
        tables.append(("Bandpass structure beyond 10 %", BANDPASS_HEAD, _bandpass_rows(tunings)))
        rows = [[entry["folder"], entry["reason"]] for entry in summary["scans_left_out"]]
        tables.append(("Scans left out", ["scan", "reason"], rows))
    by_name = {path.stem: path for path in plots}
    names = [*(name for name in TITLES if name in by_name), *(name for name in by_name if name not in TITLES)]
    pictures = tuple((TITLES.get(name, name.replace("_", " ")), str(by_name[name])) for name in names)
    problems = (*observation["warnings"], *summary.get("problems", []))
    return Page(f"ATA session {observation['session']}", problems, tuple(tables), pictures)


BANDPASS_HEAD = ["tuning", "antenna", "X, %", "Y, %", "period of X, MHz", "period of Y, MHz"]


def _bandpass_rows(tunings: Mapping[str, Any]) -> list[list[str]]:
    """Return a row per antenna and tuning with structure in the bandpass."""
    rows = []
    for tuning, entry in tunings.items():
        for name in entry["bandpass_outliers"]:
            shares = [_cell(100 * value) for value in entry["bandpass_deviation"][name]]
            periods = map(_cell, entry["bandpass_period_mhz"][name])
            rows.append([f"Lo{tuning.upper()}", name, *shares, *periods])
    return rows


HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font-family: sans-serif; max-width: 72em; margin: 2em auto; }} img {{ max-width: 100%; }}
table {{ border-collapse: collapse; }} td, th {{ border-bottom: 1px solid #ccc; padding: 0.2em 0.8em }}
</style></head><body><h1>{title}</h1>
"""


def observation_page(page: Page) -> str:
    """Return the HTML of a session's page; its pictures are beside it."""
    parts = [HEAD.format(title=html.escape(page.title)), "<h2>Problems</h2>", _list(page.problems)]
    for title, head, rows in page.tables:
        parts += [f"<h2>{html.escape(title)}</h2>", _table(head, rows) if rows else "<p>None.</p>"]
    parts.append("<h2>Pictures</h2>")
    for title, path in page.pictures:
        parts.append(f'<h3>{html.escape(title)}</h3><img src="plots/{html.escape(Path(path).name)}" alt="">')
    return "\n".join(parts) + "\n</body></html>\n"


def _words(key: str) -> str:
    """Return a key and its unit as a table heading."""
    name, _, unit = key.rpartition("_")
    return f"{name.replace('_', ' ')}, {unit.replace('jy', 'Jy')}" if unit in UNITS else key.replace("_", " ")


UNITS = ("deg", "m", "arcsec", "arcmin", "jy", "ns")


def _cell(value: object) -> str:
    if isinstance(value, list):
        return " to ".join(map(_cell, value)) if None not in value else ""
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>" if lines else "<p>None.</p>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"
