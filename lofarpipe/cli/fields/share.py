"""How many fields run at the same time on a machine, and what each of them gets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from lofarpipe.config import Settings
from lofarpipe.errors import PipelineError
from lofarpipe.executors.factory import method_of
from lofarpipe.executors.local.machine import engine_resources
from lofarpipe.jobs import Resources
from lofarpipe.pipeline.control_keys import read_value
from lofarpipe.pipeline.load import Pipeline
from lofarpipe.pipeline.steps import flattened

#: What a field gets at least before another one runs beside it, unless --at-once says how many: WSClean and DP3 use
#: this many cores well, and the image of a field takes this much memory.
FIELD = Resources(cores=8, memory_gb=16.0)
LOCAL = "local"


@dataclass(frozen=True)
class Share:
    """How many fields run at the same time, and what each may use; None: what the site's configuration says."""

    at_once: int
    cores: int | None = None
    memory_gb: float | None = None
    gpus: int = 0

    def arguments(self) -> list[str]:
        """Return what tells a run its share."""
        cores = [] if self.cores is None else ["--cores", str(self.cores)]
        return cores + ([] if self.memory_gb is None else ["--memory-gb", f"{self.memory_gb:.3f}"])


def share(
    settings: Settings, pipelines: Sequence[Pipeline], at_once: int | None, there: Resources | None = None
) -> Share:
    """Return how many fields run at the same time, and what each gets of this machine: equal parts.

    By default as many as there are parts of 8 cores and 16 GB, or of the most that a step of any field asks for. On a
    cluster jobs wait in the cluster's queue: all fields at the same time, and nothing is shared out here.

    Parameters
    ----------
    settings: the site's configuration.
    pipelines: those of all fields.
    there: what this machine has; by default it is found out.

    Raises
    ------
    PipelineError
        If ``at_once`` fields leave less to each than a step asks for.
    """
    if method_of(settings) != LOCAL:
        return Share(min(at_once or len(pipelines), len(pipelines)))
    there = there or engine_resources(settings.cores, settings.memory_gb)[0]
    machine = Resources(settings.cores or there.cores, settings.memory_gb or there.memory_gb, there.gpus)
    need = _largest_need(pipelines)
    at_once = _most(machine, need) if at_once is None else min(at_once, len(pipelines))
    if 1 < at_once > (most := _most(machine, need, Resources(1, 0.0))):
        raise PipelineError(
            f"--at-once {at_once}: a step of a field needs {need.cores} cores and {need.memory_gb:g} GB, and there are "
            f"{machine.cores} cores and {machine.memory_gb:.1f} GB; at most {most} at the same time is possible"
        )
    at_once = min(at_once, len(pipelines))
    if at_once == 1:
        return Share(1, settings.cores or None, settings.memory_gb or None)
    return Share(at_once, max(1, machine.cores // at_once), machine.memory_gb / at_once, min(need.gpus, machine.gpus))


def _most(machine: Resources, need: Resources, least: Resources = FIELD) -> int:
    """Return how many fields fit into a machine, at least one, where each gets what it needs and no less than that."""
    memory_gb = max(need.memory_gb, least.memory_gb)
    by_memory = int(machine.memory_gb / memory_gb) if memory_gb else sys.maxsize
    by_cores = machine.cores // max(need.cores, least.cores) if max(need.cores, least.cores) > 1 else sys.maxsize
    return max(1, min(by_cores, by_memory))


def _largest_need(pipelines: Sequence[Pipeline]) -> Resources:
    cores, memory_gb, gpus = (max(kind) for kind in zip(*map(_need, pipelines), strict=True))
    return Resources(cores, memory_gb, gpus)


def _need(pipeline: Pipeline) -> tuple[int, float, int]:
    """Return the most cores, memory (GB) and graphics processors that a step of a pipeline asks for."""
    cores, memory_gb, gpus = [0.0], [0.0], [0.0]
    for step in flattened(pipeline.steps):
        for key, found in (("cores", cores), ("memory_gb", memory_gb), ("gpus", gpus)):
            found.append(_number(step.control.get(key, "0")))
        gpus.append(1.0 if step.arguments.get("idg-mode") == "hybrid" else 0.0)
    return int(max(cores)), max(memory_gb), int(max(gpus))


def _number(text: str) -> float:
    try:
        return float(str(read_value(text, "number")))
    except ValueError:  # the run of the field refuses it
        return 0.0
