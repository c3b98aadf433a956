"""What this machine lets one run use: cores, memory, graphics cards."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lofarpipe.executors.local.resources import allocation
from lofarpipe.jobs import Resources

GB = 1e9
NVIDIA_SMI_TIMEOUT_S = 20.0
CGROUPS = Path("/sys/fs/cgroup")
MEMORY_FILES = {"memory": "memory.limit_in_bytes", "": "memory.max"}  # controller of version 1; "" is version 2


def detect_resources() -> Resources:
    """Return the cores, memory (GB) and CUDA devices that this process may use; nothing is started but nvidia-smi."""
    return Resources(cores=usable_cores(), memory_gb=usable_memory_gb(), gpus=len(cuda_devices()))


def engine_resources(cores: int = 0, memory_gb: float = 0.0) -> tuple[Resources, str]:
    """Return what a run may use of this machine, and for people what its job in a queue left of it; "" if nothing.

    That is the smallest of what the machine, cgroups and affinity allow, and what the queue gave to the job in which
    this process runs. It is for the engine alone: what a job of a run may use is what the run gave to it, whatever the
    environment says.

    Parameters
    ----------
    cores, memory_gb: what somebody said that the run may use, which holds; 0: nobody did.
    """
    there = detect_resources()
    there = Resources(cores or there.cores, memory_gb or there.memory_gb, there.gpus)
    job = allocation(os.environ)
    if job is None:
        return there, ""
    return replace(job, cores=None if cores else job.cores, memory=None if memory_gb else job.memory).share(there)


def usable_cores() -> int:
    """Return the number of cores of this process: its affinity, and the CPU quota of its cgroup, rounded up."""
    return max(1, min([len(os.sched_getaffinity(0)), *(math.ceil(quota) for quota in _cpu_quotas())]))


def usable_memory_gb(meminfo: Path = Path("/proc/meminfo")) -> float:
    """Return the memory of the machine, or the smallest limit of the cgroups around this process, in 10^9 bytes.

    Raises
    ------
    OSError
        If there is no /proc/meminfo: this is not Linux.
    """
    total = int(re.findall(r"^MemTotal:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)[0]) * 1024
    return min([total, *_memory_limits()]) / GB


def cuda_devices() -> list[str]:
    """Return the CUDA devices that a job may be given, as CUDA_VISIBLE_DEVICES spells them.

    They are those of CUDA_VISIBLE_DEVICES if it is set, else what ``nvidia-smi -L`` lists, else /dev/nvidia<n>.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [device for device in chosen.replace(" ", "").split(",") if device not in {"", "-1", "NoDevFiles"}]
    listed = _nvidia_smi()
    count = len(list(Path("/dev").glob("nvidia[0-9]*"))) if listed is None else listed
    return [str(number) for number in range(count)]


def _nvidia_smi() -> int | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return len(re.findall(r"^GPU \d+:", done.stdout, re.MULTILINE))


def _memory_limits() -> Iterator[int]:
    for controller, name in MEMORY_FILES.items():
        for directory in cgroup_directories(controller):
            text = _read(directory / name)
            if text.isdigit():  # "max": no limit
                yield int(text)


def _cpu_quotas() -> Iterator[float]:
    for directory in cgroup_directories(""):
        quota, _, period = _read(directory / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            yield int(quota) / int(period)
    for directory in cgroup_directories("cpu"):
        quota, period = _read(directory / "cpu.cfs_quota_us"), _read(directory / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():  # -1: no limit
            yield int(quota) / int(period)


def cgroup_directories(
    controller: str, cgroups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")
) -> Iterator[Path]:
    """Yield the directories of this process' cgroup and of all above it; limits of any of them hold.

    Parameters
    ----------
    controller: the controller of cgroup version 1 ("memory"), or "" for version 2.

    Inside a container the path that the kernel names may not be visible; then only the top directory is of use, and
    it is always among those yielded.
    """
    for line in _read(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            top = cgroups / controllers
            for place in (Path(path.lstrip("/")), *Path(path.lstrip("/")).parents):
                yield top / place


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
