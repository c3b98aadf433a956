"""The state of a run, from the events of its journal: for resuming, status, run.json and the report."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from typing import Any, TypeVar

from lofarpipe.state.events import (
    Event,
    FilesRemoved,
    JobAdopted,
    JobDone,
    JobStarted,
    Notice,
    PluginDone,
    PluginStarted,
    RunEnded,
    RunStarted,
    StepDone,
    StepEvent,
    StepFailed,
    StepForgotten,
    StepSkipped,
    StepStarted,
    Warned,
    facts_of,
    step_of,
)
from lofarpipe.state.work import WORK_HANDLERS, Work
from lofarpipe.support.dataclass import dataclass

# States of steps and jobs. SKIPPED: done by an earlier run; INTERRUPTED: unfinished, and not running.
WAITING, RUNNING, DONE, FAILED, SKIPPED, INTERRUPTED = "waiting", "running", "done", "failed", "skipped", "interrupted"
KILLED = "killed"  # of a run only: no recorded end
PLUGIN = "plugin"
KILLED_PROBLEM = "the run was killed; run again to resume"

Seen = TypeVar("Seen")


@dataclass(slots=True)
class JobState:
    """One job, from the journal; None: unknown."""

    name: str  # <step>/<number>, with the counters of loops
    state: str = RUNNING
    run: int = 0  # number of its run, from 1
    label: str = ""
    node: str = ""
    pid: int = 0
    log: str = ""
    cores: int | None = None
    memory_gb: float | None = None  # allocated memory, 10^9 bytes
    gpus: int = 0
    start_s: float | None = None  # s since 1970 UTC
    duration_s: float | None = None
    cpu_s: float | None = None
    max_rss_mb: float | None = None  # 10^6 bytes
    exit_code: int | None = None
    problem: str = ""

    def describe(self, event: JobStarted | JobDone) -> None:
        """Copy the fields common to both events of a job."""
        self.label = event.label or self.label
        self.node = event.node or self.node
        self.log = event.log or self.log
        if event.start_s is not None:
            self.start_s = event.start_s
        if event.memory_gb is not None:
            self.memory_gb = event.memory_gb


@dataclass
class StepState:
    """One step; inside loops one for each iteration, named ``<step>@<counter>``.

    Running and ended jobs are counted incrementally: the status of 10^5 jobs is drawn every second.
    """

    name: str
    state: str = WAITING
    run: int = 0  # number of the run of its last start, from 1
    type: str = ""
    total: int = 0  # jobs
    before: int = 0  # jobs done by an earlier run and not run again
    ended_failed: int | None = None  # failed jobs, from the end event of the step
    started_s: float | None = None  # s since 1970 UTC
    ended_s: float | None = None
    problem: str = ""
    jobs: dict[str, JobState] = field(default_factory=dict)  # including jobs of earlier runs not run again

    def __post_init__(self) -> None:
        self._running: dict[str, JobState] = {}
        self._end_counts = {DONE: 0, FAILED: 0}  # jobs of the run of its last start
        self._removed_jobs: dict[str, JobState] = {}  # former jobs

    @property
    def failed(self) -> int:
        """Number of failed jobs."""
        return self._end_counts[FAILED] if self.ended_failed is None else self.ended_failed

    @property
    def done(self) -> int:
        """Number of finished jobs, including those of earlier runs."""
        if self.state in (DONE, SKIPPED):
            return self.total - self.failed
        return min(self.total, self.before + self._end_counts[DONE])

    @property
    def running(self) -> list[JobState]:
        """The running jobs."""
        return list(self._running.values())

    @property
    def duration_s(self) -> float | None:
        """Time from start to end; None while unfinished."""
        if self.started_s is None or self.ended_s is None:
            return None
        return max(0.0, self.ended_s - self.started_s)

    def begin_job(self, job: JobState) -> None:
        """Add a running job, replacing its earlier record."""
        previous = self.jobs.get(job.name)
        if previous is not None:
            self._uncount(previous)
        self.jobs[job.name] = self._running[job.name] = job

    def end_job(self, job: JobState, run: int, state: str) -> None:
        """Record the end of a job in a run."""
        self._uncount(job)
        self._running.pop(job.name, None)
        self.jobs[job.name] = job
        job.run, job.state = run, state
        if run == self.run:
            self._end_counts[state] += 1

    def begin_run(self, run: int) -> None:
        """Assign the step to a run; jobs of other runs are not counted."""
        self.run = run
        states = [job.state for job in self.jobs.values() if job.run == run]
        self._end_counts = {state: states.count(state) for state in (DONE, FAILED)}

    def set_aside(self, names: Iterable[str]) -> None:
        """Set removed jobs aside, and restore all others."""
        jobs = {**self._removed_jobs, **self.jobs}
        self._removed_jobs = {name: jobs.pop(name) for name in names if name in jobs}
        self.jobs = jobs

    def interrupt(self, time_s: float | None) -> None:
        """Mark the unfinished step and its jobs as interrupted."""
        if self.state == RUNNING:
            self.state, self.ended_s = INTERRUPTED, time_s
        for job in self._running.values():
            job.state = INTERRUPTED
        self._running = {}

    def _uncount(self, job: JobState) -> None:
        if job.run == self.run and job.state in self._end_counts:
            self._end_counts[job.state] -= 1


@dataclass(frozen=True)
class _PreviousRun:
    """The state of the previous run, saved until the next one does any work."""

    facts: dict[str, Any]
    times_s: tuple[float | None, float | None]
    warnings: list[str]
    notices: list[str]
    steps: dict[str, tuple[float | None, float | None]]

    @classmethod
    def of(cls, state: RunState) -> _PreviousRun:
        """Return the state of the last run."""
        steps = {name: (step.started_s, step.ended_s) for name, step in state.steps.items()}
        return cls(state.facts, (state.started_s, state.ended_s), state.warnings, state.notices, steps)

    def restore(self, state: RunState) -> None:
        """Restore the saved state after a run without work, with that run's intermediate outputs."""
        current_facts = {key: state.facts[key] for key in ("intermediate",) if key in state.facts}
        state.facts = {**{key: value for key, value in self.facts.items() if key != "intermediate"}, **current_facts}
        state.warnings, state.notices = self.warnings, self.notices
        state.started_s, state.ended_s = self.times_s
        for name, step in state.steps.items():
            step.state = DONE if step.state == SKIPPED else step.state
            step.started_s, step.ended_s = self.steps.get(name, (step.started_s, step.ended_s))
        if state.pauses:
            state.pauses.pop()


@dataclass
class RunState:
    """The state of the last run of a journal, and the work of all runs.

    A journal may have several runs; finished work of earlier runs stays done. Unknown or incomplete events
    are applied as far as possible: an old journal gives a coarser state, never an error.

    Attributes
    ----------
    facts: fields of the start event: job, parset, version, host, pid, executor, cores, memory_gb, gpus.
    run: number of the run, from 1.
    ended: whether the end is recorded; False for a killed run.
    work: finished steps and jobs, with their identities.
    current: steps whose outputs belong to this run: executed or accepted as done.
    first_s: time of the earliest event of all runs, s since 1970 UTC; None before the first one.
    pauses: (end of a run, start of the next), s since 1970 UTC; none after a killed run.
    removed: path -> bytes, of outputs removed as unneeded and not made again.
    is_repeat: whether the ended run found everything done: facts, times and warnings are those of the previous run,
        and `checked_s` is the end of this one.
    lock: guards changes against readers in other threads.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    run: int = 0
    steps: dict[str, StepState] = field(default_factory=dict)  # in the order of the pipeline
    warnings: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    started_s: float | None = None  # s since 1970 UTC
    last_s: float | None = None  # of the last event
    ended_s: float | None = None
    ended: bool = False
    ok: bool = False
    problem: str = ""
    interrupted: bool = False  # ended by a signal
    killed: bool = False
    signal: int | None = None  # signal that ended the run, if recorded
    removed: dict[str, int] = field(default_factory=dict)
    checked_s: float | None = None  # time when a run last found everything done

    def __post_init__(self) -> None:
        self.work = Work()
        self.current: set[str] = set()
        self.first_s: float | None = None
        self.pauses: list[tuple[float, float]] = []
        self.lock = threading.Lock()
        self._paths_by_step: dict[str, set[str]] = {}  # step -> paths, of its last execution
        self.is_repeat = False
        self._previous_run: _PreviousRun | None = None  # None once this run does any work

    @classmethod
    def from_events(cls, events: Iterable[Event]) -> RunState:
        """Return the state after these events."""
        state = cls()
        for event in events:
            state.apply(event)
        return state

    @property
    def state(self) -> str:
        """Waiting, running, done, failed, interrupted or killed; only the lock shows whether a running run is alive."""
        if not self.ended:
            return RUNNING if self.run else WAITING
        if self.killed:
            return KILLED
        return DONE if self.ok else INTERRUPTED if self.interrupted else FAILED

    def apply(self, event: Event) -> None:
        """Apply an event."""
        self.work.serial = max(self.work.serial + 1, event.serial)
        if event.time_s is not None:
            self.last_s = event.time_s
            self.first_s = event.time_s if self.first_s is None else min(self.first_s, event.time_s)
        if isinstance(event, StepEvent) and not event.is_named:
            return
        if (handler := _HANDLERS.get(type(event))) is not None:
            handler(self, event)
        if (done := WORK_HANDLERS.get(type(event))) is not None:
            done(self.work, event)

    def read_locked(self, look: Callable[[RunState], Seen]) -> Seen:
        """Return the result of ``look``, called with the state locked; it has to be quick."""
        with self.lock:
            return look(self)

    def earlier_files(self) -> set[str]:
        """Return files written by earlier runs and by no step of this run: not to be shown as its outputs.

        They are gone, or belong to steps that are waiting, failed, or no longer in the pipeline.
        """
        earlier = set().union(*(paths for step, paths in self._paths_by_step.items() if step not in self.current))
        return earlier.difference(*(paths for step, paths in self._paths_by_step.items() if step in self.current))

    def mark_killed(self) -> None:
        """Mark the run as killed, at the time of its last event."""
        if not self.ended and self.run:
            self.ended, self.ok, self.problem, self.ended_s = True, False, KILLED_PROBLEM, self.last_s
            self.killed = True
            self._interrupt()

    def step(self, name: str) -> StepState:
        """Return the step of this name; a new step is placed before the waiting ones."""
        if name not in self.steps:
            self._insert(StepState(name))
        return self.steps[name]

    def _insert(self, step: StepState) -> None:
        """Insert a new step at the current position; iterations of a loop replace the waiting step."""
        items = dict(self.steps)
        base = step.name.partition("@")[0]
        place = next((index for index, other in enumerate(items.values()) if other.state == WAITING), len(items))
        if base != step.name and base in items and items[base].state == WAITING:
            place = list(items).index(base)
            del items[base]
        entries = [*items.values()]
        entries.insert(place, step)
        self.steps = {entry.name: entry for entry in entries}

    def _interrupt(self) -> None:
        """Mark everything running as interrupted."""
        for step in self.steps.values():
            step.interrupt(self.last_s)

    def _run_started(self, event: RunStarted) -> None:
        if self.ended and not self.killed and self.ended_s is not None and event.time_s is not None:
            self.pauses.append((self.ended_s, event.time_s))
        self._interrupt()
        self.is_repeat = False
        self._previous_run = _PreviousRun.of(self) if self.state == DONE else None
        self.warnings, self.notices, self.current = [], [], set()
        self.run += 1
        self.facts = {key: value for key, value in facts_of(event).items() if value is not None}
        self.started_s, self.ended_s, self.signal = event.time_s, None, None
        self.ended, self.ok, self.interrupted, self.killed, self.problem = False, False, False, False, ""
        for step in self.steps.values():
            if step.state in (FAILED, INTERRUPTED):
                step.state = WAITING
            elif step.state == SKIPPED:
                step.state = DONE
        if event.steps is not None:
            self._order(event.steps)

    def _order(self, names: Sequence[str]) -> None:
        """Adopt the steps of the present pipeline, and drop all others."""
        steps = [step for step in self.steps.values() if step.name.partition("@")[0] in names]
        for place, name in enumerate(names):
            bases = [step.name.partition("@")[0] for step in steps]
            if name not in bases:
                earlier = [index for index, base in enumerate(bases) if base in names[:place]]
                steps.insert(max(earlier, default=-1) + 1, StepState(name))
        self.steps = {step.name: step for step in steps}

    def _run_ended(self, event: RunEnded) -> None:
        self.ended, self.ok = True, event.ok
        self.problem, self.signal = event.problem or "", event.signal
        self.ended_s = event.time_s
        if self.ok and self._previous_run is not None:
            self.checked_s, self.is_repeat = event.time_s, True
            self._previous_run.restore(self)
        self.interrupted = not self.ok and (self.signal is not None or self.problem.startswith("interrupted"))
        if not self.ok and not self.interrupted:
            for step in [step for step in self.steps.values() if step.state == RUNNING]:
                step.state, step.ended_s, step.problem = FAILED, self.ended_s, self.problem
        self._interrupt()

    def _step_started(self, event: StepStarted) -> None:
        self._previous_run = None
        step = self._step_of_event(event)
        step.set_aside(event.left)
        step.begin_run(self.run)
        self.current.discard(step.name)
        step.state, step.problem = RUNNING, ""
        step.type = event.type or step.type
        step.total, step.before = event.jobs, event.done_before
        step.started_s, step.ended_s, step.ended_failed = event.time_s, None, None

    def _step_skipped(self, event: StepSkipped) -> None:
        step = self._step_of_event(event)
        step.state = SKIPPED
        self.current.add(step.name)
        step.total = event.jobs or step.total

    def _step_done(self, event: StepDone) -> None:
        step = self._step_of_event(event)
        step.state, step.ended_s = DONE, event.time_s
        self.current.add(step.name)
        self._paths_by_step[step.name] = {path for path, mark in event.all_written.items() if mark is not None}
        step.total, step.ended_failed = event.jobs or step.total, event.failed
        if step.started_s is None and step.ended_s is not None:
            step.started_s = step.ended_s - (event.duration_s or 0.0)
        if step.ended_failed:
            self.warnings.append(skipped_text(step.name, step.ended_failed, step.total))

    def _step_failed(self, event: StepFailed) -> None:
        self._previous_run = None
        step = self._step_of_event(event)
        step.state, step.ended_s, step.problem = FAILED, event.time_s, event.problem or ""

    def _step_forgotten(self, event: StepForgotten) -> None:
        self._step_of_event(event).state = WAITING

    def _plugin_started(self, event: PluginStarted) -> None:
        step = self._step_of_event(event)
        step.begin_run(self.run)
        step.state, step.type, step.problem = RUNNING, PLUGIN, ""
        step.started_s, step.ended_s = event.time_s, None

    def _plugin_done(self, event: PluginDone) -> None:
        if self.work.plugins.get(event.step) != dict(event.outputs):
            self._previous_run = None
        step = self._step_of_event(event)
        step.begin_run(self.run)
        self.current.add(step.name)
        step.state, step.type, step.ended_s = DONE, PLUGIN, event.time_s
        step.started_s = None if step.ended_s is None else step.ended_s - (event.duration_s or 0.0)

    def _job_started(self, event: JobStarted) -> None:
        job = JobState(event.job, run=self.run)
        job.describe(event)
        job.pid, job.cores, job.gpus = event.pid or 0, event.cores, event.gpus or 0
        self._step_of_event(event).begin_job(job)

    def _job_done(self, event: JobDone) -> None:
        step = self._step_of_event(event)
        job = step.jobs.get(event.job) or JobState(event.job)
        job.describe(event)
        job.duration_s, job.cpu_s, job.max_rss_mb = event.duration_s, event.cpu_s, event.max_rss_mb
        job.exit_code, job.problem = event.exit_code, event.problem or ""
        step.end_job(job, self.run, FAILED if job.problem or job.exit_code else DONE)
        for path in [path for path in event.written if path in self.removed] if self.removed else ():
            del self.removed[path]

    def _job_adopted(self, event: JobAdopted) -> None:
        self._job_done(event)
        step = self._step_of_event(event)
        step.end_job(step.jobs[event.job], 0, DONE)  # 0: not a run of this journal

    def _files_removed(self, event: FilesRemoved) -> None:
        self._previous_run = None
        self.removed |= {path: int(size) for path, size in event.sizes.items() if isinstance(size, int | float)}

    def _warning(self, event: Warned) -> None:
        self.warnings.append(event.text)

    def _notice(self, event: Notice) -> None:
        self.notices.append(event.text)

    def _step_of_event(self, event: StepEvent) -> StepState:
        name = event.step or step_of(getattr(event, "job", ""))
        return self.steps.get(name) or self.step(name)


_HANDLERS: dict[type[Event], Callable[[RunState, Any], None]] = {
    RunStarted: RunState._run_started,
    RunEnded: RunState._run_ended,
    Notice: RunState._notice,
    Warned: RunState._warning,
    FilesRemoved: RunState._files_removed,
    StepStarted: RunState._step_started,
    StepSkipped: RunState._step_skipped,
    StepDone: RunState._step_done,
    StepFailed: RunState._step_failed,
    StepForgotten: RunState._step_forgotten,
    PluginStarted: RunState._plugin_started,
    PluginDone: RunState._plugin_done,
    JobStarted: RunState._job_started,
    JobDone: RunState._job_done,
    JobAdopted: RunState._job_adopted,
}


def skipped_text(step: str, failed: int, jobs: int) -> str:
    """Return the warning of a step with tolerated failures."""
    return f"{step}: {failed} of {jobs} job{'' if jobs == 1 else 's'} failed; their products are skipped from here on"
