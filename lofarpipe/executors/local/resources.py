"""Resources of this machine, and the share allocated by a queue, from the environment of its job.

Most queues confine a job by cgroups or affinity, which are read from the system; without that configuration only the
environment shows that the rest of the machine belongs to other jobs.

Source: sbatch(1) and srun(1), output environment variables; qsub(1B) of OpenPBS and Torque; bsub(1), LSB_DJOB_NUMPROC;
qsub(1) of Grid Engine, NSLOTS.
"""

from __future__ import annotations

import functools
import math
import os
import re
import shutil
import socket
import subprocess
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.jobs import Job, Resources
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.patterns import lazy_pattern


def refuse_impossible(job: Job, capacity: Resources, who_has: str, remedy: str) -> None:
    """Refuse jobs that can never run.

    Parameters
    ----------
    who_has: subject and verb for the largest machine, such as "this machine has".
    remedy: alternative to a smaller request.

    Raises
    ------
    PipelineError
        If a job needs more memory or CUDA devices than available.
    """
    # A hundred bytes of tolerance for rounding in sums of floats.
    if (job.memory_gb or 0.0) > capacity.memory_gb + 1e-7:
        raise PipelineError(
            f"{job.name}: needs {job.memory_gb:g} GB of memory, and {who_has} {capacity.memory_gb:.1f} GB; "
            f"ask for less, or {remedy}"
        )
    if job.gpus > capacity.gpus:
        raise PipelineError(
            f"{job.name}: needs {job.gpus} CUDA devices, and {who_has} {capacity.gpus}; "
            f"choose a mode that runs on the CPU, or {remedy}"
        )


@dataclass(frozen=True)
class Admitted:
    """A job ready to start, its index in the list of jobs, and its CUDA devices until it ends."""

    index: int
    job: Job
    gpus: tuple[str, ...] = ()


class Admission:
    """Admits jobs in order, as long as they fit into the free resources.

    A job waiting for cores or memory is not overtaken, so large jobs get their turn; one waiting for its host
    (``max_per_node``) lets jobs of other hosts pass. A job that requests more cores than the machine has runs alone.

    Raises
    ------
    PipelineError
        If a job needs more memory or CUDA devices than available.
    """

    def __init__(self, jobs: Sequence[Job], capacity: Resources, devices: Sequence[str] = ()) -> None:
        self._capacity = capacity
        self._cores = capacity.cores
        self._memory_gb = capacity.memory_gb
        self._devices = list(devices)
        self._on_host: Counter[str] = Counter()
        self._waiting: dict[str, deque[Admitted]] = {}
        for index, job in enumerate(jobs):
            refuse_impossible(job, replace(capacity, gpus=len(devices)), "this machine has", "run on a larger machine")
            self._waiting.setdefault(job.host, deque()).append(Admitted(index, job))

    def admit_job(self) -> Admitted | None:
        """Return the next job ready to start, and reserve its resources; None if no job fits now."""
        heads = [queue[0] for host, queue in self._waiting.items() if queue and self._host_is_free(host, queue[0].job)]
        if not heads:
            return None
        head = min(heads, key=lambda admitted: admitted.index)
        if not self._fits(head.job):
            return None
        self._waiting[head.job.host].popleft()
        gpus = tuple(self._devices[: head.job.gpus])
        self._reserve(head.job, +1)
        self._devices = self._devices[head.job.gpus :]
        return Admitted(head.index, head.job, gpus)

    def release(self, admitted: Admitted) -> None:
        """Release the resources of an ended job."""
        self._reserve(admitted.job, -1)
        self._devices += admitted.gpus

    def _reserve(self, job: Job, times: int) -> None:
        self._cores -= times * self._cores_of(job)
        self._memory_gb -= times * (job.memory_gb or 0.0)
        self._on_host[job.host] += times

    def _cores_of(self, job: Job) -> int:
        return max(1, min(job.cores, self._capacity.cores))

    def _host_is_free(self, host: str, job: Job) -> bool:
        return job.max_per_node <= 0 or self._on_host[host] < job.max_per_node

    def _fits(self, job: Job) -> bool:
        # A hundred bytes of tolerance for rounding in sums of floats.
        memory_fits = (job.memory_gb or 0.0) <= self._memory_gb + 1e-7
        return self._cores_of(job) <= self._cores and memory_fits and job.gpus <= len(self._devices)


NVIDIA_SMI_TIMEOUT_S = 20.0
CGROUPS = Path("/sys/fs/cgroup")
MEMORY_FILES = {"memory": "memory.limit_in_bytes", "": "memory.max"}  # cgroup v1 controller -> file; "": cgroup v2


def detect_resources() -> Resources:
    """Return the cores, memory (GB) and CUDA devices available to this process; runs at most nvidia-smi."""
    return Resources(cores=usable_cores(), memory_gb=usable_memory_gb(), gpus=len(cuda_devices()))


def engine_resources(cores: int = 0, memory_gb: float = 0.0) -> tuple[Resources, str]:
    """Return the run's share of this machine, and a text about the limits of its queue job, or "".

    The share is the smallest of the limits of machine, cgroups and affinity, and the allocation of the enclosing
    queue job. For the engine only: a job of a run may use the share given by the run, whatever the
    environment says.

    Parameters
    ----------
    cores, memory_gb: configured share of the run, which has priority; 0: not configured.
    """
    machine = detect_resources()
    machine = Resources(cores or machine.cores, memory_gb or machine.memory_gb, machine.gpus)
    job = allocation(os.environ)
    if job is None:
        return machine, ""
    return replace(job, cores=None if cores else job.cores, memory=None if memory_gb else job.memory).share(machine)


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
    """Return the CUDA devices for jobs, in the notation of CUDA_VISIBLE_DEVICES.

    Source: CUDA_VISIBLE_DEVICES if set, else the list of ``nvidia-smi -L``, else /dev/nvidia<n>.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [device for device in chosen.replace(" ", "").split(",") if device not in {"", "-1", "NoDevFiles"}]
    program = shutil.which("nvidia-smi")
    device_count = None if program is None else _nvidia_smi(program)
    count = len(list(Path("/dev").glob("nvidia[0-9]*"))) if device_count is None else device_count
    return [str(number) for number in range(count)]


@functools.cache
def _nvidia_smi(program: str) -> int | None:
    """Return the number of devices; the query takes a second."""
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
    controller: str, cgroups: Path = CGROUPS, own_cgroup: Path = Path("/proc/self/cgroup")
) -> Iterator[Path]:
    """Yield the directories of this process' cgroup and its ancestors; the limits of all of them apply.

    Parameters
    ----------
    controller: controller of cgroup v1 ("memory"), or "" for v2.

    Inside a container the path given by the kernel may be invisible; then only the top directory is usable, and
    it is always yielded.
    """
    for line in _read(own_cgroup).splitlines():
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


MIB = 1024**2  # bytes in a megabyte of Slurm
GB = 1e9
_REPEATED = lazy_pattern(r"(?P<number>\d+)(?:\(x(?P<times>\d+)\))?")


@dataclass(frozen=True)
class ResourceLimit:
    """An amount of a resource, and its source variables."""

    number: float
    source: str


@dataclass(frozen=True)
class Allocation:
    """Share of one queue job on this machine; None: not stated."""

    job: str  # for messages: "job 123 of Slurm"
    cores: ResourceLimit | None = None
    memory: ResourceLimit | None = None  # 10^9 bytes

    def share(self, machine: Resources) -> tuple[Resources, str]:
        """Return the smaller of machine and allocation, and a text if the allocation is smaller, else ""."""
        cores = self.cores if self.cores and self.cores.number < machine.cores else None
        memory = self.memory if self.memory and self.memory.number < machine.memory_gb else None
        granted = replace(
            machine,
            cores=int(cores.number) if cores else machine.cores,
            memory_gb=memory.number if memory else machine.memory_gb,
        )
        parts = [f"{granted.cores} of {machine.cores} cores ({cores.source})"] if cores else []
        if memory:
            parts.append(f"{granted.memory_gb:.3g} of {machine.memory_gb:.3g} GB ({memory.source})")
        return granted, f"{self.job} has {' and '.join(parts)} of this machine" if parts else ""


def allocation(environment: Mapping[str, str]) -> Allocation | None:
    """Return the allocation of the enclosing queue job, or None."""
    allocations = (read(environment) for variable, read in QUEUES.items() if environment.get(variable))
    return next((share for share in allocations if share), None)


# ---- Slurm


def _slurm(environment: Mapping[str, str]) -> Allocation:
    number = environment.get("SLURM_JOB_ID") or environment["SLURM_JOBID"]
    limits = list(_slurm_cores(environment))
    cores = min(limits, key=lambda limit: limit.number, default=None)
    return Allocation(f"job {number} of Slurm", cores, _slurm_memory(environment, cores))


def _slurm_cores(environment: Mapping[str, str]) -> Iterator[ResourceLimit]:
    """Yield the shares of the job and of its step on this node; each task of a step has its part.

    A batch script is one process, with all resources of its job on the node, however many tasks were requested.
    """
    tasks = _tasks_here(environment)
    on_node = _whole_number(environment, "SLURM_CPUS_ON_NODE")
    of_job = _node_value(environment, "SLURM_JOB_CPUS_PER_NODE")
    of_task = _whole_number(environment, "SLURM_CPUS_PER_TASK")
    if on_node:
        yield ResourceLimit(max(1, on_node // tasks), "SLURM_CPUS_ON_NODE")
    if of_job:
        yield ResourceLimit(max(1, of_job // tasks), "SLURM_JOB_CPUS_PER_NODE")
    if of_task and (tasks > 1 or not (on_node or of_job)):
        yield ResourceLimit(of_task, "SLURM_CPUS_PER_TASK")


def _slurm_memory(environment: Mapping[str, str], cores: ResourceLimit | None) -> ResourceLimit | None:
    if on_node := _whole_number(environment, "SLURM_MEM_PER_NODE"):  # 0: the whole node
        return ResourceLimit(on_node * MIB / GB / _tasks_here(environment), "SLURM_MEM_PER_NODE")
    each = _whole_number(environment, "SLURM_MEM_PER_CPU")
    return ResourceLimit(each * cores.number * MIB / GB, "SLURM_MEM_PER_CPU") if each and cores else None


def _tasks_here(environment: Mapping[str, str]) -> int:
    """Return the number of tasks of the enclosing srun step on this node; 1 outside a step."""
    return max(1, _node_value(environment, "SLURM_STEP_TASKS_PER_NODE")) if "SLURM_STEP_ID" in environment else 1


def _node_value(environment: Mapping[str, str], name: str) -> int:
    """Return this node's number in a variable such as ``40(x2),20``, or the last one if it has fewer; else 0."""
    node, number = _whole_number(environment, "SLURM_NODEID"), 0
    for part in _REPEATED.finditer(environment.get(name, "")):
        number = int(part["number"])
        node -= int(part["times"] or 1)
        if node < 0:
            break
    return number


# ---- other queues; their environment does not state the memory


def _pbs(environment: Mapping[str, str]) -> Allocation | None:
    return _counted(environment, "PBS", "PBS_JOBID", ("PBS_NCPUS", "NCPUS", "PBS_NUM_PPN"))


def _lsf(environment: Mapping[str, str]) -> Allocation | None:
    job_share = _counted(environment, "LSF", "LSB_JOBID", ("LSB_DJOB_NUMPROC",))
    words = environment.get("LSB_MCPU_HOSTS", "").split()  # host number host number
    slots = {host.partition(".")[0]: count for host, count in zip(words[::2], words[1::2], strict=False)}
    own_slots = slots.get(socket.gethostname().partition(".")[0], "")
    return (
        replace(job_share, cores=ResourceLimit(int(own_slots), "LSB_MCPU_HOSTS"))
        if job_share and own_slots.isdigit()
        else job_share
    )


def _sge(environment: Mapping[str, str]) -> Allocation | None:
    return _counted(environment, "Grid Engine", "JOB_ID", ("NSLOTS",))


def _counted(environment: Mapping[str, str], queue: str, job: str, names: tuple[str, ...]) -> Allocation | None:
    """Return an allocation with the cores from the first numeric variable, or None."""
    cores = next((ResourceLimit(count, name) for name in names if (count := _whole_number(environment, name))), None)
    return Allocation(f"job {environment[job]} of {queue}", cores) if cores else None


def _whole_number(environment: Mapping[str, str], name: str) -> int:
    """Return the integer value of a variable; 0 if missing or invalid."""
    text = environment.get(name, "").strip()
    return int(text) if text.isdecimal() else 0


#: Variable with the number of a queue job -> function returning its allocation.
QUEUES: Mapping[str, Callable[[Mapping[str, str]], Allocation | None]] = {
    "SLURM_JOB_ID": _slurm,
    "SLURM_JOBID": _slurm,
    "PBS_JOBID": _pbs,
    "LSB_JOBID": _lsf,
    "JOB_ID": _sge,
}
