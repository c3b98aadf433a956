"""The command line with --fields: what it does with a table of them."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

from lofarpipe.arguments import arguments_of_fields
from lofarpipe.config import Settings
from lofarpipe.errors import CheckFailed, Finding, PipelineError
from lofarpipe.fields import FieldRun, FieldRuns, check_fields, check_runs, field_jobs, in_order
from lofarpipe.fields_share import share
from lofarpipe.fields_table import Field, read_fields
from lofarpipe.pipeline import Pipeline

Load = Callable[[argparse.Namespace], tuple[Settings, Pipeline]]


def options_of_field(options: argparse.Namespace, field: Field) -> argparse.Namespace:
    """Return the command line as it would be for one field alone."""
    more = {"fields": None, "job_name": field.name, "set": [*options.set, *field.assignments()]}
    return argparse.Namespace(**{**vars(options), **more})


def read_table(load: Load, options: argparse.Namespace) -> list[FieldRun]:
    """Return every field of the table with its settings and its pipeline.

    Raises
    ------
    CheckFailed
        If something is wrong with the table, its options, or the pipeline.
    """
    rows, found = read_fields(Path(options.fields))
    _, common = load(options)
    found += check_fields(rows, common)
    if found:
        raise CheckFailed(in_order(found))
    runs = [FieldRun(row, *load(options_of_field(options, row))) for row in rows]
    found = check_runs(runs, common)
    if found and not options.lenient:
        raise CheckFailed(found)
    return runs


def each(load: Load, asked: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Do with each field what is asked for."""
    for run in read_table(load, options):
        print(f"# field {run.field.name}", flush=True)
        try:
            asked(options_of_field(options, run.field))
        except PipelineError as err:
            raise PipelineError(f"field '{run.field.name}': {err}") from err
    return 0


def check_all(load: Load, findings: Callable[[Settings, Pipeline], list[Finding]], options: argparse.Namespace) -> int:
    """Check everything of every field and run nothing."""
    runs = read_table(load, options)
    found = [
        Finding(run.field.where, f"field '{run.field.name}': {finding}")
        for run in runs
        for finding in findings(run.settings, run.pipeline)
    ]
    if found:
        raise CheckFailed(found)
    print(f"{options.fields}: {len(runs)} fields, {len(runs[0].pipeline.steps)} steps each, nothing wrong")
    return 0


def run_all(load: Load, options: argparse.Namespace) -> int:
    """Run every field, several at the same time where there is room, and print how each ended; 1 if one failed."""
    runs = read_table(load, options)
    given = share(runs[0].settings, [run.pipeline for run in runs], options.at_once)
    for run in runs:
        make_log_directory(run.log.parent)
    running = FieldRuns(runs, (lambda _: None) if options.quiet else functools.partial(print, flush=True))
    try:
        running.work(field_jobs(runs, arguments_of_fields(options), given), given.at_once)
    finally:
        print(running.table(), flush=True)
    return 0 if running.ok else 1


def make_log_directory(path: Path) -> None:
    """Make the directory of a field's log: one that cannot be made is told before any field runs."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise PipelineError(f"{path}: cannot be created: {err.strerror}; choose another place with -r") from err
