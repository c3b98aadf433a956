"""Events of a run and of the end of a job, and results made from them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from lofarpipe.engine.crew import run_ended
from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.engine.step_jobs import job_done, job_entry, recorded_result
from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.executor import LocalExecutor
from lofarpipe.jobs import Interrupted, Job, JobResult, Staged, executor_name
from lofarpipe.state.events import JobDone, encoded, facts_of, read_events


@pytest.fixture
def planned(tmp_path: Path) -> PlannedJob:
    job = Job(
        name="average/007",
        argv=("DP3", "msin=a"),
        workdir=tmp_path,
        log=tmp_path / "007.log",
        cores=2,
        memory_gb=4.0,
        label="/data/a.ms",
        tempdir=tmp_path / "temp",
        staged=Staged(("DP3",), tmp_path / ".stage", tmp_path),
    )
    return PlannedJob(job, 7, ([], {}), (), {}, tmp_path / "jobs" / "007.result.json")


def test_executor_has_configured_name() -> None:
    assert executor_name(LocalExecutor()) == "local"


def test_job_entry_has_loop_counters(planned: PlannedJob) -> None:
    assert job_entry("average@2@0", planned.job) == "average@2@0/007"


@pytest.mark.parametrize(
    ("error", "problem", "number"),
    [
        (PipelineError("it failed"), "it failed", None),
        (ZeroDivisionError(), "ZeroDivisionError", None),
        (KeyboardInterrupt(), "interrupted; run again to resume", signal.SIGINT),
        (Interrupted(signal.SIGTERM), "interrupted by SIGTERM: all jobs were ended; run again to resume", 15),
    ],
)
def test_run_ended_names_cause(error: BaseException, problem: str, number: int | None) -> None:
    event = run_ended("field", error)
    assert (event.ok, event.problem, event.signal, event.job) == (False, problem, number, "field")


@pytest.mark.parametrize("returned", ['{"total": "3"}', None])
def test_result_survives_round_trip(planned: PlannedJob, returned: str | None) -> None:
    """The returned value of the script is restored as well, or its absence."""
    assert planned.result is not None
    planned.result.parent.mkdir()
    if returned is not None:
        planned.result.write_text(returned)
    job = planned.job
    result = JobResult(job.name, 0, 1e9, 65.123, 60.5, 812.3, job.log, job.argv, label=job.label, memory_gb=4.0)
    (event,), _ = read_events(encoded(job_done("average", planned, result, None), 1).encode() + b"\n")
    assert isinstance(event, JobDone)
    planned.result.parent.joinpath("007.result.json").write_text("of a later try")
    again = recorded_result(planned, event)
    assert (again.name, again.exit_code, again.ok) == ("average/007", 0, True)
    assert (again.duration_s, again.cpu_s, again.max_rss_mb) == (65.123, 60.5, 812.3)
    assert (again.log, again.argv, again.label, again.memory_gb) == (job.log, job.argv, "/data/a.ms", 4.0)
    assert again.node == os.uname().nodename
    assert (planned.result.read_text() if planned.result.exists() else None) == returned


def test_failure_returns_nothing(planned: PlannedJob) -> None:
    result = JobResult("average/007", 1, 1e9, 1.0, 1.0, 1.0, planned.job.log, ("DP3",), is_lost=True)
    event = job_done("average", planned, result, "lost with node042")
    assert "returned" not in facts_of(event)
    assert (event.problem, event.is_lost) == ("lost with node042", True)
