"""The page around its sections: head, title, key numbers, links, and the style and script that it carries."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lofarpipe.errors import PipelineError
from lofarpipe.report.html.markup import NONE, Html, fill, items, joined, shown
from lofarpipe.report.html.science import science_sections
from lofarpipe.report.html.sections import problem, run_sections
from lofarpipe.report.html.tables import duration, moment
from lofarpipe.report.run_state import RunState

PLACE = Path(__file__).parent  # of the style and the script
MOST_WARNINGS = 5  # at the top


def page_text(facts: Mapping[str, Any]) -> str:
    """Return the page that shows ``facts``, which are as `html_page.facts` has them.

    Raises
    ------
    PipelineError
        If its style or its script is not installed.
    """
    style, script = _carried("style.css"), _carried("page.js")
    state: RunState = facts["state"]
    head = fill(
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src '{}';"
        " script-src '{}'; base-uri 'none'; form-action 'none'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<title>{}: {}</title>\n<style>{}</style>\n</head>\n<body>\n'
        "{}<main>\n{}{}\n",
        *(_mark(style), _mark(script), state.facts.get("job") or "run", state.state, style),
        *(_header(facts, state), _warnings(state), science_sections(facts)),
    )
    end = "</main>\n<footer><p>{}</p></footer>\n<script>{}</script>\n</body>\n</html>\n"
    # Put together once: of a run of very many jobs this is megabytes.
    return "".join([head, *run_sections(facts), fill(end, shown(facts["job_directory"]), script)])


def _carried(name: str) -> Html:
    try:
        return Html((PLACE / name).read_text(encoding="utf-8"))
    except OSError as err:
        raise PipelineError(f"{PLACE / name}: {err.strerror}; install the pipeline again") from err


def _mark(text: str) -> str:
    """Return what the page's security policy calls a script or a style: any other one is refused by the browser."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _header(facts: Mapping[str, Any], state: RunState) -> Html:
    return fill(
        '<header>\n<h1>{} <span class="badge {}">{}</span></h1>\n<p class="where">\n  {}\n</p>\n{}{}'
        '<nav aria-label="sections">\n{}</nav>\n</header>\n',
        *(shown(state.facts.get("job") or "run"), state.state, state.state),
        *(_where(state, facts["written"]), problem(state.problem), _tiles(facts["tiles"]), _links(facts, state)),
    )


def _where(state: RunState, written_s: float) -> str:
    """Return when and where it ran, and when the page was written, as sentences."""
    said = []
    if state.started_s:
        said.append(f"Began {moment(state.started_s)} UTC{_until(state, state.started_s)}.")
    if host := state.facts.get("host"):
        executor = state.facts.get("executor")
        said.append(f"On {host}{f' ({executor})' if executor else ''}.")
    if state.run > 1:
        said.append(f"Run {state.run} of this job directory.")
    return " ".join([*said, f"This page: {moment(written_s)} UTC."])


def _until(state: RunState, started_s: float) -> str:
    if state.ended_s:
        return f", took {duration(state.ended_s - started_s)}"
    return f", last heard of {moment(state.last_s)} UTC" if state.last_s else ""


def _tiles(tiles: Any) -> Html:
    pattern = '  <div><dt>{}</dt><dd>{}</dd><dd class="remark">{}</dd></div>\n'
    return fill('<dl class="tiles">\n{}</dl>\n', joined(fill(pattern, *tile) for tile in tiles)) if tiles else NONE


def _links(facts: Mapping[str, Any], state: RunState) -> Html:
    """Return the links to those sections that there are."""
    figures = facts["figures"]
    sections = (
        ("image", "Image", facts["pictures"]),
        ("quality", "Quality", facts["quality"]),
        ("comparison", "Comparison", facts["comparison"]),
        ("beam", "Beam and uv coverage", figures.get("beam") or figures.get("uv")),
        ("plan", "Plan", facts["plan"]),
        ("timeline", "Timeline", True),
        ("steps", "Steps and logs", True),
        ("messages", "Messages", state.warnings or state.notices or facts["problems"]),
        ("setup", "Versions and options", True),
    )
    return joined(fill('  <a href="#{}">{}</a>\n', name, title) for name, title, is_there in sections if is_there)


def _warnings(state: RunState) -> Html:
    if not state.warnings:
        return NONE
    more = NONE
    if len(state.warnings) > MOST_WARNINGS:
        more = fill('<p><a href="#messages">All {} warnings</a></p>\n', len(state.warnings))
    first = items(state.warnings[:MOST_WARNINGS])
    return fill('<section class="warnings" aria-label="warnings">\n{}{}</section>\n', first, more)
