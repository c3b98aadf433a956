"""Errors as one line each: where, the problem with the value, the expectation, the remedy."""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

SHORTEST_WORD = 5  # letters; too many shorter words, such as mask and task, differ in one letter
SEPARATORS = {"_", "-"}
_LETTERS = re.compile(r"[A-Za-z]*")
LONGEST_NAME = 200  # characters; the cost of a comparison is the square of the length
MOST_COMPARED = 1000  # known names; beyond that, only names of similar length
MOST_SUGGESTIONS = 20  # suggestions in one list of findings
MOST_LISTED = 100  # findings shown; a generated parset can have one in each of a million lines
WARNING = "WARNING: "  # prefix of warnings from scripts and checks
MOST_NAMED = 30  # names in one message


def misspelt(names: Iterable[str], valid_names: Iterable[str]) -> dict[str, str]:
    """Return misspelling -> first matching known name, for names that are misspelt.

    Two names with one slip between them are the same when each lacks one letter at most; so none is compared with all.
    A measure of likeness alone does not suffice: by difflib's ratio the two steps phase and phases (0.91) and average1
    and average2 (0.88) are as alike as do_magik and do_magic (0.88).
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for name in (names := list(names)):
        for text in _shortened(name):
            alike[text].append(name)
    suggestions: dict[str, str] = {}
    for candidate in valid_names:
        for text in _shortened(candidate) if alike else ():
            suggestions |= {
                name: candidate
                for name in alike.get(text, ())
                if name not in suggestions and is_typing_error(name, candidate)
            }
    return {name: suggestions[name] for name in names if name in suggestions}


def _shortened(name: str) -> set[str]:
    """Return a name, and its variants with one letter removed; empty for too long names."""
    if len(name) > LONGEST_NAME:
        return set()
    return {name, *(name[:place] + name[place + 1 :] for place in range(len(name)))}


def is_typing_error(one: str, other: str) -> bool:
    """Whether two names differ by one typing error."""
    start = _common(one, other)
    end = _common(one[start:][::-1], other[start:][::-1])
    rest, other_rest = one[start : len(one) - end], other[start : len(other) - end]
    if {*rest, *other_rest} <= SEPARATORS or (len(rest) == 1 and rest.lower() == other_rest.lower()):
        return 0 < len(rest + other_rest) <= 2
    lengths = {len(rest), len(other_rest)}
    is_swapped = lengths == {2} and rest == other_rest[::-1]
    # A letter more at the end of a word makes another word.
    is_inside = lengths == {1} or (lengths == {0, 1} and one[len(one) - end :][:1].isalpha())
    letters = rest + other_rest
    is_long = min(len(_word(one, start)), len(_word(other, start))) >= SHORTEST_WORD
    return (is_swapped or is_inside) and letters.isalpha() and letters.islower() and is_long


def _common(one: str, other: str) -> int:
    """Return how many letters two names have in common at their beginnings."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _word(name: str, place: int) -> str:
    """Return the letters around a place in a name."""
    match_before = _LETTERS.match(name[:place][::-1])
    match_after = _LETTERS.match(name[place:])
    return (match_before[0] if match_before else "")[::-1] + (match_after[0] if match_after else "")


class PipelineError(Exception):
    """An error that users can understand and repair, shown without a traceback."""


class UsageError(PipelineError):
    """An invalid command line, or a file in its place, found before anything is read or written."""


@dataclass(frozen=True)
class Finding:
    """One problem found by a check: its place (file:line, step or product) in ``where``, and ``what``, the problem.

    A warning stops no run.
    """

    where: str
    what: str
    is_warning: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class CheckFailed(PipelineError):  # noqa: N818 - named after the event
    """The checks made before the first step found problems; ``findings`` holds them all."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__(self.findings)

    def __str__(self) -> str:
        """Return one line for each of the first findings, and a line with their number."""
        return "\n".join(
            [*list_findings(self.findings), f"{counted(len(self.findings), 'problem')} found; nothing was run"]
        )


def findings_of(err: PipelineError) -> list[Finding]:
    """Return an error as findings, to be shown with others."""
    if isinstance(err, CheckFailed):
        return list(err.findings)
    where, colon, problem = str(err).partition(": ")
    return [Finding(where, problem) if colon else Finding("this run", where)]


def list_findings(findings: Sequence[Finding], most: int = MOST_LISTED) -> list[str]:
    """Return the first findings, one line each, and the number of further ones."""
    more = len(findings) - most
    lines = [str(finding) for finding in findings[:most]]
    return [*lines, f"... and {more} more"] if more > 0 else lines


def list_names(names: Iterable[str], most: int = MOST_NAMED) -> str:
    """Return names for a message: the first ones, and the number of further ones."""
    every = [*names]
    more = len(every) - most
    return ", ".join(every[:most]) + (f" ... and {more} more" if more > 0 else "")


def counted(number: int, noun: str) -> str:
    """Return a number of things: ``1 job``, ``2 jobs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def with_article(name: str) -> str:
    """Return a name in quotes after "a", or "an" where its first letter is a vowel."""
    return f"{'an' if name[:1] in tuple('aeiouAEIOU') else 'a'} '{name}'"


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name most similar to ``name``, or ``""``."""
    if len(name) > LONGEST_NAME:
        return ""
    import difflib  # of mistakes only

    matches = difflib.get_close_matches(name, sorted(_comparable(name, [*names])), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def _comparable(name: str, names: list[str]) -> list[str]:
    if len(names) <= MOST_COMPARED:
        return names
    return heapq.nsmallest(MOST_COMPARED, names, key=lambda other: (abs(len(other) - len(name)), other[:1] != name[:1]))


class Suggestions:
    """Suggests ``nearest`` names for the first findings of a list."""

    def __init__(self) -> None:
        self._remaining = MOST_SUGGESTIONS

    def nearest(self, name: str, names: Iterable[str]) -> str:
        """Return the text of ``nearest`` the first times, and then ``""``."""
        return self.hint(lambda: nearest(name, names))

    def hint(self, find: Callable[[], str]) -> str:
        """Return the result of ``find`` the first times, and then ``""``."""
        self._remaining -= 1
        return find() if self._remaining >= 0 else ""
