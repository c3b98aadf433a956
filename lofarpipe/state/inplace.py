"""Jobs that change their inputs: what was cut off in the middle must not be done twice."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lofarpipe.errors import PipelineError
from lofarpipe.state.events import Stamps, step_of
from lofarpipe.state.fingerprints import is_same, stamp
from lofarpipe.state.work import Work


@dataclass(frozen=True)
class CutOff:
    """A job that began to change its inputs, or may have begun, and did not end.

    Attributes
    ----------
    serial: of the event after which it may have.
    before: how its inputs were then.
    """

    job: str
    serial: int
    before: Mapping[str, str]


@dataclass(frozen=True)
class UnsafeJobs:
    """What the journal knows of the jobs of a step that began to change their inputs, and did not end.

    The inputs decide, not the numbers of the jobs: what was half changed must not be changed again by another job.
    """

    work: Work
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
        cut_off: dict[str, list[CutOff]] = {}
        for cut in self.cut_off() if any(changed_inputs.values()) else []:
            for path in cut.before:
                cut_off.setdefault(path, []).append(cut)
        for paths in changed_inputs.values():
            pairs = [(cut, path) for path in paths for cut in cut_off.get(path, ())]
            changed = [(cut.job, path) for cut, path in pairs if self._is_changed(cut, path)]
            if changed and not repeatable:
                raise PipelineError(self._refusal(*changed[0]))
            if changed:
                job, path = changed[0]
                yield f"{job} was cut off while it changed {path}; it is run again, for it is repeatable"

    def cut_off(self) -> list[CutOff]:
        """Return the jobs of the step that began to change something, and did not end."""
        opened = [
            CutOff(job, opened.serial, known(opened.start.before))
            for job, opened in self.work.open_jobs.items()
            if step_of(job) == self.entry
        ]
        return [cut for cut in [*opened, *self._of_the_step()] if cut.before]

    def _of_the_step(self) -> Iterator[CutOff]:
        """Yield those that a run which was killed may have had no time to say of that they began."""
        serial, unsafe = self.work.unsafe(self.entry)
        for job, before in unsafe.items():
            ended = self.work.end_of(job)
            if not (ended and ended.serial > serial):
                yield CutOff(job, serial, known(before))

    def unsettled(self, besides: Container[str]) -> dict[str, Stamps]:
        """Return what the last start of the step says of jobs that it has not any more.

        Also of what is as it was: a job of a cluster may yet begin.

        Parameters
        ----------
        besides: paths that jobs of the step are going to change; of these it has been looked at.
        """
        found: dict[str, Stamps] = {}
        for cut in self._of_the_step():
            left = [path for path in cut.before if path not in besides and not self._is_new(cut, path)]
            if left:
                found[cut.job] = {path: cut.before[path] for path in left}
        return found

    def _is_new(self, cut: CutOff, path: str) -> bool:
        return self.work.written_at.get(path, -1) > cut.serial

    def _is_changed(self, cut: CutOff, path: str) -> bool:
        """Whether an input is not as it was before, and was not made anew."""
        return not self._is_new(cut, path) and bool(changes_since({path: cut.before[path]}))

    def _refusal(self, job: str, path: str) -> str:
        again = f"start again with --forget {job}"
        made = path in self.work.written_at
        remedy = "delete it and start again: it is made anew" if made else f"restore it from its origin and {again}"
        return (
            f"step '{self.step}': {job} was cut off while it changed {path} in place, which is now neither as before "
            f"nor complete; {remedy}. If changing it twice does no harm, set {self.step}.control.repeatable = True"
        )


def known(stamps: object) -> dict[str, str]:
    """Return the stamps of what was there; of a line of the journal that is damaged, none."""
    pairs = stamps.items() if isinstance(stamps, Mapping) else ()
    return {path: mark for path, mark in pairs if isinstance(mark, str)}


def changes_since(before: Stamps) -> list[str]:
    """Return the paths whose files are not as their stamps say."""
    return [path for path, mark in before.items() if mark is not None and not is_same(stamp(path), mark)]
