"""Jobs that change their inputs: what was cut off in the middle must not be done twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lofarpipe.errors import PipelineError
from lofarpipe.history import Event, History
from lofarpipe.stamps import is_same, stamp

Stamps = Mapping[str, str | None]


@dataclass(frozen=True)
class UnsafeJobs:
    """What the journal knows of the jobs of a step that began to change their inputs, and did not end."""

    journal: History
    entry: str
    step: str

    def refuse(self, changed_inputs: Mapping[str, Sequence[str]], repeatable: bool) -> Iterator[str]:
        """Yield notices of jobs that are run again all the same.

        Parameters
        ----------
        changed_inputs: the paths that each job is going to change.
        repeatable: a change that is made twice does no harm.

        Raises
        ------
        PipelineError
            If an input is neither as it was before the job began, nor was made anew since then.
        """
        for job, paths in changed_inputs.items():
            event, before = self._began(job)
            changed = [path for path in self._changed(event, before) if path in paths]
            if changed and not repeatable:
                raise PipelineError(self._refusal(job, changed[0]))
            if changed:
                yield f"{job} was cut off while it changed {changed[0]}; it is run again, for it is repeatable"

    def _began(self, job: str) -> tuple[Event, Stamps]:
        """Return the event after which a job may have changed something, and how its inputs were before."""
        event = self.journal.open_job(job)
        if event is not None:
            return event, event["before"]
        # A run that was killed may have had no time to say that the job began.
        step = self.journal.steps().get(self.entry) or {}
        ended = self.journal.end_of(job)
        if step.get("event") != "step_started" or (ended and ended["serial"] > step["serial"]):
            return {}, {}
        return step, (step.get("unsafe") or {}).get(job) or {}

    def _changed(self, event: Event, before: Stamps) -> list[str]:
        made_anew = [path for path in before if self.journal.written_at.get(path, -1) > event.get("serial", 0)]
        return [path for path in changes_since(before) if path not in made_anew]

    def _refusal(self, job: str, path: str) -> str:
        again = f"start again with --forget {job}"
        made = path in self.journal.written_at
        remedy = "delete it and start again: it is made anew" if made else f"restore it from its origin and {again}"
        return (
            f"step '{self.step}': {job} was cut off while it changed {path} in place, which is now neither as before "
            f"nor complete; {remedy}. If changing it twice does no harm, set {self.step}.control.repeatable = True"
        )


def changes_since(before: Stamps) -> list[str]:
    """Return the paths whose files are not as their stamps say."""
    return [path for path, mark in before.items() if mark is not None and not is_same(stamp(path), mark)]
