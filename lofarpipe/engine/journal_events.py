"""The facts of a run, of its jobs and of their ends, as the journal keeps them."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

from lofarpipe import __version__
from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.jobs import Executor, Interrupted, Job, JobResult, JobStart
from lofarpipe.pipeline.load import Pipeline
from lofarpipe.pipeline.steps import flattened
from lofarpipe.state.history import Event, texts_of
from lofarpipe.state.uptodate import text_of
from lofarpipe.support.processes import boot_id, start_ticks
from lofarpipe.support.utilities import write_atomically

MILLISECONDS = 3  # decimals of a time in seconds


def run_facts(job_name: str, pipeline: Pipeline, executor: Executor) -> dict[str, object]:
    """Return what ``run_started`` records: what is run, where, by which process, with what."""
    capacity = executor.capacity()
    return {
        "job": job_name,
        "parset": str(pipeline.path),
        "version": __version__,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "boot": boot_id(),
        "executor": executor_name(executor),
        "steps": [step.name for step in flattened(pipeline.steps)],
        "cores": capacity.cores,
        "memory_gb": capacity.memory_gb,
        "gpus": capacity.gpus,
        "argv": sys.argv,
    }


def executor_name(executor: Executor) -> str:
    """Return what an executor is called in pipeline.cfg, such as ``local``."""
    return type(executor).__name__.removesuffix("Executor").lower()


def end_facts(error: BaseException) -> dict[str, object]:
    """Return what ``run_ended`` records of a run that something ended."""
    if isinstance(error, KeyboardInterrupt):
        return {"ok": False, "problem": "interrupted; run again to resume", "signal": int(signal.SIGINT)}
    number = getattr(error, "signal", None) if isinstance(error, Interrupted) else None
    return {"ok": False, "problem": str(error) or type(error).__name__, "signal": number}


def job_entry(entry: str, job: Job) -> str:
    """Return the name of a job in the journal: that of its step, with counters of loops, and its place."""
    return f"{entry}/{job.name.rpartition('/')[2]}"


def start_facts(entry: str, job: Job, start: JobStart) -> dict[str, object]:
    """Return what ``job_started`` records of where a job is, and of what it was given."""
    return {
        "step": entry,
        "job": job_entry(entry, job),
        "node": start.node,
        "pid": start.pid,
        "ticks": start_ticks(start.pid) if start.node == os.uname().nodename else None,
        "start_s": round(start.start_s, MILLISECONDS),
        "label": job.label,
        "log": job.log,
        "cores": job.cores,
        "memory_gb": job.memory_gb,
        "gpus": job.gpus,
        "tempdir": job.tempdir,
        "stage": job.staged.directory if job.staged else None,
    }


def done_facts(entry: str, planned: PlannedJob, result: JobResult, problem: str | None) -> dict[str, object]:
    """Return what ``job_done`` records of how a job ended, and of what its script returned."""
    returned = planned.result is not None and problem is None
    return {
        "step": entry,
        "job": job_entry(entry, planned.job),
        "exit_code": result.exit_code,
        "start_s": round(result.start_s, MILLISECONDS),
        "duration_s": round(result.duration_s, MILLISECONDS),
        "cpu_s": round(result.cpu_s, MILLISECONDS),
        "max_rss_mb": round(result.max_rss_mb, 1),
        "memory_gb": result.memory_gb,
        "node": result.node or os.uname().nodename,
        "log": result.log,
        "label": result.label,
        "problem": problem,
        "is_lost": result.is_lost,
        **({"made": result.outputs} if result.outputs else {}),
        **({"returned": text_of(str(planned.result))} if returned else {}),
    }


def recorded_result(planned: PlannedJob, event: Event) -> JobResult:
    """Return the result of a job that was done before, with what its script returned in its place.

    Parameters
    ----------
    event: the ``job_done`` of that job.
    """
    returned = event.get("returned")
    if planned.result is not None and returned != text_of(str(planned.result)):
        planned.result.unlink(missing_ok=True)
        if returned is not None:
            planned.result.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(planned.result, returned)
    job = planned.job
    return JobResult(
        name=job.name,
        exit_code=int(event.get("exit_code", 0)),
        start_s=float(event.get("start_s", 0.0)),
        duration_s=float(event.get("duration_s", 0.0)),
        cpu_s=float(event.get("cpu_s", 0.0)),
        max_rss_mb=float(event.get("max_rss_mb", 0.0)),
        log=Path(event.get("log", job.log)),
        argv=job.argv,
        host=job.host,
        label=job.label,
        node=str(event.get("node", "")),
        memory_gb=event.get("memory_gb"),
        outputs=tuple(texts_of(event.get("made"))),
    )
