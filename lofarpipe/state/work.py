"""The work that a journal has as done: steps and jobs, with their inputs, and how they left files and maps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

from lofarpipe.state.events import (
    Event,
    FilesRemoved,
    JobAdopted,
    JobCleared,
    JobDone,
    JobForgotten,
    JobSetAside,
    JobSettled,
    JobStarted,
    PluginDone,
    RunEnded,
    RunStarted,
    Stamps,
    StepDone,
    StepEvent,
    StepForgotten,
    StepStarted,
    step_of,
)
from lofarpipe.support.dataclass import dataclass


@dataclass(slots=True)
class OpenJob:
    """A job that began and did not end, or was lost."""

    start: JobStarted
    serial: int
    boot: str | None  # of its run
    executor: str | None
    is_lost: bool = False
    is_cleared: bool = False


class Work:
    """Which steps and jobs are done, with which inputs, and the state in which files were left; a part of `RunState`.

    There is one state, and events come in by `RunState.apply` alone. This part is a class of its own because it is
    another noun: RunState itself is the last run as people see it, which each run begins anew, by the times of its
    events; the work is that of all runs, by files and jobs, and the order of the events decides, not their times: a
    clock may be set back. No field is needed by both.

    Attributes
    ----------
    files: the stamp of each file that a step named or wrote, as the last of them left it; None: it was not there.
    written: the same of the files that a step or a job changed.
    written_at: the serial number of the event of the writing.
    maps: the text of each mapfile as the last step wrote it.
    in_flux: the files of a step that began and did not end, in journals without events of jobs.
    plugins: the last result of each plugin.
    owners: file -> the job whose output it is.
    aside: job -> its outputs of earlier runs, and files made of them -> where they are until the job has ended.
    superseded: those of these jobs that have succeeded since, so that these files go.
    open_jobs: the jobs that did not end.
    steps: the last event of each step (started, done or forgotten), in the order in which they began.
    killed_runs: the runs without a recorded end; the present run may be the last of them.
    """

    def __init__(self) -> None:
        self.files: dict[str, str | None] = {}
        self.written: dict[str, str | None] = {}
        self.written_at: dict[str, int] = {}
        self._written_by: dict[str, str] = {}  # the step whose event says so
        self.maps: dict[str, str] = {}
        self.in_flux: dict[str, str] = {}
        self.plugins: dict[str, dict[str, Any]] = {}
        self.owners: dict[str, str] = {}
        self.aside: dict[str, dict[str, str]] = {}
        self.superseded: set[str] = set()
        self.open_jobs: dict[str, OpenJob] = {}
        self.steps: dict[str, StepEvent] = {}
        self.killed_runs: list[RunStarted] = []
        self.serial = 0  # of the last event
        self._run = RunStarted(time_s=None)  # the last that began
        self._set_aside_by: dict[str, str | None] = {}  # job -> executor
        self._jobs: dict[str, dict[str, JobDone]] = {}  # step -> job -> its end
        self._removed: dict[str, dict[str, int]] = {}  # step -> jobs that it has not any more -> since which event
        self._written_since: dict[str, dict[str, int]] = {}  # file -> step that wrote it since then -> its last event
        self._unsafe: dict[str, tuple[int, dict[str, Any]]] = {}  # step -> serial number of its start, what it said

    # ---- what is done

    def last_done(self, step: str) -> StepDone | None:
        """Return the end of a step that is done; None if it is not."""
        event = self.steps.get(step)
        return event if isinstance(event, StepDone) else None

    def last_job(self, job: str) -> JobDone | None:
        """Return the end of a job that ended well; None if there is none."""
        event = self.end_of(job)
        return event if event is not None and event.problem is None else None

    def end_of(self, job: str) -> JobDone | None:
        """Return the end of a job, however it ended; None if it did not, or began again."""
        end = self._jobs.get(step_of(job), {}).get(job)
        return None if end is None or self._is_written_over(job, end) else end

    def jobs_ended(self, step: str) -> list[JobDone]:
        """Return the ends of the jobs of a step."""
        removed = self._removed.get(step, {})
        return [end for job, end in self._jobs.get(step, {}).items() if job not in removed]

    def all_ended(self, step: str) -> list[JobDone]:
        """Return the same, also of jobs that the step has not any more."""
        return [end for job, end in self._jobs.get(step, {}).items() if not self._is_written_over(job, end)]

    def known_jobs(self, step: str) -> dict[str, JobStarted | JobDone]:
        """Return the start of each job of a step that is open, else its end; also of jobs that it has not any more."""
        facts: dict[str, JobStarted | JobDone] = {end.job: end for end in self.all_ended(step)}
        return facts | {job: opened.start for job, opened in self.open_jobs.items() if step_of(job) == step}

    def left_aside(self) -> list[str]:
        """Return the jobs for which a run that ended set files aside, and of which none can be running now."""
        return [job for job in self.aside if job in self.superseded or self._set_aside_by[job] in ("local", None)]

    def steps_made_of(self, step: str) -> set[str]:
        """Return the steps that are done, and used files of a step, or files made of these."""
        dependents = {step}
        depends = {name: event.depends.keys() for name, event in self.steps.items() if isinstance(event, StepDone)}
        while more := {name for name, inputs in depends.items() if name not in dependents and inputs & dependents}:
            dependents |= more
        return dependents - {step}

    def jobs_of(self, step: str) -> list[str]:
        """Return the jobs of a step that began, or may have begun."""
        return list({**self.known_jobs(step), **self.unsafe(step)[1]})

    def unsafe(self, step: str) -> tuple[int, dict[str, Any]]:
        """Return the serial number of a step's last start, and the stamps of the files that its jobs were to change."""
        return self._unsafe.get(step, (0, {}))

    def steps_with_jobs(self) -> set[str]:
        """Return the steps of which any job began."""
        return {*self._jobs, *map(step_of, self.open_jobs)}

    def is_in_flux(self, path: str, now: str | None, besides: str) -> bool:
        """Whether that a file changed is the work of a job that began and did not end, and is of another step.

        Such a job may have written it; that it has disappeared is only so if it was not there when the job began. What
        another step made anew since then is not its work.
        """
        if self.in_flux.get(path, besides) != besides and now is not None:
            return True
        made_at, made_by = self.written_at.get(path, -1), self._written_by.get(path)
        starts = [
            opened.start.before
            for job, opened in self.open_jobs.items()
            if step_of(job) != besides and (opened.serial > made_at or step_of(job) == made_by)
        ]
        return any(path in stamps and (now is not None or stamps[path] is None) for stamps in starts)

    def writer_of(self, path: str) -> str:
        """Return the step that wrote a file last, or removed it; "" if none is known to have."""
        return self._written_by.get(path, "")

    # ---- events

    def begin_run(self, event: RunStarted) -> None:
        """Take in the start of a run."""
        self._run = event
        self.killed_runs.append(event)

    def end_run(self, _: RunEnded) -> None:
        """Take in the end of the last run."""
        self.killed_runs = self.killed_runs[:-1]

    def begin_step(self, event: StepStarted) -> None:
        """Take in the start of a step: it may have overwritten its outputs, and is not done any more."""
        self.steps[event.step] = replace(event, serial=self.serial)
        self.in_flux |= dict.fromkeys(event.names, event.step)
        self.leave(event.step, event.left)
        self._unsafe[event.step] = (self.serial, dict(event.unsafe))

    def end_step(self, event: StepDone) -> None:
        """Take in the end of a step."""
        self.steps[event.step] = replace(event, serial=self.serial)
        self._note_writer(event.step, event.written)
        self._keep_files(event)
        self.maps |= event.maps

    def forget_step(self, event: StepForgotten) -> None:
        """Take in that a step counts no more."""
        step = event.step
        if step in self.steps:
            self.steps[step] = event
        for records in (self._jobs, self._removed, self._unsafe):
            records.pop(step, None)
        self.open_jobs = {job: opened for job, opened in self.open_jobs.items() if step_of(job) != step}

    def end_plugin(self, event: PluginDone) -> None:
        """Take in the result of a plugin."""
        self.plugins[event.step] = dict(event.outputs)

    def begin_job(self, event: JobStarted) -> None:
        """Take in the start of a job."""
        self._jobs.get(step_of(event.job), {}).pop(event.job, None)
        self.open_jobs[event.job] = OpenJob(event, self.serial, self._run.boot, self._run.executor)

    def end_job(self, event: JobDone) -> None:
        """Take in the end of a job."""
        job, step = event.job, step_of(event.job)
        self._jobs.setdefault(step, {})[job] = self._end_to_keep(event)
        self._note_writer(step, event.written)
        if event.problem is None and job in self.aside:
            self.superseded.add(job)
            for path in self.aside[job]:  # it is nobody's output any more
                self.owners.pop(path, None)
        self.owners |= dict.fromkeys(event.made, job)
        if event.is_lost and job in self.open_jobs:  # it may have stopped anywhere
            self.open_jobs[job].is_lost = True
        else:
            self.open_jobs.pop(job, None)
            self._keep_files(event)

    def _end_to_keep(self, event: JobDone) -> JobDone:
        """Return the end of a job; of a job of this run without fields for the next run alone, which can be large."""
        if event.result is None:
            return event if event.serial == self.serial else replace(event, serial=self.serial)
        return JobDone(
            event.step,
            event.job,
            problem=event.problem,
            is_lost=event.is_lost,
            fingerprint=event.fingerprint,
            program=event.program,
            written=event.written,
            made=event.made,
            time_s=event.time_s,
            serial=self.serial,
        )

    def forget_job(self, event: JobForgotten) -> None:
        """Take in that a job counts no more."""
        step = step_of(event.job)
        self.open_jobs.pop(event.job, None)
        self._jobs.get(step, {}).pop(event.job, None)
        self.unsafe(step)[1].pop(event.job, None)
        self.steps[step] = StepForgotten(step, time_s=event.time_s)

    def set_aside(self, event: JobSetAside) -> None:
        """Take in where the files of earlier runs are while a job runs."""
        self.aside.setdefault(event.job, {}).update(event.aside)
        self._set_aside_by[event.job] = self._run.executor
        self.superseded.discard(event.job)

    def settle(self, event: JobSettled) -> None:
        """Take in that these files are gone, or back."""
        self.aside.pop(event.job, None)
        self.superseded.discard(event.job)

    def clear(self, event: JobCleared) -> None:
        """Take in that the remains of a job that was cut off are cleared away."""
        if event.job in self.open_jobs:
            self.open_jobs[event.job].is_cleared = True

    def remove_files(self, event: FilesRemoved) -> None:
        """Take in that outputs are gone which nobody needs: that is how the last step left them."""
        gone = dict.fromkeys(event.sizes)
        self.files |= gone
        self.written |= gone
        self.written_at |= dict.fromkeys(gone, self.serial)
        self._written_by |= dict.fromkeys(gone, "")

    def leave(self, step: str, jobs: Iterable[str]) -> None:
        """Note which jobs a step has not any more.

        Their outputs are valid again when the step has them again, unless they were overwritten meanwhile.
        """
        removed, former = dict.fromkeys(jobs, self.serial), self._removed.pop(step, {})
        ends = self._jobs.get(step, {})
        for job in [job for job in former if job not in removed]:
            if job in ends and self._is_written_over(job, ends[job], former[job]):
                del ends[job]
        if removed:
            self._removed[step] = {**removed, **{job: former[job] for job in removed if job in former}}

    def _is_written_over(self, job: str, end: JobDone, since: int | None = None) -> bool:
        """Whether the files of a job were written over since its step had it not any more.

        Of a job that its step has a later change of what it wrote is the work of what comes after it. Of these it is
        another job that took their place.
        """
        step = step_of(job)
        since = self._removed.get(step, {}).get(job) if since is None else since
        if since is None:
            return False
        return any(
            serial > since and (writer == step or path in end.written)
            for path in {*end.files, *end.written}
            for writer, serial in self._written_since.get(path, {}).items()
        )

    def _note_writer(self, step: str, paths: Collection[str]) -> None:
        for path in paths if self._removed else ():
            self._written_since.setdefault(path, {})[step] = self.serial

    def _keep_files(self, event: StepDone | JobDone) -> None:
        """Keep how a step or a job left files."""
        outputs: Stamps = event.written
        self.files |= {**event.files, **outputs}
        self.written |= outputs
        self.written_at |= dict.fromkeys(outputs, self.serial)
        self._written_by |= dict.fromkeys(outputs, event.step)
        if self.in_flux:
            settled = event.files.keys() | outputs.keys()
            self.in_flux = {path: step for path, step in self.in_flux.items() if path not in settled}


WORK_HANDLERS: dict[type[Event], Callable[[Work, Any], None]] = {
    RunStarted: Work.begin_run,
    RunEnded: Work.end_run,
    StepStarted: Work.begin_step,
    StepDone: Work.end_step,
    StepForgotten: Work.forget_step,
    PluginDone: Work.end_plugin,
    JobStarted: Work.begin_job,
    JobDone: Work.end_job,
    JobAdopted: Work.end_job,
    JobForgotten: Work.forget_job,
    JobSetAside: Work.set_aside,
    JobSettled: Work.settle,
    JobCleared: Work.clear,
    FilesRemoved: Work.remove_files,
}
