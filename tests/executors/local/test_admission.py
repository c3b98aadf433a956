"""Which job may start next."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.resources import Admission, Admitted
from lofarpipe.jobs import Job, Resources


def job(number: int = 0, **needs: object) -> Job:
    return Job(f"step/{number:03}", ("true",), Path("/"), Path("/log"), **needs)  # type: ignore[arg-type]


def admit_all(admission: Admission) -> list[Admitted]:
    admitted = []
    while (one := admission.admit_job()) is not None:
        admitted.append(one)
    return admitted


def test_cores_limit_concurrent_jobs() -> None:
    admission = Admission([job(i, cores=2) for i in range(3)], Resources(4, 10.0))
    first, second = admit_all(admission)
    assert (first.index, second.index) == (0, 1)
    admission.release(first)
    assert [one.index for one in admit_all(admission)] == [2]


def test_memory_limits_concurrent_jobs() -> None:
    admission = Admission([job(i, memory_gb=4.0) for i in range(3)], Resources(8, 10.0))
    assert len(admit_all(admission)) == 2


def test_jobs_without_memory_need_none() -> None:
    assert len(admit_all(Admission([job(i) for i in range(3)], Resources(8, 0.0)))) == 3


def test_job_with_too_many_cores_runs_alone() -> None:
    admission = Admission([job(0), job(1, cores=64), job(2)], Resources(2, 10.0))
    assert [one.index for one in admit_all(admission)] == [0]


def test_large_job_is_not_overtaken() -> None:
    admission = Admission([job(0), job(1, cores=4), job(2)], Resources(4, 10.0))
    (first,) = admit_all(admission)
    admission.release(first)
    (large,) = admit_all(admission)
    assert large.index == 1


def test_max_per_node_counts_by_host() -> None:
    jobs = [job(i, max_per_node=1, host=host) for i, host in enumerate(["a", "a", "b", "a"])]
    admission = Admission(jobs, Resources(8, 10.0))
    first, second = admit_all(admission)
    assert (first.index, second.index) == (0, 2)
    admission.release(first)
    assert [one.index for one in admit_all(admission)] == [1]


def test_devices_are_distributed() -> None:
    admission = Admission([job(i, gpus=1) for i in range(3)], Resources(8, 10.0, 2), ["0", "3"])
    first, second = admit_all(admission)
    assert (first.gpus, second.gpus) == (("0",), ("3",))
    admission.release(second)
    (third,) = admit_all(admission)
    assert third.gpus == ("3",)


def test_too_much_memory_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"step/001: needs 99 GB of memory, and this machine has 10\.0 GB"):
        Admission([job(0), job(1, memory_gb=99.0)], Resources(2, 10.0))


def test_missing_device_is_refused() -> None:
    with pytest.raises(PipelineError, match="step/000: needs 1 CUDA devices, and this machine has 0"):
        Admission([job(0, gpus=1)], Resources(2, 10.0))


NEEDS = st.builds(
    dict,
    cores=st.integers(0, 6),
    memory_gb=st.none() | st.floats(0.0, 10.0),
    host=st.sampled_from(["a", "b", "c"]),
    max_per_node=st.integers(0, 2),
)


@given(needs=st.lists(NEEDS, max_size=30), picks=st.lists(st.integers(0, 100), min_size=30, max_size=30))
def test_every_job_runs_once_within_limits(needs: list[dict[str, object]], picks: list[int]) -> None:
    jobs = [job(i, **need) for i, need in enumerate(needs)]
    admission, running, seen = Admission(jobs, Resources(4, 10.0)), [], []
    for pick in picks:
        admitted = admit_all(admission)
        running += admitted
        seen += [one.index for one in admitted]
        assert sum(min(max(one.job.cores, 1), 4) for one in running) <= 4
        assert sum(one.job.memory_gb or 0.0 for one in running) <= 10.0 + 1e-6
        hosts = Counter(one.job.host for one in running)
        assert all(hosts[one.job.host] <= one.job.max_per_node or not one.job.max_per_node for one in admitted[-1:])
        if running:
            admission.release(running.pop(pick % len(running)))
    assert sorted(seen) == list(range(len(jobs)))
