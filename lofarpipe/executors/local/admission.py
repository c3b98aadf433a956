"""Which job may start next: cores, memory, graphics cards, and jobs per host."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from lofarpipe.errors import PipelineError
from lofarpipe.jobs import Job, Resources


@dataclass(frozen=True)
class Admitted:
    """A job that may start now, its place in the list of jobs, and the CUDA devices that are its own until it ends."""

    index: int
    job: Job
    gpus: tuple[str, ...] = ()


class Admission:
    """Lets jobs in, in their order, as long as their needs fit into what is free.

    A job that waits for cores or memory is not overtaken, so a large one gets its turn; one that waits for its host
    (``max_per_node``) lets jobs of other hosts pass. A job that wants more cores than there are runs alone.

    Raises
    ------
    PipelineError
        If a job needs more memory or more CUDA devices than there are.
    """

    def __init__(self, jobs: Sequence[Job], capacity: Resources, devices: Sequence[str] = ()) -> None:
        self._capacity = capacity
        self._cores = capacity.cores
        self._memory_gb = capacity.memory_gb
        self._devices = list(devices)
        self._on_host: Counter[str] = Counter()
        self._waiting: dict[str, deque[Admitted]] = {}
        for index, job in enumerate(jobs):
            self._refuse_impossible(job)
            self._waiting.setdefault(job.host, deque()).append(Admitted(index, job))

    def admit(self) -> Admitted | None:
        """Return the next job that may start, and count what it uses; None if there is none now."""
        heads = [queue[0] for host, queue in self._waiting.items() if queue and self._host_is_free(host, queue[0].job)]
        if not heads:
            return None
        head = min(heads, key=lambda admitted: admitted.index)
        if not self._fits(head.job):
            return None
        self._waiting[head.job.host].popleft()
        gpus = tuple(self._devices[: head.job.gpus])
        self._use(head.job, +1)
        self._devices = self._devices[head.job.gpus :]
        return Admitted(head.index, head.job, gpus)

    def release(self, admitted: Admitted) -> None:
        """Give back what a job used, when it has ended."""
        self._use(admitted.job, -1)
        self._devices += admitted.gpus

    def _use(self, job: Job, times: int) -> None:
        self._cores -= times * self._cores_of(job)
        self._memory_gb -= times * (job.memory_gb or 0.0)
        self._on_host[job.host] += times

    def _cores_of(self, job: Job) -> int:
        return max(1, min(job.cores, self._capacity.cores))

    def _host_is_free(self, host: str, job: Job) -> bool:
        return job.max_per_node <= 0 or self._on_host[host] < job.max_per_node

    def _fits(self, job: Job) -> bool:
        # A hundred bytes of slack: sums of floats do not come back to exactly what they were.
        memory_fits = (job.memory_gb or 0.0) <= self._memory_gb + 1e-7
        return self._cores_of(job) <= self._cores and memory_fits and job.gpus <= len(self._devices)

    def _refuse_impossible(self, job: Job) -> None:
        if (job.memory_gb or 0.0) > self._capacity.memory_gb:
            raise PipelineError(
                f"{job.name}: needs {job.memory_gb:g} GB of memory, and this machine gives "
                f"{self._capacity.memory_gb:.1f} GB to jobs; ask for less, or run on a larger machine"
            )
        if job.gpus > len(self._devices):
            raise PipelineError(
                f"{job.name}: needs {job.gpus} CUDA devices, and this machine has {len(self._devices)}; "
                "choose a mode that runs on the CPU, or run on a machine with a graphics card"
            )
