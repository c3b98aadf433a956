"""``pipeline.log`` with the output of every program, and ``statistics.xml``, as existing tools read them.

Source: doc/spec/lofarpipe.md, section 6.7; the spelling of "succesfully" is part of the format.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from itertools import chain, islice, repeat
from pathlib import Path

from lofarpipe.config import Settings
from lofarpipe.errors import PipelineError
from lofarpipe.jobs import JobResult, duration_text
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
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.disk import io_problem
from lofarpipe.support.patterns import lazy_pattern
from lofarpipe.support.utilities import write_atomically

LINES_AT_ONCE = 1000  # of a long log are in memory


class LogFile:
    """A log file kept open during the run, and made again if it is removed or moved."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None  # while it is open
        self._seen_at = ""  # time of the last check that the file exists: once a second, and for each step

    def append(self, lines: Iterable[str], moment: str) -> None:
        """Add lines; ``moment`` is the time of day, to the second.

        Raises
        ------
        OSError
            If they cannot be written.
        """
        # Bare calls of the system: this is done for jobs, and a stream costs several times as much.
        if self._file is not None and self._seen_at != moment and os.fstat(self._file).st_nlink == 0:
            self.close()  # deleted: further lines would be lost
        if self._file is None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._seen_at = moment
        rest = iter(lines)
        while text := "".join(islice(rest, LINES_AT_ONCE)):
            content = text.encode("utf-8", "replace")
            while content:
                content = content[os.write(self._file, content) :]

    def recheck(self) -> None:
        """Check that the file exists before the next line."""
        self._seen_at = ""

    def close_if_moved(self) -> None:
        """Close the file if it was moved or removed, as by log rotation."""
        self.recheck()
        if self._file is not None:
            try:
                is_there = os.path.samestat(os.fstat(self._file), os.stat(self.path))  # noqa: PTH116
            except OSError:
                is_there = False
            if not is_there:
                self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)


PROGRAM = "genericpipeline"


class ClassicLog:
    """Appends lines ``<date> <time> <level> <logger>: <text>`` to one file.

    The file is made when the run starts, so a refused run leaves no file. Earlier events are
    written then. It stays open while the run goes on; in the place of one that was moved away or removed a new one is
    made, at the next step at the latest.
    """

    def __init__(self, path: Path) -> None:
        self._file = LogFile(path)
        self._step_type = ""
        self._before_start: list[str] = []
        self._started = False
        self._second, self._second_text = 0, ""

    def run_started(self, event: RunStarted) -> None:
        """Create the file, or append to the one of an earlier run.

        Raises
        ------
        PipelineError
            If it cannot be written.
        """
        path = self._file.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as log:
                log.writelines(self._before_start)
        except OSError as err:
            raise PipelineError(f"{path}: the log cannot be written: {err.strerror}; correct log_file") from err
        self._started = True
        self._write("INFO", PROGRAM, f"LOFAR Pipeline ({PROGRAM}) starting: {event.job}, {event.step_count} steps")

    def step_started(self, event: StepStarted) -> None:
        """Write the start of a step: task, and number of jobs reused from an earlier run."""
        self._begin(event.name, event.type)
        self._write("INFO", PROGRAM, f"Running task: {event.type}")
        if event.done_before:
            message = f"{event.done_before} jobs of step {event.name} already exist in saved state; skipping"
            self._write("INFO", PROGRAM, message)

    def plugin_started(self, event: PluginStarted) -> None:
        """Write the name of the plugin called."""
        self._begin(event.name, "plugin")

    def _begin(self, step: str, step_type: str) -> None:
        self._step_type = step_type
        self._file.close_if_moved()
        self._write("INFO", PROGRAM, f"Beginning step {step}")

    def step_skipped(self, event: StepSkipped) -> None:
        """Write that outputs of an earlier run are reused."""
        self._write("INFO", PROGRAM, f"Beginning step {event.name}")
        self._write("INFO", PROGRAM, f"Task {event.name} already exists in saved state; skipping")

    def job_done(self, event: JobDone) -> None:
        """Write the output of the program, as one block, and its end."""
        if (result := event.result) is not None:
            name = _logger(self._step_type, result)
            level, of_output = ("INFO", "DEBUG") if event.problem is None else ("ERROR", "WARNING")
            end = f"{self._prefix(level, name)}{result.name} {event.problem or result.reason()}\n"
            self._append(chain(self._output(of_output, name, result), [end]))

    def jobs_done(self, events: Sequence[JobDone]) -> None:
        """Write the ends of jobs without output, each with its time."""
        self._append(
            f"{self._prefix('INFO', _logger(self._step_type, result), event.time_s)}{result.name} {result.reason()}\n"
            for event in events
            if (result := event.result) is not None
        )

    def step_done(self, event: StepDone) -> None:
        """Write that a step is complete."""
        name, step = f"{PROGRAM}.{self._step_type}", event.name
        if event.failed:
            failed = f"{event.failed} of {event.jobs} jobs of step {step} failed; their products are skipped"
            self._write("WARNING", name, failed)
        self._complete(step, event.duration_s)

    def plugin_done(self, event: PluginDone) -> None:
        """Write that a plugin returned."""
        self._complete(event.name, event.duration_s)

    def _complete(self, step: str, duration_s: float | None) -> None:
        text = f"recipe {self._step_type} completed ({step}, {duration_text(duration_s or 0.0)})"
        self._write("INFO", f"{PROGRAM}.{self._step_type}", text)

    def notice(self, event: Notice) -> None:
        """Write a decision."""
        self._write("INFO", PROGRAM, event.text)

    def warning(self, event: Warned) -> None:
        """Write a warning."""
        self._write("WARNING", PROGRAM, event.text)

    def run_ended(self, event: RunEnded) -> None:
        """Write the end of the run, if it had started."""
        if not self._started:
            return
        reason = event.reason or "no reason was given"
        failed = (f"Failed pipeline run: {event.job}", reason, "LOFAR Pipeline finished unsuccesfully.")
        try:
            for text in ("LOFAR Pipeline finished succesfully.",) if event.ok else failed:
                self._write("INFO" if event.ok else "ERROR", PROGRAM, text)
        finally:
            self._file.close()

    def _prefix(self, level: str, name: str, time_s: float | None = None) -> str:
        """Return how a line begins; by default it is of now."""
        return f"{self._time_text(time.time() if time_s is None else time_s)} {level:7} {name}: "

    def _time_text(self, time_s: float) -> str:
        """Return the date and the time of day as text, made once a second."""
        second = int(time_s)
        if second != self._second:
            self._second, self._second_text = second, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        return self._second_text

    def _write(self, level: str, name: str, text: str) -> None:
        line = f"{self._prefix(level, name)}{text}\n"
        if not self._started:
            self._before_start.append(line)
            return
        self._file.recheck()
        self._append([line])

    def _output(self, level: str, name: str, result: JobResult) -> Iterator[str]:
        # One record per block, as log tools expect.
        prefixes = chain([self._prefix(level, name)], repeat(""))
        lines = zip(prefixes, result.output(), strict=False)
        return (prefix + line.removesuffix("\n") + "\n" for prefix, line in lines)

    def _append(self, lines: Iterable[str]) -> None:
        try:
            self._file.append(lines, self._time_text(time.time()))
        except OSError as err:
            problem = io_problem(OSError(err.errno, err.strerror, err.filename or str(self._file.path)))
            raise PipelineError(f"the log cannot be written: {problem}") from err


def _logger(step_type: str, result: JobResult) -> str:
    """Return the logger name of a job: the type of its step, and its product."""
    return f"node.{result.host}.{step_type}.{result.label.rsplit('/', 1)[-1]}".rstrip(".")


_NOT_IN_NAMES = lazy_pattern(r"[^\w.-]|^(?=[\d.-])", re.ASCII)
_IS_SPECIAL = lazy_pattern(r"[&<>\"\r\n\t]")  # a search takes a tenth of the time of a translation
_IN_ATTRIBUTES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#09;"}
)
MOST_RESULTS = 1000


@dataclass
class _Step:
    """A step that began; its jobs become text, many at a time: a tree of elements takes four times as long."""

    element: str
    job_count: int | None  # None: a plugin
    results: list[JobResult] = field(default_factory=list)  # not formatted yet
    jobs: list[str] = field(default_factory=list)

    def add(self, result: JobResult) -> None:
        self.results.append(result)
        if len(self.results) >= MOST_RESULTS:
            self._collect_jobs()

    def _collect_jobs(self) -> None:
        self.jobs += map(_job, self.results)
        self.results = []

    def text(self, duration_s: float | None) -> str:
        self._collect_jobs()
        duration = "" if duration_s is None else f' duration="{duration_s:.3f}"'
        nodes = "" if self.job_count is None else _element("nodes", f' job_count="{self.job_count}"', self.jobs)
        return _element(self.element, duration, [nodes] if nodes else [])


class Statistics:
    """Collects the steps and their jobs; the file is written when the run ends, well or not.

    The first child of the root holds the unfinished steps; the others are the finished steps in their
    order. A step with jobs has a child ``nodes``, a plugin has none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unfinished: list[_Step] = []
        self._with_jobs: dict[str, _Step] = {}  # of the unfinished ones, by their names
        self._done: list[str] = []

    def step_started(self, event: StepStarted) -> None:
        """A step is unfinished until it is done."""
        started = _Step(element_name(event.name), event.jobs)
        self._unfinished.append(started)
        self._with_jobs[event.name] = started

    def plugin_started(self, event: PluginStarted) -> None:
        """A plugin is, too."""
        self._unfinished.append(_Step(element_name(event.name), None))

    def job_done(self, event: JobDone) -> None:
        """Record one job with its time and resources."""
        if event.name in self._with_jobs and event.result is not None:
            self._with_jobs[event.name].add(event.result)

    def step_done(self, event: StepDone | PluginDone) -> None:
        """Move the step to the finished ones."""
        self._with_jobs.pop(event.name, None)
        name = element_name(event.name)
        done = next((started for started in self._unfinished if started.element == name), None)
        if done is not None:
            self._unfinished = [started for started in self._unfinished if started is not done]
            self._done.append(done.text(event.duration_s or 0.0))

    plugin_done = step_done

    def run_ended(self, event: RunEnded) -> None:
        """Write the file: one line of ASCII without a declaration."""
        del event  # it is written however the run ended
        unfinished = [step.text(None) for step in self._unfinished]
        first = _element("active_stack", ' info="Contains functions not yet left"', unfinished)
        text = _element("active_stack", ' Name="GenericPipeline" type="active_stack"', [first, *self._done])
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, text.encode("us-ascii", "xmlcharrefreplace").decode())


def _element(name: str, attributes: str, children: list[str]) -> str:
    return f"<{name}{attributes}>{''.join(children)}</{name}>" if children else f"<{name}{attributes} />"


def _job(result: JobResult) -> str:
    return (
        f'<job job_id="{_attribute(result.name)}" job_host="{_attribute(result.host)}"'
        f' duration="{result.duration_s:.3f}" returncode="{result.exit_code}">'
        f'<resource_usage cpu_s="{result.cpu_s:.3f}" max_rss_mb="{result.max_rss_mb:.1f}" /></job>'
    )


def _attribute(text: str) -> str:
    return text.translate(_IN_ATTRIBUTES) if _IS_SPECIAL.search(text) else text


def element_name(step: str) -> str:
    """Return the name of a step as XML allows it: other characters become ``_``, and so begins a name with a digit."""
    return _NOT_IN_NAMES.sub("_", step) or "_"


SECTION, KEEP = "logging", "keep"
_START_TIME = lazy_pattern(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


def logs_to_keep(settings: Settings) -> int:
    """Return how many directories of logs stay, ``keep`` in [logging] of the site's configuration; 0: all.

    Raises
    ------
    PipelineError
        If the value is not such a number.
    """
    text = settings.sections.get(SECTION, {}).get(KEEP, "0").strip()
    if not text.isdecimal():
        place = settings.where(SECTION, KEEP)
        raise PipelineError(f"{place}: [{SECTION}] {KEEP} is '{text}'; a number of runs is needed, 0 for all")
    return int(text)


def prune_logs(settings: Settings) -> list[Path]:
    """Remove the logs of the oldest runs, but for so many as the site keeps; return the directories.

    Log directories are named after the start of a run, and stand beside the one of this run. The logs
    of jobs are elsewhere, and stay.
    """
    keep, log_directory = logs_to_keep(settings), settings.log_file.parent
    if not keep or log_directory.name != settings.start_time:
        return []
    log_directories = sorted(
        path for path in log_directory.parent.glob("*") if _START_TIME.fullmatch(path.name) and path.is_dir()
    )
    old = [path for path in log_directories if path != log_directory][
        : max(0, len({*log_directories, log_directory}) - keep)
    ]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    return old
