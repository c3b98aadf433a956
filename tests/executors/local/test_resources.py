"""Allocation of the surrounding queue job, from the variables of the queue."""

from __future__ import annotations

import socket

import pytest

from lofarpipe.executors.local.resources import ResourceLimit, allocation
from lofarpipe.jobs import Resources

HERE = socket.gethostname().partition(".")[0]
SLURM = {"SLURM_JOB_ID": "7"}
# What Slurm 22.05 sets in a batch script of two nodes, -n2 -c2 --mem-per-cpu=300M, and in a step of it.
BATCH = {
    **SLURM,
    "SLURM_CPUS_ON_NODE": "2",
    "SLURM_CPUS_PER_TASK": "2",
    "SLURM_JOB_CPUS_PER_NODE": "2(x2)",
    "SLURM_MEM_PER_CPU": "300",
    "SLURM_NODEID": "0",
    "SLURM_TASKS_PER_NODE": "1(x2)",
}
STEP = {**BATCH, "SLURM_NODEID": "1", "SLURM_STEP_ID": "0", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_CONF": "/etc/slurm.conf", "SLURM_CPUS_PER_TASK": "4"},  # not in a job
        {"NCPUS": "4"},
        {"PBS_JOBID": "1"},
        {"NSLOTS": "4"},
        {"JOB_ID": "3", "NSLOTS": "many"},
    ],
)
def test_missing_allocation_limits_nothing(environment: dict[str, str]) -> None:
    assert allocation(environment) is None


@pytest.mark.parametrize(
    ("environment", "cores", "source"),
    [
        (BATCH, 2, "SLURM_CPUS_ON_NODE"),
        (STEP, 2, "SLURM_CPUS_ON_NODE"),
        ({**SLURM, "SLURM_JOB_CPUS_PER_NODE": "40(x2),20"}, 40, "SLURM_JOB_CPUS_PER_NODE"),  # salloc sets no other
        ({**SLURM, "SLURM_JOB_CPUS_PER_NODE": "40(x2),20", "SLURM_NODEID": "1"}, 40, "SLURM_JOB_CPUS_PER_NODE"),
        ({**SLURM, "SLURM_JOB_CPUS_PER_NODE": "40(x2),20", "SLURM_NODEID": "2"}, 20, "SLURM_JOB_CPUS_PER_NODE"),
        ({**SLURM, "SLURM_JOB_CPUS_PER_NODE": "8,4", "SLURM_CPUS_ON_NODE": "6"}, 6, "SLURM_CPUS_ON_NODE"),
        ({**SLURM, "SLURM_JOB_CPUS_PER_NODE": "8", "SLURM_CPUS_PER_TASK": "2"}, 8, "SLURM_JOB_CPUS_PER_NODE"),
        ({**SLURM, "SLURM_CPUS_PER_TASK": "3"}, 3, "SLURM_CPUS_PER_TASK"),
        ({"SLURM_JOBID": "7", "SLURM_CPUS_ON_NODE": "5"}, 5, "SLURM_CPUS_ON_NODE"),
        # A batch script has all of the node that its job has; of four tasks of a step each has a quarter.
        ({**SLURM, "SLURM_CPUS_ON_NODE": "16", "SLURM_TASKS_PER_NODE": "4"}, 16, "SLURM_CPUS_ON_NODE"),
        (
            {**SLURM, "SLURM_STEP_ID": "0", "SLURM_CPUS_ON_NODE": "16", "SLURM_STEP_TASKS_PER_NODE": "4"},
            4,
            "SLURM_CPUS_ON_NODE",
        ),
        (
            {**STEP, "SLURM_CPUS_ON_NODE": "9", "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_JOB_CPUS_PER_NODE": "9"},
            2,
            "SLURM_CPUS_PER_TASK",
        ),
        ({**SLURM, "SLURM_STEP_ID": "0", "SLURM_CPUS_ON_NODE": "2"}, 2, "SLURM_CPUS_ON_NODE"),
        ({"PBS_JOBID": "7", "PBS_NCPUS": "6", "NCPUS": "8"}, 6, "PBS_NCPUS"),
        ({"PBS_JOBID": "7", "NCPUS": "8"}, 8, "NCPUS"),
        ({"PBS_JOBID": "7", "PBS_NCPUS": "", "PBS_NUM_PPN": "12"}, 12, "PBS_NUM_PPN"),  # Torque
        ({"LSB_JOBID": "7", "LSB_DJOB_NUMPROC": "24"}, 24, "LSB_DJOB_NUMPROC"),
        ({"LSB_JOBID": "7", "LSB_DJOB_NUMPROC": "24", "LSB_MCPU_HOSTS": f"a 8 {HERE}.b 16"}, 16, "LSB_MCPU_HOSTS"),
        ({"LSB_JOBID": "7", "LSB_DJOB_NUMPROC": "24", "LSB_MCPU_HOSTS": "a 8 b 16"}, 24, "LSB_DJOB_NUMPROC"),
        ({"JOB_ID": "7", "NSLOTS": "4"}, 4, "NSLOTS"),
    ],
)
def test_allocation_gives_cores(environment: dict[str, str], cores: int, source: str) -> None:
    found = allocation(environment)
    assert found is not None
    assert found.cores == ResourceLimit(cores, source)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SLURM_MEM_PER_NODE": "500"}, (0.524288, "SLURM_MEM_PER_NODE")),  # 500 * 1048576 bytes
        ({"SLURM_MEM_PER_CPU": "300", "SLURM_CPUS_ON_NODE": "4"}, (1.2582912, "SLURM_MEM_PER_CPU")),
        ({"SLURM_MEM_PER_NODE": "0", "SLURM_CPUS_ON_NODE": "4"}, None),  # --mem=0: all that there is
        ({"SLURM_MEM_PER_CPU": "300"}, None),
        (
            {"SLURM_MEM_PER_NODE": "1000", "SLURM_STEP_ID": "0", "SLURM_STEP_TASKS_PER_NODE": "4"},
            (0.262144, "SLURM_MEM_PER_NODE"),
        ),
    ],
)
def test_slurm_gives_memory(environment: dict[str, str], expected: tuple[float, str] | None) -> None:
    found = allocation({**SLURM, **environment})
    assert found is not None
    assert found.memory == (expected and ResourceLimit(pytest.approx(expected[0]), expected[1]))


def test_smaller_share_counts_and_is_reported() -> None:
    found = allocation({**BATCH, "SLURM_MEM_PER_NODE": "4000"})
    assert found is not None
    assert found.share(Resources(64, 256.0, 2)) == (
        Resources(2, pytest.approx(4.194304), 2),
        "job 7 of Slurm has 2 of 64 cores (SLURM_CPUS_ON_NODE) and 4.19 of 256 GB (SLURM_MEM_PER_NODE) of this machine",
    )
    assert found.share(Resources(2, 256.0)) == (
        Resources(2, pytest.approx(4.194304)),
        "job 7 of Slurm has 4.19 of 256 GB (SLURM_MEM_PER_NODE) of this machine",
    )
    assert found.share(Resources(1, 4.0)) == (Resources(1, 4.0), "")  # cgroups, or affinity, allow less
    assert allocation(SLURM).share(Resources(3, 5.0)) == (Resources(3, 5.0), "")  # type: ignore[union-attr]
