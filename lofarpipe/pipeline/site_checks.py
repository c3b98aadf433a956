"""Whether a queue has the partitions that steps name: asked before the first job, not when the step begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lofarpipe.config import Settings
from lofarpipe.errors import Finding, PipelineError
from lofarpipe.executors.factory import method_of
from lofarpipe.executors.local.resources import usable_cores
from lofarpipe.jobs import Executor, Resources
from lofarpipe.pipeline.references import references
from lofarpipe.pipeline.steps import Step, flattened


def core_warnings(steps: Sequence[Step], settings: Settings, machine: Resources) -> list[Finding]:
    """Return where the run, or a step, asks for more cores than there are; that is slower, and no mistake for sure.

    ``machine`` is the largest job that can be run. Where jobs run elsewhere the nodes count, and not this machine.
    """
    if method_of(settings) != "local":
        return [*_large_steps(steps, machine.cores, "the largest node has", ("partition",))]
    there = usable_cores()
    asked = f"cores = {settings.cores} of [remote], or --cores"
    what = f"{asked}: this machine has {there}; programs get more threads than there are cores, which slows them down"
    run = [Finding("this run", what)] if settings.cores > there else []
    return [*run, *_large_steps(steps, min(there, machine.cores), "the run has")]


def _large_steps(steps: Sequence[Step], there: int, who: str, spared: Sequence[str] = ()) -> Iterator[Finding]:
    """Yield a finding for each step whose jobs ask for more; those that choose their nodes themselves are spared."""
    for step in steps:
        texts = step.given
        text = texts.get("cores", "").strip()
        if text.isdecimal() and int(text) > there and not any(texts.get(key) for key in spared):
            what = f"is {text}, and {who} {there}; its jobs run one at a time, with more threads than there are cores"
            yield Finding(step.where("control.cores"), what)
        yield from _large_steps(step.body, there, who, spared)


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
