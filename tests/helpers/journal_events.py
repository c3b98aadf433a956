"""Events of a journal, as the engine records them."""

from __future__ import annotations

from typing import Any


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
