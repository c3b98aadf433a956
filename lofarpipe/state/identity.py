"""Identities of steps and jobs, and their programs: compared with those of an earlier run in the journal.

A program is identified by name, version and content, not by path: the same program elsewhere is no change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

from lofarpipe.state.events import JobDone, StepDone
from lofarpipe.state.fingerprints import fingerprint
from lofarpipe.support.dataclass import dataclass

Identity = Mapping[str, object]

PROGRAM = "program"  # name, version and content
EXECUTABLE = "executable"
IN_OLD_JOURNALS = (EXECUTABLE, "version")  # path, fingerprint and versions, as recorded by earlier versions
OPTION = "rerun_on_upgrade"


def mark_of(identity: Identity) -> str:
    """Return the fingerprint of the identity of a step or a job, without its program."""
    return fingerprint(without_program(identity))


def without_program(identity: Identity) -> dict[str, object]:
    """Return an identity without its program."""
    return {key: value for key, value in identity.items() if key not in (PROGRAM, *IN_OLD_JOURNALS)}


def identity_program(identity: Identity) -> list[str]:
    """Return name, version and content of the program of a step or a job; empty if there is none."""
    program = identity.get(PROGRAM)
    return [str(word) for word in program] if isinstance(program, list | tuple) else []


def has_identity(event: StepDone | JobDone, identity: Identity, mark: str = "") -> bool:
    """Whether a step or a job has the identity recorded when it was done; ``mark`` is its fingerprint, if known."""
    if event.program or PROGRAM not in identity:
        return event.fingerprint == (mark or mark_of(identity))
    old = fingerprint({key: value for key, value in identity.items() if key != PROGRAM})
    return event.fingerprint == old  # a journal of an earlier version


@dataclass
class Upgrades:
    """Policy for repeating work after a change of its program.

    Attributes
    ----------
    run_again: whether another version repeats the work.
    notify: callback for the notice, once per change, that work of another version is kept.
    """

    run_again: bool = True
    notify: Callable[[str], object] = str
    _changes: set[str] = field(default_factory=set)  # reported changes

    def stale(self, event: StepDone | JobDone, identity: Identity) -> str:
        """Return the change of the program that repeats the work, or ""."""
        former, now = list(event.program), identity_program(identity)
        if former == now or len(former) != len(now):
            return ""
        if former[0] != now[0]:
            return f"changed: the program is {now[0]}, and was {former[0]}"
        if former[1] == now[1]:
            return f"changed: another build of {now[0]} {now[1]}" if now[1] else f"changed: {now[0]}"
        if self.run_again:
            return f"{_change(former, now)}; {OPTION} = False keeps what is done"
        if (change := _change(former, now)) not in self._changes:
            self._changes.add(change)
            self.notify(f"{change}; what it made is kept, as {OPTION} = False")
        return ""


def _change(former: Sequence[str], now: Sequence[str]) -> str:
    return f"{now[0]} {former[1] or 'of unknown version'} was replaced by {now[1] or 'one of unknown version'}"
