"""A job that left the queue without a record is never done."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from lofarpipe.executors.remote.order import Order
from lofarpipe.executors.slurm.client import EndedJob, cannot_start, refined, result_without_record
from lofarpipe.jobs import Job, ended_result

JOB = Job("step/000", ("true",), Path("/w"), Path("/l"), memory_gb=2.0)
ORDER = Order(JOB, "a", Path("/jobs/step/000.a.json"))
KILLED, TERMINATED = -signal.SIGKILL, -signal.SIGTERM


@pytest.mark.parametrize(
    ("ended", "said", "exit_code", "is_lost", "problem"),
    [
        (None, "", KILLED, True, "lost on n1: it is not in the queue any more, and Slurm knows nothing else of it"),
        (EndedJob("NODE_FAIL"), "", KILLED, True, "lost with its node on n1"),
        (EndedJob("BOOT_FAIL"), "", KILLED, True, "lost: its node could not be started on n1"),
        (EndedJob("PREEMPTED"), "", KILLED, True, "lost: another job took its place on n1"),
        (EndedJob("FAILED", 0, 9), "", KILLED, True, "lost with its guard (signal 9) on n1"),
        (EndedJob("FAILED", 1, 0, reason="JobLaunchFailure"), "", KILLED, True, "lost on n1"),
        (
            EndedJob("TIMEOUT"),
            "",
            TERMINATED,
            False,
            "ran into its time limit on n1; it needs a longer walltime, of the step or in [slurm]",
        ),
        (
            EndedJob("DEADLINE"),
            "",
            TERMINATED,
            False,
            "ran into its time limit on n1; it needs a longer walltime, of the step or in [slurm]",
        ),
        (EndedJob("CANCELLED"), "", TERMINATED, False, "was cancelled in Slurm on n1, and not by this run"),
        (
            EndedJob("OUT_OF_MEMORY", 0, 125),
            "",
            KILLED,
            False,
            "out of memory: it used more than the 2.0 GB that it was given on n1; raise memory_gb of the step",
        ),
        (
            EndedJob("FAILED", 0, 9),
            "slurmstepd: error: StepId=9.batch exceeded memory limit (713662464 > 209715200), being killed\n"
            "slurmstepd: error: Exceeded job memory limit",
            KILLED,
            False,
            "out of memory: it used 0.7 GB, more than the 2.0 GB that it was given on n1; raise memory_gb of the step",
        ),
        (
            EndedJob("FAILED", 0, 9),
            "slurmstepd: error: Detected 1 oom-kill event(s)",
            KILLED,
            False,
            "out of memory: it used more than the 2.0 GB that it was given on n1; raise memory_gb of the step",
        ),
        (
            EndedJob("FAILED", 127),
            "x\n/no/python: not found\n",
            127,
            False,
            "Slurm says FAILED with exit code 127 on n1, and there is no record /jobs/step/000.a.record; it said "
            '"/no/python: not found"; interpreter, package and job directory must be the same on all nodes',
        ),
        (
            EndedJob("COMPLETED"),
            "",
            1,
            False,
            "Slurm says COMPLETED with exit code 0 on n1, and there is no record /jobs/step/000.a.record; "
            "interpreter, package and job directory must be the same on all nodes",
        ),
    ],
)
def test_slurm_state_explains_missing_record(
    ended: EndedJob | None, said: str, exit_code: int, is_lost: bool, problem: str
) -> None:
    result = result_without_record(ORDER, ended, "n1", said)
    assert (result.exit_code, result.is_lost, result.reason()) == (exit_code, is_lost, problem)
    assert (result.ok, result.memory_gb, result.node) == (False, 2.0, "n1")


def test_slurm_names_node_without_guard() -> None:
    assert result_without_record(ORDER, EndedJob("NODE_FAIL", node="n7"), "", "").reason() == "lost with its node on n7"
    order = replace(ORDER, job=replace(JOB, memory_gb=None))
    assert "more than its allocation; set" in result_without_record(order, EndedJob("OUT_OF_MEMORY"), "", "").reason()


def test_slurm_gives_reason_of_interruption() -> None:
    result = replace(ended_result(JOB, 1.0, "n1"), problem="interrupted by SIGTERM on n1", is_lost=True)
    timeout = refined(ORDER, result, EndedJob("TIMEOUT"), "")
    assert (timeout.problem.startswith("ran into its time limit on n1"), timeout.is_lost) == (True, False)
    assert timeout.start_s == 1.0
    preempted = refined(ORDER, result, EndedJob("PREEMPTED"), "")
    assert (preempted.problem, preempted.is_lost) == ("lost: another job took its place on n1", True)
    assert refined(ORDER, result, None, "") == result
    assert refined(ORDER, result, EndedJob("FAILED", 143), "") == result


@pytest.mark.parametrize(
    "reason",
    [
        "PartitionConfig",
        "BadConstraints",
        "PartitionTimeLimit",
        "PartitionNodeLimit",
        "AccountNotAllowed",
        "InvalidAccount",
        "InvalidQOS",
        "DependencyNeverSatisfied",
        "QOSMaxCpuPerJobLimit",
        "AssocMaxMemPerJob",
        "QOSMaxWallDurationPerJobLimit",
    ],
)
def test_permanent_reasons_block_job(reason: str) -> None:
    assert cannot_start("PENDING", reason)
    assert not cannot_start("RUNNING", reason)


@pytest.mark.parametrize(
    "reason",
    [
        "None",
        "Priority",
        "Resources",
        "JobArrayTaskLimit",
        "AssocGrpCpuLimit",
        "ReqNodeNotAvail",
        "QOSMaxJobsPerUserLimit",
        "JobHeldUser",
    ],
)
def test_transient_reasons_allow_job(reason: str) -> None:
    assert not cannot_start("PENDING", reason)
