"""Execution of the pending jobs of one step, with a record of each start and end, and retries."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from lofarpipe.config import Settings
from lofarpipe.engine.job_builder import PlannedJob, add_disk_estimate
from lofarpipe.errors import WARNING, PipelineError, list_names
from lofarpipe.executors.local.process import write_end
from lofarpipe.jobs import Executor, Interrupted, Job, JobResult, JobStart, executor_name
from lofarpipe.state.events import MILLISECONDS, JobDone, JobStarted, Stamps, step_of
from lofarpipe.state.fingerprints import fingerprint, named_files, texts
from lofarpipe.state.former_outputs import FormerOutputs, remove, settle_former_outputs
from lofarpipe.state.identity import Identity, identity_program, mark_of, without_program
from lofarpipe.state.jobs import LOCAL, JobKey, JobLedger, UnsafeJobs, changed_paths
from lofarpipe.state.journal import Stream
from lofarpipe.state.uptodate import StepStart, text_of
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.processes import start_ticks
from lofarpipe.support.utilities import append_whole, few_files, files_of, printable, write_atomically

LONGEST_LINE = 500  # characters shown of a line in a log


def write_job_files(jobs: Sequence[PlannedJob]) -> None:
    """Write the input files of the jobs, make their output directories, and remove results of an earlier try."""
    for planned in jobs:
        if planned.outputs is not None:
            planned.outputs.parent.mkdir(parents=True, exist_ok=True)
        for path, text in planned.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text)
        if planned.result is not None:
            planned.result.unlink(missing_ok=True)


class CommandFile:
    """The command file, one line for each job: of the steps so far in order, then of later steps.

    Stale entries of an earlier run are removed when this run reaches their step, or ends.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names: dict[str, None] = {}  # jobs so far, as an ordered set
        self._to_come: set[str] | None = None  # jobs in the file of an earlier run

    def note(self, jobs: Sequence[PlannedJob], pending: Sequence[PlannedJob]) -> None:
        """Write the commands of the ``pending`` jobs of a step; finished jobs keep theirs."""
        is_new = self._names.keys().isdisjoint(planned.job.name for planned in jobs)
        is_last = not self._record_jobs(jobs)
        if is_new and is_last and len(pending) == len(jobs):
            append_whole(self._path, "".join(f"{line}\n" for line in job_commands(pending)))
        else:
            self._rewrite(job_commands(pending))

    def keep_commands(self, jobs: Sequence[PlannedJob]) -> None:
        """Keep the commands of a step that is not run again."""
        self._record_jobs(jobs)

    def finish(self) -> None:
        """Remove entries of jobs that the run did not reach."""
        if self._to_come:
            self._to_come = set()
            self._rewrite([])

    def _record_jobs(self, jobs: Sequence[PlannedJob]) -> bool:
        """Record the jobs of a step; return whether the file has other jobs of it from an earlier run."""
        names = [planned.job.name for planned in jobs]
        if self._to_come is None:
            self._to_come = {_name(line) for line in _lines(self._path)}
        had_more = bool(self._to_come)
        steps = tuple({f"{name.rpartition('/')[0]}/" for name in names})
        self._to_come = {name for name in self._to_come if not name.startswith(steps)} if names else self._to_come
        self._names |= dict.fromkeys(names)
        return had_more

    def _rewrite(self, new: Sequence[str]) -> None:
        lines = {_name(line): line for line in [*_lines(self._path), *new]}
        to_come = [name for name in lines if name in (self._to_come or ()) and name not in self._names]
        ordered_lines = [lines[name] for name in [*self._names, *to_come] if name in lines]
        write_atomically(self._path, "".join(f"{line}\n" for line in ordered_lines))


def _name(line: str) -> str:
    return line.partition(": ")[0]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if path.is_file() else []


def job_commands(jobs: Sequence[PlannedJob]) -> list[str]:
    """Return ``<step>/<index>: <command>`` for each job, in shell syntax."""
    return [f"{planned.job.name}: {shlex.join(planned.job.argv)}" for planned in jobs]


def failure_text(step: str, jobs: Sequence[PlannedJob], results: Sequence[JobResult], failed: Mapping[str, str]) -> str:
    """Return the error message of a step: failed jobs, end and path of the first log, command to repeat the job."""
    planned, result = next(pair for pair in zip(jobs, results, strict=True) if pair[1].name in failed)
    lines = [
        f"step '{step}': {len(failed)} of {len(jobs)} jobs failed: {result.name} ({few_files(planned.job.label)})"
        f" {failed[result.name]}",
        *_last_lines(result),
        f"To repeat this job by hand: {planned.job.command_line()}",
        "Run the same command again to resume at this step.",
    ]
    return "\n".join(lines)


def failure_lines(jobs: Sequence[PlannedJob], results: Sequence[JobResult], failed: Mapping[str, str]) -> list[str]:
    """Return a line for each failed job: product, reason and log."""
    pairs = zip(jobs, results, strict=True)
    return [
        f"{result.name} ({', '.join(filter(None, [few_files(planned.job.label), planned.subject]))})"
        f" {_add_last_line(failed[result.name], result)}; log: {result.log}"
        for planned, result in pairs
        if result.name in failed
    ]


def _add_last_line(reason: str, result: JobResult) -> str:
    """Return the reason of a failure; for a bare exit code with the last line of the log."""
    last = result.tail(1) if reason == result.reason() else []
    return f"{reason}: {printable(last[0])[:LONGEST_LINE]}" if last else reason


def _last_lines(result: JobResult) -> list[str]:
    tail = [f"    {printable(line)[:LONGEST_LINE]}" for line in result.tail(10)]
    return [f"Last lines of {result.log}:", *tail] if tail else [f"It said nothing; its log: {result.log}"]


Outputs = dict[str, object]


class RemovedInputs(PipelineError):  # noqa: N818 - names a condition
    """Inputs of a step made by earlier jobs are gone; ``jobs`` maps each such job to one of the files."""

    def __init__(self, step: str, inputs: Mapping[str, str]) -> None:
        self.step = step
        self.jobs = {job: path for path, job in sorted(inputs.items(), reverse=True)}
        summary = f"{min(inputs)} is gone, one of {len(inputs)} inputs that jobs of earlier steps made"
        super().__init__(f"step '{step}': {summary}; look at the logs of {list_names(sorted(self.jobs))}")


WARNING_LINES = 200


class Plan(Protocol):
    """The plan of a step with jobs, made by its kind."""

    @property
    def jobs(self) -> Sequence[PlannedJob]: ...
    @property
    def identity(self) -> Identity: ...  # a finished step with an equal identity is not run again
    @property
    def error_tolerance(self) -> bool: ...
    @property
    def skips_failed(self) -> bool: ...  # products of failed jobs stay skipped in the next run
    @property
    def repeatable(self) -> bool: ...  # changing an input twice is harmless
    @property
    def retries(self) -> int: ...  # of a failed job
    @property
    def warns_of_disk(self) -> bool: ...  # only warns of lack of disk space
    def failure_of(self, result: JobResult) -> str | None: ...  # reason, or None
    def complete(self, planned: PlannedJob, result: JobResult) -> str | None: ...  # finalizes outputs; problem, or None
    def job_identity(self, planned: PlannedJob) -> Identity: ...
    def outputs_of(self, planned: PlannedJob) -> Sequence[str]: ...  # paths
    def changed_inputs(self, planned: PlannedJob) -> Sequence[str]: ...  # inputs damaged by a partial change
    def products_of(self, planned: PlannedJob) -> Sequence[str]: ...  # possible output paths of a known program
    def label_of(self, planned: PlannedJob) -> str: ...
    def retry_job(self, planned: PlannedJob, problem: str) -> PlannedJob | None: ...  # a replacement
    def numbered(self, numbers: Mapping[int, int]) -> Plan: ...  # copy; map index -> job number


def job_keys(plan: Plan) -> Iterator[JobKey]:
    """Yield the marks that identify the jobs of a step in the journal."""
    for planned in plan.jobs:
        changes = partial(plan.changed_inputs, planned)
        yield JobKey(planned.place, mark_of(plan.job_identity(planned)), plan.label_of(planned), changes)


@dataclass
class StepJobs:
    """The jobs of one step.

    Attributes
    ----------
    finished_jobs: job name in the journal -> end event, of jobs done by an earlier run and still valid.
    pending: jobs that have to run.
    removed_jobs: names in the journal of former jobs of the step.
    results: results of all jobs in order, after they have run.
    failed: reasons of failed jobs.
    """

    step: str  # name of the step
    plan: Plan
    executor: Executor
    ledger: JobLedger
    entry: str = field(init=False)  # the name of the step in the journal
    finished_jobs: Mapping[str, JobDone] = field(init=False)
    pending: list[PlannedJob] = field(init=False)
    removed_jobs: list[str] = field(init=False)
    results: list[JobResult] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    began_s: float = field(default_factory=time.monotonic)
    _start: StepStart = field(init=False)
    _stamps_before: dict[str, dict[str, str | None]] = field(default_factory=dict)
    _results: dict[str, JobResult] = field(default_factory=dict)
    _tries: Counter[tuple[str, bool]] = field(default_factory=Counter)
    _again: list[PlannedJob] = field(default_factory=list)
    _makes: dict[str, set[str]] = field(init=False)  # job -> possible outputs that did not exist when it began
    _former_outputs: dict[str, list[str]] = field(default_factory=dict)  # by job name in the journal

    def __post_init__(self) -> None:
        self.entry = self.ledger.entry
        self._planned = {planned.job.name: planned for planned in self.plan.jobs}
        entries = {job_entry(self.entry, planned.job): planned for planned in self.plan.jobs}
        pending = self.ledger.pending(list(entries), lambda entry: self.plan.job_identity(entries[entry]))
        self.pending = [planned for entry, planned in entries.items() if entry in pending]
        work = self.ledger.ledger.work
        self.finished_jobs = {
            job: end for job in entries if job not in pending and (end := work.last_job(job)) is not None
        }
        starts = {planned.job.name: work.open_jobs.get(entry) for entry, planned in entries.items()}
        self._makes = {name: set(opened.start.makes) for name, opened in starts.items() if opened}
        self.removed_jobs = [job for job in work.known_jobs(self.entry) if job not in entries]

    @property
    def _stream(self) -> Stream:
        return self.ledger.ledger.stream

    @property
    def _settings(self) -> Settings:
        return self.ledger.ledger.settings

    def refuse_unsafe_inputs(self) -> None:
        """Refuse inputs left half-changed by interrupted jobs.

        Raises
        ------
        PipelineError
            If an input has changed, and the step is not repeatable.
        """
        unsafe = UnsafeJobs(self._stream.state.work, self.entry, self.step)
        changed = {job_entry(self.entry, p.job): self.plan.changed_inputs(p) for p in self.pending}
        for notice in unsafe.check_inputs(changed, self.plan.repeatable):
            self._stream.notice(notice)

    def removed_inputs(self, by_us_alone: bool = False) -> dict[str, str]:
        """Return missing inputs of pending jobs -> the job of an earlier step that wrote each.

        A later step or the run itself may have removed them as unneeded.

        Parameters
        ----------
        by_us_alone: count only files removed by the run itself; a step of a loop may remove any file.
        """
        work, owners_by_path = self.ledger.ledger.work, {}
        removed = self._stream.state.removed
        for planned in self.pending:
            names = self.ledger.named_and_listed_paths(self.plan.job_identity(planned))
            for path in names & removed.keys() if by_us_alone else names:
                owner = work.owners.get(path, "")
                is_of_others = owner and self.entry not in (step_of(owner), work.writer_of(path))
                if is_of_others and not os.path.lexists(path):
                    owners_by_path[path] = owner
        return owners_by_path

    def input_fingerprints(self, start: StepStart) -> dict[str, Stamps]:
        """Return the fingerprints of inputs that jobs will change, as they were before the first job.

        Interrupted former jobs of the step are included: a later pipeline may have them again.
        """
        self._start = start
        stamps: dict[str, Stamps] = {}
        changed_paths = {path for planned in self.pending for path in self.plan.changed_inputs(planned)}
        for planned in self.pending:
            inputs = {path: start.stamps.get(path) for path in self.plan.changed_inputs(planned)}
            if inputs:
                stamps[job_entry(self.entry, planned.job)] = inputs
            self._stamps_before[planned.job.name] = {**dict.fromkeys(self._missing_outputs(planned, start)), **inputs}
        return {**UnsafeJobs(self._stream.state.work, self.entry, self.step).unsettled_inputs(changed_paths), **stamps}

    def _missing_outputs(self, planned: PlannedJob, start: StepStart) -> list[str]:
        """Return the possible outputs of a job: its outputs, and named files that do not exist."""
        outputs = set(self.plan.outputs_of(planned))
        workdir = planned.job.workdir
        candidates = named_files(planned.arguments, workdir) - set(
            map(str, (workdir, *workdir.parents, planned.job.tempdir))
        )
        paths = sorted(outputs | candidates)
        return [path for path in paths if path not in start.stamps and not os.path.lexists(path)]

    def run(self) -> None:
        """Run the pending jobs."""
        self.executor.on_notice = self._report_notices  # notices while waiting are reported at once
        self._set_aside()
        try:
            self._run_pending()
        except BaseException as err:
            if executor_name(self.executor) == LOCAL or (isinstance(err, Interrupted) and not err.problem):
                for planned in self.pending:
                    settle_former_outputs(self._stream, job_entry(self.entry, planned.job))
            raise
        for planned in self.plan.jobs:
            done = self.finished_jobs.get(job_entry(self.entry, planned.job))
            self.results.append(self._results[planned.job.name] if done is None else recorded_result(planned, done))

    def _run_pending(self) -> None:
        pending = self.pending
        while pending:
            jobs = [replace(planned.job, mark=self._mark(planned)) for planned in pending]
            self._again = []
            for result in self.executor.run(jobs, self._note_end, self._note_start):
                self._results[result.name] = result
            self._report_notices()
            pending = self._again

    def _set_aside(self) -> None:
        """Set outputs of earlier runs aside before the jobs; a lenient run overwrites them."""
        if self._settings.lenient:
            return
        jobs = {job_entry(self.entry, planned.job): planned for planned in self.pending}
        former = FormerOutputs(self._stream, self.entry)
        self._former_outputs = former.outputs_by_job()
        in_the_way = former.find_for_jobs(
            {job: planned.job for job, planned in jobs.items()},
            lambda job: self.ledger.names(self.plan.job_identity(jobs[job])),
            self.finished_jobs,
        )
        for job, paths in in_the_way.items():
            former.set_aside(job, paths)

    def _mark(self, planned: PlannedJob) -> str:
        """Return a digest of a job's inputs: a job order of a killed run is valid only for equal inputs."""
        identity = self.plan.job_identity(planned)
        outputs = {*self.plan.outputs_of(planned), *self._former_outputs.get(job_entry(self.entry, planned.job), ())}
        stamps = self._start.stamps
        inputs = {name: stamps[name] for name in self.ledger.names(identity) if name in stamps and name not in outputs}
        return fingerprint(
            [without_program(identity), identity_program(identity), self.ledger.depends(identity), inputs]
        )

    def _note_start(self, start: JobStart) -> None:
        planned = self._planned[start.name]
        job = planned.job
        outputs = [path for path in self.plan.outputs_of(planned) if path in self._stamps_before[start.name]]
        makes = [path for path in self.plan.products_of(planned) if not os.path.lexists(path)]
        self._makes.setdefault(start.name, set()).update(makes)
        event = JobStarted(
            self.entry,
            job_entry(self.entry, job),
            node=start.node,
            pid=start.pid,
            ticks=start_ticks(start.pid) if start.node == os.uname().nodename else None,
            start_s=round(start.start_s, MILLISECONDS),
            label=job.label,
            log=str(job.log),
            cores=job.cores,
            memory_gb=job.memory_gb,
            gpus=job.gpus,
            tempdir=str(job.tempdir) if job.tempdir else None,
            stage=str(job.staged.directory) if job.staged else None,
            landing=str(job.staged.landing) if job.staged and job.staged.landing else None,
            outputs=outputs,
            makes=makes,
            before=self._stamps_before[start.name],
        )
        self._stream.emit(event)

    def _note_end(self, result: JobResult) -> None:
        self._report_notices()
        planned = self._planned[result.name]
        reason = self.plan.failure_of(result) or self.plan.complete(planned, result)
        if result.is_lost:  # its executor cannot report it any more
            write_end(result.log, result.reason())
        if reason is not None:
            reason = add_disk_estimate(reason, planned, result)
        self._tries[result.name, result.is_lost] += 1
        tries = self._tries[result.name, True] + self._tries[result.name, False]
        limit = self._settings.lost_retries if result.is_lost else self.plan.retries
        again = reason is not None and self._tries[result.name, result.is_lost] <= limit
        changed = self._modified_inputs(planned) if reason and result.is_lost and not self.plan.repeatable else []
        if changed:
            again, reason = False, f"{reason}; it had begun to change {', '.join(changed)}, and is not run again"
        is_first = reason is not None and tries == 1 and not result.is_lost
        second = self.plan.retry_job(planned, reason) if reason and is_first else None
        again = again or second is not None
        if again:
            result = replace(result, log=set_aside(result.log, tries))
        end = job_done(self.entry, planned, result, reason, tries, again)
        if reason is not None and not again:
            self.failed[result.name] = reason
        products = partial(self._products, planned)
        self.ledger.record(self.plan.job_identity(planned), self._start.stamps, products, end)
        if again:
            self._again.append(second or planned)
            self._stream.notice(f"{result.name} {reason}; it is run again; log of this try: {result.log}")
        else:
            self._clear(result)
            settle_former_outputs(self._stream, end.job)
            for warning in script_warnings(result) if planned.result is not None else []:
                self._stream.warning(f"{self.step}: {warning}")

    def _clear(self, result: JobResult) -> None:
        """Remove incomplete files of failed or interrupted tries of an ended job."""
        for path in self._makes.get(result.name, ()) if not result.is_lost else ():
            if path not in self._stream.state.work.owners:
                remove(path)

    def _products(self, planned: PlannedJob) -> Iterable[str]:
        """Return the possible outputs of a job without staging.

        For a script: its results; for a known program: the possible outputs of its command.
        """
        if planned.job.staged or self._settings.lenient:
            return []
        return self.plan.products_of(planned) or _returned(planned)

    def _report_notices(self) -> None:
        notices = self.executor.notices
        for notice in [notices.pop(0) for _ in range(len(notices))]:
            self._stream.notice(notice)

    def _modified_inputs(self, planned: PlannedJob) -> list[str]:
        """Return the inputs of a job that it changes and that differ from their state before the step."""
        return changed_paths({path: self._start.stamps.get(path) for path in self.plan.changed_inputs(planned)})


def job_entry(entry: str, job: Job) -> str:
    """Return the name of a job in the journal: step with loop counters, and job number."""
    return f"{entry}/{job.name.rpartition('/')[2]}"


def job_done(
    entry: str, planned: PlannedJob, result: JobResult, problem: str | None, attempt: int = 1, again: bool = False
) -> JobDone:
    """Return the end event of a job, with the results of its script."""
    returned = text_of(str(planned.result)) if planned.result is not None and problem is None else None
    return JobDone(
        entry,
        job_entry(entry, planned.job),
        exit_code=result.exit_code,
        start_s=round(result.start_s, MILLISECONDS),
        duration_s=round(result.duration_s, MILLISECONDS),
        cpu_s=round(result.cpu_s, MILLISECONDS),
        max_rss_mb=round(result.max_rss_mb, 1),
        memory_gb=result.memory_gb,
        node=result.node or os.uname().nodename,
        log=str(result.log),
        label=result.label,
        problem=problem,
        is_lost=result.is_lost,
        attempt=attempt,
        made=list(result.outputs),
        returned=returned,
        result=result,
        is_tried_again=again,
    )


def recorded_result(planned: PlannedJob, end: JobDone) -> JobResult:
    """Return the recorded result of a finished job, with the results of its script."""
    if planned.result is not None and end.returned != text_of(str(planned.result)):
        planned.result.unlink(missing_ok=True)
        if end.returned is not None:
            planned.result.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(planned.result, end.returned)
    job = planned.job
    return JobResult(
        name=job.name,
        exit_code=end.exit_code or 0,
        start_s=end.start_s or 0.0,
        duration_s=end.duration_s or 0.0,
        cpu_s=end.cpu_s or 0.0,
        max_rss_mb=end.max_rss_mb or 0.0,
        log=Path(end.log or job.log),
        argv=job.argv,
        host=job.host,
        label=job.label,
        node=end.node,
        memory_gb=end.memory_gb,
        outputs=tuple(end.made),
    )


def _returned(planned: PlannedJob) -> list[str]:
    """Return the paths among the results of a script."""
    returned = json.loads(text) if planned.result and (text := text_of(str(planned.result))) else {}
    return [name for value in texts(returned) for name in files_of(value)]


def set_aside(log: Path, attempt: int) -> Path:
    """Rename the log of a try to save it from the next one; return its new name."""
    aside = log.with_suffix(f".try{attempt}{log.suffix}")
    try:
        return log.rename(aside)
    except OSError:  # no log was written
        return log


def script_warnings(result: JobResult) -> list[str]:
    """Return the lines of a script's log that begin with ``WARNING: ``."""
    return [line.removeprefix(WARNING) for line in result.tail(WARNING_LINES) if line.startswith(WARNING)]
