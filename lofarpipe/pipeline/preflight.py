"""Checks before the first job; all findings are shown together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import TypeVar

from lofarpipe.config import Overrides, Settings, checksum_limit_bytes, read_settings
from lofarpipe.errors import CheckFailed, Finding, PipelineError, findings_of
from lofarpipe.executors.factory import make_executor, method_of, unread_parts, unused_sections
from lofarpipe.executors.local.resources import usable_cores
from lofarpipe.jobs import Executor, Resources
from lofarpipe.pipeline.load import Pipeline, check_pipeline, find_parset, load_pipeline
from lofarpipe.pipeline.steps import Step, flattened, references
from lofarpipe.report.html.writer import is_page_enabled
from lofarpipe.report.notify import notify_options
from lofarpipe.report.pipeline_log import logs_to_keep
from lofarpipe.support.data_directories import leap_second_warning, missing_directories, set_data_directories
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.parset import Entry, Parset

T = TypeVar("T")

#: Unlimited resources, for an unknown executor: no job is too large.
BOUNDLESS = Resources(cores=10**6, memory_gb=1e9, gpus=10**6)


@dataclass(frozen=True)
class Reading:
    """The site's settings and the pipeline, as far as readable."""

    settings: Settings
    pipeline: Pipeline
    wrong: tuple[Finding, ...]  # of the settings; fatal even in a lenient run

    def require_valid(self) -> tuple[Settings, Pipeline]:
        """Return settings and pipeline.

        Raises
        ------
        CheckFailed
            If the settings have problems; those of the pipeline are added.
        """
        if self.wrong:
            raise CheckFailed([*self.wrong, *self.pipeline.findings])
        return self.settings, self.pipeline


@dataclass(frozen=True)
class Place:
    """The executor and its machine; after a failure None, and a machine without limits."""

    executor: Executor | None
    machine: Resources
    wrong: tuple[Finding, ...]
    warnings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Survey:
    """A pipeline, its executor, and all findings."""

    settings: Settings
    pipeline: Pipeline
    executor: Executor | None
    wrong: tuple[Finding, ...]  # fatal even in a lenient run
    findings: tuple[Finding, ...]  # fatal unless the run is lenient
    warnings: tuple[Finding, ...]  # never fatal
    is_lent: bool = False  # the executor belongs to the caller, who closes it

    def close(self) -> None:
        """Release the executor."""
        if self.executor is not None and not self.is_lent:
            self.executor.close()

    def require_executor(self) -> Executor:
        """Return the executor.

        Raises
        ------
        CheckFailed
            If any finding is fatal for this run; with all findings.
        """
        if self.executor is None or self.wrong or (self.findings and not self.settings.lenient):
            self.close()
            raise CheckFailed([*self.wrong, *self.findings])
        return self.executor


@dataclass(frozen=True)
class Translation:
    """A front end's translation of a user's file: a parset with each key's line in that file.

    Attributes
    ----------
    path: the user's file; names the run, and relative names in it refer to its directory.
    parset: its keys, set with ``parset.set(key, value, str(path), line)``.
    sections: keys of pipeline.cfg set by the file, such as ``[remote] method``.
    findings, warnings: of the front end; shown with those of the checks.
    again: step to restart from, even if done; "" for none.
    copies: name -> text of the user's files, saved in the job directory.
    """

    path: Path
    parset: Parset
    sections: Mapping[str, Mapping[str, Entry]] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    warnings: Sequence[Finding] = ()
    again: str = ""
    copies: Mapping[str, str] = field(default_factory=dict)


def read(parset: str | Translation, overrides: Overrides, assignments: Sequence[str]) -> Reading:
    """Load the settings and the pipeline of a command line.

    Raises
    ------
    CheckFailed, PipelineError
        If one of them is unreadable; with the problems of the settings.
    """
    set_data_directories()
    if not isinstance(parset, Translation):
        path, field_parset = find_parset(parset), None
        settings, wrong = read_settings(path, overrides)
        warnings: Sequence[Finding] = ()
    else:
        path, field_parset, warnings = parset.path.absolute(), parset.parset, parset.warnings
        settings, wrong = read_settings(path, replace(overrides, sections=parset.sections))
        wrong = [*parset.findings, *wrong]
    wrong += _report_findings(settings)
    pipeline = report_together(wrong, lambda: load_pipeline(path, settings, assignments, field_parset))
    return Reading(settings, replace(pipeline, warnings=(*warnings, *pipeline.warnings)), tuple(wrong))


def report_together(wrong: Sequence[Finding], work: Callable[[], T]) -> T:
    """Return the result of ``work``.

    Raises
    ------
    CheckFailed
        If ``work`` failed and there are other problems; with all of them.
    PipelineError
        If ``work`` failed without other problems.
    """
    try:
        return work()
    except PipelineError as err:
        if wrong:
            raise CheckFailed([*wrong, *findings_of(err)]) from err
        raise


def _report_findings(settings: Settings) -> list[Finding]:
    """Return the problems of [report], [notify] and [logging], otherwise only read during the run."""
    findings = []
    for value in (is_page_enabled, checksum_limit_bytes, logs_to_keep):
        try:
            value(settings)
        except PipelineError as err:
            findings += findings_of(err)
    return [*findings, *notify_options(settings)[1]]


def place_of(settings: Settings) -> Place:
    """Return the executor, and the problems of its settings."""
    executor = None
    try:
        executor = make_executor(settings)
        count = len(executor.notices)
        machine = executor.capacity()
        warnings = [Finding("this run", executor.notices.pop(count), True) for _ in executor.notices[count:]]
        return Place(executor, machine, (), tuple(warnings))
    except PipelineError as err:
        if executor is not None:
            executor.close()
        return Place(None, BOUNDLESS, tuple(findings_of(err)))


def survey(reading: Reading, lent: Executor | None = None) -> Survey:
    """Run all checks before the first job; ``lent`` is an executor owned by the caller."""
    place = place_of(reading.settings) if lent is None else Place(lent, lent.capacity(), ())
    findings = pipeline_findings(reading.pipeline, reading.settings, place)
    too_many = core_warnings(reading.pipeline.steps, reading.settings, place.machine)
    return Survey(
        settings=reading.settings,
        pipeline=reading.pipeline,
        executor=place.executor,
        wrong=(*reading.wrong, *place.wrong),
        findings=tuple(finding for finding in findings if not finding.is_warning),
        warnings=(
            *all_warnings(reading),
            *place.warnings,
            *too_many,
            *(finding for finding in findings if finding.is_warning),
        ),
        is_lent=lent is not None,
    )


def pipeline_findings(pipeline: Pipeline, settings: Settings, place: Place) -> list[Finding]:
    """Return the findings and warnings on a pipeline on its executor."""
    findings = check_pipeline(pipeline, settings, place.machine)
    unread = _unread_findings(pipeline, settings)
    return [*_environment_findings(), *unread, *findings, *partition_findings(pipeline.steps, place.executor)]


def _unread_findings(pipeline: Pipeline, settings: Settings) -> list[Finding]:
    """Return the parts of the configuration used by neither the runner nor the parset."""
    unread = unread_parts(settings)
    texts = [entry.value for entry in pipeline.composed.entries()] if unread else []
    pairs = {pair for text in texts for pair in references(text)}
    sections = {name for name, _ in pairs}
    keys = {key for _, key in pairs}
    return [one for section, key, one in unread if (key not in keys if key else section not in sections)]


def _environment_findings() -> list[Finding]:
    """Return the problems of variables with table directories; programs would only name a missing table."""
    remedy = "unset it, for the tables of the installed packages, or name a directory that is there"
    return [
        Finding("environment", f"{name}={value}: there is no such directory; {remedy}")
        for name, value in missing_directories().items()
    ]


def all_warnings(reading: Reading) -> list[Finding]:
    """Return notes for the user, never fatal."""
    stale = [Finding("casacore", text)] if (text := leap_second_warning()) else []
    return [*reading.pipeline.warnings, *unused_sections(reading.settings), *stale]


def core_warnings(steps: Sequence[Step], settings: Settings, machine: Resources) -> list[Finding]:
    """Return warnings of requests for more cores than available, which are slow but valid.

    ``machine`` is the largest possible job: of this machine, or of the nodes that run the jobs.
    """
    if method_of(settings) != "local":
        return [*_large_steps(steps, machine.cores, "the largest node has", PARTITION)]
    core_count = usable_cores()
    request = f"cores = {settings.cores} of [remote], or --cores"
    problem = (
        f"{request}: this machine has {core_count}; programs get more threads than there are cores, "
        "which slows them down"
    )
    run = [Finding("this run", problem)] if settings.cores > core_count else []
    return [*run, *_large_steps(steps, min(core_count, machine.cores), "the run has")]


def _large_steps(steps: Sequence[Step], core_count: int, owner: str, spared: str = "") -> Iterator[Finding]:
    """Yield a finding for each step with larger requests, except steps with the control key ``spared``."""
    for step in flattened(steps):
        text = step.given.get("cores", "").strip()
        if text.isdecimal() and int(text) > core_count and not step.given.get(spared):
            problem = (
                f"is {text}, and {owner} {core_count}; "
                "its jobs run one at a time, with more threads than there are cores"
            )
            yield Finding(step.where("control.cores"), problem)


PARTITION = "partition"


def partition_findings(steps: Sequence[Step], executor: Executor | None) -> Iterator[Finding]:
    """Yield missing partitions, and requests that exceed their partition."""
    for step in flattened(steps):
        name = step.given.get(PARTITION, "")
        if executor is None or not name or references(name):
            continue
        try:
            largest = executor.capacity(name)
        except PipelineError as err:
            yield Finding(step.where(f"control.{PARTITION}"), str(err))
            continue
        for key, capacity in (("memory_gb", largest.memory_gb), ("gpus", largest.gpus)):
            amount = _plain_number(step.given.get(key, ""))
            if amount > capacity + 1e-7:
                problem = f"is '{amount:g}'; the nodes of partition '{name}' have {capacity:.3g} at most; ask for less"
                yield Finding(step.where(f"control.{key}"), problem)


def _plain_number(text: str) -> float:
    """Return the number in a text; 0 if invalid, which is reported elsewhere."""
    try:
        return float(text)
    except ValueError:
        return 0.0
