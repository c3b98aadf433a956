"""Execution and recording of the jobs of a step: the other half of a run's loop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from lofarpipe import __version__
from lofarpipe.config import Settings
from lofarpipe.engine.job_builder import PlannedJob, refuse_without_room
from lofarpipe.engine.kinds import Scope
from lofarpipe.engine.step_jobs import CommandFile, Outputs, Plan, RemovedInputs, StepJobs, write_job_files
from lofarpipe.errors import PipelineError, counted
from lofarpipe.executors.local.process import MARKER, expanded_directory, remove_directory, send_signal, session_members
from lofarpipe.executors.local.signals import guardians
from lofarpipe.jobs import Executor, Interrupted, executor_name
from lofarpipe.pipeline.control import REMOVAL_KEYS, list_items
from lofarpipe.pipeline.load import Pipeline, known_outputs
from lofarpipe.pipeline.steps import Step, flattened, resolve_known
from lofarpipe.report.terminal import decimal_size_text
from lofarpipe.state.events import RunEnded, RunStarted, StepFailed, StepSkipped, StepStarted, step_of
from lofarpipe.state.fingerprints import named_paths
from lofarpipe.state.intermediates import Patterns, patterns_of, removable, remove_files
from lofarpipe.state.jobs import LOCAL, JobLedger, is_dead, is_local
from lofarpipe.state.lock import OutputClaim
from lofarpipe.state.uptodate import Ledger, StepStart
from lofarpipe.state.work import OpenJob
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.processes import boot_id, carrying, start_ticks
from lofarpipe.support.utilities import remove_unfinished

NAMED = 5  # jobs in a warning


class Crew(Protocol):
    """Everything a run does besides planning."""

    def prepare(self) -> None:
        """Prepare for the first step."""

    def skip_step(self, step: Step, plan: Plan) -> None:
        """Report a step that is up to date and not run again."""

    def run(self, step: Step, jobs: StepJobs) -> None:
        """Run the pending jobs."""

    def record(self, jobs: StepJobs, outputs: Outputs) -> None:
        """Record that the step of these jobs is done."""

    def accept_failure(self, step: Step, error: Exception) -> bool:
        """Whether the run continues after a failed step."""

    def remove_intermediates(self, steps: Sequence[Step]) -> None:
        """Remove intermediate outputs that no later step needs."""

    def finish(self) -> None:
        """Clean up after the last step."""


class WorkingCrew:
    """Runs jobs with the executor of a run, records and reports them."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._commands = CommandFile(scope.settings.job_directory / "commands.txt")
        self._start: StepStart | None = None
        self._removed_with: Patterns | None = None  # removable outputs; None: not looked up yet
        self._is_local = executor_name(scope.executor) == LOCAL

    def prepare(self) -> None:
        """Make the directories for maps, parsets and outputs of jobs; remove stale files of a killed run in them."""
        settings = self._scope.settings
        directories: tuple[Path, ...] = (settings.mapfile_dir, settings.parset_dir, settings.job_workdir)
        for directory in directories:
            directory.mkdir(parents=True, exist_ok=True)
        StaleOutputs(self._scope.ledger, self._scope.stream.notice).remove()
        if self._is_local:
            mark_processes(settings.job_directory)
        remove_unfinished([*directories, settings.job_directory, *settings.job_directory.glob("jobs/*")])

    def skip_step(self, step: Step, plan: Plan) -> None:
        """Report that a step is up to date, and its failed jobs."""
        self._scope.stream.emit(StepSkipped(self._scope.entry(step), len(plan.jobs)))
        self._commands.keep_commands(plan.jobs)
        self._warn_of_failures(step)

    def _warn_of_failures(self, step: Step) -> None:
        """Report the failed jobs of a step that is not run again."""
        work, entry = self._scope.ledger.work, self._scope.entry(step)
        failed = [end.job for end in work.jobs_ended(entry) if end.problem is not None]
        done = work.last_done(entry)
        if failed and done is not None and done.failed:
            subject = (
                "one job failed, and its product is" if len(failed) == 1 else "jobs failed, and their products are"
            )
            self._scope.stream.warning(
                f"{step.name}: {subject} still skipped: {', '.join(failed[:NAMED])}"
                f"{' ...' if len(failed) > NAMED else ''}; --forget {failed[0]} lets it run again"
            )

    def run(self, step: Step, jobs: StepJobs) -> None:
        """Record the start of a step, and run its pending jobs.

        Raises
        ------
        RemovedInputs
            If inputs of these jobs were removed, by a later step or as unneeded.
        PipelineError
            If the jobs cannot be run.
        """
        if not self._scope.settings.lenient and (removed := jobs.removed_inputs(bool(self._scope.loops))):
            raise RemovedInputs(step.name, removed)
        jobs.refuse_unsafe_inputs()
        self._begin(step, jobs)
        for notice in notices_of(jobs.pending):
            self._scope.stream.notice(f"step '{step.name}': {notice}")
        try:
            refuse_without_room(step.name, jobs.pending, self._scope.executor.capacity(), self._is_local)
        except PipelineError as err:
            if not jobs.plan.warns_of_disk:
                raise
            self._scope.stream.warning(str(err))
        write_job_files(jobs.pending)
        with claim_outputs(jobs, self._scope.settings.job_directory):
            self._commands.note(jobs.plan.jobs, jobs.pending)
            jobs.run()

    def _begin(self, step: Step, jobs: StepJobs) -> None:
        self._start = self._scope.ledger.fingerprint_step(jobs.entry, jobs.plan.identity, jobs.finished_jobs.values())
        unsafe = jobs.input_fingerprints(self._start)
        counts = (len(jobs.plan.jobs), len(jobs.finished_jobs))
        self._scope.stream.emit(StepStarted(jobs.entry, step.type or step.kind, *counts, jobs.removed_jobs, unsafe))

    def record(self, jobs: StepJobs, outputs: Outputs) -> None:
        """Record that a step is done."""
        if self._start is not None:
            counts = (len(jobs.plan.jobs), len(jobs.failed))
            self._scope.ledger.finish(self._start, outputs, *counts, round(time.monotonic() - jobs.began_s, 3))

    def accept_failure(self, step: Step, error: Exception) -> bool:
        """Record a failed step, and end the run unless the step is optional.

        For a loop or a sub-pipeline, the inner step has reported the failure.
        """
        if step.kind not in ("loop", "pipeline"):
            with contextlib.suppress(PipelineError):  # a full disk must not hide the reason of the failure
                self._scope.stream.emit(StepFailed(self._scope.entry(step), str(error)))
        if step.is_optional:
            reason = str(error).partition("\n")[0].removeprefix(f"step '{step.name}': ")
            self._scope.failed_optional[step.name] = f"{step.name}: {reason}"
            self._scope.stream.warning(f"{step.name}: the run goes on without this optional step: {reason}")
        return step.is_optional

    def remove_intermediates(self, steps: Sequence[Step]) -> None:
        """Remove intermediate outputs that no later step needs."""
        scope = self._scope
        if self._removed_with is None:
            self._removed_with = patterns_of(intermediate_outputs(scope.pipeline, scope.settings), scope.pipeline.keep)
        # Of a step that this run has not reached yet, later steps cannot be asked what they need.
        patterns = {step: wanted for step, wanted in self._removed_with.items() if step in scope.results}
        paths = removable(scope.ledger.work, patterns) if patterns else []
        if paths and (removed := unneeded_paths(paths, flattened(steps), scope)):
            size = decimal_size_text(remove_files(scope.stream, removed))
            summary = f"{counted(len(removed), 'file')} ({size}), which no later step needs"
            scope.stream.notice(f"removed: {summary} (keep = {scope.pipeline.keep})")

    def finish(self) -> None:
        """Remove commands of steps that the run did not reach from the command file."""
        self._commands.finish()


@contextlib.contextmanager
def claim_outputs(jobs: StepJobs, job_directory: Path) -> Iterator[None]:
    """Claim the outputs of pending jobs in directories chosen by the user, against other runs.

    Stale claims of a killed run on outputs of finished jobs are removed.

    Raises
    ------
    PipelineError
        If another run is writing one of them.
    """
    with contextlib.ExitStack() as claims:
        for planned in jobs.pending:
            if planned.outputs is not None:
                claims.callback(OutputClaim(planned.outputs, job_directory).release)
        for outputs in {planned.outputs for planned in jobs.plan.jobs} - {planned.outputs for planned in jobs.pending}:
            if outputs is not None and OutputClaim.path_of(outputs).exists():
                with contextlib.suppress(PipelineError):  # held by a live run
                    OutputClaim(outputs, job_directory).release()
        yield


def intermediate_outputs(pipeline: Pipeline, settings: Settings) -> dict[str, dict[str, list[str]]]:
    """Return value of ``keep`` -> step -> patterns of removable outputs."""
    outputs = known_outputs(pipeline, settings)
    patterns_by_level: dict[str, dict[str, list[str]]] = {}
    for level, key in REMOVAL_KEYS.items():
        texts = {step.name: step.given.get(key, "") for step in flattened(pipeline.steps) if step.kind == "recipe"}
        patterns = {name: list_items(resolve_known(text, outputs)) for name, text in texts.items() if text}
        patterns_by_level[level] = {name: items for name, items in patterns.items() if items}
    return {level: steps for level, steps in patterns_by_level.items() if steps}


def unneeded_paths(paths: Sequence[str], steps: Iterable[Step], scope: Scope) -> list[str]:
    """Return the paths that no step names, in its keys or in its input maps.

    A step may also name a directory, or a prefix of file names, such as WSClean's image name.
    """
    ledger = scope.ledger
    texts = [resolve_known(text, scope.results) for step in steps for text in step_texts(step)]
    names = named_paths(texts, scope.settings.job_workdir)
    needed = {name for name in names | ledger.listed_in_maps(names) if not ledger.is_common(name)}
    return [path for path in paths if not any(path[:length] in needed for length in range(1, len(path) + 1))]


def step_texts(step: Step) -> list[str]:
    """Return the values of a step that may name files."""
    return [*step.given.values(), *step.arguments.values(), *step.positionals]


def notices_of(jobs: Sequence[PlannedJob]) -> list[str]:
    """Return the distinct notices about jobs before they run."""
    return list(dict.fromkeys(notice for planned in jobs for notice in planned.notices))


def run_started(
    job_name: str,
    job_directory: Path,
    pipeline: Pipeline,
    executor: Executor,
    intermediate: Mapping[str, Patterns] | None = None,
) -> RunStarted:
    """Return the event of a started run: pipeline, host, process, configuration."""
    capacity = executor.capacity()
    return RunStarted(
        job=job_name,
        parset=str(pipeline.path),
        version=__version__,
        host=socket.gethostname(),
        pid=os.getpid(),
        boot=boot_id(),
        executor=executor_name(executor),
        steps=[step.name for step in flattened(pipeline.steps)],
        cores=capacity.cores,
        memory_gb=capacity.memory_gb,
        gpus=capacity.gpus,
        argv=sys.argv,
        intermediate=intermediate or {},
        job_directory=job_directory,
        step_count=len(pipeline.steps),
    )


def run_ended(job_name: str, error: BaseException) -> RunEnded:
    """Return the event of an interrupted run."""
    if isinstance(error, KeyboardInterrupt):
        return RunEnded(False, "interrupted; run again to resume", int(signal.SIGINT), job_name)
    number = error.signal if isinstance(error, Interrupted) else None
    return RunEnded(False, str(error) or type(error).__name__, number, job_name)


# ---- remains of a killed run

PATIENCE_S = 15.0  # the guardian of a killed run ends its jobs within this time
FORCE_S = 5.0
POLL_S = 0.05
OWNER = "LOFARPIPE_JOB_DIRECTORY"  # in the environment of jobs

Notify = Callable[[str], None]


@dataclass(frozen=True)
class StaleOutputs:
    """Removes stale files of unfinished jobs.

    Jobs on other machines or in a queue are not touched: their executor knows whether they are alive.
    """

    ledger: Ledger
    notify: Notify  # callback for notices

    def remove(self) -> None:
        """Wait for the processes of earlier runs to end, then remove the incomplete outputs of their jobs.

        Raises
        ------
        PipelineError
            If a file cannot be removed or renamed.
        """
        jobs = {job: opened for job, opened in self.ledger.work.open_jobs.items() if not opened.is_cleared}
        if jobs or {run.pid for run in self.ledger.work.killed_runs} - {os.getpid()}:
            self._wait([opened for opened in jobs.values() if is_local(opened)])
        for opened in filter(is_dead, jobs.values()):
            start = opened.start
            for directory in filter(None, (start.tempdir, start.stage, start.landing)):
                _remove_own(Path(expanded_directory(directory)))
        for step in dict.fromkeys(map(step_of, [*jobs, *self.ledger.work.jobs_set_aside()])):
            JobLedger(self.ledger, step).repair(self.notify)

    def _wait(self, jobs: Sequence[OpenJob]) -> None:
        """Wait for the jobs of a killed run and its guardian; end both after a timeout."""
        living = self._living(jobs)
        if not living():
            return
        self.notify(f"the run before this one was killed; waiting until its processes have ended: {_id_list(living())}")
        if _wait_for_end(living, PATIENCE_S):
            return
        self.notify(f"these processes of the run before did not end, and are ended now: {_id_list(living())}")
        for number in (signal.SIGTERM, signal.SIGKILL):
            send_signal(living(), number)
            if _wait_for_end(living, FORCE_S):
                return
        raise PipelineError(f"processes of the run before this one cannot be ended: {_id_list(living())}; end them")

    def _living(self, jobs: Sequence[OpenJob]) -> Callable[[], list[int]]:
        """Return a function that finds processes of killed runs on this machine.

        All killed runs count, not only the last: it may have been killed while waiting for an earlier one.
        """
        boot = boot_id()
        local_starts = [opened.start for opened in jobs if opened.boot == boot]
        runs = [run for run in self.ledger.work.killed_runs if run.boot == boot]
        engines = {run.pid for run in runs if run.pid} - {os.getpid()}
        was_local = any(run.executor == LOCAL and run.pid in engines for run in runs)

        def living() -> list[int]:
            sessions = [start.pid for start in local_starts if start.pid and not _is_reused_id(start.pid, start.ticks)]
            members = session_members(sessions) if sessions else []
            unknown = started_by(self.ledger.settings.job_directory) if was_local else []
            return sorted({*members, *unknown, *(guardians(engines) if engines else [])})

        return living


def mark_processes(job_directory: Path) -> None:
    """Put the name of the job directory into the environment of every child process.

    A run killed while it starts a job has no record of the process.
    """
    os.environ[OWNER] = str(job_directory)


def started_by(job_directory: Path, proc: Path = Path("/proc")) -> list[int]:
    """Return the live processes started by runs in a job directory, except this one."""
    processes = carrying(f"{OWNER}={job_directory}", proc)
    return [process for process in processes if process not in (os.getpid(), os.getppid())]


def _is_reused_id(pid: int, ticks: int | None) -> bool:
    """Whether the process of a job has ended and its id was reused."""
    started_ticks = start_ticks(pid)
    return started_ticks is not None and ticks not in (None, started_ticks)


def _wait_for_end(living: Callable[[], list[int]], limit_s: float) -> bool:
    end = time.monotonic() + limit_s
    while living():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True


def _id_list(processes: list[int]) -> str:
    return ", ".join(map(str, processes)) or "none any more"


def _remove_own(directory: Path) -> None:
    """Remove a job's directory if it is marked as temporary, or empty."""
    if (directory / MARKER).exists():
        remove_directory(directory)
    else:
        with contextlib.suppress(OSError):  # not empty, or not ours
            directory.rmdir()
