"""Finished work in a journal: steps and jobs with their inputs, and the resulting state of files and maps."""

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
    """An unfinished or lost job."""

    start: JobStarted
    serial: int
    boot: str | None  # boot id of its run
    executor: str | None
    is_lost: bool = False
    is_cleared: bool = False


class Work:
    """Finished steps and jobs with their inputs, and the last state of files; a part of `RunState`.

    There is one state, changed by `RunState.apply` alone. This part is a class of its own because it is
    another noun: RunState itself is the last run as shown to users, reset by each run and ordered by the times of
    events; the work spans all runs, by files and jobs, ordered by the sequence of events, as a
    clock may be set back. They share no field.

    Attributes
    ----------
    files: path -> fingerprint after the last step that named or wrote the file; None: no such file.
    written: the same for files changed by a step or a job.
    written_at: path -> serial number of the event that recorded the write.
    maps: mapfile -> text last written by a step.
    in_flux: files of an unfinished step, in journals without job events.
    plugins: plugin -> last result.
    owners: file -> job that owns it as output.
    aside: job -> former output, or file derived from it -> hidden path until the job ends.
    superseded: jobs of ``aside`` that succeeded since, so that their files can be removed.
    open_jobs: unfinished jobs.
    steps: step -> last event (started, done or forgotten), in order of start.
    killed_runs: runs without a recorded end; the last may be the present run.
    """

    def __init__(self) -> None:
        self.files: dict[str, str | None] = {}
        self.written: dict[str, str | None] = {}
        self.written_at: dict[str, int] = {}
        self._written_by: dict[str, str] = {}  # path -> step
        self.maps: dict[str, str] = {}
        self.in_flux: dict[str, str] = {}
        self.plugins: dict[str, dict[str, Any]] = {}
        self.owners: dict[str, str] = {}
        self.aside: dict[str, dict[str, str]] = {}
        self.superseded: set[str] = set()
        self.open_jobs: dict[str, OpenJob] = {}
        self.steps: dict[str, StepEvent] = {}
        self.killed_runs: list[RunStarted] = []
        self.serial = 0  # serial number of the last event
        self._run = RunStarted(time_s=None)  # last start event
        self._set_aside_by: dict[str, str | None] = {}  # job -> executor
        self._jobs: dict[str, dict[str, JobDone]] = {}  # step -> job -> end event
        self._removed: dict[str, dict[str, int]] = {}  # step -> removed job -> serial number of its removal
        self._written_since: dict[str, dict[str, int]] = {}  # file -> step that wrote it since then -> serial number
        self._unsafe: dict[str, tuple[int, dict[str, Any]]] = {}  # step -> (serial number of its start, unsafe inputs)

    # ---- finished work

    def last_done(self, step: str) -> StepDone | None:
        """Return the end event of a finished step, or None."""
        event = self.steps.get(step)
        return event if isinstance(event, StepDone) else None

    def last_job(self, job: str) -> JobDone | None:
        """Return the end event of a successful job, or None."""
        event = self.end_of(job)
        return event if event is not None and event.problem is None else None

    def end_of(self, job: str) -> JobDone | None:
        """Return the end event of a job, whatever its result; None if unfinished or restarted."""
        end = self._jobs.get(step_of(job), {}).get(job)
        return None if end is None or self._is_written_over(job, end) else end

    def jobs_ended(self, step: str) -> list[JobDone]:
        """Return the end events of a step's jobs."""
        removed = self._removed.get(step, {})
        return [end for job, end in self._jobs.get(step, {}).items() if job not in removed]

    def end_events(self, step: str) -> list[JobDone]:
        """Return the end events of a step's jobs, including removed ones."""
        return [end for job, end in self._jobs.get(step, {}).items() if not self._is_written_over(job, end)]

    def known_jobs(self, step: str) -> dict[str, JobStarted | JobDone]:
        """Return the start event of each open job of a step, else its end event; removed jobs included."""
        facts: dict[str, JobStarted | JobDone] = {end.job: end for end in self.end_events(step)}
        return facts | {job: opened.start for job, opened in self.open_jobs.items() if step_of(job) == step}

    def jobs_set_aside(self) -> list[str]:
        """Return the jobs with files set aside by an ended run, none of which can be running now."""
        return [job for job in self.aside if job in self.superseded or self._set_aside_by[job] in ("local", None)]

    def dependent_steps(self, step: str) -> set[str]:
        """Return the finished steps that depend on a step, directly or indirectly."""
        dependents = {step}
        depends = {name: event.depends.keys() for name, event in self.steps.items() if isinstance(event, StepDone)}
        while more := {name for name, inputs in depends.items() if name not in dependents and inputs & dependents}:
            dependents |= more
        return dependents - {step}

    def jobs_of(self, step: str) -> list[str]:
        """Return the jobs of a step that began or may have begun."""
        return list({**self.known_jobs(step), **self.unsafe_inputs(step)[1]})

    def unsafe_inputs(self, step: str) -> tuple[int, dict[str, Any]]:
        """Return the serial number of a step's last start, and fingerprints of inputs that its jobs change."""
        return self._unsafe.get(step, (0, {}))

    def steps_with_jobs(self) -> set[str]:
        """Return the steps with at least one started job."""
        return {*self._jobs, *map(step_of, self.open_jobs)}

    def is_in_flux(self, path: str, now: str | None, besides: str) -> bool:
        """Whether an unfinished job of another step can explain the change of a file.

        Such a job may have written the file. Absence is explained only if it did not exist when the job began. A file
        made anew by another step since then is not explained.
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
        """Return the step that last wrote or removed a file; "" if unknown."""
        return self._written_by.get(path, "")

    # ---- events

    def begin_run(self, event: RunStarted) -> None:
        """Apply the start of a run."""
        self._run = event
        self.killed_runs.append(event)

    def end_run(self, _: RunEnded) -> None:
        """Apply the end of the last run."""
        self.killed_runs = self.killed_runs[:-1]

    def begin_step(self, event: StepStarted) -> None:
        """Apply the start of a step: it is no longer done, as it may have overwritten its outputs."""
        self.steps[event.step] = replace(event, serial=self.serial)
        self.in_flux |= dict.fromkeys(event.names, event.step)
        self.record_removed_jobs(event.step, event.left)
        self._unsafe[event.step] = (self.serial, dict(event.unsafe))

    def end_step(self, event: StepDone) -> None:
        """Apply the end of a step."""
        self.steps[event.step] = replace(event, serial=self.serial)
        self._note_writer(event.step, event.written)
        self._record_files(event)
        self.maps |= event.maps

    def forget_step(self, event: StepForgotten) -> None:
        """Discard the record of a step."""
        step = event.step
        if step in self.steps:
            self.steps[step] = event
        for records in (self._jobs, self._removed, self._unsafe):
            records.pop(step, None)
        self.open_jobs = {job: opened for job, opened in self.open_jobs.items() if step_of(job) != step}

    def end_plugin(self, event: PluginDone) -> None:
        """Apply the result of a plugin."""
        self.plugins[event.step] = dict(event.outputs)

    def begin_job(self, event: JobStarted) -> None:
        """Apply the start of a job."""
        self._jobs.get(step_of(event.job), {}).pop(event.job, None)
        self.open_jobs[event.job] = OpenJob(event, self.serial, self._run.boot, self._run.executor)

    def end_job(self, event: JobDone) -> None:
        """Apply the end of a job."""
        job, step = event.job, step_of(event.job)
        self._jobs.setdefault(step, {})[job] = self._end_event(event)
        self._note_writer(step, event.written)
        if event.problem is None and job in self.aside:
            self.superseded.add(job)
            for path in self.aside[job]:  # no longer an output of any job
                self.owners.pop(path, None)
        self.owners |= dict.fromkeys(event.made, job)
        if event.is_lost and job in self.open_jobs:  # it may have stopped at any point
            self.open_jobs[job].is_lost = True
        else:
            self.open_jobs.pop(job, None)
            self._record_files(event)

    def _end_event(self, event: JobDone) -> JobDone:
        """Return the end event of a job; within its own run without the large fields for the next run."""
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
        """Discard the record of a job."""
        step = step_of(event.job)
        self.open_jobs.pop(event.job, None)
        self._jobs.get(step, {}).pop(event.job, None)
        self.unsafe_inputs(step)[1].pop(event.job, None)
        self.steps[step] = StepForgotten(step, time_s=event.time_s)

    def set_aside(self, event: JobSetAside) -> None:
        """Record the hidden paths of files set aside for a job."""
        self.aside.setdefault(event.job, {}).update(event.aside)
        self._set_aside_by[event.job] = self._run.executor
        self.superseded.discard(event.job)

    def record_settled(self, event: JobSettled) -> None:
        """Record that files set aside were removed or restored."""
        self.aside.pop(event.job, None)
        self.superseded.discard(event.job)

    def record_cleared(self, event: JobCleared) -> None:
        """Record that the remains of an interrupted job were removed."""
        if event.job in self.open_jobs:
            self.open_jobs[event.job].is_cleared = True

    def remove_files(self, event: FilesRemoved) -> None:
        """Record the removal of unneeded outputs as their valid state."""
        gone = dict.fromkeys(event.sizes)
        self.files |= gone
        self.written |= gone
        self.written_at |= dict.fromkeys(gone, self.serial)
        self._written_by |= dict.fromkeys(gone, "")

    def record_removed_jobs(self, step: str, jobs: Iterable[str]) -> None:
        """Record the removed jobs of a step.

        Their outputs become valid again if the jobs return, unless overwritten meanwhile.
        """
        removed, former = dict.fromkeys(jobs, self.serial), self._removed.pop(step, {})
        ends = self._jobs.get(step, {})
        for job in [job for job in former if job not in removed]:
            if job in ends and self._is_written_over(job, ends[job], former[job]):
                del ends[job]
        if removed:
            self._removed[step] = {**removed, **{job: former[job] for job in removed if job in former}}

    def _is_written_over(self, job: str, end: JobDone, since: int | None = None) -> bool:
        """Whether the files of a removed job were overwritten since its removal.

        A later change to outputs of a present job is the work of later steps. For a removed job it is the work of
        another job that replaced it.
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

    def _record_files(self, event: StepDone | JobDone) -> None:
        """Record the state of files after a step or a job."""
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
    JobSettled: Work.record_settled,
    JobCleared: Work.record_cleared,
    FilesRemoved: Work.remove_files,
}
