"""The jobs of a step: matched by fingerprint, pending or done, and their stale files."""

from __future__ import annotations

import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, fields, replace
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.state.events import (
    JobAdopted,
    JobCleared,
    JobDone,
    JobForgotten,
    JobStarted,
    Stamps,
    StepForgotten,
    step_of,
)
from lofarpipe.state.fingerprints import fingerprint, is_same, named_paths, snapshot, stamp, texts
from lofarpipe.state.former_outputs import remove, settle_former_outputs
from lofarpipe.state.identity import Identity, has_identity, identity_program, mark_of, without_program
from lofarpipe.state.uptodate import MAP_ENDINGS, NEVER_DONE, Ledger, own_outputs, text_of
from lofarpipe.state.work import OpenJob, Work
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.disk import io_problem
from lofarpipe.support.utilities import files_of


@dataclass(frozen=True)
class CutOff:
    """An unfinished job that changed, or may have changed, its inputs.

    Attributes
    ----------
    serial: serial number of the event after which the change is possible.
    stamps: fingerprints of its inputs at that time.
    """

    job: str
    serial: int
    stamps: Mapping[str, str]


@dataclass(frozen=True)
class UnsafeJobs:
    """The unfinished jobs of a step that may have changed their inputs, from the journal.

    Jobs are matched by inputs, not by number: no other job may change a half-changed input again.
    """

    work: Work
    entry: str
    step: str

    def check_inputs(self, changed_inputs: Mapping[str, Sequence[str]], repeatable: bool) -> Iterator[str]:
        """Check the inputs, and yield notices of repeatable jobs that run again.

        Parameters
        ----------
        changed_inputs: job -> paths that it will change.
        repeatable: whether changing an input twice is harmless.

        Raises
        ------
        PipelineError
            If an input differs from its state before the job, and was not made anew since.
        """
        cut_off: dict[str, list[CutOff]] = {}
        for cut in self.interrupted_jobs() if any(changed_inputs.values()) else []:
            for path in cut.stamps:
                cut_off.setdefault(path, []).append(cut)
        for paths in changed_inputs.values():
            pairs = [(cut, path) for path in paths for cut in cut_off.get(path, ())]
            changed = [(cut.job, path) for cut, path in pairs if self._is_changed(cut, path)]
            if changed and not repeatable:
                raise PipelineError(self._refusal(*changed[0]))
            if changed:
                job, path = changed[0]
                yield f"{job} was cut off while it changed {path}; it is run again, for it is repeatable"

    def interrupted_jobs(self) -> list[CutOff]:
        """Return the unfinished jobs of the step that change inputs."""
        opened = [
            CutOff(job, opened.serial, recorded_stamps(opened.start.before))
            for job, opened in self.work.open_jobs.items()
            if step_of(job) == self.entry
        ]
        return [cut for cut in [*opened, *self._unrecorded_jobs()] if cut.stamps]

    def _unrecorded_jobs(self) -> Iterator[CutOff]:
        """Yield jobs possibly started by a killed run without a record."""
        serial, unsafe = self.work.unsafe_inputs(self.entry)
        for job, stamps in unsafe.items():
            end = self.work.end_of(job)
            if not (end and end.serial > serial):
                yield CutOff(job, serial, recorded_stamps(stamps))

    def unsettled_inputs(self, besides: Container[str]) -> dict[str, Stamps]:
        """Return unfinished jobs in the step's last start event -> inputs not made anew since.

        Unchanged inputs are included: a queued job may still start.

        Parameters
        ----------
        besides: paths to leave out: those changed by present jobs of the step, already checked.
        """
        unsafe_inputs: dict[str, Stamps] = {}
        for cut in self._unrecorded_jobs():
            changed = [path for path in cut.stamps if path not in besides and not self._is_new(cut, path)]
            if changed:
                unsafe_inputs[cut.job] = {path: cut.stamps[path] for path in changed}
        return unsafe_inputs

    def _is_new(self, cut: CutOff, path: str) -> bool:
        return self.work.written_at.get(path, -1) > cut.serial

    def _is_changed(self, cut: CutOff, path: str) -> bool:
        """Whether an input differs from its former state and was not made anew."""
        return not self._is_new(cut, path) and bool(changed_paths({path: cut.stamps[path]}))

    def _refusal(self, job: str, path: str) -> str:
        again = f"start again with --forget {job}"
        is_output = path in self.work.written_at
        remedy = (
            "delete it and start again: it is made anew" if is_output else f"restore it from its origin and {again}"
        )
        return (
            f"step '{self.step}': {job} was cut off while it changed {path} in place, which is now neither as before "
            f"nor complete; {remedy}. If changing it twice does no harm, set {self.step}.control.repeatable = True"
        )


def recorded_stamps(stamps: object) -> dict[str, str]:
    """Return the recorded fingerprints; none for a damaged line of the journal."""
    pairs = stamps.items() if isinstance(stamps, Mapping) else ()
    return {path: mark for path, mark in pairs if isinstance(mark, str)}


def changed_paths(stamps: Stamps) -> list[str]:
    """Return the paths whose files differ from their fingerprints."""
    return [path for path, mark in stamps.items() if mark is not None and not is_same(stamp(path), mark)]


MANY = 20  # writers of the files of one name; for more, only a digest is stored
LOCAL = "local"  # the executor of this machine

JobFacts = JobStarted | JobDone | None  # last event of a job; None: it may have begun
IdentityOf = Callable[[str], Identity]  # job name in the journal -> identity


@dataclass(frozen=True, slots=True)
class JobKey:
    """The marks that identify a job in the journal.

    Attributes
    ----------
    place: index in the map of the step; the job number when the step first runs.
    product: the input file, or list of files.
    changes: returns the inputs that a partial change would damage.
    """

    place: int
    fingerprint: str
    product: str
    changes: Callable[[], Sequence[str]] = tuple


@dataclass
class JobLedger:
    """The jobs of one step.

    A job is identified by its fingerprint. Its number names the job in messages, its log and its journal entries.

    Parameters
    ----------
    ledger: the record of the steps so far.
    entry: the name of the step in the journal.
    """

    ledger: Ledger
    entry: str
    _fingerprints: dict[str, str] = field(default_factory=dict)  # job -> fingerprint passed to `numbers`
    _marks: dict[str, str] = field(default_factory=dict)  # name -> digest of the writers of its files
    _too_long: set[str] = field(default_factory=set)  # directories

    def numbers(self, jobs: Iterable[JobKey]) -> dict[int, int]:
        """Return place -> number of the jobs; empty if the step never ran: the number is then the place.

        A job gets the number of the earlier job with its fingerprint; an unfinished or changed job, of the earlier job
        with its product; a job on a list, of the earlier job at its place. Any other job gets a new number.
        """
        cut_off = self._interrupted_inputs()
        events: dict[str, JobFacts] = {**dict.fromkeys(cut_off), **self.ledger.work.known_jobs(self.entry)}
        former_jobs = {number: event for job, event in events.items() if (number := _number(job)) >= 0}
        if not former_jobs:
            return {}
        numbers_by_place: dict[int, int] = {}
        keys = list(jobs)
        for mark_of_event, mark_of_key in _MARKS:
            free = sorted(former_jobs.keys() - numbers_by_place.values())
            pools: dict[str, deque[int]] = {}
            for number in free if len(numbers_by_place) < len(keys) else ():
                if mark := mark_of_event(former_jobs[number], number):
                    pools.setdefault(mark, deque()).append(number)
            for key in keys if pools else ():
                pool = pools.get(mark_of_key(key)) if key.place not in numbers_by_place else None
                if pool and (number := _pop_number(pool, key, self._name, cut_off)) >= 0:
                    numbers_by_place[key.place] = number
        return self._number_new_jobs(numbers_by_place, keys, set(former_jobs))

    def _number_new_jobs(
        self, numbers_by_place: dict[int, int], keys: Sequence[JobKey], former_numbers: set[int]
    ) -> dict[int, int]:
        """Number the new jobs: by place if that number was never used, else by the next free number."""
        following = max(former_numbers) + 1
        for key in keys:
            if key.place not in numbers_by_place:
                while following in former_numbers:
                    following += 1
                numbers_by_place[key.place] = key.place if key.place not in former_numbers else following
                former_numbers.add(numbers_by_place[key.place])
            self._fingerprints[self._name(numbers_by_place[key.place])] = key.fingerprint
        return numbers_by_place

    def _name(self, number: int) -> str:
        return f"{self.entry}/{number:03d}"

    def _interrupted_inputs(self) -> dict[str, set[str]]:
        """Return the possibly half-changed inputs of each job."""
        inputs: dict[str, set[str]] = {}
        for cut in UnsafeJobs(self.ledger.work, self.entry, self.entry).interrupted_jobs():
            inputs.setdefault(cut.job, set()).update(cut.stamps)
        return inputs

    # ---- pending

    def pending(self, jobs: Sequence[str], identity_of: IdentityOf) -> dict[str, str]:
        """Return pending job -> reason."""
        reasons = {job: reason for job in jobs if (reason := self._stale(job, identity_of))}
        good = [job for job in jobs if job not in reasons]
        return reasons | self._changed_outputs(good, identity_of)

    def _stale(self, job: str, identity_of: IdentityOf) -> str:
        """Return the reason to run a job, or "" if its outputs are still valid."""
        event = self.ledger.work.last_job(job)
        if event is None:
            return NEVER_DONE
        identity = identity_of(job)
        if not has_identity(event, identity, self._fingerprints.get(job, "")):
            return "changed: what it is made of"
        if reason := self.ledger.upgrades.stale(event, identity):
            return reason
        changed = next((reason for _, reason in self.ledger.changed_files(self.entry, event)), "")
        if not changed and event.depends != self.depends(identity):
            return "what it uses was written again"
        return changed

    def _changed_outputs(self, jobs: Sequence[str], identity_of: IdentityOf) -> dict[str, str]:
        """Return job -> changed output, for the jobs that may have made changed outputs without an owner."""
        work = self.ledger.work
        event = work.last_done(self.entry) if jobs else None
        changed = dict(self.ledger.changed_files(self.entry, event)) if event else {}
        owned = {path for end in work.jobs_ended(self.entry) for path in end.files} if changed else ()
        concerned: dict[str, str] = {}
        for path in changed.keys() - owned:
            # The job with the longest matching name: a directory named by many jobs is no evidence.
            lengths = {job: self._longest_start(path, identity_of(job)) for job in jobs}
            longest = max(lengths.values())
            candidates = [job for job, length in lengths.items() if length == longest]
            concerned |= dict.fromkeys(candidates, changed[path])
        return concerned

    def _longest_start(self, path: str, identity: Identity) -> int:
        """Return the length of the longest name of a job that is a prefix of a path; 0 if there is none."""
        return max((len(name) for name in self.names(identity) if path.startswith(name)), default=0)

    # ---- jobs of other runs

    def adopt_jobs(self, jobs: Sequence[str], identity_of: IdentityOf) -> None:
        """Accept jobs done by other runs whose outputs still exist."""
        others = self.ledger.others
        if not others.pattern:
            return
        jobs_by_mark = {mark_of(identity_of(job)): job for job in jobs if self._stale(job, identity_of)}
        for run, end in others.successful_jobs(jobs_by_mark) if jobs_by_mark else ():
            job = jobs_by_mark.get(end.fingerprint)
            if job is None or self.ledger.upgrades.stale(end, identity_of(job)):
                continue
            if not all(map(self._is_unchanged, {**end.files, **end.written}.items())):
                continue
            facts = {
                item.name: getattr(end, item.name) for item in fields(end) if item.name not in ("time_s", "serial")
            }
            depends = self.depends(identity_of(job))
            event = JobAdopted(**{**facts, "step": self.entry, "job": job, "depends": depends})
            self.ledger.stream.emit(event)
            self.ledger.stream.notice(f"{job}: was done by {run}, with the same inputs; not run again")
            del jobs_by_mark[end.fingerprint]

    def _is_unchanged(self, entry: tuple[str, str | None]) -> bool:
        """Whether a file is as a job of another run left it, apart from later changes by imaging."""
        path, mark = entry
        now = stamp(self.ledger.disk.read_path(path))
        return is_same(now, mark) or bool(now and mark and self.ledger.others.explains(path, mark, now))

    # ---- record

    def record(
        self, identity: Identity, former_stamps: Mapping[str, str], products: Callable[[], Iterable[str]], end: JobDone
    ) -> None:
        """Record the end of a job, with the state of the files that it names.

        A job owns an output that did not exist before the step or was its own already. Files returned by a script count
        as named, but have no owner: they may have existed before.

        Parameters
        ----------
        former_stamps: fingerprints of files before the step began.
        products: returns the possible outputs of the job.
        """
        names = self.names(identity)
        stamps = snapshot(names, self._too_long)
        returned_stamps = {path: mark for path in returned_files(end) - stamps.keys() if (mark := stamp(path))}
        present_stamps = {
            path: mark for path, mark in {**stamps, **returned_stamps}.items() if not self.ledger.is_bookkeeping(path)
        }
        changes = {path: mark for path, mark in present_stamps.items() if mark != former_stamps.get(path)}
        owners = self.ledger.work.owners
        job_outputs = {
            path for path in changes if path in stamps and (path not in former_stamps or owners.get(path) == end.job)
        }
        products_made = sorted(job_outputs.intersection(products())) if job_outputs and end.problem is None else []
        self.ledger.stream.emit(
            replace(
                end,
                fingerprint=mark_of(identity),
                program=identity_program(identity),
                files={path: mark for path, mark in present_stamps.items() if path in names or path in returned_stamps},
                written={
                    **{path: None for path in names if path in former_stamps and path not in present_stamps},
                    **changes,
                },
                depends=self._depends(names, own_outputs(identity)),
                made=products_made or end.made,
                former={
                    path: former_stamps[path]
                    for path in sorted(changes)
                    if path in former_stamps and path not in job_outputs
                },
            )
        )

    def names(self, identity: Identity) -> set[str]:
        """Return every path named by a job."""
        names = named_paths(
            [without_program(identity), self.ledger.made_program(identity)], self.ledger.settings.job_workdir
        )
        return {name for name in names if not self.ledger.is_bookkeeping(name)}

    def named_and_listed_paths(self, identity: Identity) -> set[str]:
        """Return every path named by a job, and the paths in its maps."""
        names = self.names(identity)
        return names | self.ledger.listed_in_maps(names)

    def depends(self, identity: Identity) -> dict[str, int | str]:
        """Return the writers of the paths named by a job."""
        return self._depends(self.names(identity), own_outputs(identity))

    def _depends(self, names: set[str], outputs: Container[str]) -> dict[str, int | str]:
        """Return the writers of named paths, and a fingerprint of the named maps with their entries."""
        writers: dict[str, int | str] = {}
        for name in names:
            if name in self._marks:
                writers[name] = self._marks[name]
                continue
            makers = self.ledger.makers(self.entry, name, name in outputs)
            if name.endswith(MAP_ENDINGS) and (text := text_of(self.ledger.disk.read_path(name))) is not None:
                writers[name] = self._marks[name] = fingerprint([text, makers, dict(self._map_entries(text))])
            elif len(makers) > MANY:
                writers[name] = self._marks[name] = fingerprint(makers)
            else:
                writers |= makers
        return writers

    def _map_entries(self, text: str) -> Iterator[tuple[str, object]]:
        """Yield the writer, or the fingerprint, of each entry of a map."""
        for path in sorted(named_paths(text, self.ledger.settings.job_workdir)):
            yield path, self.ledger.makers(self.entry, path) or stamp(self.ledger.disk.read_path(path))

    # ---- forget

    def forget_job(self, job: str = "") -> None:
        """Make the next run repeat a job, or the whole step."""
        self.ledger.stream.emit(JobForgotten(self.entry, job) if job else StepForgotten(self.entry))

    # ---- repair

    def repair(self, notify: Callable[[str], None]) -> None:
        """Remove incomplete outputs of a killed run, and restore outputs of earlier runs.

        Raises
        ------
        PipelineError
            If a file cannot be removed or renamed.
        """
        work = self.ledger.work
        for job, opened in work.open_jobs.items():
            if step_of(job) == self.entry and is_dead(opened) and not opened.is_cleared:
                self._clear(job, opened.start, notify)
        for job in work.jobs_set_aside():
            if step_of(job) == self.entry:
                settle_former_outputs(self.ledger.stream, job)

    def _clear(self, job: str, start: JobStarted, notify: Callable[[str], None]) -> None:
        for path in start.makes:
            if self.ledger.work.written.get(path) is None:  # else an earlier run wrote it, and it is restored
                remove(path)
        done = [self._clear_path(Path(path)) for path in self._incomplete(start)]
        self.ledger.stream.emit(JobCleared(self.entry, job, done))
        if done:
            notify(f"{job} was cut off; {'; '.join(done)}")

    def _incomplete(self, start: JobStarted) -> Iterator[str]:
        """Yield files new since the job began and not written by a finished job or step."""
        finished_paths = {path for path, mark in self.ledger.work.written.items() if mark is not None}
        for path, mark in start.before.items():
            if mark is not None or not os.path.lexists(path) or self.ledger.is_bookkeeping(path):
                continue
            is_product = path in start.outputs or _is_file_or_table(path)
            if is_product and not any(name == path or name.startswith(f"{path}/") for name in finished_paths):
                yield path

    def _clear_path(self, path: Path) -> str:
        """Remove a file below the working directory, rename others; return a description."""
        try:
            if not self.ledger.is_below_workdir(str(path)):
                return f"{path} is not complete, and is now {_renamed(path)}"
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as err:
            raise PipelineError(
                f"{path}: not complete, and cannot be removed before it is made again: {io_problem(err)}"
            ) from err
        return f"{path} was not complete, and is removed"


def returned_files(end: JobDone) -> set[str]:
    """Return the absolute paths among the results of a script, also those in lists."""
    results = json.loads(end.returned) if end.returned else {}
    return {name for value in texts(results) for name in files_of(value) if name.startswith("/")}


def is_local(opened: OpenJob) -> bool:
    """Whether an unfinished job ran on the machine of its run."""
    return opened.executor in (LOCAL, None)


def is_dead(opened: OpenJob) -> bool:
    """Whether an unfinished job is dead when a run begins; queued jobs may be alive."""
    return is_local(opened) or opened.is_lost


def _is_file_or_table(path: str) -> bool:
    """Whether a path is a single product; a plain directory may contain outputs of several jobs."""
    return not Path(path).is_dir() or Path(path).is_symlink() or Path(path, "table.dat").is_file()


def _renamed(path: Path) -> Path:
    number = 1
    while os.path.lexists(f"{path}.incomplete-{number}"):
        number += 1
    return path.rename(f"{path}.incomplete-{number}")


def _number(job: str) -> int:
    """Return the number in a job name; -1 if there is none."""
    text = job.rpartition("/")[2]
    return int(text) if text.isdecimal() else -1


def _pop_number(pool: deque[int], key: JobKey, name_of: Callable[[int], str], cut_off: Mapping[str, set[str]]) -> int:
    """Take a number from a pool; -1 if the job does not change all inputs of an interrupted earlier job."""
    for _ in range(len(pool)):
        number = pool.popleft()
        if not (inputs := cut_off.get(name_of(number))) or inputs <= set(key.changes()):
            return number
        pool.append(number)
    return -1


def _done_fingerprint(event: JobFacts, _: int) -> str:
    return event.fingerprint if isinstance(event, JobDone) and event.problem is None else ""


def _label(event: JobFacts, _: int) -> str:
    return event.label if event else ""


def _list_place(event: JobFacts, number: int) -> str:
    """Return the place of a job on a list, or of a job from an old journal without a description."""
    return str(number) if _label(event, number)[:1] in ("", "[") else ""


# Marks comparable between a journal event and a job of the step, most specific first.
_MARKS: tuple[tuple[Callable[[JobFacts, int], str], Callable[[JobKey], str]], ...] = (
    (_done_fingerprint, lambda key: key.fingerprint),
    (_label, lambda key: key.product),
    (_list_place, lambda key: str(key.place)),
)
