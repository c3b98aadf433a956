"""The journal's record of the steps of a pipeline, as a table; and steps that shall run again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from lofarpipe.errors import PipelineError, nearest
from lofarpipe.jobs import duration_text
from lofarpipe.pipeline.hints import step_hint
from lofarpipe.pipeline.steps import Step, flattened
from lofarpipe.state.events import StepDone, StepEvent, StepForgotten, StepStarted, step_of
from lofarpipe.state.jobs import JobLedger
from lofarpipe.state.uptodate import Ledger
from lofarpipe.state.work import Work
from lofarpipe.support.parset import Parset

STATES = {StepDone: "done", StepStarted: "not finished", StepForgotten: "forgotten"}
HEADER = ("step", "state", "when", "took", "jobs", "failed")


def entries_of(step: str, names: Sequence[str]) -> list[str]:
    """Return the journal names of a step: inside a loop, one per iteration."""
    return [name for name in names if name.partition("@")[0] == step]


def step_facts(steps: Sequence[Step], work: Work) -> list[dict[str, Any]]:
    """Return the facts of each step, or of each iteration: state, time in s since 1970 UTC, duration in s, jobs."""
    events = work.steps
    facts: list[dict[str, Any]] = []
    for step in flattened(steps):
        if step.kind not in ("recipe", "feedback"):
            facts.append({"step": step.name, "state": "runs always" if step.kind == "plugin" else step.kind})
            continue
        entries = entries_of(step.name, list(events))
        facts += [_facts(entry, events[entry], work) for entry in entries]
        facts += [] if entries else [{"step": step.name, "state": "not done"}]
    return facts


def _facts(entry: str, event: StepEvent, work: Work) -> dict[str, Any]:
    facts: dict[str, Any] = {"step": entry, "state": STATES[type(event)], "time_s": event.time_s or 0}
    if isinstance(event, StepDone):
        facts |= {"duration_s": event.duration_s, "jobs": event.jobs, "failed": event.failed}
    elif isinstance(event, StepStarted):
        done = sum(end.problem is None for end in work.jobs_ended(entry))
        facts |= {"jobs": event.jobs, "jobs_done": done}
    return facts


def steps_table(steps: Sequence[Step], work: Work) -> str:
    """Return one line per step or iteration: state, time, duration, jobs."""
    rows = [HEADER, *map(_row, step_facts(steps, work))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _row(facts: dict[str, Any]) -> tuple[str, str, str, str, str, str]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(facts["time_s"])) if "time_s" in facts else ""
    took = "" if facts.get("duration_s") is None else duration_text(facts["duration_s"])
    jobs = f"{facts['jobs_done']} of {facts['jobs']}" if "jobs_done" in facts else str(facts.get("jobs", ""))
    failed = "" if facts.get("failed") is None else str(facts["failed"])
    return facts["step"], facts["state"], when, took, jobs, failed


def forget_steps(name: str, steps: Sequence[Step], ledger: Ledger, parset: Parset | None = None) -> list[str]:
    """Make the next run start at a step: it and all steps after it are forgotten; return their names.

    A step inside a loop takes the loop with it, for its iterations build on each other. A name like ``average/007``
    is that of one job: its record alone counts no more. ``parset`` has the steps, for hints.

    Raises
    ------
    PipelineError
        If the pipeline has no such step, or the journal no such job; the message suggests the nearest.
    """
    if "/" in name:
        return forget_job(name, steps, ledger)
    require_name(name, steps, parset)
    places = [i for i, step in enumerate(steps) if name in {inner.name for inner in flattened([step])}]
    start = steps[places[0]]
    later_steps = list(flattened(steps[places[0] :]))
    if start.kind != "loop":  # a sub-pipeline runs once: what stands before the step in it is still good
        later_steps = later_steps[[step.name for step in later_steps].index(name) :]
    work = ledger.work
    entries = list(work.steps)
    with_jobs = work.steps_with_jobs()
    forgotten = [
        entry
        for step in later_steps
        for entry in entries_of(step.name, entries)
        if work.last_done(entry) or entry in with_jobs
    ]
    for entry in forgotten:
        JobLedger(ledger, entry).forget_job()
    return forgotten


def require_name(name: str, steps: Sequence[Step], parset: Parset | None = None, job_names: Sequence[str] = ()) -> None:
    """Raise unless a step has this name, or for ``average/007`` one of the jobs; the message suggests the nearest."""
    if "/" in name and name not in job_names:
        raise PipelineError(f"--forget {name}: no such job began{nearest(name, job_names)}")
    step_names = [step.name for step in flattened(steps)]
    if "/" not in name and name not in step_names:
        hint = nearest(name, step_names) if parset is None else step_hint(name, parset, step_names)
        raise PipelineError(f"--forget {name}: there is no such step{hint}; it has: {', '.join(step_names)}")


def forget_job(name: str, steps: Sequence[Step], ledger: Ledger) -> list[str]:
    """Make the next run repeat one job; return its name.

    Raises
    ------
    PipelineError
        If no job of this name began; it names the nearest.
    """
    job_names = [job for step in ledger.work.steps_with_jobs() for job in ledger.work.jobs_of(step)]
    require_name(name, steps, job_names=job_names)
    JobLedger(ledger, step_of(name)).forget_job(name)
    return [name]
