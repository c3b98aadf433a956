"""What can go wrong, as one line each: where, what with the value, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

LONGEST_NAME = 200  # characters; nobody misspells a longer one, and comparing costs the square of the length


class PipelineError(Exception):
    """Something that a user can understand and repair; its text is shown without a traceback."""


@dataclass(frozen=True)
class Finding:
    """One problem found by a check: ``where`` (file:line, step or product) and ``what`` is wrong there."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class CheckFailed(PipelineError):  # noqa: N818 - it names what happened: a check did not pass
    """The checks made before the first step found problems; ``findings`` holds them all."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__(self.findings)

    def __str__(self) -> str:
        """Return one line per finding, and a last line that counts them."""
        number = len(self.findings)
        problems = "problem" if number == 1 else "problems"
        return "\n".join([*map(str, self.findings), f"{number} {problems} found; nothing was run"])


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name most like ``name``, or ``""`` where none is."""
    if len(name) > LONGEST_NAME:
        return ""
    matches = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""
