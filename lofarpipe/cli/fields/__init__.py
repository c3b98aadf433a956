"""The command line with --fields: tasks for a table of fields."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path

from lofarpipe.cli.arguments import arguments_of_fields
from lofarpipe.cli.fields.index import FieldsIndex
from lofarpipe.cli.fields.runs import FieldRun, FieldRuns, check_fields, check_runs, field_jobs, share, sort_findings
from lofarpipe.cli.fields.table import FieldRow, read_fields
from lofarpipe.config import Settings
from lofarpipe.errors import CheckFailed, Finding, PipelineError, counted, findings_of, list_findings
from lofarpipe.jobs import JobResult
from lofarpipe.pipeline.load import Pipeline
from lofarpipe.pipeline.preflight import (
    Reading,
    all_warnings,
    core_warnings,
    pipeline_findings,
    place_of,
    report_together,
)
from lofarpipe.report.notify import END, FAILURE, Messenger, notify_options
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.disk import make_directory

Read = Callable[[argparse.Namespace], Reading]
Check = Callable[[Settings, Pipeline], list[Finding]]


@dataclass(frozen=True)
class Table:
    """A table of fields as it was read.

    Attributes
    ----------
    common: the pipeline without the table.
    runs: the fields with the options of their runs; without wrong values.
    wrong: problems of the site's configuration and the table; no run is lenient with it.
    """

    common: Reading
    runs: list[FieldRun]
    wrong: list[Finding]

    def warnings(self) -> list[Finding]:
        """Return the warnings, without duplicates shared by several fields."""
        of_fields = [warning for run in self.runs for warning in run.pipeline.warnings]
        return list(dict.fromkeys([*all_warnings(self.common), *of_fields]))

    def check(self, findings: Check) -> list[Finding]:
        """Return the problems of the pipelines; of a table without fields those of the parset alone."""
        if not self.runs:
            return list(self.common.pipeline.findings)  # the table would have the options
        common = findings(self.common.settings, self.common.pipeline)
        return check_runs(self.runs, common, [findings(run.settings, run.pipeline) for run in self.runs])


def options_of_field(options: argparse.Namespace, field: FieldRow) -> argparse.Namespace:
    """Return the options for one field alone."""
    more = {"fields": None, "job_name": field.name, "set": [*options.set, *field.assignments()]}
    return argparse.Namespace(**{**vars(options), **more})


def read_table(read: Read, options: argparse.Namespace) -> Table:
    """Return every field of the table with its settings and its pipeline.

    Raises
    ------
    PipelineError
        If the pipeline cannot be read at all; with the problems of the table.
    """
    try:
        rows, in_table = read_fields(Path(options.fields))
    except PipelineError as err:
        rows, in_table = [], findings_of(err)
    common = report_together(sort_findings(in_table), lambda: read(options))
    row_findings, sound = check_fields(rows, common.pipeline)
    wrong = [*common.wrong, *sort_findings([*in_table, *row_findings])]
    readings = [report_together(wrong, functools.partial(read, options_of_field(options, field))) for field in sound]
    runs = [FieldRun(field, one.settings, one.pipeline) for field, one in zip(sound, readings, strict=True)]
    return Table(common, runs, wrong)


def sound_runs(read: Read, options: argparse.Namespace) -> list[FieldRun]:
    """Return the runs of a table without errors.

    Raises
    ------
    CheckFailed
        If something is wrong with the configuration, the table, its options, or the pipeline.
    """
    table = read_table(read, options)
    findings = table.check(lambda _, pipeline: list(pipeline.findings))
    if table.wrong or (findings and not table.common.settings.lenient):
        raise CheckFailed([*table.wrong, *findings])
    return table.runs


def run_each_field(read: Read, task: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Do the requested task with each field."""
    for run in sound_runs(read, options):
        print(f"# field {run.field.name}", flush=True)
        try:
            task(options_of_field(options, run.field))
        except PipelineError as err:
            raise PipelineError(f"field '{run.field.name}': {err}") from err
    return 0


def check_all(read: Read, options: argparse.Namespace) -> int:
    """Check every field; run nothing."""
    table = read_table(read, options)
    place = place_of(table.common.settings)
    findings = table.check(lambda settings, pipeline: pipeline_findings(pipeline, settings, place))
    if place.executor is not None:
        place.executor.close()
    common = table.common
    too_many = core_warnings(common.pipeline.steps, common.settings, place.machine)
    of_fields = [finding for finding in findings if finding.is_warning]
    for warning in list_findings([*table.warnings(), *too_many, *of_fields]):
        print(f"warning: {warning}", file=sys.stderr)
    if table.wrong or place.wrong or len(findings) > len(of_fields):
        raise CheckFailed([*place.wrong, *table.wrong, *(one for one in findings if not one.is_warning)])
    fields, steps = counted(len(table.runs), "field"), counted(len(table.runs[0].pipeline.steps), "step")
    print(f"{options.fields}: {fields}, {steps} each, nothing wrong")
    return 0


def run_all(read: Read, options: argparse.Namespace) -> int:
    """Run all fields, concurrently as resources allow, and print each result; return 1 if one failed."""
    runs = sound_runs(read, options)
    field_share = share(runs[0].settings, [run.pipeline for run in runs], options.at_once)
    for run in runs:
        make_directory(run.log.parent)  # before any field runs
    complain = functools.partial(print, file=sys.stderr, flush=True)
    index = FieldsIndex(runs[0].settings.runtime_directory, complain)
    messenger = Messenger(notify_options(runs[0].settings)[0], complain)

    def changed(result: JobResult | None) -> None:
        index.update(running.facts())
        if result is not None and not result.ok and messenger.options.on_failure:
            facts = next(one for one in running.facts() if one["field"] == result.name)
            messenger.send(FAILURE, {"text": f"{result.name}: {facts['problem']}", **facts})

    say = (lambda _: None) if options.quiet else functools.partial(print, flush=True)
    running = FieldRuns(runs, say, complain, changed)
    try:
        running.work(field_jobs(runs, arguments_of_fields(options), field_share), field_share.at_once)
    finally:
        index.update(running.facts(), at_once=True)
        notify_end(messenger, options.fields, running)
        if not options.quiet:
            print(running.table(), flush=True)
    return 0 if running.ok else 1


def notify_end(messenger: Messenger, table: str, running: FieldRuns) -> None:
    """Run the [notify] command for a finished table, and wait for all commands started."""
    facts = running.facts()
    states = [one["state"] for one in facts]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    messenger.send(END if running.ok else FAILURE, {"text": f"{table}: {counts}", "table": table, "fields": facts})
    messenger.wait()
