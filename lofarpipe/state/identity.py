"""Identities of steps and jobs, and their programs: compared with those of an earlier run in the journal.

The program counts by its name, version and content, not by its path: the same one in another environment is no change.
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
IN_OLD_JOURNALS = (EXECUTABLE, "version")  # path, stamp and versions: what earlier versions recorded of a program
OPTION = "rerun_on_upgrade"


def mark_of(identity: Identity) -> str:
    """Return the fingerprint of the identity of a step or a job, without its program."""
    return fingerprint(made_of(identity))


def made_of(identity: Identity) -> dict[str, object]:
    """Return an identity without its program."""
    return {key: value for key, value in identity.items() if key not in (PROGRAM, *IN_OLD_JOURNALS)}


def identity_program(identity: Identity) -> list[str]:
    """Return name, version and content of the program of a step or a job; nothing where there is none."""
    program = identity.get(PROGRAM)
    return [str(word) for word in program] if isinstance(program, list | tuple) else []


def is_made_of(event: StepDone | JobDone, identity: Identity, mark: str = "") -> bool:
    """Return whether a step or a job is made of the same as when it was done; ``mark`` is its fingerprint, if known."""
    if event.program or PROGRAM not in identity:
        return event.fingerprint == (mark or mark_of(identity))
    old = fingerprint({key: value for key, value in identity.items() if key != PROGRAM})
    return event.fingerprint == old  # the journal is of an earlier version


@dataclass
class Upgrades:
    """Which change of a program makes its work run again.

    Attributes
    ----------
    run_again: whether another version does.
    tell: gets the notice, once, that the work of another version is kept.
    """

    run_again: bool = True
    tell: Callable[[str], object] = str
    _changes: set[str] = field(default_factory=set)  # of which was told

    def stale(self, event: StepDone | JobDone, identity: Identity) -> str:
        """Return why work has to be done again because of its program, or "" if it need not."""
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
            self.tell(f"{change}; what it made is kept, as {OPTION} = False")
        return ""


def _change(former: Sequence[str], now: Sequence[str]) -> str:
    return f"{now[0]} {former[1] or 'of unknown version'} was replaced by {now[1] or 'one of unknown version'}"
