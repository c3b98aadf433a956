"""statistics.xml: how long steps and jobs took, in the format that existing tools read.

Source: spec/lofarpipe.md, section 6.7.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

from lofarpipe.executors.jobs import JobResult
from lofarpipe.report.events import Reporter
from lofarpipe.support.utilities import write_atomically

_NOT_IN_NAMES = re.compile(r"[^\w.-]|^(?=[\d.-])", re.ASCII)


class Statistics(Reporter):
    """Collects the steps and their jobs; the file is written when the run ends, well or not.

    The first child of the root holds the steps that were not finished; the others are the finished steps in their
    order. A step with jobs has a child ``nodes``, a plugin has none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._root = Element("active_stack", Name="GenericPipeline", type="active_stack")
        self._nodes: dict[str, Element] = {}  # of the steps that began
        self._unfinished = SubElement(self._root, "active_stack", info="Contains functions not yet left")

    def step_started(self, step: str, step_type: str, jobs: int) -> None:
        """A step is unfinished until it is done."""
        started = SubElement(self._unfinished, element_name(step))
        if step_type != "plugin":
            self._nodes[step] = SubElement(started, "nodes", job_count=str(jobs))

    def job_done(self, step: str, result: JobResult, problem: str | None) -> None:
        """Note one job, its time and what it used."""
        del problem  # the exit code and the log say it
        nodes = self._nodes.get(step)
        if nodes is None:
            return
        job = SubElement(
            nodes,
            "job",
            job_id=result.name,
            job_host=result.host,
            duration=f"{result.duration_s:.3f}",
            returncode=str(result.exit_code),
        )
        SubElement(job, "resource_usage", cpu_s=f"{result.cpu_s:.3f}", max_rss_mb=f"{result.max_rss_mb:.1f}")

    def step_done(self, step: str, duration_s: float, jobs: int, failed: int) -> None:
        """Move the step to the finished ones."""
        del jobs, failed
        self._nodes.pop(step, None)
        done = self._unfinished.find(element_name(step))
        if done is not None:
            self._unfinished.remove(done)
            done.set("duration", f"{duration_s:.3f}")
            self._root.append(done)

    def run_ended(self, ok: bool, job_name: str, problem: str = "") -> None:
        """Write the file: one line of ASCII without a declaration."""
        del ok, job_name, problem
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, tostring(self._root, encoding="us-ascii").decode())


def element_name(step: str) -> str:
    """Return the name of a step as XML allows it: other characters become ``_``, and so begins a name with a digit."""
    return _NOT_IN_NAMES.sub("_", step) or "_"
