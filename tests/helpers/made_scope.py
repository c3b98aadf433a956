"""The scope of a run with hand-made steps, and its reporters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from copy_pipeline import CONFIG
from idle_executor import IdleExecutor
from lofarpipe.config import Overrides, load_settings
from lofarpipe.engine.kinds import Scope
from lofarpipe.jobs import DoneCallback, Job, JobResult, StartCallback
from lofarpipe.pipeline.steps import Step
from lofarpipe.state.events import KINDS, Event
from lofarpipe.state.journal import Stream


class Listener:
    """Keeps the events of a stream."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        for kind in KINDS:
            setattr(self, kind, self.events.append)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def texts(self, kind: str) -> list[str]:
        return [vars(event)["text"] for event in self.events if event.kind == kind]


class DoingExecutor(IdleExecutor):
    """Ends each job at once: with 1 if its name is among the ``failing``."""

    def __init__(self, failing: Sequence[str] = ()) -> None:
        self.notices: list[str] = []
        self.on_notice: Any = None
        self.failing = failing
        self.ran: list[str] = []

    def run(
        self, jobs: Sequence[Job], on_done: DoneCallback | None = None, on_start: StartCallback | None = None
    ) -> list[JobResult]:
        results = []
        for job in jobs:
            self.ran.append(job.name)
            code = int(job.name in self.failing)
            results.append(JobResult(job.name, code, 1e9, 1.0, 1.0, 1.0, job.log, job.argv, label=job.label))
            if on_done is not None:
                on_done(results[-1])
        return results


def made_scope(here: Path, *steps: Step, reporters: Sequence[object] = (), executor: Any = None) -> Scope:
    """Return the scope of a run in a directory."""
    (here / "pipeline.cfg").write_text(CONFIG.format(here=here))
    settings = load_settings(here / "run.parset", Overrides(config=str(here / "pipeline.cfg")))
    facts = {"path": here / "run.parset", "parset": {}, "steps": steps, "plugin_path": [here]}
    pipeline: Any = SimpleNamespace(**facts, error_tolerance=True, rerun_on_upgrade=True, keep="all")
    return Scope(pipeline, settings, executor or DoingExecutor(), Stream(reporters=reporters))


def made_step(name: str, kind: str = "recipe", step_type: str = "executable_args", **control: str) -> Step:
    return Step(name, name, kind, step_type, control, {})


def copy_step_of(here: Path, *names: str) -> Step:
    """Return a step with a job for each of these files, and write its map."""
    entries = [{"host": "localhost", "file": f"{here}/{name}", "skip": False} for name in names]
    (here / "in.mapfile").write_text(repr(entries))
    keys = {"executable": "/bin/cp", "mapfile_in": f"{here}/in.mapfile", "inputkey": "a", "outputkey": "b"}
    return made_step("copy", **keys, arguments="[a, b]")
