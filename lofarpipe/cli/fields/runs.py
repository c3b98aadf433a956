"""Many fields through one pipeline, one run per field, concurrently as the machine allows."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lofarpipe.cli.fields.index import Facts, outcome_facts, rms_text
from lofarpipe.cli.fields.table import Cell, FieldRow
from lofarpipe.config import Settings
from lofarpipe.errors import Finding, PipelineError
from lofarpipe.executors.factory import method_of
from lofarpipe.executors.local.executor import LocalExecutor
from lofarpipe.executors.local.resources import engine_resources
from lofarpipe.jobs import Job, JobResult, JobStart, Resources, duration_text
from lofarpipe.pipeline.control import read_value
from lofarpipe.pipeline.hints import option_hint
from lofarpipe.pipeline.load import Pipeline
from lofarpipe.pipeline.options import Option, check_value
from lofarpipe.pipeline.steps import Step, flattened
from lofarpipe.programs.base import KNOWN_PROGRAMS
from lofarpipe.programs.find import job_environment
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.parset import Parset, split_list

#: Minimum share of each concurrent field, unless --at-once sets their number: WSClean and DP3 use
#: this many cores well, and the image of a field takes this much memory.
FIELD = Resources(cores=8, memory_gb=16.0)
LOCAL = "local"


@dataclass(frozen=True)
class Share:
    """How many fields run at the same time, and the share of each; None: as in the site's configuration."""

    at_once: int
    cores: int | None = None
    memory_gb: float | None = None
    gpus: int = 0

    def arguments(self) -> list[str]:
        """Return the arguments for the share of one run."""
        cores = [] if self.cores is None else ["--cores", str(self.cores)]
        return cores + ([] if self.memory_gb is None else ["--memory-gb", f"{self.memory_gb:.3f}"])


def share(
    settings: Settings, pipelines: Sequence[Pipeline], at_once: int | None, capacity: Resources | None = None
) -> Share:
    """Return how many fields run at the same time, and their equal shares of this machine.

    By default as many as there are parts of 8 cores and 16 GB, or of the most that a step of any field asks for. On a
    cluster jobs wait in the cluster's queue: all fields at the same time, and nothing is shared out here. Over ssh
    there is no queue, and each field takes all that the hosts have: one at a time.

    Parameters
    ----------
    settings: the site's configuration.
    pipelines: the pipelines of all fields.
    capacity: cores and memory of this machine; detected by default.

    Raises
    ------
    PipelineError
        If the share of each of ``at_once`` fields is less than a step requests.
    """
    if method_of(settings) != LOCAL:
        return Share(min(at_once or (1 if method_of(settings) == "ssh" else len(pipelines)), len(pipelines)))
    capacity = capacity or engine_resources(settings.cores, settings.memory_gb)[0]
    machine = Resources(settings.cores or capacity.cores, settings.memory_gb or capacity.memory_gb, capacity.gpus)
    need = Resources(*(max(kind) for kind in zip(*map(_need, pipelines), strict=True)))
    at_once = _max_fields(machine, need) if at_once is None else min(at_once, len(pipelines))
    if 1 < at_once > (most := _max_fields(machine, need, Resources(1, 0.0))):
        raise PipelineError(
            f"--at-once {at_once}: a step of a field needs {need.cores} cores and {need.memory_gb:g} GB, and there are "
            f"{machine.cores} cores and {machine.memory_gb:.1f} GB; at most {most} at the same time is possible"
        )
    at_once = min(at_once, len(pipelines))
    if at_once == 1:
        return Share(1, settings.cores or None, settings.memory_gb or None)
    return Share(at_once, max(1, machine.cores // at_once), machine.memory_gb / at_once, min(need.gpus, machine.gpus))


def _max_fields(machine: Resources, need: Resources, least: Resources = FIELD) -> int:
    """Return the number of fields that fit into a machine with their full request; at least 1."""
    memory_gb = max(need.memory_gb, least.memory_gb)
    by_memory = int(machine.memory_gb / memory_gb) if memory_gb else sys.maxsize
    by_cores = machine.cores // max(need.cores, least.cores) if max(need.cores, least.cores) > 1 else sys.maxsize
    return max(1, min(by_cores, by_memory))


def _need(pipeline: Pipeline) -> tuple[int, float, int]:
    """Return the largest request of a pipeline's steps: cores, memory (GB), graphics processors."""
    cores, memory_gb, gpus = [0.0], [0.0], [0.0]
    for step in flattened(pipeline.steps):
        for key, amounts in (("cores", cores), ("memory_gb", memory_gb), ("gpus", gpus)):
            amounts.append(_number(step.control.get(key, "0")))
        program = KNOWN_PROGRAMS.get(step.given.get("program", ""))
        gpus.append(program.most_gpus(step.arguments) if program else 0)
    return int(max(cores)), max(memory_gb), int(max(gpus))


def _number(text: str) -> float:
    try:
        return float(str(read_value(text, "number")))
    except ValueError:  # the run of the field refuses it
        return 0.0


#: Each run ends its own jobs within 5 s before it is killed; it needs the time to close its journal after that.
GRACE_S = 20.0
HEADER = ("field", "state", "took", "rms", "product, or why there is none")
ERROR = "genericpipeline.py: "  # start of the error line of a run
LOG_NAME = "field.log"
#: Control keys for the names of a step's output files.
OUTPUT_CONTROLS = ("output_files", "metadata_file", "sip_file")


@dataclass(frozen=True)
class FieldRun:
    """A field with the options of its run."""

    field: FieldRow
    settings: Settings
    pipeline: Pipeline

    @property
    def log(self) -> Path:
        """The output of the run, in a file of its own for each attempt."""
        return self.settings.job_directory / "logs" / self.settings.start_time / LOG_NAME


# ---- checks


def check_fields(fields: Sequence[FieldRow], pipeline: Pipeline) -> tuple[list[Finding], list[FieldRow]]:
    """Return the problems of the columns and values of a table, and the fields without them.

    Wrong are options that do not exist, and values out of range.
    """
    options = {option.name: option for option in pipeline.options}
    findings: list[Finding] = []
    sound = []
    for field in fields:
        checked = {name: _check_cell(name, cell, options, pipeline.composed) for name, cell in field.cells.items()}
        wrong = {name: finding for name, finding in checked.items() if finding}
        findings += wrong.values()
        cells = {name: cell for name, cell in field.cells.items() if name not in wrong and "\n" not in cell.value}
        sound.append(replace(field, cells=cells))
    return list(dict.fromkeys(findings)), sound


def _check_cell(name: str, cell: Cell, options: Mapping[str, Option], parset: Parset) -> Finding | None:
    if name not in parset.definitions() and "." not in name:
        return Finding(cell.header_place, f"no option is called '{name}'{option_hint(name, parset)}")
    if name in options:
        try:
            check_value(cell.value, options[name].domain)
        except ValueError as err:
            return Finding(cell.where, f"{name} is '{cell.value}'; {err}")
    return None


def sort_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings as a reader meets them in the table: by their lines."""

    def line(finding: Finding) -> int:
        number = finding.where.rpartition(":")[2]
        return int(number) if number.isdigit() else 0

    return sorted(findings, key=line)


def check_runs(
    runs: Sequence[FieldRun], common: Sequence[Finding], findings_by_run: Sequence[Sequence[Finding]]
) -> list[Finding]:
    """Return the problems of the pipelines of the fields.

    Problems common to all fields, or of the pipeline itself, come once; problems of a field's values with the place
    of the field.

    Parameters
    ----------
    common: problems without the table.
    findings_by_run: problems of each of the runs.
    """
    of_all = set(common).intersection(*findings_by_run)
    of_fields = [
        Finding(run.field.where, f"{_label(run.field)}{finding}", finding.is_warning)
        for run, findings in zip(runs, findings_by_run, strict=True)
        for finding in findings
        if finding not in of_all
    ]
    of_pairs = _check_directories(runs) or _check_outputs(runs)
    return [finding for finding in common if finding in of_all] + of_fields + of_pairs


def _label(field: FieldRow) -> str:
    return f"field '{field.name}': " if field.name else ""  # a missing name is a finding of the table


def _check_directories(runs: Sequence[FieldRun]) -> list[Finding]:
    directories = {run.field.name: run.settings.job_directory for run in runs}  # duplicate names are reported elsewhere
    if len(set(directories.values())) == len(directories):
        return []
    where = f"{runs[0].settings.config_file}: [layout] job_directory"
    shared = runs[0].settings.job_directory
    return [Finding(where, f"is {shared} for several fields; each needs its own: use %(job_name)s in it")]


def _check_outputs(runs: Sequence[FieldRun]) -> list[Finding]:
    """Return findings for output files shared by two fields, which would overwrite each other."""
    first: dict[str, str] = {}
    findings = []
    for run in runs:
        for path, key in _named_outputs(run.pipeline.steps).items():
            other = first.setdefault(path, run.field.name)
            if other != run.field.name:
                problem = f"{key}: {path} is written by field '{other}' too; give each field a name of its own"
                findings.append(Finding(run.field.where, f"field '{run.field.name}': {problem}"))
    return findings


def _named_outputs(steps: Sequence[Step]) -> dict[str, str]:
    """Return absolute output file -> key, without files in job directories, which differ between fields."""
    return {
        os.path.abspath(name): f"{step.name}.{key}"  # noqa: PTH100 - a link that is there does not count
        for step in steps
        for key, text in _output_texts(step)
        for name in split_list(text)
        if name not in ("", "none", *_words(step)) and ".output." not in name
    }


def _words(step: Step) -> list[str]:
    """Return the words of a step that stand for the entries of its maps, of each field's own."""
    texts = (step.control.get(key, "") for key in ("inputkey", "inputkeys", "outputkey"))
    return [word for text in texts for word in split_list(text)]


def _output_texts(step: Step) -> list[tuple[str, str]]:
    controls = [(f"control.{key}", step.control[key]) for key in OUTPUT_CONTROLS if key in step.control]
    program = KNOWN_PROGRAMS.get(step.given.get("program", ""))
    key = program.output_key if program else step.given.get("outputkey", "")
    return controls + ([(f"argument.{key}", step.arguments[key])] if key in step.arguments else [])


# ---- running


def field_jobs(runs: Sequence[FieldRun], arguments: Sequence[str], field_share: Share) -> list[Job]:
    """Return a job for each field: this program, with the command line's ``arguments``, the field's and its share."""
    return [
        Job(
            name=run.field.name,
            argv=(
                *(sys.executable, "-P", "-m", "lofarpipe.cli", *arguments, *field_share.arguments()),
                *("--of-table", "-j", run.field.name, "--start-time", run.settings.start_time),
                *(f"--set={text}" for text in run.field.assignments()),
            ),
            workdir=Path.cwd(),
            log=run.log,
            gpus=field_share.gpus,
            env=job_environment(is_ours=False),
        )
        for run in runs
    ]


class FieldRuns:
    """Runs fields, reports their progress, and keeps their ends.

    Parameters
    ----------
    runs: the fields.
    say, complain: get a line for each start, end and failure.
    changed: called when a field begins or ends; in the latter case with its result.
    """

    def __init__(
        self,
        runs: Sequence[FieldRun],
        say: Callable[[str], None],
        complain: Callable[[str], None],
        changed: Callable[[JobResult | None], None] = lambda _: None,
    ) -> None:
        self._runs = runs
        self._say, self._complain, self._changed = say, complain, changed
        self._started_s: dict[str, float] = {}
        self._results: dict[str, JobResult] = {}
        self._outcomes: dict[str, Facts] = {}  # of fields that ended
        self._is_over = False

    @property
    def ok(self) -> bool:
        """Whether every field is done."""
        return len(self._results) == len(self._runs) and all(result.ok for result in self._results.values())

    def work(self, jobs: Sequence[Job], at_once: int) -> None:
        """Run all jobs, even if some fail.

        Raises
        ------
        Interrupted
            After a signal; every run has ended its jobs.
        """
        logs = {job.name: job.log for job in jobs}

        def started(start: JobStart) -> None:
            self._started_s[start.name] = start.start_s
            self._say(_timed(f"{start.name}: started; log: {short_path(logs[start.name])}"))
            self._changed(None)

        # One slot per concurrent field: the limits of a run are arguments of the run itself.
        executor = LocalExecutor(Resources(at_once, 1.0, max(job.gpus for job in jobs) * at_once), GRACE_S)
        try:
            executor.run(jobs, self._record_result, started)
        finally:
            self._is_over = True

    def _record_result(self, result: JobResult) -> None:
        self._results[result.name] = result
        run = next(run for run in self._runs if run.field.name == result.name)
        self._outcomes[result.name] = outcome_facts(run.settings.job_directory)
        took = duration_text(result.duration_s)
        if result.ok:
            self._say(_timed(f"{result.name}: done in {took}"))
        else:
            self._complain(
                _timed(f"{result.name}: failed after {took}: {failure_line(result)}; log: {short_path(run.log)}")
            )
        self._changed(result)

    def facts(self) -> list[Facts]:
        """Return how each field goes, for the index."""
        return [self._facts_of(run) for run in self._runs]

    def _facts_of(self, run: FieldRun) -> Facts:
        name, job_directory = run.field.name, run.settings.job_directory
        result = self._results.get(name)
        facts: Facts = {"field": name, "job_directory": str(job_directory), "log": str(run.log), "took_s": None}
        facts |= {"state": self._state(name), "started_s": self._started_s.get(name), "problem": ""}
        if result is None:
            return facts
        problem = "" if result.ok else failure_line(result)
        return facts | self._outcomes[name] | {"took_s": round(result.duration_s, 1), "problem": problem}

    def _state(self, name: str) -> str:
        result = self._results.get(name)
        if result is not None:
            return "done" if result.ok else "failed"
        if name not in self._started_s:
            return "not started" if self._is_over else "waiting"
        return "interrupted" if self._is_over else "running"

    def table(self) -> str:
        """Return one line per field: state, duration, noise, and the image or the problem."""
        return aligned([HEADER, *(_table_row(one) for one in self.facts())])


def _timed(text: str) -> str:
    return f"{time.strftime('%H:%M:%S')} {text}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = ([text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in padded)


def _table_row(one: Facts) -> tuple[str, str, str, str, str]:
    name, state, log = one["field"], one["state"], short_path(Path(one["log"]))
    took = "" if one["took_s"] is None else duration_text(one["took_s"])
    if state == "interrupted":
        return name, state, "", "", f"run again to resume; log: {log}"
    if state == "failed":
        return name, state, took, "", f"{one['problem']}; log: {log}"
    if state != "done":
        return name, state, "", "", ""
    return name, state, took, rms_text(one), short_path(Path(one.get("image") or one["job_directory"]))


def short_path(path: Path) -> str:
    """Return a path as short as it can be typed here."""
    directory = Path.cwd()
    return str(path.relative_to(directory) if path.is_relative_to(directory) else path)


def failure_line(result: JobResult) -> str:
    """Return the first error line of a failed run, else how it ended."""
    error_lines = (line.removeprefix(ERROR).strip() for line in result.output() if line.startswith(ERROR))
    return next(error_lines, result.reason())
