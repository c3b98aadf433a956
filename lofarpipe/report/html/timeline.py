"""Times and resources of steps and jobs, as the geometry of a drawing that stays small for any number of jobs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lofarpipe.jobs import duration_text
from lofarpipe.state.run_state import DONE, FAILED, INTERRUPTED, RUNNING, JobState, RunState, StepState

WIDTH, LEFT, RIGHT = 960.0, 210.0, 20.0  # of the drawing; units are CSS pixels on a wide screen
ROW, GAP, BAR, MARK = 16.0, 5.0, 7.0, 5.0
MOST_BARS, MOST_LANES = 60, 8  # bars of one step; beyond that, the number of concurrent jobs is drawn
MOST_ROWS = 60  # with more, the iterations of a loop share a row
BINS = 240
PLOT = 56.0
TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800)
MOST_TICKS = 8
SHORTEST_BAR = 1.5


class Bar(NamedTuple):
    """A span of time in one row."""

    x: float
    y: float
    width: float
    height: float
    state: str
    title: str


class Row(NamedTuple):
    """A step with all its iterations: bars, or an outline of the number of concurrent jobs."""

    label: str
    y: float
    height: float
    bars: tuple[Bar, ...]
    outline: str
    title: str


class Plot(NamedTuple):
    """Use of a resource over time: an outline, and the height of the available amount."""

    label: str
    y: float
    height: float
    outline: str
    top: str  # the value at the upper edge, with its unit
    limit_y: float | None
    limit: str


class Timeline(NamedTuple):
    """The drawing: rows of steps, plots of use, and the marks of time as (x, text)."""

    width: float
    height: float
    left: float
    right: float
    rows: tuple[Row, ...]
    plots: tuple[Plot, ...]
    ticks: tuple[tuple[float, str], ...]
    begins: str


class _Span(NamedTuple):
    """The time range of the drawing, s since 1970 UTC."""

    start_s: float
    end_s: float

    def x(self, time_s: float) -> float:
        part = (time_s - self.start_s) / (self.end_s - self.start_s)
        return round(LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, part)), 2)


def timeline(state: RunState) -> Timeline | None:
    """Return the drawing of the last run; None if it ran nothing."""
    steps = [step for step in state.steps.values() if step.run == state.run and step.started_s is not None]
    if not steps:
        return None
    now_s = max(
        time_s for step in steps for time_s in (step.started_s, step.ended_s, state.last_s) if time_s is not None
    )
    start_s = min(step.started_s for step in steps if step.started_s is not None)
    span = _Span(start_s, max(now_s, start_s + 1e-3))
    rows: list[Row] = []
    for label, group in _grouped(steps).items():
        y = rows[-1].y + rows[-1].height + GAP if rows else GAP
        group_jobs = [
            job for step in group for job in step.jobs.values() if job.run == state.run and job.start_s is not None
        ]
        rows.append(_row(label, group, group_jobs, span, y))
    bottom = rows[-1].y + rows[-1].height + 2 * GAP
    jobs = [job for step in steps for job in step.jobs.values() if job.run == state.run]
    plots = _plots(jobs, state, span, bottom + ROW)
    height = (plots[-1].y + plots[-1].height if plots else bottom) + ROW + GAP
    begins = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(start_s))
    return Timeline(WIDTH, round(height, 1), LEFT, WIDTH - RIGHT, tuple(rows), tuple(plots), _ticks(span), begins)


def _grouped(steps: Sequence[StepState]) -> dict[str, list[StepState]]:
    """Return the steps of each row by its label."""
    if len(steps) <= MOST_ROWS:
        return {step.name: [step] for step in steps}
    groups: dict[str, list[StepState]] = {}
    for step in steps:
        groups.setdefault(step.name.partition("@")[0], []).append(step)
    names = list(groups)
    rest = [step for name in names[MOST_ROWS - 1 :] for step in groups[name]]
    shown_groups = {name: groups[name] for name in names[: MOST_ROWS - 1]}
    return shown_groups | ({f"{len(names) - len(shown_groups)} further steps": rest} if rest else {})


def _row(label: str, steps: Sequence[StepState], jobs: Sequence[JobState], span: _Span, y: float) -> Row:
    """Return one row: a bar per job, or per step without jobs; an outline for too many."""
    many = f"{len(steps)} iterations" if len(steps) > 1 else ""
    title = ": ".join(filter(None, [label, ", ".join(filter(None, [many, f"{len(jobs)} jobs" if jobs else ""]))]))
    if not jobs:
        if len(steps) > MOST_BARS:
            return _outlined(label, [_step_times(step, span) for step in steps], (), title, span, y)
        bars = []
        for step in steps:
            start_s, end_s = _step_times(step, span)
            text = f"{step.name}: {duration_text(end_s - start_s)}"
            bars.append(_bar(start_s, end_s, span, y, ROW, step.state, text))
        return Row(label, y, ROW, tuple(bars), "", title)
    lanes = _lanes(jobs, span) if len(jobs) <= MOST_BARS else []
    if not lanes or max(lanes) >= MOST_LANES:
        failed = [job for job in jobs if job.state == FAILED][:MOST_BARS]
        marks = tuple(_job_bar(job, span, y + 2 * ROW - MARK, MARK) for job in failed)
        return _outlined(label, [_times(job, span) for job in jobs], marks, title, span, y)
    height = max(ROW, (BAR + 1) * (max(lanes) + 1))
    bars = [
        _job_bar(job, span, y + lane * (BAR + 1), height if max(lanes) == 0 else BAR)
        for job, lane in zip(jobs, lanes, strict=True)
    ]
    return Row(label, y, height, tuple(bars), "", title)


def _outlined(
    label: str, times: Iterable[tuple[float, float]], marks: tuple[Bar, ...], title: str, span: _Span, y: float
) -> Row:
    """Return a row with the number of running jobs over time, with marks for failures."""
    counted = _profile([(*pair, 1.0) for pair in times], span)
    most = max(counted)
    return Row(label, y, 2 * ROW, marks, _outline(counted, most, y, 2 * ROW), f"{title}, up to {most:.0f} at a time")


def _times(job: JobState, span: _Span) -> tuple[float, float]:
    """Return start and end of a job; a running job ends with the drawing."""
    start_s = job.start_s if job.start_s is not None else span.start_s
    return start_s, span.end_s if job.duration_s is None else start_s + job.duration_s


def _lanes(jobs: Sequence[JobState], span: _Span) -> list[int]:
    """Return for each job the first lane free at its start."""
    free_at: list[float] = []
    lanes = [0] * len(jobs)
    for index in sorted(range(len(jobs)), key=lambda place: _times(jobs[place], span)[0]):
        start_s, end_s = _times(jobs[index], span)
        lane = next((lane for lane, free_s in enumerate(free_at) if free_s <= start_s), len(free_at))
        free_at[lane : lane + 1] = [end_s]
        lanes[index] = lane
    return lanes


def _job_bar(job: JobState, span: _Span, y: float, height: float) -> Bar:
    start_s, end_s = _times(job, span)
    facts = [
        job.label,
        job.node,
        duration_text(end_s - start_s) if job.duration_s is not None else "runs",
        f"CPU {duration_text(job.cpu_s)}" if job.cpu_s is not None else "",
        f"{job.max_rss_mb / 1e3:.2f} GB" if job.max_rss_mb is not None else "",
        job.problem,
    ]
    return _bar(start_s, end_s, span, y, height, job.state, f"{job.name}: {', '.join(text for text in facts if text)}")


def _step_times(step: StepState, span: _Span) -> tuple[float, float]:
    """Return start and end of a step; a running step ends with the drawing."""
    start_s = step.started_s if step.started_s is not None else span.start_s
    return start_s, step.ended_s if step.ended_s is not None else span.end_s


def _bar(start_s: float, end_s: float, span: _Span, y: float, height: float, state: str, title: str) -> Bar:
    x = span.x(start_s)
    width = max(SHORTEST_BAR, span.x(end_s) - x)
    return Bar(
        x, round(y, 1), round(width, 2), height, state if state in (FAILED, RUNNING, INTERRUPTED) else DONE, title
    )


def _profile(uses: Iterable[tuple[float, float, float]], span: _Span) -> list[float]:
    """Return the summed use in each of BINS equal parts of the time; a use is (start, end, amount)."""
    begin_s, per_s = span.start_s, BINS / (span.end_s - span.start_s)
    bins = [0.0] * BINS
    for start_s, end_s, amount in uses:
        first, last = (start_s - begin_s) * per_s, (end_s - begin_s) * per_s
        if first < 0.0:
            first = 0.0
        if last > BINS:
            last = float(BINS)
        if not first < last:
            continue
        start, end = int(first), int(last)
        if start == end:  # as of very many short jobs
            bins[start] += amount * (last - first)
            continue
        bins[start] += amount * (start + 1 - first)
        for index in range(start + 1, end):
            bins[index] += amount
        if end < BINS:
            bins[end] += amount * (last - end)
    return bins


def _outline(bins: Sequence[float], top: float, y: float, height: float) -> str:
    """Return the outline of bins as the path of a drawing; equal neighbours share a line."""
    step = (WIDTH - LEFT - RIGHT) / BINS
    base = round(y + height, 1)
    path = [f"M{LEFT:g} {base:g}"]
    last = None
    for index, amount in enumerate(bins):
        level = round(base - height * (amount / top if top > 0 else 0.0), 1)
        if level != last:
            path.append(f"H{LEFT + index * step:.1f}V{level:g}")
            last = level
    path.append(f"H{LEFT + BINS * step:.1f}V{base:g}Z")
    return "".join(path)


def _plots(jobs: Sequence[JobState], state: RunState, span: _Span, y: float) -> list[Plot]:
    """Return the use of cores, by the mean of each job, and of memory, by its largest process."""
    cores, memory = [], []
    for job in jobs:
        start_s, duration_s = job.start_s, job.duration_s
        if start_s is not None and duration_s:
            if job.cpu_s is not None:
                cores.append((start_s, start_s + duration_s, job.cpu_s / duration_s))
            if job.max_rss_mb is not None:
                memory.append((start_s, start_s + duration_s, job.max_rss_mb / 1e3))
    plots: list[Plot] = []
    for label, unit, uses, limit in (
        ("CPU", "cores", cores, state.facts.get("cores")),
        ("memory", "GB", memory, state.facts.get("memory_gb")),
    ):
        if uses:
            plots.append(_plot(label, unit, _profile(uses, span), limit, y))
            y += PLOT + 2 * ROW
    return plots


def _plot(label: str, unit: str, bins: Sequence[float], limit: object, y: float) -> Plot:
    top = max(bins) or 1.0
    limit_value = float(limit) if isinstance(limit, int | float) and not isinstance(limit, bool) and limit > 0 else None
    limit_y = None
    if limit_value is not None and limit_value <= 3 * top:  # a far limit would flatten the curve
        top = max(top, limit_value)
        limit_y = round(y + PLOT * (1 - limit_value / top), 1)
    limit_text = f"{limit_value:g} {unit} there" if limit_value is not None else ""
    return Plot(label, y, PLOT, _outline(bins, top, y, PLOT), f"{top:.3g} {unit}", limit_y, limit_text)


def _ticks(span: _Span) -> tuple[tuple[float, str], ...]:
    """Return marks at round times since the start."""
    length_s = span.end_s - span.start_s
    step_s = next(
        (step for step in TICKS_S if length_s / step <= MOST_TICKS),
        TICKS_S[-1] * (1 + int(length_s / TICKS_S[-1] / MOST_TICKS)),
    )
    count = int(length_s / step_s)
    return tuple((span.x(span.start_s + index * step_s), _elapsed_text(index * step_s)) for index in range(count + 1))


def _elapsed_text(seconds: float) -> str:
    """Return a time since the start as h:mm or m:ss."""
    whole_s = int(seconds)
    hours, minutes = divmod(whole_s // 60, 60)
    return f"{hours}:{minutes:02d}:{whole_s % 60:02d}" if hours else f"{minutes}:{whole_s % 60:02d}"
