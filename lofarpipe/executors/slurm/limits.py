"""How many jobs Slurm takes from a user: as its accounting says, and as its refusals tell."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PROBE_S = 60.0  # between two tries whether more jobs are taken than last time
QOS_OPTION = re.compile(r"(?:--qos|-q)[= ]?(\S+)")
DEFAULT_QOS = "normal"  # of Slurm, where an association has none


@dataclass
class SubmitLimit:
    """The number of this run's jobs that may be in the queue at the same time.

    Attributes
    ----------
    jobs: that number; 0: none is known.
    is_fixed: whether it was set by somebody; one that refusals told is tried again now and then, for the jobs of others
        that count too may have left.
    """

    jobs: int = 0
    is_fixed: bool = True
    _most_taken: int = 0
    _next_probe: float = 0.0

    def room(self, present: int, wanted: int) -> int:
        """Return how many of the ``wanted`` jobs to submit now while ``present`` are in the queue; 0: wait.

        Few large arrays are better than many small ones: half of the limit has to be free, unless fewer are wanted.
        """
        if not self.jobs:
            return wanted
        if not self.is_fixed and time.monotonic() > self._next_probe:
            self.jobs += max(1, self.jobs // 4)
            self._next_probe = time.monotonic() + PROBE_S
        free = self.jobs - present
        return min(wanted, free) if free >= min(wanted, max(1, self.jobs // 2)) else 0

    def note_taken(self, total: int) -> None:
        """Take into account that as many jobs are in the queue."""
        self._most_taken = max(self._most_taken, total)

    def note_refusal(self, present: int, refused: int, known: int = 0) -> None:
        """Take into account that an array was too large beside those that are present.

        Parameters
        ----------
        known: what Slurm's accounting says; 0: nothing.
        """
        if present + refused <= self._most_taken:  # that many were in the queue before: others count, or just ended
            return
        self.jobs = known if 0 < known < present + refused else max(1, present + refused // 2)
        self.is_fixed = False
        self._next_probe = time.monotonic() + PROBE_S


def asked_qos(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the quality of service that options of sbatch ask for; "" if none."""
    found = QOS_OPTION.findall(" ".join(words))
    return found[-1] if found else environment.get("SBATCH_QOS", "")


def association_limit(answer: str, account: str, qos: str) -> tuple[int, str]:
    """Return the limit of the user's association, 0 for none, and the quality of service that holds.

    Parameters
    ----------
    answer: of ``sacctmgr -nP show assoc format=Account,DefaultQOS,MaxSubmitJobs,GrpSubmitJobs``.
    account: that jobs are charged to; "": not known, and the most generous association counts.
    """
    rows = [line.split("|") for line in answer.splitlines() if line.count("|") == 3]
    rows = [row for row in rows if not account or row[0] == account]
    limits = [_least(row[2:]) for row in rows]
    defaults = [row[1] for row in rows if row[1]]
    limit = 0 if not limits or 0 in limits else max(limits)
    return limit, qos or (defaults[0] if len(defaults) == 1 else DEFAULT_QOS)


def qos_limit(answer: str, names: Sequence[str]) -> int:
    """Return the least limit of some qualities of service, 0 for none.

    Parameters
    ----------
    answer: of ``sacctmgr -nP show qos format=Name,MaxSubmitJobsPU,MaxSubmitJobsPA,GrpSubmitJobs``.
    """
    rows = [line.split("|") for line in answer.splitlines() if line.count("|") == 3]
    return _least([number for row in rows if row[0] in names for number in row[1:]])


def partition_qos(answer: str) -> str:
    """Return the quality of service of a partition, from ``scontrol show partition``; "" if it has none."""
    match = re.search(r"\bQoS=(\S+)", answer)
    return match[1] if match and match[1] != "N/A" else ""


def least_limit(*limits: int) -> int:
    """Return the least of some limits, of which 0 is none."""
    return min((limit for limit in limits if limit), default=0)


def _least(texts: Sequence[str]) -> int:
    return least_limit(*(int(text) for text in texts if text.strip().isdecimal()))
