"""Events of a journal, as the engine records them: as lines, and as objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lofarpipe.jobs import JobResult
from lofarpipe.state.events import KINDS, Event, JobDone, Unknown, decoded
from lofarpipe.state.journal import Journal, Stream
from lofarpipe.state.run_state import RunState
from lofarpipe.state.work import Work

Entry = dict[str, Any]  # a line


def as_event(entry: Mapping[str, Any]) -> Event:
    return decoded(entry) or Unknown(time_s=None)


def state_of(entries: Iterable[Mapping[str, Any]]) -> RunState:
    """Return the state that lines of a journal describe."""
    return RunState.from_events(map(as_event, entries))


def work_of(entries: Iterable[Mapping[str, Any]]) -> Work:
    return state_of(entries).work


def job_end(step: str, result: JobResult, problem: str | None = None) -> JobDone:
    """Return the end of a job as emitted by the engine."""
    return JobDone(step, result.name, problem=problem, result=result)


def emit(to: Stream | Journal, kind: str, **facts: Any) -> None:
    """Emit an event by its kind; a journal alone is a stream without reporters."""
    (Stream(to) if isinstance(to, Journal) else to).emit(KINDS[kind](**facts))


def event(kind: str, time_s: float, **facts: Any) -> dict[str, Any]:
    return {"event": kind, "time_s": time_s, **facts}


def run_began(time_s: float, steps: list[str], **facts: Any) -> dict[str, Any]:
    return event("run_started", time_s, job="field", steps=steps, **facts)


def began(step: str, time_s: float, jobs: int) -> dict[str, Any]:
    return event("step_started", time_s, step=step, type="dp3", jobs=jobs, names=[])


def job_began(job: str, time_s: float, **facts: Any) -> dict[str, Any]:
    where = {"node": "n1", "pid": 42, "start_s": time_s, "log": "/job/0.log", "label": "a.ms"}
    given = {"cores": 2, "memory_gb": 1.5, "gpus": 0, "stage": None}
    return event("job_started", time_s, **{"step": job.rpartition("/")[0], "job": job, **where, **given, **facts})


def job_ended(job: str, time_s: float, exit_code: int = 0, problem: str | None = None) -> dict[str, Any]:
    used = {"start_s": time_s - 5, "duration_s": 5.0, "cpu_s": 4.5, "max_rss_mb": 80.0}
    return event("job_done", time_s, step=job.rpartition("/")[0], job=job, exit_code=exit_code, problem=problem, **used)


def ended(step: str, time_s: float, jobs: int, failed: int = 0) -> dict[str, Any]:
    return event("step_done", time_s, step=step, jobs=jobs, failed=failed, duration_s=10.0)
