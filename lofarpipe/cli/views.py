"""Views of a pipeline: its options, its checks, its steps, and the plan of a run; nothing is run or written."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import TYPE_CHECKING, Any

from lofarpipe.cli.output import show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from lofarpipe.config import Settings
    from lofarpipe.errors import Finding
    from lofarpipe.jobs import Executor
    from lofarpipe.pipeline.load import Pipeline
    from lofarpipe.pipeline.preflight import Reading, Survey

    Facts = Mapping[str, Any]

PLAN_FILE = "plan.json"


def reading(options: argparse.Namespace) -> Reading:
    """Return the readable part of the site's settings and of the pipeline, from a parset or front end."""
    from lofarpipe.config import Overrides
    from lofarpipe.pipeline.preflight import read

    translation = options.translation
    options.parset = options.parset if translation is None else str(translation.path)
    overrides = Overrides(
        config=options.config,
        job_name=options.job_name,
        task_files=options.task_file,
        runtime_directory=options.runtime_directory,
        working_directory=options.working_directory,
        start_time=options.start_time,
        lenient=options.lenient,
        cores=options.cores,
        memory_gb=options.memory_gb,
    )
    return read(translation or options.parset, overrides, options.set)


def checked(
    options: argparse.Namespace, refuse: Callable[[Settings, str], None] | None = None
) -> tuple[Settings, Pipeline, Executor, list[Finding]]:
    """Return everything needed for a run, with the warnings; problems go to ``refuse``.

    Raises
    ------
    CheckFailed
        If something is wrong, unless the run is lenient.
    """
    from lofarpipe.errors import CheckFailed
    from lofarpipe.pipeline.preflight import survey

    result = survey(reading(options), options.executor)
    try:
        executor = result.require_executor()
    except CheckFailed as err:
        if refuse is not None:
            refuse(result.settings, str(err))
        raise
    return result.settings, result.pipeline, executor, [*result.warnings, *result.findings]


def executor_context(executor: Executor, options: argparse.Namespace) -> contextlib.AbstractContextManager[Executor]:
    """Return a context that closes the executor in the end, unless a caller lent it."""
    return contextlib.closing(executor) if options.executor is None else contextlib.nullcontext(executor)


def journal_file(settings: Settings) -> Path:
    """Return the file with the journal."""
    from lofarpipe.state.events import JOURNAL

    return settings.job_directory / JOURNAL


def show_options(options: argparse.Namespace) -> int:
    """Print every option of the pipeline, under the headings of its parset."""
    from lofarpipe.archive.record import option_facts
    from lofarpipe.errors import CheckFailed
    from lofarpipe.pipeline.options import headings, options_table

    _, pipeline = reading(options).require_valid()
    if options.json:
        groups = headings(pipeline.options)
        _print_json([{**option_facts(one), "heading": heading} for heading, group in groups for one in group])
    else:
        show(options_table(pipeline.options))
    if pipeline.findings:
        raise CheckFailed(pipeline.findings)
    return 0


def show_template(options: argparse.Namespace) -> int:
    """Print a field parset to start from: every option with its value and meaning."""
    from lofarpipe.cli.template import field_template
    from lofarpipe.errors import CheckFailed

    _, pipeline = reading(options).require_valid()
    if pipeline.findings:
        raise CheckFailed(pipeline.findings)
    show(field_template(pipeline, options.set), end="")
    return 0


def check_only(options: argparse.Namespace) -> int:
    """Check everything; run nothing."""
    from lofarpipe.errors import CheckFailed, PipelineError, counted, findings_of, list_findings
    from lofarpipe.pipeline.preflight import survey

    try:
        result = survey(reading(options))
    except PipelineError as err:
        if options.json:
            _print_json(_check_facts(options.parset, findings_of(err), ()))
        raise
    result.close()
    wrong = [*result.wrong, *result.findings]
    if options.json:
        _print_json({**_check_facts(str(result.pipeline.path), wrong, result.warnings), **_size(result)})
    for warning in list_findings(result.warnings):
        print(f"warning: {warning}", file=sys.stderr)
    if wrong:
        raise CheckFailed(wrong)
    if not options.json:
        show(f"{result.pipeline.path}: {counted(len(result.pipeline.steps), 'step')}, nothing wrong")
    return 0


def _check_facts(parset: str, wrong: Sequence[Finding], warnings: Sequence[Finding]) -> Facts:
    """Return the outcome of a check for JSON."""
    return {"parset": parset, "ok": not wrong, "findings": _texts(wrong), "warnings": _texts(warnings)}


def _size(result: Survey) -> Facts:
    return {"job_directory": str(result.settings.job_directory), "steps": len(result.pipeline.steps)}


def _texts(findings: Sequence[Finding]) -> list[Facts]:
    return [{"where": one.where, "what": one.what} for one in findings]


def _print_json(facts: object) -> None:
    import json

    show(json.dumps(facts, indent=1))


def dry_run(options: argparse.Namespace) -> int:
    """Check everything, then print the plan of a run; no job is run, and no file remains."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from lofarpipe.engine.dry_run import preview
    from lofarpipe.errors import list_findings
    from lofarpipe.executors.local.signals import raise_on_signals
    from lofarpipe.state.journal import read_state

    settings, pipeline, executor, warnings = checked(options)
    with (
        executor_context(executor, options),
        raise_on_signals() as signals,
        TemporaryDirectory(prefix="genericpipeline-dry-run-") as directory,
    ):
        state = read_state(journal_file(settings))
        printout = preview(pipeline, settings, executor, state, Path(directory), signals, options.prints_commands)
        plan = _plan(Path(printout.overlay.read_path(str(settings.job_directory / PLAN_FILE))))
    if options.json:
        places = {"job_directory": str(settings.job_directory), "working_directory": str(settings.job_workdir)}
        notes = [line.removeprefix("# ") for line in printout.lines if line.startswith("# ")]
        facts = {"parset": str(pipeline.path), **places, "plan": plan, "jobs": printout.jobs, "notes": notes}
        _print_json({**facts, "warnings": _texts(warnings)})
        return 0
    summary = [f"# {line}" for line in (plan or {}).get("summary", ())] if options.shows_plan else []
    show(*(f"# warning: {warning}" for warning in list_findings(warnings)), *summary, *printout.lines)
    return 0


def _plan(path: Path) -> Any:
    """Return the decisions of a planning pipeline; None for others."""
    import json

    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def list_steps(options: argparse.Namespace) -> int:
    """Print the state of each step."""
    from lofarpipe.cli.inspect import step_facts, steps_table
    from lofarpipe.state.journal import read_state

    settings, pipeline = reading(options).require_valid()
    work = read_state(journal_file(settings)).work
    if options.json:
        _print_json(step_facts(pipeline.steps, work))
    else:
        show(steps_table(pipeline.steps, work))
    return 0
