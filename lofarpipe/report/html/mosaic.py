"""Cubes on the page, such as those of array-feed beams: thumbnails, noise, beams, single planes.

They are in files ``*.cubes.json`` of the job directory, one for each beam, or robust value, whose cubes were made.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lofarpipe.state.run_state import FAILED, JobState, RunState
from lofarpipe.support.patterns import lazy_pattern
from lofarpipe.support.utilities import flux_text

CHART = (560, 200)  # width and height
HIGHEST_OF_MEDIAN, HEADROOM = 4.0, 1.1
COLOURS, OTHER_COLOUR = {"I": "#1b3a6b", "Q": "#c8102e", "U": "#2e8b57", "V": "#b8860b"}, "#8a94a6"
COLOURS |= {"major": COLOURS["I"], "minor": COLOURS["Q"]}
_BEAM = lazy_pattern(r"beam(\d\d)(?!\d)")
_BASE64 = lazy_pattern(r"[A-Za-z0-9+/]+={0,2}")


def mosaic(entries: Iterable[Mapping[str, Any]], state: RunState) -> dict[str, Any]:
    """Return the section: ``beams``, a ``chart`` of the noise by frequency, ``failed`` jobs; {} for none.

    Beams with an invalid file are left out.
    """
    beams = [beam for entry in entries if (beam := _beam(entry))]
    if not beams:
        return {}
    jobs = (job for step in state.steps.values() for job in step.jobs.values())
    failed = [_failure(job) for job in jobs if job.state == FAILED]
    return {
        "beams": beams,
        "chart": _chart([cell for beam in beams for cell in beam["cells"]], lambda rms_jy: f"{flux_text(rms_jy)}/beam"),
        "axes": _chart([axis for beam in beams for axis in beam["axes"]], lambda width: f"{width:.3g} arcsec"),
        "failed": failed,
    }


def _failure(job: JobState) -> str:
    """Return the facts of a failed job: beam, if in its file names, name, files, problem."""
    beam = f"beam {match[1]}: " if (match := _BEAM.search(job.label)) else ""
    files = f" ({job.label})" if job.label else ""
    problem = f": {job.problem.partition(chr(10))[0]}" if job.problem else ""
    return f"{beam}{job.name}{files}{problem}"


def _chart(cells: Sequence[Mapping[str, Any]], text: Callable[[float], str]) -> dict[str, Any]:
    """Return lines against frequency in a box of `CHART`, and the texts at its axes; {} without a point."""
    points = [point for cell in cells for point in cell["points"]]
    if not points:
        return {}
    lowest_hz, highest_hz = (limit(frequency_hz for frequency_hz, _ in points) for limit in (min, max))
    rms_jy = sorted(rms_jy for _, rms_jy in points)
    # One very noisy channel must not hide the differences of the others.
    top_jy = min(rms_jy[-1], HIGHEST_OF_MEDIAN * statistics.median(rms_jy)) * HEADROOM
    width, height = CHART

    def place(point: tuple[float, float]) -> str:
        part = (point[0] - lowest_hz) / (highest_hz - lowest_hz) if highest_hz > lowest_hz else 0.5
        return f"{part * width:.1f},{height * (1 - min(point[1] / top_jy, 1.0)):.1f}"

    lines = [(cell["stokes"], " ".join(map(place, cell["points"]))) for cell in cells if cell["points"]]
    return {
        "size": CHART,
        "lines": [(stokes, COLOURS.get(stokes, OTHER_COLOUR), line) for stokes, line in lines],
        "legend": [(stokes, COLOURS.get(stokes, OTHER_COLOUR)) for stokes in dict.fromkeys(one for one, _ in lines)],
        "frequencies": [f"{frequency_hz / 1e6:.6g} MHz" for frequency_hz in (lowest_hz, highest_hz)],
        "top": text(top_jy),
    }


def _beam(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return name, common beam and cubes of one beam; {} for an invalid entry."""
    try:
        axes = entry["beam"]
        size = f"{axes['major_arcsec']:.1f} × {axes['minor_arcsec']:.1f} arcsec, {axes['angle_deg']:.4g}°"
        return {
            "name": str(entry["name"]),
            "size": size,
            "cells": [_cell(cube) for cube in entry["cubes"]],
            "axes": [_axis(axis) for axis in entry.get("axes", ())],
            "blank": [str(text) for text in entry.get("blank", ())],
            "slices": _slices(entry["slices"]) if "slices" in entry else {},
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _cell(cube: Mapping[str, Any]) -> dict[str, Any]:
    """Return polarisation, picture, noise and number of channels of a cube."""
    pairs = zip(cube["frequencies_hz"], cube["rms_jy"], strict=True)
    points = [(float(frequency_hz), float(rms_jy)) for frequency_hz, rms_jy in pairs if rms_jy is not None]
    picture = str(cube["thumbnail"])
    rms = f"rms {flux_text(statistics.median(rms_jy for _, rms_jy in points))}/beam" if points else "blank"
    return {
        "stokes": str(cube["stokes"]),
        "picture": f"data:image/png;base64,{picture}" if _BASE64.fullmatch(picture) else "",
        "rms": rms,
        "channels": f"{len(points)} of {len(cube['rms_jy'])} channels",
        "points": points,
    }


def _axis(axis: Mapping[str, Any]) -> dict[str, Any]:
    """Return the widths of beams by frequency; ``stokes`` is their name in the legend."""
    pairs = zip(axis["frequencies_hz"], axis["arcsec"], strict=True)
    points = [(float(frequency_hz), float(width)) for frequency_hz, width in pairs if width is not None]
    return {"stokes": str(axis["name"]), "points": points}


def _slices(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pictures of single planes: ``labels`` of the channels, and for each name a list as long."""
    labels = [str(label) for label in entry["labels"]]
    pictures = {str(name): [str(text) for text in texts] for name, texts in entry["pictures"].items()}
    if any(len(texts) != len(labels) for texts in pictures.values()):
        raise ValueError("as many pictures as labels are needed")
    if any(text and not _BASE64.fullmatch(text) for texts in pictures.values() for text in texts):
        raise ValueError("a picture is no base64")
    return {"labels": labels, "pictures": pictures}
