"""Cores, memory and devices of a machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lofarpipe.executors.local import resources
from lofarpipe.executors.local.resources import (
    cgroup_directories,
    cuda_devices,
    detect_resources,
    engine_resources,
    usable_cores,
)
from lofarpipe.executors.local.resources import usable_memory_gb as memory_gb
from lofarpipe.jobs import Resources


@pytest.fixture
def no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_read", lambda path: "")


def limits(monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    """Let the process live in the cgroup /job of both versions, with these limits."""
    files = {"/proc/self/cgroup": "4:memory:/job/step\n3:cpu,cpuacct:/job\n0::/job\n", **files}
    monkeypatch.setattr(resources, "_read", lambda path: files.get(str(path), ""))


def test_machine_has_cores_and_memory() -> None:
    found = detect_resources()
    assert 1 <= found.cores <= os.cpu_count()  # type: ignore[operator]
    physical_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    assert 0 < found.memory_gb <= physical_gb * 1.01
    assert found.gpus >= 0


QUEUES = ("SLURM_", "PBS_", "LSB_", "NSLOTS")


@pytest.fixture
def allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 8 cores and 16 GB; a job of Slurm has 3 cores and 500 MiB of it."""
    for name in [name for name in os.environ if name.startswith(QUEUES)]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(resources, "detect_resources", lambda: Resources(8, 16.0, 1))
    for name, text in (("JOB_ID", "12"), ("CPUS_ON_NODE", "3"), ("MEM_PER_NODE", "500")):
        monkeypatch.setenv(f"SLURM_{name}", text)


def test_allocation_limits_engine(allocated: None) -> None:
    given, said = engine_resources()
    assert given == Resources(3, 0.524288, 1)
    assert said == (
        "job 12 of Slurm has 3 of 8 cores (SLURM_CPUS_ON_NODE) and 0.524 of 16 GB (SLURM_MEM_PER_NODE) of this machine"
    )


def test_configured_resources_override_allocation(allocated: None) -> None:
    given, said = engine_resources(cores=6)
    assert given == Resources(6, 0.524288, 1)
    assert said == "job 12 of Slurm has 0.524 of 16 GB (SLURM_MEM_PER_NODE) of this machine"
    assert engine_resources(6, 12.0) == (Resources(6, 12.0, 1), "")


def test_machine_limits_engine_outside_queue(allocated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID")
    assert engine_resources() == (Resources(8, 16.0, 1), "")


def test_affinity_limits_cores(monkeypatch: pytest.MonkeyPatch, no_limits: None) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 5, 7})
    assert usable_cores() == 5


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"/sys/fs/cgroup/job/cpu.max": "150000 100000"}, 2),
        ({"/sys/fs/cgroup/cpu.max": "10000 100000", "/sys/fs/cgroup/job/cpu.max": "max 100000"}, 1),
        (
            {
                "/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "300000",
                "/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000",
            },
            3,
        ),
        ({"/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "-1"}, 8),
    ],
)
def test_quota_limits_cores(monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    limits(monkeypatch, files)
    assert usable_cores() == cores


@pytest.mark.parametrize(
    ("files", "expected_gb"),
    [
        ({}, 8.192),
        ({"/sys/fs/cgroup/job/memory.max": "4000000000"}, 4.0),
        ({"/sys/fs/cgroup/job/memory.max": "max"}, 8.192),
        ({"/sys/fs/cgroup/memory/job/memory.limit_in_bytes": "2000000000"}, 2.0),
        ({"/sys/fs/cgroup/memory/job/step/memory.limit_in_bytes": "9223372036854771712"}, 8.192),
    ],
)
def test_cgroup_limits_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], expected_gb: float
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:        8000000 kB\nMemFree: 1 kB\n")
    limits(monkeypatch, files)
    assert memory_gb(meminfo) == pytest.approx(expected_gb)  # 8e6 * 1024 bytes


def test_missing_meminfo_is_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        memory_gb(tmp_path / "meminfo")


def test_cgroup_search_visits_parents(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("4:memory:/a/b\n0::/c\n")
    top = tmp_path / "fs"
    assert list(cgroup_directories("memory", top, own)) == [top / "memory/a/b", top / "memory/a", top / "memory"]
    assert list(cgroup_directories("", top, own)) == [top / "c", top]
    assert list(cgroup_directories("cpu", top, own)) == []


@pytest.mark.parametrize(
    ("text", "devices"), [("0,2", ["0", "2"]), ("", []), ("-1", []), ("GPU-ab, 1", ["GPU-ab", "1"])]
)
def test_variable_chooses_devices(monkeypatch: pytest.MonkeyPatch, text: str, devices: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)
    assert cuda_devices() == devices


@pytest.mark.parametrize(
    ("script", "count"),
    [("echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'; echo 'GPU 1: NVIDIA H200'", 2), ("echo 'No devices found.'", 0)],
)
def test_nvidia_smi_lists_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, count: int) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cuda_devices() == [str(number) for number in range(count)]


@pytest.mark.parametrize("script", [None, "exit 9"])
def test_device_files_count_without_nvidia_smi(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if script:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert len(cuda_devices()) == len(list(Path("/dev").glob("nvidia[0-9]*")))
