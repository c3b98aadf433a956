"""What a page has of images: previews, quality, comparison with a reference, beam and uv coverage, plan."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lofarpipe.report.html.axes import framed
from lofarpipe.report.html.markup import NONE, Html, each, figure, fill, items, joined, shown, table

# A script of a page ends at its first closing tag, whatever it is part of.
_IN_SCRIPTS = {ord(character): f"\\u{ord(character):04x}" for character in "<>&'"}
SKIES = (("flat", "flat noise"), ("corrected", "corrected for the primary beam"))


def science_sections(facts: Mapping[str, Any]) -> Html:
    """Return the sections of the image that there is something for; ``facts`` as `html_page.facts` has them."""
    figures = facts["figures"]
    return joined(
        [
            _skies(facts["pictures"]) if facts["pictures"] else NONE,
            _quality(facts["quality"], figures) if facts["quality"] else NONE,
            _comparison(facts["comparison"], figures) if facts["comparison"] else NONE,
            _beam(figures) if figures.get("beam") or figures.get("uv") else NONE,
            _plan(facts["plan"], figures, bool(facts["comparison"])) if facts["plan"] else NONE,
        ]
    )


def _skies(pictures: Mapping[str, Mapping[str, Any]]) -> Html:
    is_averaged = any(picture["factor"] > 1 for picture in pictures.values())
    numbers = joined(
        fill(
            '<script type="application/json" class="sky-numbers" data-sky="{}">{}</script>\n',
            *(kind, _in_script({**picture, "picture": ""})),
        )
        for kind, picture in pictures.items()
    )
    return fill(
        '<section id="image">\n<h2>Image</h2>\n<form class="controls" id="sky-controls" autocomplete="off">\n'
        "  <fieldset><legend>scale</legend>\n"
        '    <label><input type="radio" name="scale" value="asinh" checked>asinh</label>\n'
        '    <label><input type="radio" name="scale" value="linear">linear, −4 to 16 rms</label>\n'
        "  </fieldset>\n  <fieldset><legend>zoom</legend>\n"
        '    <button type="button" id="zoom-in" aria-label="zoom in">+</button>\n'
        '    <button type="button" id="zoom-out" aria-label="zoom out">−</button>\n'
        '    <button type="button" id="zoom-fit">whole image</button>\n'
        '  </fieldset>\n</form>\n<div class="skies">\n{}</div>\n'
        '<p class="hint">Point at the image for coordinates and flux{}; drag to move; + and −, two fingers, or Ctrl and'
        " the wheel to zoom. Both images move together. Red: the restoring beam.</p>\n"
        '<noscript><p class="hint">Coordinates, scales and zoom need JavaScript; the picture above has the asinh'
        " scale.</p></noscript>\n{}</section>\n",
        joined(_sky(kind, title, pictures[kind]) for kind, title in SKIES if pictures.get(kind)),
        " (of the averaged picture)" if is_averaged else "",
        numbers,
    )


def _sky(kind: str, title: str, picture: Mapping[str, Any]) -> Html:
    factor = picture["factor"]
    what = fill("{}: {}", title, shown(picture["name"]))
    window = fill(
        '  <div class="window" tabindex="0" role="img" aria-label="{}">\n'
        '    <img class="picture" src="{}" width="{}" height="{}" alt="">\n  </div>\n',
        *(what, *(picture[key] for key in ("picture", "width", "height"))),
    )
    return fill(
        '<figure class="sky" data-sky="{}">\n  <figcaption>{}</figcaption>\n{}'
        '  <output class="readout">{} × {} pixels{}</output>\n</figure>\n',
        *(kind, what, framed(kind, picture, window), picture["image_width"], picture["image_height"]),
        f", {factor} × {factor} of them averaged" if factor > 1 else "",
    )


def _in_script(numbers: Mapping[str, Any]) -> Html:
    """Return an object for the page's script, as JSON that cannot end it."""
    return Html(json.dumps(numbers, sort_keys=True).translate(_IN_SCRIPTS))


def _quality(rows: Any, figures: Mapping[str, Any]) -> Html:
    noise = NONE
    if figures.get("noise"):
        noise = fill(
            '<div class="figures">\n{}{}</div>\n',
            figure(
                *(figures["noise"][0], "map of the noise over the field"),
                "Noise over the field, before the correction for the primary beam: it should be flat. Rises around"
                " bright sources are errors of calibration or cleaning.",
            ),
            figure(
                *(figures["noise"][1], "noise against distance from the centre"),
                "The same by distance from the centre, against the thermal noise to expect.",
            ),
        )
    numbers = _explained(("what", "value", "how it was found"), rows)
    return fill('<section id="quality">\n<h2>Quality</h2>\n{}{}</section>\n\n', noise, numbers)


def _explained(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """Return a table of names, values and texts about them; where it is narrow, these stand below, with their heads."""
    cells = [NONE, Html(' class="number"'), *(fill(' data-label="{}"', name) for name in head[2:])]
    lines = (joined(fill("<td{}>{}</td>", *cell) for cell in zip(cells, map(shown, row), strict=True)) for row in rows)
    titles = fill('<th>{}</th><th class="number">{}</th>', *head[:2])
    return fill(
        '<div class="wide"><table class="explained">\n<thead><tr>{}{}</tr></thead>\n'
        "<tbody>\n{}</tbody>\n</table></div>\n",
        *(titles, each("<th>{}</th>", head[2:]), each("<tr>{}</tr>\n", lines)),
    )


def _drawn(figures: Mapping[str, Any], *wanted: tuple[str, str, str]) -> Html:
    """Return those figures that there are: name, what it is, caption."""
    return joined(figure(figures[name], text, caption) for name, text, caption in wanted if figures.get(name))


def _comparison(comparison: Mapping[str, Any], figures: Mapping[str, Any]) -> Html:
    drawn = _drawn(
        figures,
        (
            *("fluxes", "flux ratios against distance from the centre"),
            "Flux in the corrected image over that of the reference.",
        ),
        ("positions", "position offsets", "Where sources are in the image, as seen from where the reference has them."),
    )
    head = [
        *("source", "distance", "reference flux", "measured", "ratio", "offset (arcsec)", "offset (beams)"),
        *("signal / noise", "width / beam", "lost of the peak"),
    ]
    return fill(
        '<section id="comparison">\n<h2>Comparison with {}</h2>\n<p>Reference: {}; fluxes at {}.</p>\n'
        '<div class="figures">\n{}</div>\n{}<details><summary>Sources ({})</summary>\n{}</details>\n</section>\n\n',
        *(shown(comparison["kind"]), shown(comparison["reference"]), comparison["frequency"], drawn),
        table(("number", "value"), comparison["summary"], (1,)),
        *(len(comparison["rows"]), table(head, comparison["rows"], range(1, len(head)))),
    )


def _beam(figures: Mapping[str, Any]) -> Html:
    drawn = _drawn(
        figures,
        ("beam", "primary beam with contours", "Primary beam; the red contour is half power."),
        ("uv", "uv coverage", "Where the observation measured, and what of it is flagged."),
    )
    pattern = '<section id="beam">\n<h2>Beam and uv coverage</h2>\n<div class="figures">\n{}</div>\n</section>\n\n'
    return fill(pattern, drawn)


def _plan(plan: Mapping[str, Any], figures: Mapping[str, Any], is_compared: bool) -> Html:
    has_losses = figures.get("smearing") or plan["losses"]
    return fill(
        '<section id="plan">\n<h2>Plan</h2>\n{}{}{}<h3>Every number and why</h3>\n{}</section>\n',
        items(plan["summary"]),
        items(plan["warnings"], "warnings") if plan["warnings"] else NONE,
        _smearing(plan, figures, is_compared) if has_losses else NONE,
        _explained(("quantity", "value", "why", "from"), plan["rows"]),
    )


def _smearing(plan: Mapping[str, Any], figures: Mapping[str, Any], is_compared: bool) -> Html:
    measured = ", and measured on the sources of the comparison" if is_compared else ""
    caption = f"Loss of peak flux by averaging: predicted from the data's own uv coverage{measured}."
    drawn = _drawn(figures, ("smearing", "loss of peak flux against distance from the centre", caption))
    head = ("place", "distance", "lost", "of it before", "added by averaging", "worst angle")
    return fill(
        "<h3>Smearing</h3>\n{}{}<details><summary>What these are</summary><p>{}</p></details>\n",
        fill('<div class="figures">{}</div>\n', drawn) if drawn else NONE,
        table(head, plan["losses"], range(1, len(head))),
        shown(plan["explanation"]),
    )
