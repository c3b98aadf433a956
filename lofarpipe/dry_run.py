"""Every command that a run would give, as far as it can be known; nothing is run or written."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lofarpipe.control import loop_count
from lofarpipe.control_keys import list_items
from lofarpipe.errors import PipelineError
from lofarpipe.job_events import job_entry
from lofarpipe.job_files import command_lines
from lofarpipe.listing import flattened
from lofarpipe.references import Results, references, resolve_known
from lofarpipe.resume import NEVER_DONE
from lofarpipe.run import Run
from lofarpipe.step_jobs import Outputs, Work
from lofarpipe.steps import KINDS, Step


class NotKnown(PipelineError):  # noqa: N818 - it names what is the case
    """A step was told of, and what it will give cannot be known."""


@dataclass
class DryRun(Run):
    """Goes through the steps as a run does, and puts into ``lines`` what that would do.

    What a step gives is known if it was done by an earlier run; what needs one that never ran cannot be known before.
    """

    lines: list[str] = field(default_factory=list)

    def prepare_directories(self) -> None:
        """Make none, and remove nothing."""

    def _step(self, step: Step) -> None:
        missing = self._missing(step) if step.kind in KINDS else []
        try:
            if missing:
                raise PipelineError(f"to be known it needs what these give, which did not run: {', '.join(missing)}")
            super()._step(step)
        except NotKnown:
            pass
        except PipelineError as err:
            self.lines.append(f"# {step.name}: {err}")
            if step.kind == "recipe":
                self.lines.append(f"#   for each product: {_as_written(step, self.results)}")

    def _missing(self, step: Step) -> list[str]:
        """Return the steps to which this one refers, and whose outputs are not known."""
        names = {name for text in _texts(step) for name, _ in references(text)}
        later = [other.name for other in flattened(self.pipeline.steps)]
        return [name for name in dict.fromkeys(later) if name in names and name not in self.results]

    def _plugin(self, step: Step) -> Outputs:
        outputs = self.journal.plugins.get(self._journal_name(step))
        how = "" if outputs is None else "; its maps are taken to be those of the last run"
        self.lines.append(f"# {step.name}: plugin {step.type}{how}")
        if outputs is None:
            raise NotKnown(step.name)
        return dict(outputs)

    def _work(self, step: Step, work: Work) -> Outputs:
        entry = self._journal_name(step)
        reason = self.ledger.stale(entry, work.identity)
        if not reason:
            self.lines.append(f"# {step.name}: done before, with the same inputs; not run again")
            return self.ledger.recall(entry)
        if reason != NEVER_DONE:
            self.lines.append(f"# {step.name}: runs again: {reason}")
        jobs = self._step_jobs(step, entry, work)
        if jobs.kept:
            self.lines.append(f"# {step.name}: {len(jobs.kept)} of {len(work.jobs)} jobs were done before")
        jobs.refuse_unsafe()
        self.lines += command_lines(jobs.pending)
        outputs = self.ledger.suppose(entry, {job_entry(entry, planned.job) for planned in jobs.pending})
        if outputs is None:
            raise NotKnown(step.name)
        return outputs

    def _loop(self, step: Step) -> Outputs:
        if loop_count(step) < 0:
            self.lines.append(f"# {step.name}: a loop that ends when a step in it says so; one iteration is shown")
            step = replace(step, control={**step.control, "loopcount": "1"})
        return super()._loop(step)

    def _nothing(self, step: Step) -> Outputs:
        self.lines.append(f"# {step.name}: kind '{step.kind}' is not known; nothing is done")
        return {}

    def _write_parset(self, step: Step, keywords: Mapping[str, str]) -> str:  # noqa: ARG002 - writes nothing
        """Write nothing; return the name that the file would have."""
        return str(self.settings.parset_dir / f"{step.name}.parset") if step.arguments else ""


def _texts(step: Step) -> list[str]:
    return [*step.control.values(), *step.arguments.values(), *step.positionals]


def _as_written(step: Step, known: Results) -> str:
    """Return the program and its arguments as the parset has them, with the words that stand for files.

    What it refers to and is ``known`` is filled in.
    """
    texts = {**step.task, **step.control}
    flags = list_items(step.control.get("arguments", step.arguments.get("flags", texts.get("arguments", ""))))
    keywords = [f"{key}={text}" for key, text in step.arguments.items() if key != "flags"]
    return shlex.join(resolve_known(word, known) for word in [texts.get("executable", ""), *flags, *keywords])
