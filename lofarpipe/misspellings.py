"""Names that are misspelt for sure: a letter is missing, too many, wrong, or swapped with the next, in a long word.

``errors.nearest`` suggests what somebody may have meant; this says when to stop. Names that are alike on purpose, as
``average1`` and ``average2``, ``plot_i`` and ``plot_q``, ``flag`` and ``flags``, ``calA`` and ``calB``, are none.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from lofarpipe.errors import LONGEST_NAME

SHORTEST_WORD = 5  # letters; of shorter words, such as mask and task, very many differ in one letter
SEPARATORS = {"_", "-"}
_LETTERS = re.compile(r"[A-Za-z]*")


def misspelt(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Return those of some names that are misspellings of known ones, each with the first one that was meant.

    Two names with one slip between them are the same when each lacks one letter at most; so none is compared with all.
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for name in (names := list(names)):
        for text in _shortened(name):
            alike[text].append(name)
    found: dict[str, str] = {}
    for meant in known:
        for text in _shortened(meant) if alike else ():
            found |= {name: meant for name in alike.get(text, ()) if name not in found and is_slip(name, meant)}
    return {name: found[name] for name in names if name in found}


def _shortened(name: str) -> set[str]:
    """Return a name, and the same without each of its letters; nothing for one that nobody misspells."""
    if len(name) > LONGEST_NAME:
        return set()
    return {name, *(name[:place] + name[place + 1 :] for place in range(len(name)))}


def is_slip(one: str, other: str) -> bool:
    """Whether one name is the other with a slip of the pen."""
    start = _common(one, other)
    end = _common(one[start:][::-1], other[start:][::-1])
    left, right = one[start : len(one) - end], other[start : len(other) - end]
    if {*left, *right} <= SEPARATORS or (len(left) == 1 and left.lower() == right.lower()):
        return 0 < len(left + right) <= 2
    lengths = {len(left), len(right)}
    is_swapped = lengths == {2} and left == right[::-1]
    # A letter more at the end of a word makes another word.
    is_inside = lengths == {1} or (lengths == {0, 1} and one[len(one) - end :][:1].isalpha())
    letters = left + right
    is_long = min(len(_word(one, start)), len(_word(other, start))) >= SHORTEST_WORD
    return (is_swapped or is_inside) and letters.isalpha() and letters.islower() and is_long


def _common(one: str, other: str) -> int:
    """Return how many letters two names have in common at their beginnings."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _word(name: str, place: int) -> str:
    """Return the letters around a place in a name."""
    before = _LETTERS.match(name[:place][::-1])
    after = _LETTERS.match(name[place:])
    return (before[0] if before else "")[::-1] + (after[0] if after else "")
