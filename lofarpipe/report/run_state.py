"""The picture of a run that the events of its journal give: what terminal, status, run.json and report show."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lofarpipe.state.history import texts_of

# States of a step and of a job. A skipped step was done by an earlier run; what is interrupted, nobody works on.
WAITING, RUNNING, DONE, FAILED, SKIPPED, INTERRUPTED = "waiting", "running", "done", "failed", "skipped", "interrupted"
KILLED = "killed"  # of a run alone: it ended without a word
PLUGIN = "plugin"
KILLED_PROBLEM = "the run was killed; run again to resume"

Event = Mapping[str, Any]


@dataclass(slots=True)
class JobState:
    """One job, as far as the journal tells; None: it does not."""

    name: str  # <step>/<number>, with the counters of loops
    state: str = RUNNING
    run: int = 0  # the number of the run that it belongs to, from 1
    label: str = ""
    node: str = ""
    pid: int = 0
    log: str = ""
    cores: int | None = None
    memory_gb: float | None = None  # 10^9 bytes, that it was given
    gpus: int = 0
    start_s: float | None = None  # s since 1970 UTC
    duration_s: float | None = None
    cpu_s: float | None = None
    max_rss_mb: float | None = None  # 10^6 bytes
    exit_code: int | None = None
    problem: str = ""


@dataclass
class StepState:
    """One step; inside loops one for each iteration, named ``<step>@<counter>``.

    How many jobs run or ended is counted as they do: a picture of 10^5 jobs is made every second.
    """

    name: str
    state: str = WAITING
    run: int = 0  # the number of the run in which it began last, from 1
    type: str = ""
    total: int = 0  # jobs
    before: int = 0  # jobs that an earlier run did and that are not run again
    ended_failed: int | None = None  # jobs that failed, as the step said at its end
    started_s: float | None = None  # s since 1970 UTC
    ended_s: float | None = None
    problem: str = ""
    jobs: dict[str, JobState] = field(default_factory=dict)  # of earlier runs too, unless they ran again

    def __post_init__(self) -> None:
        self._running: dict[str, JobState] = {}
        self._ended = {DONE: 0, FAILED: 0}  # jobs of the run in which it began last
        self._left: dict[str, JobState] = {}  # jobs that it had, and has not any more

    @property
    def failed(self) -> int:
        """How many of its jobs failed."""
        return self._ended[FAILED] if self.ended_failed is None else self.ended_failed

    @property
    def done(self) -> int:
        """How many of its jobs are done, by an earlier run too."""
        if self.state in (DONE, SKIPPED):
            return self.total - self.failed
        return min(self.total, self.before + self._ended[DONE])

    @property
    def running(self) -> list[JobState]:
        """Its jobs that run."""
        return list(self._running.values())

    @property
    def duration_s(self) -> float | None:
        """From its start to its end; None before that."""
        if self.started_s is None or self.ended_s is None:
            return None
        return max(0.0, self.ended_s - self.started_s)

    def begin_job(self, job: JobState) -> None:
        """Take in a job that runs now, in the place of what is known of it from before."""
        before = self.jobs.get(job.name)
        if before is not None:
            self._uncount(before)
        self.jobs[job.name] = self._running[job.name] = job

    def end_job(self, job: JobState, run: int, state: str) -> None:
        """Note how a job ended in a run."""
        self._uncount(job)
        self._running.pop(job.name, None)
        self.jobs[job.name] = job
        job.run, job.state = run, state
        if run == self.run:
            self._ended[state] += 1

    def begin_run(self, run: int) -> None:
        """Note that the step belongs to a run; what its jobs did in another one is not counted."""
        self.run = run
        states = [job.state for job in self.jobs.values() if job.run == run]
        self._ended = {state: states.count(state) for state in (DONE, FAILED)}

    def leave(self, names: Iterable[str]) -> None:
        """Set aside jobs that it has not any more, and take back all others."""
        known = {**self._left, **self.jobs}
        self._left = {name: known.pop(name) for name in names if name in known}
        self.jobs = known

    def interrupt(self, time_s: float | None) -> None:
        """Nobody works on it any more."""
        if self.state == RUNNING:
            self.state, self.ended_s = INTERRUPTED, time_s
        for job in self._running.values():
            job.state = INTERRUPTED
        self._running = {}

    def _uncount(self, job: JobState) -> None:
        if job.run == self.run and job.state in self._ended:
            self._ended[job.state] -= 1


@dataclass
class RunState:
    """What is known of the last run of a journal.

    Several runs may be in one journal; what an earlier one did stays done. Events that are not known, or lack what
    they should have, change as much as they can: an old journal gives a coarser picture, and never an error.

    Attributes
    ----------
    facts: the event that began the run: job, parset, version, host, pid, executor, cores, memory_gb, gpus, argv.
    run: the number of the run, from 1.
    ended: whether it said its last word; one that was killed does not.
    current: the steps of which it is known that what they wrote is of this run: it did them, or took them as done.
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
    interrupted: bool = False  # by a signal
    killed: bool = False
    signal: int | None = None  # that ended the run, where it could say so

    def __post_init__(self) -> None:
        self.current: set[str] = set()
        self._written: dict[str, set[str]] = {}  # by each step, the last time

    @classmethod
    def from_events(cls, events: Iterable[Event]) -> RunState:
        """Return the picture that these events give."""
        state = cls()
        for event in events:
            state.apply(event)
        return state

    @property
    def state(self) -> str:
        """Waiting, running, done, failed, interrupted or killed; whether one that is running lives, its lock knows."""
        if not self.ended:
            return RUNNING if self.run else WAITING
        if self.killed:
            return KILLED
        return DONE if self.ok else INTERRUPTED if self.interrupted else FAILED

    def apply(self, event: Event) -> None:
        """Take in one event."""
        kind = event.get("event")
        handler = _HANDLERS.get(kind) if isinstance(kind, str) else None
        self.last_s = _number(event, "time_s") or self.last_s
        if handler is not None:
            handler(self, event)

    def earlier_files(self) -> set[str]:
        """Return the files that steps wrote in earlier runs, and that no step of this one has: not to be shown as its.

        They are not there, or of steps that have not come yet, failed, or are not in the pipeline any more.
        """
        earlier = set().union(*(paths for step, paths in self._written.items() if step not in self.current))
        return earlier.difference(*(paths for step, paths in self._written.items() if step in self.current))

    def mark_killed(self) -> None:
        """Note that the run ended without a word, at the time of its last event at the earliest."""
        if not self.ended and self.run:
            self.ended, self.ok, self.problem, self.ended_s = True, False, KILLED_PROBLEM, self.last_s
            self.killed = True
            self._interrupt()

    def step(self, name: str) -> StepState:
        """Return the step of this name; one that is new comes before those that wait."""
        if name not in self.steps:
            self._insert(StepState(name))
        return self.steps[name]

    def _insert(self, step: StepState) -> None:
        """Put a new step where the run is; the iterations of a loop replace the step that waited for them."""
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
        """Whatever runs does not run any more."""
        for step in self.steps.values():
            step.interrupt(self.last_s)

    def _run_started(self, event: Event) -> None:
        self._interrupt()
        self.warnings, self.notices, self.current = [], [], set()
        self.run += 1
        self.facts = {key: value for key, value in event.items() if key not in ("event", "time_s")}
        self.started_s, self.ended_s, self.signal = _number(event, "time_s"), None, None
        self.ended, self.ok, self.interrupted, self.killed, self.problem = False, False, False, False, ""
        for step in self.steps.values():
            if step.state in (FAILED, INTERRUPTED):
                step.state = WAITING
            elif step.state == SKIPPED:
                step.state = DONE
        self._order(event.get("steps"))

    def _order(self, names: object) -> None:
        """Follow the pipeline as it is now; steps that are not in it any more go."""
        if not isinstance(names, list):
            return
        listed = list(map(str, names))
        kept = [step for step in self.steps.values() if step.name.partition("@")[0] in listed]
        for place, name in enumerate(listed):
            bases = [step.name.partition("@")[0] for step in kept]
            if name not in bases:
                before = [index for index, base in enumerate(bases) if base in listed[:place]]
                kept.insert(max(before, default=-1) + 1, StepState(name))
        self.steps = {step.name: step for step in kept}

    def _step_started(self, event: Event) -> None:
        step = self._named(event)
        step.leave(texts_of(event.get("left")))
        step.begin_run(self.run)
        self.current.discard(step.name)
        step.state, step.problem = RUNNING, ""
        step.type = _text(event, "type") or step.type
        step.total, step.before = _integer(event, "jobs"), _integer(event, "done_before")
        step.started_s, step.ended_s, step.ended_failed = _number(event, "time_s"), None, None

    def _step_skipped(self, event: Event) -> None:
        step = self._named(event)
        step.state = SKIPPED
        self.current.add(step.name)
        step.total = _integer(event, "jobs") or step.total

    def _step_done(self, event: Event) -> None:
        step = self._named(event)
        step.state, step.ended_s = DONE, _number(event, "time_s")
        self.current.add(step.name)
        written = {**_dictionary(event, "kept"), **_dictionary(event, "written")}
        self._written[step.name] = {path for path, mark in written.items() if mark is not None}
        step.total = _integer(event, "jobs") or step.total
        step.ended_failed = _integer(event, "failed") if "failed" in event else None
        if step.started_s is None and step.ended_s is not None:
            step.started_s = step.ended_s - (_number(event, "duration_s") or 0.0)
        if step.ended_failed:
            self.warnings.append(skipped_text(step.name, step.ended_failed, step.total))

    def _step_failed(self, event: Event) -> None:
        step = self._named(event)
        step.state, step.ended_s, step.problem = FAILED, _number(event, "time_s"), _text(event, "problem")

    def _step_forgotten(self, event: Event) -> None:
        self._named(event).state = WAITING

    def _plugin_done(self, event: Event) -> None:
        step = self._named(event)
        step.begin_run(self.run)
        self.current.add(step.name)
        step.state, step.type, step.ended_s = DONE, PLUGIN, _number(event, "time_s")
        step.started_s = None if step.ended_s is None else step.ended_s - (_number(event, "duration_s") or 0.0)

    def _jobs_done_before(self, event: Event) -> None:
        self._named(event).before = _integer(event, "jobs")

    def _job_started(self, event: Event) -> None:
        job = JobState(_job_name(event), run=self.run)
        _describe(job, event)
        job.pid, job.cores, job.gpus = _integer(event, "pid"), _whole(event, "cores"), _integer(event, "gpus")
        self._named(event).begin_job(job)

    def _job_done(self, event: Event) -> None:
        name, step = _job_name(event), self._named(event)
        job = step.jobs.get(name) or JobState(name)
        _describe(job, event)
        job.duration_s, job.cpu_s = _number(event, "duration_s"), _number(event, "cpu_s")
        job.max_rss_mb, job.exit_code = _number(event, "max_rss_mb"), _whole(event, "exit_code")
        job.problem = _text(event, "problem")
        step.end_job(job, self.run, FAILED if job.problem or job.exit_code else DONE)

    def _warning(self, event: Event) -> None:
        self.warnings.append(_text(event, "text"))

    def _notice(self, event: Event) -> None:
        self.notices.append(_text(event, "text"))

    def _run_ended(self, event: Event) -> None:
        self.ended, self.ok = True, event.get("ok") is True
        self.problem, self.signal = _text(event, "problem"), _whole(event, "signal")
        self.ended_s = _number(event, "time_s")
        self.interrupted = not self.ok and (self.signal is not None or self.problem.startswith("interrupted"))
        if not self.ok and not self.interrupted:
            for step in [step for step in self.steps.values() if step.state == RUNNING]:
                step.state, step.ended_s, step.problem = FAILED, self.ended_s, self.problem
        self._interrupt()

    def _named(self, event: Event) -> StepState:
        name = event.get("step")
        if type(name) is not str or not name:
            name = _text(event, "job").rpartition("/")[0]
        return self.steps.get(name) or self.step(name)


def skipped_text(step: str, failed: int, jobs: int) -> str:
    """Return the warning of a step that went on although jobs failed."""
    return f"{step}: {failed} of {jobs} job{'' if jobs == 1 else 's'} failed; their products are skipped from here on"


def _job_name(event: Event) -> str:
    return _text(event, "job") or "?"


def _describe(job: JobState, event: Event) -> None:
    """Take over what both events of a job say, as far as this one does."""
    job.label = _text(event, "label") or job.label
    job.node = _text(event, "node") or job.node
    job.log = _text(event, "log") or job.log
    start_s, memory_gb = _number(event, "start_s"), _number(event, "memory_gb")
    if start_s is not None:
        job.start_s = start_s
    if memory_gb is not None:
        job.memory_gb = memory_gb


# These are most of the cost of an event: types are compared, as JSON gives no others.


def _text(event: Event, key: str) -> str:
    value = event.get(key)
    return value if type(value) is str else ""


def _dictionary(event: Event, key: str) -> dict[str, Any]:
    value = event.get(key)
    return value if type(value) is dict else {}


def _number(event: Event, key: str) -> float | None:
    value = event.get(key)
    return value if type(value) is float else float(value) if type(value) is int else None


def _whole(event: Event, key: str) -> int | None:
    value = event.get(key)
    return value if type(value) is int else int(value) if type(value) is float else None


def _integer(event: Event, key: str) -> int:
    return _whole(event, key) or 0


_HANDLERS: dict[str, Callable[[RunState, Event], None]] = {
    kind: getattr(RunState, f"_{kind}")
    for kind in (
        *("run_started", "run_ended", "step_started", "step_skipped", "step_done", "step_failed", "step_forgotten"),
        *("plugin_done", "jobs_done_before", "job_started", "job_done", "warning", "notice"),
    )
}
Seen = TypeVar("Seen")
MOST_WAITING = 1000  # events


class Picture:
    """What the events of a journal say, made once for all who show or record it.

    Events wait until somebody looks, or they are many: one after the other they cost half of what each does between
    two jobs. They come from the thread that runs the pipeline; that thread may keep the `state`. Others `see` it.
    """

    def __init__(self) -> None:
        self._state = RunState()
        self._first_s: float | None = None
        self._pauses: list[tuple[float, float]] = []
        self._ended_s: float | None = None  # the last run, if it said so
        self._waiting: deque[Event] = deque()  # its ends can be used by two threads
        self._lock = threading.Lock()

    @property
    def state(self) -> RunState:
        """The run as it is now."""
        return self.see(lambda state: state)

    @property
    def first_s(self) -> float | None:
        """The earliest time of an event, of an earlier run too, s since 1970 UTC; None before the first one."""
        return self.see(lambda _: self._first_s)

    @property
    def pauses(self) -> list[tuple[float, float]]:
        """From the end of one run to the start of the next one, s since 1970 UTC; after one that was killed is none."""
        return self.see(lambda _: list(self._pauses))

    def apply(self, event: Event) -> None:
        """Take in an event as the journal has it."""
        self._waiting.append(event)
        if len(self._waiting) >= MOST_WAITING:
            with self._lock:
                self._catch_up()

    def see(self, look: Callable[[RunState], Seen]) -> Seen:
        """Return what ``look`` makes of the state, which does not change meanwhile: it has to be quick."""
        with self._lock:
            self._catch_up()
            return look(self._state)

    def _catch_up(self) -> None:
        while self._waiting:
            event = self._waiting.popleft()
            self._state.apply(event)
            time_s = event.get("time_s")
            if isinstance(time_s, int | float):
                self._note_time(event.get("event"), float(time_s))

    def _note_time(self, kind: object, time_s: float) -> None:
        if self._first_s is None or time_s < self._first_s:
            self._first_s = time_s
        if kind == "run_started" and self._ended_s is not None:
            self._pauses.append((self._ended_s, time_s))
        if kind in ("run_started", "run_ended"):
            self._ended_s = time_s if kind == "run_ended" else None
