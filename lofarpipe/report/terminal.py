"""Plain lines on the terminal, each with the time of day; and the summary of a run, in a few lines."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from lofarpipe.jobs import duration_text
from lofarpipe.programs.base import rank
from lofarpipe.state.events import (
    JobDone,
    Notice,
    PluginDone,
    PluginStarted,
    RunEnded,
    RunStarted,
    StepDone,
    StepSkipped,
    StepStarted,
    Warned,
)
from lofarpipe.state.run_state import skipped_text
from lofarpipe.support.utilities import few_files, printable

MOST_PRODUCTS = 8
MOST_STEPS = 3
# Key numbers of quality.json for an image.
NUMBERS = (
    *("rms", "measured_over_expected", "peak", "dynamic_range", "beam_major", "beam_minor", "source_count"),
    *("blank_fraction", "flagged_fraction"),
)


def summary(
    job_directory: Path, took: Sequence[tuple[str, float]], ok: bool, record: Mapping[str, object] | None = None
) -> list[str]:
    """Return the outcome of a run; missing or unreadable parts are left out.

    Parameters
    ----------
    took: the steps with their durations, s.
    ok: whether the run ended well; if not, only where to look further.
    record: content of run.json, to avoid reading it again; it is long for many jobs.
    """
    lines: list[str] = []
    if ok:
        record = _read(job_directory / "run.json") if record is None else record
        quality = record.get("quality")
        lines += [*_products(record), *_quality(quality if isinstance(quality, dict) else {})]
    times = [f"{name} {duration_text(duration_s)}" for name, duration_s in sorted(took, key=_duration)[:MOST_STEPS]]
    lines += [f"slowest: {', '.join(times)}"] if ok and len(times) > 1 else []
    page = job_directory / "report.html"
    return [*lines, f"report: {page}"] if page.exists() else lines


def decimal_size_text(size_bytes: float) -> str:
    """Return a size as people read it, in units of 1000: ``12.3 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 999.5:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} TB"


def _read(path: Path) -> Mapping[str, object]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _products(record: Mapping[str, object]) -> list[str]:
    """Return the products in the order of interest to users."""
    entries = record.get("products")
    sizes: list[tuple[str, float]] = []
    own_directories = _own_directories(record)
    for entry in sorted(entries if isinstance(entries, list) else [], key=lambda entry: _place(entry, own_directories)):
        path, size_bytes = (entry.get("path"), entry.get("bytes")) if isinstance(entry, dict) else (None, None)
        if isinstance(path, str):
            sizes.append((printable(path), float(size_bytes) if isinstance(size_bytes, int | float) else math.nan))
    visible_sizes = sizes if len(sizes) <= MOST_PRODUCTS else sizes[: MOST_PRODUCTS - 1]
    lines = [
        f"product: {path}" + ("" if math.isnan(size) else f", {decimal_size_text(size)}")
        for path, size in visible_sizes
    ]
    return (
        [*lines, f"and {len(sizes) - len(visible_sizes)} more products"] if len(visible_sizes) < len(sizes) else lines
    )


def _duration(step: tuple[str, float]) -> float:
    return -step[1]


def _own_directories(record: Mapping[str, object]) -> tuple[str, ...]:
    """Return the directories of a run, with a slash at the end; outputs elsewhere are delivered."""
    run = record.get("run")
    names = [run.get(name) for name in ("job_directory", "working_directory")] if isinstance(run, dict) else []
    return tuple(f"{directory}/" for directory in names if isinstance(directory, str))


def _place(entry: object, own_directories: tuple[str, ...]) -> int:
    """Return the sort rank: delivered files, the image, other files, single channels, measurement sets."""
    facts = entry if isinstance(entry, dict) else {}
    path = str(facts.get("path"))
    if facts.get("kind") == "table":
        return sys.maxsize
    return rank(path) + 1 if path.startswith(own_directories) or not own_directories else 0


def _quality(facts: Mapping[str, object]) -> list[str]:
    numbers = []
    for name in NUMBERS:
        fact = facts.get(name)
        value, unit = (fact.get("value"), fact.get("unit")) if isinstance(fact, dict) else (None, None)
        if isinstance(value, int | float):
            numbers.append(f"{name.replace('_', ' ')} {_number_text(value, str(unit or ''))}")
    return [f"quality: {', '.join(numbers)}"] if numbers else []


def _number_text(value: float, unit: str) -> str:
    if unit.startswith("Jy"):
        from lofarpipe.support.utilities import flux_text

        return flux_text(value) + unit.removeprefix("Jy")
    return f"{value:.4g} {unit}".rstrip()


QUIET, NORMAL, VERBOSE, DEBUG = range(4)
PROGRESS_INTERVAL_S = 10.0


class Terminal:
    """Shows a run: progress on one stream, warnings and failed jobs on the other.

    Parameters
    ----------
    level: QUIET (only failures), NORMAL (steps), VERBOSE (also each job), DEBUG (also output of programs).
    out, err: where progress, and where warnings and failures go; by default standard output and standard error.
    record: returns the content of run.json; by default it is read.
    """

    def __init__(
        self,
        level: int = NORMAL,
        out: TextIO | None = None,
        err: TextIO | None = None,
        record: Callable[[], Mapping[str, object] | None] = lambda: None,
    ) -> None:
        self._level = level
        self._record = record
        self._out = out
        self._err = err
        self._began_s: float | None = None  # since 1970
        self._next_progress = 0.0
        self._done = 0
        self._jobs = 0
        self._job_directory: Path | None = None
        self._took: list[tuple[str, float]] = []  # steps with jobs, s

    def run_started(self, event: RunStarted) -> None:
        """Show the number of steps, and the directories of logs and maps."""
        self._began_s = event.time_s
        self._job_directory = event.job_directory
        self._print(f"{event.job}: {_count(event.step_count, 'step')}; logs and maps in {event.job_directory}")

    def step_started(self, event: StepStarted) -> None:
        """Show a step, and how many of its jobs are not run again."""
        self._jobs, self._done = event.jobs, event.done_before
        self._next_progress = time.monotonic() + PROGRESS_INTERVAL_S
        content = _count(event.jobs, "job") if event.jobs else event.type
        self._print_progress(f"{event.name}: {content}", NORMAL if event.jobs else VERBOSE)
        if event.done_before:
            self._print_progress(
                f"{event.name}: {event.done_before} of them done before, with the same inputs; not run again"
            )

    def step_skipped(self, event: StepSkipped) -> None:
        """Show a step that is not run again."""
        self._print_progress(f"{event.name}: done before, with the same inputs; not run again")

    def plugin_started(self, event: PluginStarted) -> None:
        """Show a plugin from VERBOSE on: it is over before it could be read."""
        self._print_progress(f"{event.name}: plugin", VERBOSE)

    def job_done(self, event: JobDone) -> None:
        """Show a failed job always, any job from VERBOSE on, and else every ten seconds how many are done."""
        self._done += 1
        if (result := event.result) is not None:
            product = f" ({few_files(result.label)})" if result.label else ""
            if event.problem is not None:
                self._print_error(f"{result.name}{product} {event.problem}; log: {result.log}")
            if self._level >= VERBOSE:
                self._print(f"{result.name}{product} {result.reason()}, {self._done} of {self._jobs}", VERBOSE)
            if self._level >= DEBUG:
                (self._out or sys.stdout).writelines(result.output())
        if self._level == NORMAL:
            self._print_job_count(event.name)

    def jobs_done(self, events: Sequence[JobDone]) -> None:
        """Show each, or how many are done."""
        if self._level == NORMAL and events:
            self._done += len(events)
            self._print_job_count(events[-1].name)
        else:
            for event in events:
                self.job_done(event)

    def _print_job_count(self, step: str) -> None:
        if self._done < self._jobs and time.monotonic() >= self._next_progress:
            self._next_progress = time.monotonic() + PROGRESS_INTERVAL_S
            self._print_progress(f"{step}: {self._done} of {self._jobs} jobs done")

    def step_done(self, event: StepDone) -> None:
        """Show how long a step took."""
        duration_s = event.duration_s or 0.0
        self._print_progress(f"{event.name}: done in {duration_text(duration_s)}", NORMAL if event.jobs else VERBOSE)
        if event.jobs:
            self._took.append((event.name, duration_s))
        if event.failed:
            self.warn(skipped_text(event.name, event.failed, event.jobs))

    def plugin_done(self, event: PluginDone) -> None:
        """Show how long a plugin took from VERBOSE on."""
        self._print_progress(f"{event.name}: done in {duration_text(event.duration_s or 0.0)}", VERBOSE)

    def notice(self, event: Notice) -> None:
        """Show a decision."""
        self._print(event.text)

    def warning(self, event: Warned) -> None:
        """Show a warning."""
        self.warn(event.text)

    def warn(self, text: str) -> None:
        """Show a warning without an event."""
        self._print_error(f"warning: {text}")

    def run_ended(self, event: RunEnded) -> None:
        """Show the outcome and the duration of the run; the caller shows the problem, at the end."""
        if self._job_directory is not None and self._level >= NORMAL:
            for line in summary(self._job_directory, self._took, event.ok, self._record()):
                self._print(line)
        how = "finished" if event.ok else "interrupted" if event.reason.startswith("interrupted") else "failed"
        # By the same times as status and report.html have.
        took_s = event.time_s - self._began_s if event.time_s is not None and self._began_s is not None else 0.0
        self._print(f"{event.job}: {how} after {duration_text(max(0.0, took_s))}")

    def _print_progress(self, text: str, level: int = NORMAL) -> None:
        """Print the progress of the run; the live display overrides it."""
        self._print(text, level)

    def _print(self, text: str, level: int = NORMAL) -> None:
        if self._level >= level:
            print(add_time(text), file=self._out or sys.stdout, flush=True)

    def _print_error(self, text: str) -> None:
        print(add_time(text), file=self._err or sys.stderr, flush=True)


def add_time(text: str) -> str:
    """Return a line that begins with the time of day."""
    return f"{time.strftime('%H:%M:%S')} {text}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shows_live(stream: TextIO) -> bool:
    """Return whether the stream is a terminal with cursor control."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")
