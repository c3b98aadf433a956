"""Every command that a run would give, as far as it can be known; no job is run, and nothing of the run is written.

The loop is that of a run, with other collaborators: a disk that lies over the real one and takes all that is written,
kinds that suppose that jobs do well, and a crew that prints what the executor would be given.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from lofarpipe.config import Settings
from lofarpipe.engine.crew import notices_of
from lofarpipe.engine.foresight import Foresight, NotKnown, Printout, shown_kind
from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.engine.kinds import Scope
from lofarpipe.engine.prediction import Awaited, Shadow, Supposer, call_of
from lofarpipe.engine.run import Run
from lofarpipe.engine.step_jobs import Outputs, Plan, StepJobs, job_commands
from lofarpipe.errors import PipelineError
from lofarpipe.jobs import Executor
from lofarpipe.pipeline.control import list_items
from lofarpipe.pipeline.load import Pipeline
from lofarpipe.pipeline.references import Results, resolve_known
from lofarpipe.pipeline.steps import Step
from lofarpipe.state.events import Notice
from lofarpipe.state.journal import Stream
from lofarpipe.state.run_state import RunState


def dry_run_lines(
    pipeline: Pipeline,
    settings: Settings,
    executor: Executor,
    state: RunState,
    directory: Path,
    signals: Sequence[int] = (),
) -> list[str]:
    """Go through the steps as a run does, and return what that would do, line by line.

    Parameters
    ----------
    directory: an empty one; all that is written is below it.

    Raises
    ------
    Interrupted
        After a signal.
    """
    shown = Printout(Shadow(directory / "files"))
    foresight = Foresight(shown, Supposer(shown.shadow, state.work, directory / "jobs"), Awaited(settings.job_workdir))
    (directory / "files").mkdir()
    stream = Stream(state=state, reporters=[Comments(shown)])
    Run(
        Scope(pipeline, settings, executor, stream, signals, shown.shadow),
        lambda scope, name: shown_kind(foresight, scope, name),
        lambda scope: PrintingCrew(shown, scope),
    ).execute()
    return shown.lines


class Comments:
    """Prints what a run decides."""

    def __init__(self, shown: Printout) -> None:
        self._shown = shown

    def notice(self, event: Notice) -> None:
        """Print a decision."""
        self._shown.tell(f"# {event.text}")


class PrintingCrew:
    """Prints the commands of jobs; none is run, and nothing is recorded."""

    def __init__(self, shown: Printout, scope: Scope) -> None:
        self._tell = shown.tell
        self._scope = scope

    def arrive(self) -> None:
        """Make no directory, and remove nothing."""

    def pass_over(self, step: Step, plan: Plan) -> None:
        """Print that a step is done."""
        self._tell(f"# {step.name}: done before, with the same inputs; not run again")

    def run(self, step: Step, jobs: StepJobs) -> None:
        """Print the commands of the jobs that a run would run."""
        if jobs.kept:
            self._tell(f"# {step.name}: {len(jobs.kept)} of {len(jobs.plan.jobs)} jobs were done before")
        jobs.refuse_unsafe()
        self._tell(*(f"# {step.name}: {notice}" for notice in notices_of(jobs.pending)))
        for planned in jobs.pending:
            self._tell(*job_commands([planned]), *_called(planned))
        self._scope.ledger.work.leave(jobs.entry, jobs.left)  # for as long as this dry run lives

    def record(self, jobs: StepJobs, outputs: Outputs) -> None:
        """Record nothing."""

    def accepts(self, step: Step, error: Exception) -> bool:
        """Print why a step cannot be shown, and go on with the next."""
        if not isinstance(error, PipelineError):
            return False
        if not isinstance(error, NotKnown):
            self._tell(f"# {step.name}: {error}")
            if step.kind == "recipe":
                self._tell(f"#   for each product: {_as_written(step, self._scope.results)}")
        return True

    def leave(self) -> None:
        """Leave nothing."""


def _called(planned: PlannedJob) -> list[str]:
    """Return the script that a job calls and its arguments, which do not stand in its command."""
    call = call_of(planned)
    if "script" not in call:
        return []
    keywords = [f"{key}={text}" for key, text in call["kwargs"].items()]
    return [f"#   {shlex.join([Path(call['script']).name, *call['args'], *keywords])}"]


def _as_written(step: Step, known: Results) -> str:
    """Return the program and its arguments as the parset has them, with the words that stand for files.

    What it refers to and is ``known`` is filled in.
    """
    texts = step.given
    flags = list_items(step.control.get("arguments", step.arguments.get("flags", texts.get("arguments", ""))))
    keywords = [f"{key}={text}" for key, text in step.arguments.items() if key != "flags"]
    return shlex.join(resolve_known(word, known) for word in [texts.get("executable", ""), *flags, *keywords])
