"""How far a program is, read from what it writes; nothing is asked of it."""

from __future__ import annotations

import re
from dataclasses import replace

from lofarpipe.programs.base import Progress
from lofarpipe.support.utilities import printable

LONGEST_LINE = 10_000  # characters that are looked at
OUR_NOTE = "### "  # in a log of ours: not what the program wrote
# Logs hold whatever programs write: what is no number that Python reads must not match.
COUNT = r"[0-9]{1,18}"
STEPS = re.compile(r"^(?:([^%:]*): )?0%[0-9.%]*$")  # 0%....10....20; some write what they do before it
_LAST_STEP = re.compile(r"([0-9]{1,3})%?(\.*)$")
DOTS_PER_TEN = 5  # four dots and the number


def percent_done(line: str) -> float | None:
    """Return the fraction that a line such as ``0%....10....20..`` says is done, 0..1; None for other lines."""
    if not STEPS.match(line):
        return None
    last = _LAST_STEP.search(line)
    if last is None or int(last[1]) >= 100:
        return 1.0
    return min(1.0, (int(last[1]) + 10 * len(last[2]) / DOTS_PER_TEN) / 100)


class ProgressReader:
    """Follows what a program writes; which program it is, the lines tell.

    A line of an unknown program is its own text.
    """

    def __init__(self) -> None:
        from lofarpipe.programs.registry import KNOWN_PROGRAMS  # each of them loads a module

        self.progress = Progress("")
        self._unfinished = ""
        readers = (program.line_reader() for program in KNOWN_PROGRAMS.values())
        self._readers = [*filter(None, readers), _percent, _other]

    def feed(self, written: str) -> Progress:
        """Take in what was written since the last time, and return how far the program is.

        The last line need not be complete: programs write dots as they go.
        """
        *lines, last = (self._unfinished + written).replace("\r", "\n").split("\n")
        for line in lines:
            self._read(line)
        self._unfinished = last[-LONGEST_LINE:]
        self._read(self._unfinished)
        return self.progress

    def _read(self, line: str) -> None:
        line = line[:LONGEST_LINE].rstrip()
        if not line or line.startswith(OUR_NOTE):
            return
        found = (reader(line, self.progress) for reader in self._readers)
        self.progress = next((progress for progress in found if progress is not None), self.progress)


def _percent(line: str, before: Progress) -> Progress | None:
    done = percent_done(line)
    if done is None:
        return None
    what = (STEPS.match(line) or [None, None])[1]
    text = f"{what.lower()} {done:.0%}" if what else f"{done:.0%}"
    return replace(before, text=text, fraction=done, is_final=False)


def _other(line: str, before: Progress) -> Progress | None:
    """Show the line itself, but keep what was last understood while a deconvolution goes on, or at the end."""
    if before.major_iteration or before.is_final:
        return None
    return replace(before, text=printable(line).strip(), fraction=None)
