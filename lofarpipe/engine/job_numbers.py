"""The numbers of the jobs of a step, by which the journal, the logs and people know them.

When a step runs first, the number of a job is its place in the map of the step. Afterwards the job keeps it, wherever
its product comes to stand: what the journal says of ``average/007``, and ``logs/average/007.log``, stay those of that
job. Whether it has to run again is another question.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from lofarpipe.engine.cleanup import is_cleared_at_the_start
from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.engine.step_jobs import Work
from lofarpipe.state.history import Event, fingerprint
from lofarpipe.state.inplace import UnsafeJobs
from lofarpipe.state.uptodate import JobLedger


@dataclass
class Numbering:
    """Gives the jobs of a step their numbers.

    Parameters
    ----------
    ledger: of the jobs of this step.
    """

    work: Work
    ledger: JobLedger
    _given: dict[int, int] = field(default_factory=dict)  # place -> number

    def __post_init__(self) -> None:
        history, entry = self.ledger.ledger.history, self.ledger.entry
        known = {_number(job): event for job, event in history.known_jobs(entry).items()}
        self._known = {number: event for number, event in known.items() if number >= 0}
        self._labels = {number: _text(event, "label") for number, event in self._known.items()}
        self._cut_off: dict[int, set[str]] = {}  # number -> the inputs that the job may have changed in part
        for cut in UnsafeJobs(history, entry, entry).cut_off():
            if (number := _number(cut.job)) >= 0:
                self._cut_off.setdefault(number, set()).update(cut.before)
        self._free = {*self._known, *self._cut_off}
        self._first_new = max(self._free, default=-1) + 1

    def numbers(self) -> dict[int, int]:
        """Return the number of each job, by its place in the map."""
        if not self._free or self._is_as_before():
            return {planned.place: planned.place for planned in self.work.jobs}
        done = {n: _text(event, "fingerprint") for n, event in self._known.items() if _is_done(event)}
        self._match(self._fingerprint, done)
        self._match(self._changed, {n: frozenset(paths) for n, paths in self._cut_off.items()})
        self._match(self.work.label_of, {n: text for n, text in self._labels.items() if n not in self._cut_off})
        for planned in filter(self._may_have_its_place, list(self._waiting())):
            self._give(planned, planned.place)
        taken = set(self._given.values())
        new = (number for number in count(self._first_new) if number not in taken)
        for planned, number in zip(list(self._waiting()), new, strict=False):
            self._give(planned, number)
        return self._given

    def _is_as_before(self) -> bool:
        """Whether every job has the place that it had: as a rule, and then nothing else need be looked at."""
        labels = self._labels
        known = set(labels.values())
        if self._cut_off or "" in known or len(known) < len(labels):
            return False
        now = [(planned.place, self.work.label_of(planned)) for planned in self.work.jobs]
        return all(labels[place] == label if place in labels else label not in known for place, label in now)

    def _match(self, key_of: Callable[[PlannedJob], Hashable], keys: Mapping[int, Hashable]) -> None:
        """Give numbers that are free to jobs of the same key; a number that is its place to a job first."""
        pools: dict[Hashable, dict[int, None]] = {}
        for number in sorted(keys.keys() & self._free):
            if keys[number]:
                pools.setdefault(keys[number], {})[number] = None
        waiting = [(planned, pools.get(key_of(planned), {})) for planned in self._waiting()] if pools else []
        for planned, pool in waiting:
            if planned.place in pool:
                del pool[planned.place]
                self._give(planned, planned.place)
        for planned, pool in waiting:
            if pool and planned.place not in self._given:
                number = next(iter(pool))
                del pool[number]
                self._give(planned, number)

    def _waiting(self) -> Iterator[PlannedJob]:
        return (planned for planned in self.work.jobs if planned.place not in self._given)

    def _give(self, planned: PlannedJob, number: int) -> None:
        self._given[planned.place] = number
        self._free.discard(number)

    def _fingerprint(self, planned: PlannedJob) -> str:
        return fingerprint(self.work.job_identity(planned))

    def _changed(self, planned: PlannedJob) -> frozenset[str]:
        return frozenset(self.work.changed_inputs(planned))

    def _may_have_its_place(self, planned: PlannedJob) -> bool:
        """Whether the number of its place is not wanted, or that of a job of which nothing need be known any more."""
        number = planned.place
        if number in self._cut_off:
            return number in self._free and self._cut_off[number] <= self._changed(planned)
        if number not in self._known:
            return True
        return number in self._free and self._may_replace(planned, self._known[number], self._labels[number])

    def _may_replace(self, planned: PlannedJob, event: Event, label: str) -> bool:
        # One that takes a list is known by its place: the list is what it works on, not what it is.
        if not label or (_is_list(label) and _is_list(self.work.label_of(planned))):
            return True
        if not _is_done(event):
            return event["event"] == "job_done" or is_cleared_at_the_start(event)
        names = self.ledger.names(self.work.job_identity(planned))
        return any(path.startswith(name) for path in event.get("written") or () for name in names)


def _number(job: str) -> int:
    """Return the number in the name of a job; -1 if there is none."""
    text = job.rpartition("/")[2]
    return int(text) if text.isdecimal() else -1


def _is_done(event: Event) -> bool:
    return event["event"] == "job_done" and event.get("problem") is None and _text(event, "fingerprint") != ""


def _text(event: Event, key: str) -> str:
    value = event.get(key)
    return value if isinstance(value, str) else ""


def _is_list(label: str) -> bool:
    return label.startswith("[")
