"""A run as lines of text: steps, running jobs, and use of the machine.

The same lines are shown live, by ``status`` and at the end of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lofarpipe.jobs import duration_text
from lofarpipe.programs.base import Progress
from lofarpipe.state.run_state import (
    DONE,
    FAILED,
    INTERRUPTED,
    PLUGIN,
    RUNNING,
    SKIPPED,
    WAITING,
    JobState,
    RunState,
    StepState,
)
from lofarpipe.support.utilities import files_of, printable

MARKS = {WAITING: "·", RUNNING: "▶", DONE: "✓", FAILED: "✗", SKIPPED: "✓", INTERRUPTED: "!"}
PLAIN_MARKS = {WAITING: " ", RUNNING: ">", DONE: "+", FAILED: "x", SKIPPED: "=", INTERRUPTED: "!"}
TITLE, WARNING, PLAIN = "title", "warning", ""  # styles besides the states
MOST_JOBS = 4  # running jobs of a step with their own line
NAME_WIDTH = 28  # names are padded to the longest, up to this
PRODUCT_WIDTH = 28  # characters of a product's name: the job's progress matters more
SILENT_S = 120.0  # a job without output for so long may be stuck
SURE_FRACTION = 0.05  # earlier estimates are too inaccurate


class Line(NamedTuple):
    """One line of the board, and its style: the state of a step, ``title``, ``warning`` or ""."""

    text: str
    style: str = PLAIN


class Moment(NamedTuple):
    """Inputs of the board beside the events: the time, the progress of running jobs, and the size of the terminal."""

    now_s: float  # s since 1970 UTC
    progress: Mapping[str, Progress]  # by job
    height: int = 0  # lines; 0: as many as it takes
    has_marks: bool = True  # whether the terminal can show more than ASCII
    memory_gb: float | None = None  # memory of the running jobs; None: unknown


def board(state: RunState, moment: Moment) -> list[Line]:
    """Return the lines that show a run at a moment."""
    title = [Line(_title(state, moment), TITLE)]
    width = min(NAME_WIDTH, max((len(printable(name)) for name in state.steps), default=0))
    blocks = [_step_lines(step, moment, width) for step in state.steps.values()]
    rest = moment.height - len(title)
    if moment.height and sum(map(len, blocks)) > rest:
        blocks = _folded(list(state.steps.values()), blocks, rest)
    return title + [line for block in blocks for line in block]


def _title(state: RunState, moment: Moment) -> str:
    start_s = state.started_s if state.started_s is not None else moment.now_s
    end_s = state.ended_s if state.ended and state.ended_s is not None else moment.now_s
    text = f"{state.facts.get('job') or 'run'}: {state.state}, {duration_text(max(0.0, end_s - start_s))}"
    running = [job for step in state.steps.values() for job in step.running]
    if not running or state.ended:
        return text
    in_use = "" if moment.memory_gb is None else f", {moment.memory_gb:.2g} GB in use"
    return f"{text}; {usage(running, state.facts)}{in_use}"


def usage(running: Sequence[JobState], facts: Mapping[str, object]) -> str:
    """Return the jobs' share of the run's resources: ``cores 2 of 4, memory 11 of 25 GB``."""
    cores = sum(job.cores or 0 for job in running)
    memory_gb = sum(job.memory_gb or 0.0 for job in running)
    budget_cores, budget_gb = facts.get("cores"), facts.get("memory_gb")
    of_cores = f" of {budget_cores:.0f}" if isinstance(budget_cores, int | float) else ""
    of_memory = f" of {budget_gb:.3g}" if isinstance(budget_gb, int | float) else ""
    return f"cores {cores}{of_cores}, memory {memory_gb:.3g}{of_memory} GB"


def _step_lines(step: StepState, moment: Moment, width: int) -> list[Line]:
    lines = [Line(_step_text(step, moment, width), step.state)]
    running = step.running
    visible_jobs = running if len(running) <= MOST_JOBS else running[: MOST_JOBS - 1]
    lines += [Line(_job_text(job, moment.progress.get(job.name), moment.now_s), "") for job in visible_jobs]
    if len(visible_jobs) < len(running):
        lines.append(Line(f"    and {len(running) - len(visible_jobs)} more jobs"))
    return lines


def _step_text(step: StepState, moment: Moment, width: int) -> str:
    mark = (MARKS if moment.has_marks else PLAIN_MARKS)[step.state]
    # Most important first: a narrow terminal cuts off the end.
    failed = f"{step.failed} failed" if step.failed else ""
    state = step.state if step.state in (FAILED, INTERRUPTED) else ""
    parts = [part for part in (_counts(step), failed, state, _time(step, moment)) if part]
    return f"{mark} {printable(step.name):{width}}  {', '.join(parts)}".rstrip()


def _counts(step: StepState) -> str:
    if not step.total or step.state == WAITING:
        return ""
    return f"{step.done}/{step.total}"


def _time(step: StepState, moment: Moment) -> str:
    if step.state == SKIPPED:
        return "done before"
    if step.state == RUNNING and step.started_s is not None:
        elapsed_s = max(0.0, moment.now_s - step.started_s)
        rest_s = time_left_s(step, moment)
        return duration_text(elapsed_s) + (f", about {duration_text(rest_s)} left" if rest_s is not None else "")
    return duration_text(step.duration_s) if step.duration_s is not None and step.state != WAITING else ""


def time_left_s(step: StepState, moment: Moment) -> float | None:
    """Return the expected duration of a running step, from its progress, s; None if unknown.

    Running jobs count by their progress.
    """
    if step.started_s is None:
        return None
    finished_jobs = step.done - step.before + step.failed
    running = sum((moment.progress[job.name].fraction or 0.0) for job in step.running if job.name in moment.progress)
    to_do = step.total - step.before
    fraction = (finished_jobs + running) / to_do if to_do else 0.0
    if fraction < SURE_FRACTION:
        return None
    return max(0.0, moment.now_s - step.started_s) * (1 / min(1.0, fraction) - 1)


def _job_text(job: JobState, progress: Progress | None, now_s: float) -> str:
    place = job.name.rpartition("/")[2]
    progress_text = printable(progress.text) if progress else ""
    return "    " + " ".join(
        part for part in (place, _product_text(job.label), _silence(progress, now_s), progress_text) if part
    )


def _silence(progress: Progress | None, now_s: float) -> str:
    """Return the time since a job's last output, if long."""
    silent_s = now_s - progress.written_s if progress and progress.written_s is not None else 0.0
    return f"(silent for {duration_text(silent_s)})" if silent_s >= SILENT_S else ""


def _product_text(label: str) -> str:
    """Return the name of a product without its directories; of several the first, and how many more."""
    names = files_of(label)
    if not names:
        return ""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    name, width = printable(names[0].rstrip("/").rpartition("/")[2]), PRODUCT_WIDTH - len(more)
    return f"{name if len(name) <= width else f'{name[: width - 3]}...'}{more}"


def _folded(steps: Sequence[StepState], blocks: list[list[Line]], room: int) -> list[list[Line]]:
    """Fit the blocks to the height: finished steps, then waiting ones, are merged into one line."""
    over = [step.state in (DONE, SKIPPED) for step in steps]
    first = over.index(False) if False in over else len(over)
    last = next((place for place in range(len(steps), first, -1) if steps[place - 1].state != WAITING), first)
    first_blocks, current, last_blocks = blocks[:first], blocks[first:last], blocks[last:]
    size = sum(map(len, current))
    if size + len(first_blocks) + 1 > room and len(first_blocks) > 1:
        keep = max(0, room - size - 2)
        folded = len(first_blocks) - keep
        first_blocks = [[Line(f"  {folded} steps done", DONE)], *first_blocks[folded:]]
    keep = max(0, room - size - len(first_blocks) - 1)
    if len(last_blocks) > keep + 1:
        last_blocks = [*last_blocks[:keep], [Line(f"  {len(last_blocks) - keep} more steps", WAITING)]]
    return [*first_blocks, *current, *last_blocks]


def durations(state: RunState) -> list[tuple[str, float]]:
    """Return step -> duration in s, for the steps with jobs of the last run."""
    return [
        (step.name, step.duration_s)
        for step in state.steps.values()
        if step.duration_s and step.run == state.run and step.state == DONE and step.type != PLUGIN
    ]
