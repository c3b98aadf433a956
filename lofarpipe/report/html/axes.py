"""What stands around a sky image: right ascension and declination at its edges, and fluxes below its greys.

All that a page shows without its script, or on paper, is here; the script draws the ticks again when it zooms.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from lofarpipe.report.html.markup import Html, fill, joined

LINEAR_RMS = (-4.0, 16.0)  # from white to black, times the noise; page.js has the same


class Edge(NamedTuple):
    """What the ticks of an edge keep to."""

    steps: tuple[int, ...]  # that they may have
    most: float  # steps along the edge
    least_gap: float  # between two labels, part of the edge
    last: float  # place of a label; one further on would leave the figure


# Steps in seconds of time and in arcsec; labels of right ascension stand beside each other and need more room.
RA_EDGE = Edge((1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800, 21600), 4.5, 0.15, 0.92)
DEC_EDGE = Edge((1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000, 72000), 7, 0.08, 1.0)
SAMPLES = 100  # of an edge, along which coordinates change evenly enough
LAST_FLUX = 0.92  # one further on has its end at its tick, or it would leave the figure
MOST_FLUX_STEPS = 4.5  # of a linear scale
FLUX_GAP = 0.11  # between two fluxes, part of the bar

Picture = Mapping[str, Any]
Tick = tuple[float, str]  # place, part of the edge; label, "" for none


def sky_at(picture: Picture, x: float, y: float) -> tuple[float, float] | None:
    """Return right ascension and declination (deg) of an image pixel, counted from 1; None beyond the sphere.

    Source: Calabretta & Greisen 2002, section 5.1.5, the SIN projection.
    """
    (x_0, y_0), (x_step, y_step) = picture["reference_pixel"], picture["increment_deg"]
    east, north = math.radians((x - x_0) * x_step), math.radians((y - y_0) * y_step)
    ra_0, dec_0 = picture["reference_deg"][0], math.radians(picture["reference_deg"][1])
    n_squared = 1 - east * east - north * north
    if n_squared < 0:
        return None
    n = math.sqrt(n_squared)
    ra = ra_0 + math.degrees(math.atan2(east, n * math.cos(dec_0) - north * math.sin(dec_0)))
    return ra, math.degrees(math.asin(north * math.cos(dec_0) + n * math.sin(dec_0)))


def edge_ticks(picture: Picture) -> tuple[list[Tick], list[Tick]]:
    """Return the ticks along the lower edge, from the left, and along the left one, from the top.

    The edges are those of the square in which the picture is.
    """
    width, height, factor = (picture[key] for key in ("width", "height", "factor"))
    side = max(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    parts = [place / SAMPLES for place in range(SAMPLES + 1)]

    def at(column: float, row: float) -> tuple[float, float] | None:
        return sky_at(picture, column * factor + 0.5, (height - row) * factor + 0.5)

    below = [at(left + part * side, top + side) for part in parts]
    beside = [at(left, top + part * side) for part in parts]
    ra_s = unwrapped([None if place is None else place[0] * 240 for place in below])
    dec_arcsec = [None if place is None else place[1] * 3600 for place in beside]
    across = _labelled(ra_s, RA_EDGE, lambda value, step: sexagesimal(value % 86400, step, "hms"))
    return across, _labelled(dec_arcsec, DEC_EDGE, declination)


def unwrapped(ra_s: Sequence[float | None]) -> list[float | None]:
    """Return right ascensions (seconds of time) without the jump at 24 h."""
    found: list[float | None] = []
    last: float | None = None
    for value in ra_s:
        if value is not None:
            last = value if last is None else last + (value - last + 43200) % 86400 - 43200
        found.append(None if value is None else last)
    return found


def _labelled(values: Sequence[float | None], edge: Edge, label: Callable[[int, int], str]) -> list[Tick]:
    """Return where round values are, and labels that are not too close to each other."""
    known = [value for value in values if value is not None]
    span = max(known, default=0.0) - min(known, default=0.0)
    step = next((step for step in edge.steps if span / step <= edge.most), edge.steps[-1])
    ticks: list[Tick] = []
    last = -1.0
    for place, value in crossings(values, step):
        is_apart = place - last >= edge.least_gap and place <= edge.last
        last = place if is_apart else last
        ticks.append((place, label(value, step) if is_apart else ""))
    return ticks


def crossings(values: Sequence[float | None], step: int) -> list[tuple[float, int]]:
    """Return where values, evenly spaced along an edge, go through multiples of a step: place and multiple."""
    found = []
    for place, (before, after) in enumerate(itertools.pairwise(values)):
        if before is None or after is None or before == after:
            continue
        low, high = sorted((before, after))
        here = [
            ((place + (count * step - before) / (after - before)) / (len(values) - 1), count * step)
            for count in range(math.ceil(low / step), math.floor(high / step) + 1)
            if count * step != after  # the next pair has it
        ]
        found += sorted(here)
    return found


def sexagesimal(value: int, step: int, marks: str) -> str:
    """Return a number of seconds as units, minutes and seconds, as far as multiples of a step need them."""
    units, minutes, seconds = value // 3600, value // 60 % 60, value % 60
    texts = [f"{units:02d}{marks[0]}", f"{minutes:02d}{marks[1]}", f"{seconds:02d}{marks[2]}"]
    return "".join(texts[: 1 if step % 3600 == 0 else 2 if step % 60 == 0 else 3])


def declination(value_arcsec: int, step: int) -> str:
    """Return a declination with its sign."""
    return ("−" if value_arcsec < 0 else "+") + sexagesimal(abs(value_arcsec), step, "°′″")


def framed(kind: str, picture: Picture, window: Html) -> Html:
    """Return a picture with coordinates at its edges, if they are known, and its scales; ``kind`` is its name."""
    across, down = edge_ticks(picture) if picture["is_sin"] else ([], [])
    unit, factor = unit_of(picture)
    return fill(
        '<div class="frame">\n  <svg class="dec" role="img" aria-label="declination, J2000">{}</svg>\n{}'
        '  <svg class="ra" role="img" aria-label="right ascension, J2000">{}</svg>\n  <span class="unit">{}</span>\n'
        "{}</div>\n",
        *(joined(map(_beside, down)), window, joined(map(_below, across)), unit),
        joined(_bar(kind, *scale, factor) for scale in scales(picture)),
    )


def _beside(tick: Tick) -> Html:
    at = f"{100 * tick[0]:.2f}%"
    line = fill('<line x1="65" x2="70" y1="{}" y2="{}"/>', at, at)
    return fill('{}<text x="62" y="{}" dy="4">{}</text>', line, at, tick[1]) if tick[1] else line


def _below(tick: Tick) -> Html:
    at = f"{100 * tick[0]:.2f}%"
    line = fill('<line x1="{}" x2="{}" y1="0" y2="5"/>', at, at)
    return fill('{}<text x="{}" y="16">{}</text>', line, at, tick[1]) if tick[1] else line


def unit_of(picture: Picture) -> tuple[str, float]:
    """Return the unit of fluxes below the greys, fit for what is faint, and how many of it are one of the image's."""
    if picture["unit"].upper() != "JY/BEAM":
        return picture["unit"], 1.0
    brightest_jy = LINEAR_RMS[1] * picture["noise_jy"]
    units = ((1.0, ""), (1e3, "m"))
    factor, prefix = next(((many, name) for many, name in units if brightest_jy * many >= 1), (1e6, "μ"))
    return f"{prefix}Jy/beam", factor


def scales(picture: Picture) -> list[tuple[str, float, float, float | None]]:
    """Return the scales: name, flux that is white, flux that is black, softening (None: linear); all as the image.

    ``picture`` is what the bare picture shows, ``asinh`` and ``linear`` what the script makes of it.
    """
    softening, noise = picture["softening_jy"], picture["noise_jy"]
    low, high = (softening * math.sinh(picture[key]) for key in ("lowest", "highest"))
    return [
        ("picture", low, high, softening),
        ("asinh", LINEAR_RMS[0] * noise, high, softening),
        ("linear", LINEAR_RMS[0] * noise, LINEAR_RMS[1] * noise, None),
    ]


def flux_ticks(low: float, high: float, softening: float | None) -> list[tuple[float, float]]:
    """Return round fluxes and their places along a scale, from white to black; ``softening``: as `scales`."""

    def stretch(flux: float) -> float:
        return flux if softening is None else math.asinh(flux / softening)

    def place(flux: float) -> float:
        return (stretch(flux) - stretch(low)) / (stretch(high) - stretch(low))

    found: list[tuple[float, float]] = []
    for flux in _round_fluxes(low, high, softening):
        at = place(flux)
        if 0 <= at <= 1 and all(abs(at - other) >= FLUX_GAP for _, other in found):
            found.append((flux, at))
    return sorted(found)


def _round_fluxes(low: float, high: float, softening: float | None) -> list[float]:
    """Return fluxes that may stand at a scale, the most wanted ones first."""
    if softening is None:
        size = 10.0 ** math.floor(math.log10((high - low) / MOST_FLUX_STEPS))
        step = next(size * number for number in (1, 2, 5, 10) if (high - low) / (size * number) <= MOST_FLUX_STEPS + 1)
        return [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    top, bottom = (math.floor(math.log10(flux)) for flux in (max(abs(low), high), softening))
    sizes = [10.0**power for power in range(top, min(top, bottom) - 1, -1)]
    return [0.0, *(sign * number * size for number in (1, 5, 2) for size in sizes for sign in (1, -1))]


def _bar(kind: str, name: str, low: float, high: float, softening: float | None, factor: float) -> Html:
    """Return a scale from white to black with its fluxes; the script shows another one than that of the picture."""
    soft = None if softening is None else softening * factor
    ticks = flux_ticks(low * factor, high * factor, soft)
    greys = f"greys-{kind}-{name}"
    return fill(
        '  <svg class="scale" data-scale="{}"{} role="img" aria-label="greys of fluxes">'
        '<linearGradient id="{}"><stop offset="0" stop-color="#fff"/><stop offset="1" stop-color="#000"/>'
        '</linearGradient><rect width="100%" height="10" fill="url(#{})"/>{}</svg>\n',
        *(name, Html("" if name == "picture" else " hidden"), greys, greys, joined(map(_flux, ticks))),
    )


def _flux(tick: tuple[float, float]) -> Html:
    at = f"{100 * tick[1]:.2f}%"
    anchor = Html(' class="last"' if tick[1] > LAST_FLUX else "")
    text = f"{tick[0]:.12g}".replace("-", "−")
    return fill('<line x1="{}" x2="{}" y1="10" y2="14"/><text x="{}" y="25"{}>{}</text>', at, at, at, anchor, text)
