"""The run, its steps and its jobs as run.json has them, from the events of the journal."""

from __future__ import annotations

import functools
import time
from typing import Any

from lofarpipe.config import Settings
from lofarpipe.report.run_state import JobState, RunState, StepState

Facts = dict[str, Any]


def utc_text(seconds: float | None) -> str | None:
    """Return a time, s since 1970 UTC, as ``yyyy-mm-ddThh:mm:ss.sssZ``; None where there is none."""
    if seconds is None:
        return None
    second, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{_second_text(second)}.{milliseconds:03d}Z"


@functools.lru_cache(maxsize=16)
def _second_text(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def run_facts(state: RunState, settings: Settings) -> Facts:
    """Return the run as a whole; ``number`` counts the runs in this job directory from 1."""
    return {
        "job": settings.job_name,
        "job_directory": str(settings.job_directory),
        "working_directory": str(settings.job_workdir),
        "state": state.state,
        "number": state.run,
        "started": utc_text(state.started_s),
        "ended": utc_text(state.ended_s),
        "problem": state.problem,
        "signal": state.signal,
        "argv": [str(word) for word in state.facts.get("argv") or ()],
        "executor": str(state.facts.get("executor") or ""),
        "pid": state.facts.get("pid"),
        "cores": state.facts.get("cores"),
        "memory_gb": state.facts.get("memory_gb"),
        "gpus": state.facts.get("gpus"),
    }


def step_facts(state: RunState) -> list[Facts]:
    """Return the steps in their order, without their jobs."""
    return [_step(step) for step in state.steps.values()]


def _step(step: StepState) -> Facts:
    return {
        "name": step.name,
        "type": step.type,
        "state": step.state,
        "jobs": step.total,
        "done": step.done,
        "failed": step.failed,
        "started": utc_text(step.started_s),
        "ended": utc_text(step.ended_s),
        "duration_s": None if step.duration_s is None else round(step.duration_s, 3),
        "problem": step.problem,
    }


def job_facts(state: RunState) -> list[Facts]:
    """Return the jobs of all steps with what they used."""
    return [_job(step.name, job) for step in state.steps.values() for job in step.jobs.values()]


def _job(step: str, job: JobState) -> Facts:
    return {
        "name": job.name,
        "step": step,
        "started": utc_text(job.start_s),
        "state": job.state,
        "label": job.label,
        "node": job.node,
        "log": job.log,
        "cores": job.cores,
        "memory_gb": job.memory_gb,
        "gpus": job.gpus,
        "duration_s": job.duration_s,
        "cpu_s": job.cpu_s,
        "max_rss_mb": job.max_rss_mb,
        "exit_code": job.exit_code,
        "problem": job.problem,
    }
