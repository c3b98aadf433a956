"""Which jobs of a step are done, and need not be run again.

A job is taken as done by the same rules as a step: what it is made of is the same, no file that it names has changed
but by what came after it, and the jobs that wrote what it names are the same ones, and have not run again. Where it
cannot be known which job of a step something concerns, it concerns all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lofarpipe.state.fingerprints import named_paths, snapshot, stamp
from lofarpipe.state.history import Event, fingerprint
from lofarpipe.state.uptodate import MAP_ENDINGS, NEVER_DONE, Identity, Ledger, text_of

MANY = 20  # writers of what one name stands for: with more only a mark of them is kept


@dataclass
class JobLedger:
    """The jobs of one step that is to run.

    Parameters
    ----------
    ledger: the steps before this one, so far.
    entry: the name of the step in the journal.
    """

    ledger: Ledger
    entry: str
    _marks: dict[str, str] = field(default_factory=dict)  # name -> of what stands behind it
    _too_long: set[str] = field(default_factory=set)  # directories

    def stale(self, job: str, identity: Identity) -> str:
        """Return why a job has to run, or "" if what it did is still good."""
        event = self.ledger.history.last_job(job)
        if event is None:
            return NEVER_DONE
        if event.get("fingerprint") != fingerprint(identity):
            return "changed: what it is made of"
        changed = next((why for _, why in self.ledger.changed_files(self.entry, event)), "")
        if not changed and event.get("depends") != self._depends(self.names(identity)):
            return "what it uses was written again"
        return changed

    def kept(self, jobs: Sequence[str], identity_of: Callable[[str], Identity]) -> dict[str, Event]:
        """Return the ends of those jobs that need not run again."""
        good = [job for job in jobs if not self.stale(job, identity_of(job))]
        concerned = self._concerned(good, identity_of) if good else set()
        return {job: self.ledger.history.last_job(job) or {} for job in good if job not in concerned}

    def _concerned(self, jobs: Sequence[str], identity_of: Callable[[str], Identity]) -> set[str]:
        """Return the jobs that may have made a changed product of the step of which no job says that it is its own."""
        history = self.ledger.history
        event = history.last_done(self.entry)
        changed = {path for path, _ in self.ledger.changed_files(self.entry, event)} if event else set()
        for end in history.jobs_ended(self.entry) if changed else []:
            changed -= (end.get("files") or {}).keys()
        found: set[str] = set()
        for path in changed:
            found |= {job for job in jobs if _begins(path, self.names(identity_of(job)))} or set(jobs)
        return found

    def names(self, identity: Identity) -> set[str]:
        """Return every path that a job names."""
        names = named_paths(list(identity.values()), self.ledger.settings.job_workdir)
        return {name for name in names if not self.ledger.is_bookkeeping(name)}

    def facts(self, identity: Identity, before: Mapping[str, str]) -> dict[str, object]:
        """Return what is recorded of a job that ended; ``before`` are the stamps before its step began."""
        names = self.names(identity)
        found = snapshot(names, self._too_long)
        after = {path: mark for path, mark in found.items() if not self.ledger.is_bookkeeping(path)}
        gone = {path: None for path in names if path in before and path not in after}
        return {
            "fingerprint": fingerprint(identity),
            "files": {path: mark for path, mark in after.items() if path in names},
            "written": {**gone, **{path: mark for path, mark in after.items() if mark != before.get(path)}},
            "depends": self._depends(names),
        }

    def depends(self, identity: Identity) -> dict[str, int | str]:
        """Return who wrote what a job names."""
        return self._depends(self.names(identity))

    def _depends(self, names: set[str]) -> dict[str, int | str]:
        """Return who wrote what is named, and a mark of the maps among it and of what stands in these."""
        found: dict[str, int | str] = {}
        for name in names:
            if name in self._marks:
                found[name] = self._marks[name]
                continue
            makers = self.ledger.makers(self.entry, name)
            if name.endswith(MAP_ENDINGS) and (text := text_of(self.ledger.disk.found(name))) is not None:
                found[name] = self._marks[name] = fingerprint([text, makers, dict(self._listed(text))])
            elif len(makers) > MANY:
                found[name] = self._marks[name] = fingerprint(makers)
            else:
                found |= makers
        return found

    def _listed(self, text: str) -> Iterator[tuple[str, object]]:
        """Yield what stands in a map: who made it, or how it is."""
        for path in sorted(named_paths(text, self.ledger.settings.job_workdir)):
            yield path, self.ledger.makers(self.entry, path) or stamp(self.ledger.disk.found(path))


def _begins(path: str, names: set[str]) -> bool:
    return any(path.startswith(name) for name in names)
