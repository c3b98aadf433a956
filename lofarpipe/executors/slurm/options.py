"""[slurm] of pipeline.cfg."""

from __future__ import annotations

from dataclasses import dataclass

from lofarpipe.executors.remote.queue import walltime_problem


@dataclass(frozen=True)
class SlurmOptions:
    """What a site says about its Slurm; each field is a key of the section.

    Attributes
    ----------
    partition, account, walltime: for ``sbatch --partition``, ``--account``, ``--time``; a step's own win.
    extra: further options of sbatch.
    name_prefix: what the names of jobs in the queue begin with.
    prologue: lines of bash that each job runs first, such as ``module load singularity``.
    gres: what graphics cards are called: gpu, or gpu:a100.
    array_limit: jobs of one step that run at the same time, over all nodes; 0: no limit.
    max_submitted: jobs that are in the queue at the same time; 0: no limit.
    max_array_size: tasks of one array; 0: as Slurm is configured.
    request_memory: whether jobs say how much memory they need.
    cores, memory_gb, gpus: the largest job that a node takes; 0: as the largest node of the partition.
    poll_s: longest time between two looks for records, s.
    queue_poll_s: longest time between two questions to squeue, s.
    vanished_s: a job that is neither in the queue nor has a record is given up after this time, s.
    """

    partition: str = ""
    account: str = ""
    walltime: str = ""
    extra: tuple[str, ...] = ()
    name_prefix: str = ""
    prologue: str = ""
    gres: str = "gpu"
    array_limit: int = 0
    max_submitted: int = 0
    max_array_size: int = 0
    request_memory: bool = True
    cores: int = 0
    memory_gb: float = 0.0
    gpus: int = 0
    poll_s: float = 10.0
    queue_poll_s: float = 120.0
    vanished_s: float = 30.0

    def faults(self) -> dict[str, str]:
        """Return what is needed instead of single values that make no sense, by key."""
        found = {key: "it has to be more than 0" for key in ("poll_s", "queue_poll_s") if not getattr(self, key)}
        problem = walltime_problem(self.walltime)
        return found | ({"walltime": problem} if problem else {})
