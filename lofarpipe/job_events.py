"""The facts of a run, of its jobs and of their ends, as the journal keeps them."""

from __future__ import annotations

import os
import signal
import socket
import sys

from lofarpipe import __version__
from lofarpipe.executors.jobs import Executor, Interrupted, Job, JobResult, JobStart
from lofarpipe.listing import flattened
from lofarpipe.pipeline import Pipeline

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
    number = getattr(error, "signal", None) if isinstance(error, Interrupted) else None
    if isinstance(error, KeyboardInterrupt):
        number = int(signal.SIGINT)
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
        "start_s": round(start.start_s, MILLISECONDS),
        "label": job.label,
        "log": job.log,
        "cores": job.cores,
        "memory_gb": job.memory_gb,
        "gpus": job.gpus,
        "tempdir": job.tempdir,
        "stage": job.staged.directory if job.staged else None,
    }


def done_facts(entry: str, job: Job, result: JobResult, problem: str | None) -> dict[str, object]:
    """Return what ``job_done`` records of how a job ended."""
    return {
        "step": entry,
        "job": job_entry(entry, job),
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
    }
