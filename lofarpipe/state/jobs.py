"""The jobs of a step: known by their fingerprints; those that have to run, and their stale files."""

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
from lofarpipe.state.former_outputs import remove, settle
from lofarpipe.state.identity import Identity, identity_program, is_made_of, made_of, mark_of
from lofarpipe.state.uptodate import MAP_ENDINGS, NEVER_DONE, Ledger, own_outputs, text_of
from lofarpipe.state.work import OpenJob, Work
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.disk import io_problem
from lofarpipe.support.utilities import files_of


@dataclass(frozen=True)
class CutOff:
    """A job that began to change its inputs, or may have begun, and did not end.

    Attributes
    ----------
    serial: of the event after which it may have.
    stamps: of its inputs at that time.
    """

    job: str
    serial: int
    stamps: Mapping[str, str]


@dataclass(frozen=True)
class UnsafeJobs:
    """The journal's record of jobs of a step that began to change their inputs, and did not end.

    The inputs decide, not the numbers of the jobs: a half-changed input must not be changed again by another job.
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

    def cut_off(self) -> list[CutOff]:
        """Return the jobs of the step that began to change something, and did not end."""
        opened = [
            CutOff(job, opened.serial, recorded_stamps(opened.start.before))
            for job, opened in self.work.open_jobs.items()
            if step_of(job) == self.entry
        ]
        return [cut for cut in [*opened, *self._of_the_step()] if cut.stamps]

    def _of_the_step(self) -> Iterator[CutOff]:
        """Yield jobs that a killed run may have started without a record."""
        serial, unsafe = self.work.unsafe(self.entry)
        for job, stamps in unsafe.items():
            end = self.work.end_of(job)
            if not (end and end.serial > serial):
                yield CutOff(job, serial, recorded_stamps(stamps))

    def unsettled(self, besides: Container[str]) -> dict[str, Stamps]:
        """Return the entries of removed jobs in the last start of the step.

        Unchanged inputs count too: a job of a cluster may yet begin.

        Parameters
        ----------
        besides: paths that jobs of the step are going to change; of these it has been looked at.
        """
        unsafe_inputs: dict[str, Stamps] = {}
        for cut in self._of_the_step():
            changed = [path for path in cut.stamps if path not in besides and not self._is_new(cut, path)]
            if changed:
                unsafe_inputs[cut.job] = {path: cut.stamps[path] for path in changed}
        return unsafe_inputs

    def _is_new(self, cut: CutOff, path: str) -> bool:
        return self.work.written_at.get(path, -1) > cut.serial

    def _is_changed(self, cut: CutOff, path: str) -> bool:
        """Whether an input is not as it was before, and was not made anew."""
        return not self._is_new(cut, path) and bool(changes_since({path: cut.stamps[path]}))

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
    """Return the recorded stamps; none for a damaged line of the journal."""
    pairs = stamps.items() if isinstance(stamps, Mapping) else ()
    return {path: mark for path, mark in pairs if isinstance(mark, str)}


def changes_since(stamps: Stamps) -> list[str]:
    """Return the paths whose files differ from their stamps."""
    return [path for path, mark in stamps.items() if mark is not None and not is_same(stamp(path), mark)]


MANY = 20  # writers of what one name stands for: with more only a mark of them is kept
LOCAL = "local"  # the executor of this machine

JobFacts = JobStarted | JobDone | None  # what the journal tells of a job; None: that it may have begun
IdentityOf = Callable[[str], Identity]  # of a job, by its name in the journal


@dataclass(frozen=True, slots=True)
class JobKey:
    """The marks by which a job is found in the journal.

    Attributes
    ----------
    place: in the map of the step; its number when the step runs first.
    product: the file, or the list of files, that it works on.
    changes: returns the inputs that it changes, and of which half a change does harm.
    """

    place: int
    fingerprint: str
    product: str
    changes: Callable[[], Sequence[str]] = tuple


@dataclass
class JobLedger:
    """The jobs of one step.

    A job is known by its fingerprint. Its number names its log, its entries in the journal, and the job for people.

    Parameters
    ----------
    ledger: the steps before this one, so far.
    entry: the name of the step in the journal.
    """

    ledger: Ledger
    entry: str
    _fingerprints: dict[str, str] = field(default_factory=dict)  # job -> as `numbers` was given it
    _marks: dict[str, str] = field(default_factory=dict)  # name -> of what stands behind it
    _too_long: set[str] = field(default_factory=set)  # directories

    def numbers(self, jobs: Iterable[JobKey]) -> dict[int, int]:
        """Return place -> number of the jobs; none where the step never ran, and the number is the place.

        A job has the number of the earlier job with its fingerprint; one that did not end, or is made of something
        else now, that of its product; one that takes a list, that of its place. Any other job gets a new number.
        """
        cut_off = self._cut_off()
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
                if pool and (number := _take_number(pool, key, self._name, cut_off)) >= 0:
                    numbers_by_place[key.place] = number
        return self._with_new(numbers_by_place, keys, set(former_jobs))

    def _with_new(
        self, numbers_by_place: dict[int, int], keys: Sequence[JobKey], former_numbers: set[int]
    ) -> dict[int, int]:
        """Add the numbers of jobs that are new: the place where no job ever had that number, else the next one."""
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

    def _cut_off(self) -> dict[str, set[str]]:
        """Return the inputs that each job may have changed in part."""
        inputs: dict[str, set[str]] = {}
        for cut in UnsafeJobs(self.ledger.work, self.entry, self.entry).cut_off():
            inputs.setdefault(cut.job, set()).update(cut.stamps)
        return inputs

    # ---- pending

    def pending(self, jobs: Sequence[str], identity_of: IdentityOf) -> dict[str, str]:
        """Return the jobs that have to run, each with the reason."""
        reasons = {job: reason for job in jobs if (reason := self._stale(job, identity_of))}
        good = [job for job in jobs if job not in reasons]
        return reasons | self._concerned(good, identity_of)

    def _stale(self, job: str, identity_of: IdentityOf) -> str:
        """Return why a job has to run, or "" if its outputs are still valid."""
        event = self.ledger.work.last_job(job)
        if event is None:
            return NEVER_DONE
        identity = identity_of(job)
        if not is_made_of(event, identity, self._fingerprints.get(job, "")):
            return "changed: what it is made of"
        if reason := self.ledger.upgrades.stale(event, identity):
            return reason
        changed = next((reason for _, reason in self.ledger.changed_files(self.entry, event)), "")
        if not changed and event.depends != self.depends(identity):
            return "what it uses was written again"
        return changed

    def _concerned(self, jobs: Sequence[str], identity_of: IdentityOf) -> dict[str, str]:
        """Return the jobs that may have made a changed product of the step that no job has as its own."""
        work = self.ledger.work
        event = work.last_done(self.entry) if jobs else None
        changed = dict(self.ledger.changed_files(self.entry, event)) if event else {}
        owned = {path for end in work.jobs_ended(self.entry) for path in end.files} if changed else ()
        concerned: dict[str, str] = {}
        for path in changed.keys() - owned:
            # The job that has most of it in a name: a directory that many jobs name says nothing.
            lengths = {job: self._longest_start(path, identity_of(job)) for job in jobs}
            longest = max(lengths.values())
            candidates = [job for job, length in lengths.items() if length == longest]
            concerned |= dict.fromkeys(candidates, changed[path])
        return concerned

    def _longest_start(self, path: str, identity: Identity) -> int:
        """Return the length of the longest name of a job with which a path begins; 0 if there is none."""
        return max((len(name) for name in self.names(identity) if path.startswith(name)), default=0)

    # ---- jobs of other runs

    def adopt(self, jobs: Sequence[str], identity_of: IdentityOf) -> None:
        """Take jobs as done that other runs did, where their outputs still exist."""
        others = self.ledger.others
        if not others.pattern:
            return
        jobs_by_mark = {mark_of(identity_of(job)): job for job in jobs if self._stale(job, identity_of)}
        for run, end in others.done(jobs_by_mark) if jobs_by_mark else ():
            job = jobs_by_mark.get(end.fingerprint)
            if job is None or self.ledger.upgrades.stale(end, identity_of(job)):
                continue
            if not all(map(self._is_left, {**end.files, **end.written}.items())):
                continue
            facts = {
                item.name: getattr(end, item.name) for item in fields(end) if item.name not in ("time_s", "serial")
            }
            depends = self.depends(identity_of(job))
            event = JobAdopted(**{**facts, "step": self.entry, "job": job, "depends": depends})
            self.ledger.stream.emit(event)
            self.ledger.stream.notice(f"{job}: was done by {run}, with the same inputs; not run again")
            del jobs_by_mark[end.fingerprint]

    def _is_left(self, entry: tuple[str, str | None]) -> bool:
        """Whether a file is as a job of another run left it, or imaging alone has changed it since."""
        path, mark = entry
        now = stamp(self.ledger.disk.read_path(path))
        return is_same(now, mark) or bool(now and mark and self.ledger.others.led(path, mark, now))

    # ---- record

    def record(
        self, identity: Identity, former_stamps: Mapping[str, str], products: Callable[[], Iterable[str]], end: JobDone
    ) -> None:
        """Record the end of a job, with the state in which it left the files that it names.

        An output that it wrote is its own if it was not there before the step, or was the job's already. Files that a
        script returned count as named, but are nobody's own: it may have returned what was there.

        Parameters
        ----------
        former_stamps: stamps of files before the step began.
        products: returns the paths that may be outputs of the job.
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
        """Return every path that a job names."""
        names = named_paths([made_of(identity), self.ledger.made_program(identity)], self.ledger.settings.job_workdir)
        return {name for name in names if not self.ledger.is_bookkeeping(name)}

    def names_and_listed(self, identity: Identity) -> set[str]:
        """Return the same, with the paths in the maps among them."""
        names = self.names(identity)
        return names | self.ledger.listed_in_maps(names)

    def depends(self, identity: Identity) -> dict[str, int | str]:
        """Return the writers of the paths that a job names."""
        return self._depends(self.names(identity), own_outputs(identity))

    def _depends(self, names: set[str], outputs: Container[str]) -> dict[str, int | str]:
        """Return the writers of named paths, and a fingerprint of the maps among them and of their entries."""
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
        """Yield the entries of a map: their writer, or their stamp."""
        for path in sorted(named_paths(text, self.ledger.settings.job_workdir)):
            yield path, self.ledger.makers(self.entry, path) or stamp(self.ledger.disk.read_path(path))

    # ---- forget

    def forget(self, job: str = "") -> None:
        """Let the next run do a job again, or the whole step."""
        self.ledger.stream.emit(JobForgotten(self.entry, job) if job else StepForgotten(self.entry))

    # ---- repair

    def repair(self, tell: Callable[[str], None]) -> None:
        """Clear away stale files of a killed run: incomplete outputs go, those of earlier runs come back.

        Raises
        ------
        PipelineError
            If something cannot be removed or renamed.
        """
        work = self.ledger.work
        for job, opened in work.open_jobs.items():
            if step_of(job) == self.entry and is_over(opened) and not opened.is_cleared:
                self._clear(job, opened.start, tell)
        for job in work.left_aside():
            if step_of(job) == self.entry:
                settle(self.ledger.stream, job)

    def _clear(self, job: str, start: JobStarted, tell: Callable[[str], None]) -> None:
        for path in start.makes:
            if self.ledger.work.written.get(path) is None:  # else an earlier run wrote it, and it comes back
                remove(path)
        done = [self._cleared(Path(path)) for path in self._incomplete(start)]
        self.ledger.stream.emit(JobCleared(self.entry, job, done))
        if done:
            tell(f"{job} was cut off; {'; '.join(done)}")

    def _incomplete(self, start: JobStarted) -> Iterator[str]:
        """Yield files that are new since the job began, and that no finished job or step has written."""
        finished_paths = {path for path, mark in self.ledger.work.written.items() if mark is not None}
        for path, mark in start.before.items():
            if mark is not None or not os.path.lexists(path) or self.ledger.is_bookkeeping(path):
                continue
            is_product = path in start.outputs or _is_file_or_table(path)
            if is_product and not any(name == path or name.startswith(f"{path}/") for name in finished_paths):
                yield path

    def _cleared(self, path: Path) -> str:
        """Remove files below the working directory, rename others; return a text about it."""
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
    """Return the absolute paths among the results of a script, which may be lists of them."""
    results = json.loads(end.returned) if end.returned else {}
    return {name for value in texts(results) for name in files_of(value) if name.startswith("/")}


def is_local(opened: OpenJob) -> bool:
    """Whether a job that did not end was run on the machine of its engine."""
    return opened.executor in (LOCAL, None)


def is_over(opened: OpenJob) -> bool:
    """Whether a job that did not end cannot be running when a run begins: jobs of a queue may be."""
    return is_local(opened) or opened.is_lost


def _is_file_or_table(path: str) -> bool:
    """Whether removing it removes one product: other directories may hold those of several jobs."""
    return not Path(path).is_dir() or Path(path).is_symlink() or Path(path, "table.dat").is_file()


def _renamed(path: Path) -> Path:
    number = 1
    while os.path.lexists(f"{path}.incomplete-{number}"):
        number += 1
    return path.rename(f"{path}.incomplete-{number}")


def _number(job: str) -> int:
    """Return the number in the name of a job; -1 if there is none."""
    text = job.rpartition("/")[2]
    return int(text) if text.isdecimal() else -1


def _take_number(pool: deque[int], key: JobKey, name_of: Callable[[int], str], cut_off: Mapping[str, set[str]]) -> int:
    """Take a number out of a pool, and return it; -1 if the job changes not all that an earlier one was cut off at."""
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
    """Return the place of a job that takes a list, or of one that an old journal does not describe."""
    return str(number) if _label(event, number)[:1] in ("", "[") else ""


# The same mark of an event of the journal and of a job of the step: the best ones first.
_MARKS: tuple[tuple[Callable[[JobFacts, int], str], Callable[[JobKey], str]], ...] = (
    (_done_fingerprint, lambda key: key.fingerprint),
    (_label, lambda key: key.product),
    (_list_place, lambda key: str(key.place)),
)
