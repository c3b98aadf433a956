"""The facts of a run and its jobs, and results made of them again."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.engine.journal_events import (
    done_facts,
    end_facts,
    executor_name,
    job_entry,
    recorded_result,
    start_facts,
)
from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.executor import LocalExecutor
from lofarpipe.jobs import Interrupted, Job, JobResult, JobStart, Staged
from lofarpipe.support.processes import start_ticks


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


def test_executor_is_named_as_in_the_configuration() -> None:
    assert executor_name(LocalExecutor()) == "local"


def test_entry_of_a_job_has_the_counters_of_loops(planned: PlannedJob) -> None:
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
def test_end_of_a_run_says_what_ended_it(error: BaseException, problem: str, number: int | None) -> None:
    assert end_facts(error) == {"ok": False, "problem": problem, "signal": number}


def test_start_says_where_a_job_is_and_what_it_has(planned: PlannedJob) -> None:
    here = start_facts("average", planned.job, JobStart("average/007", os.uname().nodename, os.getpid(), 1e9 + 1 / 3))
    assert here["ticks"] == start_ticks(os.getpid())
    assert here["start_s"] == 1000000000.333
    assert (here["cores"], here["memory_gb"], here["label"]) == (2, 4.0, "/data/a.ms")
    assert (here["tempdir"], here["stage"]) == (planned.job.tempdir, planned.job.workdir / ".stage")
    assert start_facts("average", planned.job, JobStart("average/007", "node042", 1, 1e9))["ticks"] is None


@pytest.mark.parametrize("returned", ['{"total": "3"}', None])
def test_result_comes_back_as_it_was(planned: PlannedJob, returned: str | None) -> None:
    """Also what the script returned is in its place again; where it returned nothing, nothing is there."""
    assert planned.result is not None
    planned.result.parent.mkdir()
    if returned is not None:
        planned.result.write_text(returned)
    job = planned.job
    result = JobResult(job.name, 0, 1e9, 65.123, 60.5, 812.3, job.log, job.argv, label=job.label, memory_gb=4.0)
    facts = json.loads(json.dumps(done_facts("average", planned, result, None), default=str))
    planned.result.parent.joinpath("007.result.json").write_text("of a later try")
    again = recorded_result(planned, facts)
    assert (again.name, again.exit_code, again.ok) == ("average/007", 0, True)
    assert (again.duration_s, again.cpu_s, again.max_rss_mb) == (65.123, 60.5, 812.3)
    assert (again.log, again.argv, again.label, again.memory_gb) == (job.log, job.argv, "/data/a.ms", 4.0)
    assert again.node == os.uname().nodename
    assert (planned.result.read_text() if planned.result.exists() else None) == returned


def test_failure_returns_nothing(planned: PlannedJob) -> None:
    result = JobResult("average/007", 1, 1e9, 1.0, 1.0, 1.0, planned.job.log, ("DP3",), is_lost=True)
    facts = done_facts("average", planned, result, "lost with node042")
    assert "returned" not in facts
    assert (facts["problem"], facts["is_lost"]) == ("lost with node042", True)
