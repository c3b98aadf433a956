"""Whether a queue has the partitions that steps name: asked before the first job, not when the step begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lofarpipe.errors import Finding, PipelineError
from lofarpipe.jobs import Executor
from lofarpipe.pipeline.references import references
from lofarpipe.pipeline.steps import Step, flattened

PARTITION = "partition"


def partition_findings(steps: Sequence[Step], executor: Executor | None) -> list[Finding]:
    """Return the partitions that are not there, and what jobs ask for that theirs does not have."""
    if executor is None:
        return []
    return [finding for step in flattened(steps) for finding in _findings(step, executor)]


def _findings(step: Step, executor: Executor) -> Iterator[Finding]:
    given = step.given
    name = given.get(PARTITION, "")
    if not name or references(name):
        return
    try:
        largest = executor.capacity(name)
    except PipelineError as err:
        yield Finding(step.where(f"control.{PARTITION}"), str(err))
        return
    for key, there in (("memory_gb", largest.memory_gb), ("gpus", largest.gpus)):
        asked = _number(given.get(key, ""))
        if asked > there + 1e-7:
            what = f"is '{asked:g}'; the nodes of partition '{name}' have {there:.3g} at most; ask for less"
            yield Finding(step.where(f"control.{key}"), what)


def _number(text: str) -> float:
    """Return a number; 0 for what is none, which is told of as such."""
    try:
        return float(text)
    except ValueError:
        return 0.0
