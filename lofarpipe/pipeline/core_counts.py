"""More cores than there are: what is asked for and cannot be had, told before the first job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lofarpipe.config import Settings
from lofarpipe.errors import Finding
from lofarpipe.executors.factory import method_of
from lofarpipe.executors.local.machine import usable_cores
from lofarpipe.jobs import Resources
from lofarpipe.pipeline.steps import Step


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
