"""statistics.xml: how long steps and jobs took, in the format that existing tools read.

Source: doc/spec/lofarpipe.md, section 6.7.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from lofarpipe.jobs import JobResult
from lofarpipe.state.events import JobDone, PluginDone, PluginStarted, RunEnded, StepDone, StepStarted
from lofarpipe.support.utilities import write_atomically

_NOT_IN_NAMES = re.compile(r"[^\w.-]|^(?=[\d.-])", re.ASCII)
_IS_SPECIAL = re.compile(r"[&<>\"\r\n\t]")  # to look takes a tenth of the time that a translation does
_IN_ATTRIBUTES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#09;"}
)

MOST_RESULTS = 1000


@dataclass
class _Step:
    """A step that began; its jobs become text, many at a time: a tree of elements takes four times as long."""

    element: str
    job_count: int | None  # None: a plugin
    results: list[JobResult] = field(default_factory=list)  # that are not text yet
    jobs: list[str] = field(default_factory=list)

    def add(self, result: JobResult) -> None:
        self.results.append(result)
        if len(self.results) >= MOST_RESULTS:
            self._note()

    def _note(self) -> None:
        self.jobs += map(_job, self.results)
        self.results = []

    def text(self, duration_s: float | None) -> str:
        self._note()
        duration = "" if duration_s is None else f' duration="{duration_s:.3f}"'
        nodes = "" if self.job_count is None else _element("nodes", f' job_count="{self.job_count}"', self.jobs)
        return _element(self.element, duration, [nodes] if nodes else [])


class Statistics:
    """Collects the steps and their jobs; the file is written when the run ends, well or not.

    The first child of the root holds the steps that were not finished; the others are the finished steps in their
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
        """Note one job, its time and what it used."""
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
