"""What every page has: the timeline, the steps with their jobs and logs, messages, versions and options."""

from __future__ import annotations

import html
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lofarpipe.report.html.logs import LogText, ShownJob, ShownStep
from lofarpipe.report.html.markup import NONE, Html, cut, fill, items, joined, said, shown, table
from lofarpipe.report.html.tables import duration, moment
from lofarpipe.report.html.timeline import Plot, Row, Timeline
from lofarpipe.report.run_state import DONE, JobState, RunState, StepState

LABEL_CHARACTERS, PRODUCT_CHARACTERS = 30, 120


def run_sections(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the sections of the run, jobs one by one; ``facts`` as `html_page.facts` has them."""
    yield _timeline(facts)
    yield from _steps(facts)
    yield _messages(facts)
    yield from _setup(facts)


def _timeline(facts: Mapping[str, Any]) -> Html:
    drawing: Timeline | None = facts["timeline"]
    if drawing is not None:
        inner = _drawn(drawing)
    else:
        is_running = facts["state"].state == "running"
        why = "yet" if is_running else "in this run: what is done is as an earlier one left it"
        inner = fill("<p>Nothing ran {}.</p>\n", why)
    return fill('<section id="timeline">\n<h2>Timeline</h2>\n{}</section>\n\n', inner)


def _drawn(drawing: Timeline) -> Html:
    ticks = joined(
        fill(
            '  <path class="tick" d="M{} 0V{}"/><text class="time" x="{}" y="{}">{}</text>\n',
            *(x, drawing.height - 18, x, drawing.height - 4, text),
        )
        for x, text in drawing.ticks
    )
    return fill(
        "<p>Time since {}, hours:minutes:seconds. One bar is a job; where there are too many, the shape shows how many"
        ' ran at a time.</p>\n<div class="wide">\n<svg class="gantt" viewBox="0 0 {} {}" role="img"'
        ' aria-label="timeline of steps and jobs">\n{}{}{}</svg>\n</div>\n<p class="key"><span class="sample done">'
        '</span>done <span class="sample running"></span>runs <span class="sample failed"></span>failed'
        ' <span class="sample interrupted"></span>interrupted. CPU: the mean of each job. Memory: that of the largest'
        " process of each job. Dashed: what there is.</p>\n",
        *(drawing.begins, drawing.width, drawing.height, ticks),
        joined(_row(row, drawing) for row in drawing.rows),
        joined(_plot(plot, drawing) for plot in drawing.plots),
    )


def _row(row: Row, drawing: Timeline) -> Html:
    bars = joined(
        fill(
            '  <rect class="bar {}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>\n',
            *(bar.state, bar.x, bar.y, bar.width, bar.height, shown(bar.title)),
        )
        for bar in row.bars
    )
    return fill(
        '  <g><title>{}</title>\n  <text class="label" x="{}" y="{}">{}</text>\n  {}\n{}  </g>\n',
        *(shown(row.title), drawing.left - 8, row.y + row.height / 2 + 4, shown(cut(row.label, LABEL_CHARACTERS))),
        fill('<path class="jobs" d="{}"/>', row.outline) if row.outline else NONE,
        bars,
    )


def _plot(plot: Plot, drawing: Timeline) -> Html:
    limit = NONE
    if plot.limit_y is not None:
        limit = fill('<path class="limit" d="M{} {}H{}"/>', drawing.left, plot.limit_y, drawing.right)
    return fill(
        '  <g><title>{} in use, up to {}{}</title>\n  <text class="label" x="{}" y="{}">{}</text>\n'
        '  <text class="label" x="{}" y="{}">{}</text>\n  <path class="use" d="{}"/>\n  {}\n  </g>\n',
        *(plot.label, plot.top, f", {plot.limit}" if plot.limit else ""),
        *(drawing.left - 8, plot.y + 10, plot.top),
        *(drawing.left - 8, plot.y + plot.height, plot.label),
        *(plot.outline, limit),
    )


def _steps(facts: Mapping[str, Any]) -> Iterator[str]:
    slowest: Sequence[StepState] = facts["slowest"]
    longest = ", ".join(f"{step.name} {duration(step.duration_s)}" for step in slowest)
    yield fill(
        '<section id="steps">\n<h2>Steps and logs</h2>\n{}<p class="controls"><button type="button" id="open-failed"'
        ' hidden>open what failed</button> <button type="button" id="close-all">close all</button></p>\n',
        fill("<p>Longest: {}.</p>\n", shown(longest)) if slowest else NONE,
    )
    for entry in facts["steps"]:
        yield from _step(entry)
    yield "</section>\n\n"


def _step(entry: ShownStep) -> Iterator[str]:
    step = entry.step
    ended = fill(", ended {}", moment(step.ended_s)) if step.ended_s else NONE
    yield fill(
        '<details class="step {}">\n<summary><span class="name">{}</span> <span class="badge {}">{}</span>'
        ' <span class="facts">{}</span></summary>\n{}{}',
        *(step.state, shown(step.name), step.state, step.state, _counts(step), problem(step.problem)),
        fill('<p class="facts">Began {}{} UTC.</p>\n', moment(step.started_s), ended) if step.started_s else NONE,
    )
    yield from map(_job, entry.jobs)
    if entry.left_out:
        yield fill('<p class="facts">{} more jobs are in the job directory alone.</p>\n', entry.left_out)
    yield "</details>\n"


def _counts(step: StepState) -> Html:
    parts = [shown(step.type)]
    if step.total:
        parts.append(fill("{} of {} job{}", step.done, step.total, "s" if step.total != 1 else ""))
    if step.failed:
        parts.append(fill("{} failed", step.failed))
    if step.duration_s is not None:
        parts.append(Html(duration(step.duration_s)))
    return joined(parts, " · ")


def problem(text: str) -> Html:
    """Return why something failed; nothing if it did not."""
    return fill('<pre class="problem">{}</pre>\n', shown(text)) if text else NONE


def _job(entry: ShownJob) -> str:
    """Return a job; there may be thousands of them, so this is done with few calls."""
    job = entry.job
    badge = f' <span class="badge {job.state}">{job.state}</span>' if job.state != DONE else ""
    failed = problem(job.problem) if job.problem else ""
    command = f'<pre class="command">{html.escape(entry.command)}</pre>\n' if entry.command else ""
    return (
        f'<details class="job {job.state}">\n<summary><span class="name">{said(job.name)}</span>{badge}'
        f' <span class="facts">{said(_use(job))}</span></summary>\n'
        f"{failed}{command}{_log(entry.log, job.log)}</details>\n"
    )


def _use(job: JobState) -> str:
    """Return what a job was about, and what it used."""
    parts = [cut(job.label, PRODUCT_CHARACTERS)]
    if job.duration_s is not None:
        parts.append(duration(job.duration_s))
    if job.cpu_s is not None:
        parts.append(f"CPU {duration(job.cpu_s)}")
    if job.max_rss_mb is not None:
        parts.append(f"{job.max_rss_mb / 1000:.2f} GB")
    if job.node:
        parts.append(job.node)
    if job.exit_code:
        parts.append(f"exit code {job.exit_code}")
    return " · ".join(parts)


def _log(log: LogText, path: str) -> str:
    if log.problem:
        return f'<p class="facts">No log: {said(log.problem)}</p>\n'
    rest = ""
    if log.omitted:
        rest = f"<strong>… {log.omitted} bytes are left out here …</strong>\n{html.escape(log.tail)}"
    return f'<pre class="log" tabindex="0">{html.escape(log.head)}{rest}</pre>\n<p class="facts">{said(path)}</p>\n'


def _messages(facts: Mapping[str, Any]) -> Html:
    state: RunState = facts["state"]
    kinds = (("Warnings", state.warnings), ("Notices", state.notices), ("Not on this page", facts["problems"]))
    lists = joined(fill("<h3>{}</h3>{}", title, items(texts)) for title, texts in kinds if texts)
    return fill('<section id="messages">\n<h2>Messages</h2>\n{}</section>\n\n', lists) if lists else NONE


def _setup(facts: Mapping[str, Any]) -> Iterator[str]:
    words = facts["state"].facts.get("argv")
    yield fill(
        '<section id="setup">\n<h2>Versions and options</h2>\n{}{}',
        table(("program", "version", "path"), facts["versions"]),
        fill('<pre class="command">{}</pre>\n', shown(shlex.join(map(str, words)))) if words else NONE,
    )
    for part in facts["record"]:
        content = table(part.head, part.rows, (2,) if "bytes" in part.head else ())
        left_out = part.entries - len(part.rows)
        rest = fill('<p class="facts">{} more are in run.json.</p>', left_out) if left_out else NONE
        yield fill("<details><summary>{} ({})</summary>{}{}</details>\n", part.title, part.entries, content, rest)
    yield "</section>\n"
