"""report.html: a job directory as one page that opens anywhere, without a network.

``python -m lofarpipe.report.html.page JOB_DIRECTORY`` writes it while a run goes on. It holds nothing but what the job
directory says: the journal, run.json, plan.json, quality.json, comparison.json, images, figures and logs, each as far
as it is there.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined, TemplateNotFound

from lofarpipe.errors import PipelineError
from lofarpipe.report.html import tables as html_text
from lofarpipe.report.html.cache import FIGURES, Pieces, figures, image_directories, image_paths, pictures, read_json
from lofarpipe.report.html.logs import displayable_text, shown_steps, slowest
from lofarpipe.report.html.timeline import timeline
from lofarpipe.state.events import read_events
from lofarpipe.state.run_state import RunState
from lofarpipe.support.utilities import uncollected, write_atomically

TEMPLATES = Path(__file__).parent / "templates"


class CompiledTemplates(FileSystemBytecodeCache):
    """Compiled templates beside their sources, as Python has its modules; not where nobody may write."""

    def dump_bytecode(self, bucket: Any) -> None:
        """Write a template as far as that can be done: to compile it again costs 20 ms."""
        if not sys.dont_write_bytecode:
            with contextlib.suppress(OSError):
                Path(self.directory).mkdir(exist_ok=True)
                super().dump_bytecode(bucket)


def environment() -> Environment:
    """Return the templates: every value is escaped, and loses what no page may have, unless it is a part of one."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        bytecode_cache=CompiledTemplates(str(TEMPLATES / "__pycache__")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: displayable_text(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"moment": html_text.moment, "duration": html_text.duration, "csp_hash": _csp_hash}
    return templates


def _csp_hash(text: str) -> str:
    """Return what the page's security policy calls a script or a style: any other one is refused by the browser."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def rendered(facts: Mapping[str, Any]) -> str:
    """Return the page that shows ``facts``.

    Raises
    ------
    PipelineError
        If a template, its style or its script is not installed.
    """
    templates, loader = environment(), FileSystemLoader(TEMPLATES)
    try:
        style, script = (loader.get_source(templates, name)[0] for name in ("style.css", "page.js"))
        return templates.get_template("page.html.j2").render(facts, style=style, script=script)
    except TemplateNotFound as err:
        raise PipelineError(
            f"{TEMPLATES / str(err.name)}: No such file or directory; install the pipeline again"
        ) from err


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
    return rendered(facts(job_directory, state or read_page_state(job_directory), record))


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
        "figures": dict.fromkeys(FIGURES) | figures(pieces, job_directory, paths, numbers, earlier),
        "quality": html_text.quality_rows(quality),
        "plan": html_text.plan_tables(plan),
        "comparison": html_text.comparison_tables(comparison, quality),
        "record": html_text.record_tables(record),
        "versions": html_text.versions(record, quality, state),
        "command": shlex.join(map(str, state.facts.get("argv") or ())),
        "problems": pieces.problems,
    }


def read_page_state(job_directory: Path) -> RunState:
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
