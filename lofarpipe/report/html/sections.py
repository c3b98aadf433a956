"""What every page has: the timeline, the steps with their jobs and logs, messages, versions and options."""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lofarpipe.report.html.axes import framed
from lofarpipe.report.html.logs import LogText, ShownJob, ShownStep
from lofarpipe.report.html.markup import NONE, Html, cut, each, escaped, figure, fill, item_list, joined, said, table
from lofarpipe.report.html.tables import duration, moment
from lofarpipe.report.html.timeline import Plot, Row, Timeline
from lofarpipe.report.run_state import DONE, JobState, RunState, StepState

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
    what = fill("{}: {}", title, escaped(picture["name"]))
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
    lines = (
        joined(fill("<td{}>{}</td>", *cell) for cell in zip(cells, map(escaped, row), strict=True)) for row in rows
    )
    titles = fill('<th>{}</th><th class="number">{}</th>', *head[:2])
    return fill(
        '<div class="wide"><table class="explained">\n<thead><tr>{}{}</tr></thead>\n'
        "<tbody>\n{}</tbody>\n</table></div>\n",
        *(titles, each("<th>{}</th>", head[2:]), each("<tr>{}</tr>\n", lines)),
    )


def _science_drawn(figures: Mapping[str, Any], *wanted: tuple[str, str, str]) -> Html:
    """Return those figures that there are: name, what it is, caption."""
    return joined(figure(figures[name], text, caption) for name, text, caption in wanted if figures.get(name))


def _comparison(comparison: Mapping[str, Any], figures: Mapping[str, Any]) -> Html:
    drawn = _science_drawn(
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
        *(escaped(comparison["kind"]), escaped(comparison["reference"]), comparison["frequency"], drawn),
        table(("number", "value"), comparison["summary"], (1,)),
        *(len(comparison["rows"]), table(head, comparison["rows"], range(1, len(head)))),
    )


def _beam(figures: Mapping[str, Any]) -> Html:
    drawn = _science_drawn(
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
        item_list(plan["summary"]),
        item_list(plan["warnings"], "warnings") if plan["warnings"] else NONE,
        _smearing(plan, figures, is_compared) if has_losses else NONE,
        _explained(("quantity", "value", "why", "from"), plan["rows"]),
    )


def _smearing(plan: Mapping[str, Any], figures: Mapping[str, Any], is_compared: bool) -> Html:
    measured = ", and measured on the sources of the comparison" if is_compared else ""
    caption = f"Loss of peak flux by averaging: predicted from the data's own uv coverage{measured}."
    drawn = _science_drawn(figures, ("smearing", "loss of peak flux against distance from the centre", caption))
    head = ("place", "distance", "lost", "of it before", "added by averaging", "worst angle")
    return fill(
        "<h3>Smearing</h3>\n{}{}<details><summary>What these are</summary><p>{}</p></details>\n",
        fill('<div class="figures">{}</div>\n', drawn) if drawn else NONE,
        table(head, plan["losses"], range(1, len(head))),
        escaped(plan["explanation"]),
    )


LABEL_CHARACTERS, PRODUCT_CHARACTERS = 30, 120


def run_sections(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the sections of the run, jobs one by one; ``facts`` as `html_page.facts` has them."""
    yield _timeline(facts)
    yield from _steps(facts)
    yield _messages(facts)
    yield from _setup(facts)


def _timeline(facts: Mapping[str, Any]) -> Html:
    drawing: Timeline | None = facts["timeline"]
    if drawing is not None:
        inner = _drawn(drawing)
    else:
        is_running = facts["state"].state == "running"
        why = "yet" if is_running else "in this run: what is done is as an earlier one left it"
        inner = fill("<p>Nothing ran {}.</p>\n", why)
    return fill('<section id="timeline">\n<h2>Timeline</h2>\n{}</section>\n\n', inner)


def _drawn(drawing: Timeline) -> Html:
    ticks = joined(
        fill(
            '  <path class="tick" d="M{} 0V{}"/><text class="time" x="{}" y="{}">{}</text>\n',
            *(x, drawing.height - 18, x, drawing.height - 4, text),
        )
        for x, text in drawing.ticks
    )
    return fill(
        "<p>Time since {}, hours:minutes:seconds. One bar is a job; where there are too many, the shape shows how many"
        ' ran at a time.</p>\n<div class="wide">\n<svg class="gantt" viewBox="0 0 {} {}" role="img"'
        ' aria-label="timeline of steps and jobs">\n{}{}{}</svg>\n</div>\n<p class="key"><span class="sample done">'
        '</span>done <span class="sample running"></span>runs <span class="sample failed"></span>failed'
        ' <span class="sample interrupted"></span>interrupted. CPU: the mean of each job. Memory: that of the largest'
        " process of each job. Dashed: what there is.</p>\n",
        *(drawing.begins, drawing.width, drawing.height, ticks),
        joined(_row(row, drawing) for row in drawing.rows),
        joined(_plot(plot, drawing) for plot in drawing.plots),
    )


def _row(row: Row, drawing: Timeline) -> Html:
    bars = joined(
        fill(
            '  <rect class="bar {}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>\n',
            *(bar.state, bar.x, bar.y, bar.width, bar.height, escaped(bar.title)),
        )
        for bar in row.bars
    )
    return fill(
        '  <g><title>{}</title>\n  <text class="label" x="{}" y="{}">{}</text>\n  {}\n{}  </g>\n',
        *(escaped(row.title), drawing.left - 8, row.y + row.height / 2 + 4, escaped(cut(row.label, LABEL_CHARACTERS))),
        fill('<path class="jobs" d="{}"/>', row.outline) if row.outline else NONE,
        bars,
    )


def _plot(plot: Plot, drawing: Timeline) -> Html:
    limit = NONE
    if plot.limit_y is not None:
        limit = fill('<path class="limit" d="M{} {}H{}"/>', drawing.left, plot.limit_y, drawing.right)
    return fill(
        '  <g><title>{} in use, up to {}{}</title>\n  <text class="label" x="{}" y="{}">{}</text>\n'
        '  <text class="label" x="{}" y="{}">{}</text>\n  <path class="use" d="{}"/>\n  {}\n  </g>\n',
        *(plot.label, plot.top, f", {plot.limit}" if plot.limit else ""),
        *(drawing.left - 8, plot.y + 10, plot.top),
        *(drawing.left - 8, plot.y + plot.height, plot.label),
        *(plot.outline, limit),
    )


def _steps(facts: Mapping[str, Any]) -> Iterator[str]:
    slowest: Sequence[StepState] = facts["slowest"]
    longest = ", ".join(f"{step.name} {duration(step.duration_s)}" for step in slowest)
    yield fill(
        '<section id="steps">\n<h2>Steps and logs</h2>\n{}<p class="controls"><button type="button" id="open-failed"'
        ' hidden>open what failed</button> <button type="button" id="close-all">close all</button></p>\n',
        fill("<p>Longest: {}.</p>\n", escaped(longest)) if slowest else NONE,
    )
    for entry in facts["steps"]:
        yield from _step(entry)
    yield "</section>\n\n"


def _step(entry: ShownStep) -> Iterator[str]:
    step = entry.step
    ended = fill(", ended {}", moment(step.ended_s)) if step.ended_s else NONE
    yield fill(
        '<details class="step {}">\n<summary><span class="name">{}</span> <span class="badge {}">{}</span>'
        ' <span class="facts">{}</span></summary>\n{}{}',
        *(step.state, escaped(step.name), step.state, step.state, _counts(step), problem(step.problem)),
        fill('<p class="facts">Began {}{} UTC.</p>\n', moment(step.started_s), ended) if step.started_s else NONE,
    )
    yield from map(_job, entry.jobs)
    if entry.left_out:
        yield fill('<p class="facts">{} more jobs are in the job directory alone.</p>\n', entry.left_out)
    yield "</details>\n"


def _counts(step: StepState) -> Html:
    parts = [escaped(step.type)]
    if step.total:
        parts.append(fill("{} of {} job{}", step.done, step.total, "s" if step.total != 1 else ""))
    if step.failed:
        parts.append(fill("{} failed", step.failed))
    if step.duration_s is not None:
        parts.append(Html(duration(step.duration_s)))
    return joined(parts, " · ")


def problem(text: str) -> Html:
    """Return why something failed; nothing if it did not."""
    return fill('<pre class="problem">{}</pre>\n', escaped(text)) if text else NONE


def _job(entry: ShownJob) -> str:
    """Return a job; there may be thousands of them, so this is done with few calls."""
    job = entry.job
    badge = f' <span class="badge {job.state}">{job.state}</span>' if job.state != DONE else ""
    failed = problem(job.problem) if job.problem else ""
    command = f'<pre class="command">{html.escape(entry.command)}</pre>\n' if entry.command else ""
    return (
        f'<details class="job {job.state}">\n<summary><span class="name">{said(job.name)}</span>{badge}'
        f' <span class="facts">{said(_use(job))}</span></summary>\n'
        f"{failed}{command}{_log(entry.log, job.log)}</details>\n"
    )


def _use(job: JobState) -> str:
    """Return what a job was about, and what it used."""
    parts = [cut(job.label, PRODUCT_CHARACTERS)]
    if job.duration_s is not None:
        parts.append(duration(job.duration_s))
    if job.cpu_s is not None:
        parts.append(f"CPU {duration(job.cpu_s)}")
    if job.max_rss_mb is not None:
        parts.append(f"{job.max_rss_mb / 1000:.2f} GB")
    if job.node:
        parts.append(job.node)
    if job.exit_code:
        parts.append(f"exit code {job.exit_code}")
    return " · ".join(parts)


def _log(log: LogText, path: str) -> str:
    if log.problem:
        return f'<p class="facts">No log: {said(log.problem)}</p>\n'
    rest = ""
    if log.omitted:
        rest = f"<strong>… {log.omitted} bytes are left out here …</strong>\n{html.escape(log.tail)}"
    return f'<pre class="log" tabindex="0">{html.escape(log.head)}{rest}</pre>\n<p class="facts">{said(path)}</p>\n'


def _messages(facts: Mapping[str, Any]) -> Html:
    state: RunState = facts["state"]
    kinds = (("Warnings", state.warnings), ("Notices", state.notices), ("Not on this page", facts["problems"]))
    lists = joined(fill("<h3>{}</h3>{}", title, item_list(texts)) for title, texts in kinds if texts)
    return fill('<section id="messages">\n<h2>Messages</h2>\n{}</section>\n\n', lists) if lists else NONE


def _setup(facts: Mapping[str, Any]) -> Iterator[str]:
    words = facts["state"].facts.get("argv")
    yield fill(
        '<section id="setup">\n<h2>Versions and options</h2>\n{}{}',
        table(("program", "version", "path"), facts["versions"]),
        fill('<pre class="command">{}</pre>\n', escaped(shlex.join(map(str, words)))) if words else NONE,
    )
    for part in facts["record"]:
        content = table(part.head, part.rows, (2,) if "bytes" in part.head else ())
        left_out = part.entries - len(part.rows)
        rest = fill('<p class="facts">{} more are in run.json.</p>', left_out) if left_out else NONE
        yield fill("<details><summary>{} ({})</summary>{}{}</details>\n", part.title, part.entries, content, rest)
    yield "</section>\n"
