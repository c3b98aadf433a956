"""report.html: a job directory as one page that opens anywhere, without a network.

``python -m lofarpipe.report.html.page JOB_DIRECTORY`` writes it while a run goes on. It holds nothing but what the job
directory says: the journal, run.json, plan.json, quality.json, comparison.json, images, figures and logs, each as far
as it is there.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lofarpipe.errors import PipelineError
from lofarpipe.report.html import tables as html_text
from lofarpipe.report.html.cache import Pieces, figures, image_directories, image_paths, pictures, read_json
from lofarpipe.report.html.logs import shown_steps, slowest
from lofarpipe.report.html.markup import NONE, Html, escaped, fill, item_list, joined
from lofarpipe.report.html.sections import problem, run_sections, science_sections
from lofarpipe.report.html.tables import duration, moment
from lofarpipe.report.html.timeline import timeline
from lofarpipe.report.run_state import RunState
from lofarpipe.state.history import read_events
from lofarpipe.support.utilities import uncollected, write_atomically

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
    return "".join([head, *run_sections(facts), fill(end, escaped(facts["job_directory"]), script)])


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
        *(escaped(state.facts.get("job") or "run"), state.state, state.state),
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
    first = item_list(state.warnings[:MOST_WARNINGS])
    return fill('<section class="warnings" aria-label="warnings">\n{}{}</section>\n', first, more)


REPORT_FILE = "report.html"
COMPARISON_FILE = "comparison.json"


def write_page(job_directory: Path, state: RunState | None = None, record: Mapping[str, Any] | None = None) -> Path:
    """Write report.html into a job directory; it appears under its name when it is complete. Return its path.

    ``state`` is what the journal says, and ``record`` what run.json does, if somebody knows it; None has it read.

    Raises
    ------
    PipelineError
        If there is no journal, or the page cannot be written.
    """
    path = job_directory / REPORT_FILE
    try:
        # Not every byte of a file name is text; what is not becomes a question mark.
        write_atomically(path, page(job_directory, state, record), errors="replace")
    except OSError as err:
        raise PipelineError(f"{path}: the report cannot be written: {err.strerror}; check the directory") from err
    return path


def page(job_directory: Path, state: RunState | None = None, record: Mapping[str, Any] | None = None) -> str:
    """Return the page of a job directory, of which journal and run.json are read unless it is given what they say.

    Raises
    ------
    PipelineError
        If the directory has no journal.
    """
    return page_text(facts(job_directory, state or read_state(job_directory), record))


def facts(job_directory: Path, state: RunState, record: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return everything that the page shows, by the names that its sections use."""
    earlier = state.earlier_files()
    plan, quality, comparison = (
        read_json(path) if str(path.absolute()) not in earlier else {}
        for path in (job_directory / name for name in ("plan.json", "quality.json", COMPARISON_FILE))
    )
    record = read_json(job_directory / "run.json") if record is None else record
    pieces = Pieces(job_directory)
    paths = image_paths(image_directories(job_directory, record), quality, earlier)
    measured = html_text.measured_sources(comparison)
    beam = html_text.fact_value(quality, "beam_major"), html_text.fact_value(quality, "beam_minor")
    numbers = {
        "expected_jy": html_text.fact_value(quality, "expected_thermal_noise"),
        "predicted": html_text.predicted_losses(plan),
        "measured": measured,
        "beam_arcsec": (beam[0] * beam[1]) ** 0.5 if beam[0] and beam[1] else None,
    }
    return {
        "job_directory": str(job_directory.absolute()),
        "written": time.time(),
        "state": state,
        "timeline": timeline(state),
        "steps": shown_steps(state, job_directory),
        "slowest": slowest(state),
        "tiles": html_text.key_numbers(quality, comparison),
        "pictures": pictures(pieces, paths),
        "figures": figures(pieces, job_directory, paths, numbers, earlier),
        "quality": html_text.quality_rows(quality),
        "plan": html_text.plan_tables(plan),
        "comparison": html_text.comparison_tables(comparison, quality),
        "record": html_text.record_tables(record),
        "versions": html_text.versions(record, quality, state),
        "problems": pieces.problems,
    }


def read_state(job_directory: Path) -> RunState:
    """Return what the journal of a job directory says.

    Raises
    ------
    PipelineError
        If there is none, or it cannot be read.
    """
    path = job_directory / "journal.jsonl"
    try:
        content = path.read_bytes()
    except OSError as err:
        raise PipelineError(f"{path}: {err.strerror}; name the directory of a run, which has a journal.jsonl") from err
    events, _ = read_events(content)
    return RunState.from_events(events)


def main(arguments: Sequence[str]) -> int:
    """Write the page of the job directory that is named; return the exit status."""
    if len(arguments) != 1:
        print("usage: python -m lofarpipe.report.html.page JOB_DIRECTORY", file=sys.stderr)
        return 2
    try:
        with uncollected():
            print(write_page(Path(arguments[0])))
    except PipelineError as err:
        print(err, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
