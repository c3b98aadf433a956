"""Lists of hosts in brackets, as Slurm and people write them: ``node[100-105,110],gpu[1-2]r[1-2]``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

from lofarpipe.errors import PipelineError
from lofarpipe.support.patterns import lazy_pattern

MOST_HOSTS = 10_000  # of one list: more is a typing error
_ITEM = lazy_pattern(r"(?:\[[^][]*\]|[^][,\s])+")  # commas and blanks within brackets separate no hosts
_PART = lazy_pattern(r"\[([^][]*)\]|([^][]+)")
_RANGE = lazy_pattern(r"(\d+)(?:-(\d+))?")
_NAME = lazy_pattern(r"[A-Za-z0-9_][A-Za-z0-9_.:@%-]*")
NEEDED = "a list such as node1,node[10-12] is needed"


def expand_hosts(text: str) -> tuple[str, ...]:
    """Return the hosts of a list, each once, in the order given.

    Commas and blanks separate hosts, but not within brackets; a list may stand in brackets as a whole. Numbers of a
    range are padded to the width of the longer end: ``node[9-11]`` is node09, node10, node11.

    Raises
    ------
    PipelineError
        If it is not such a list, or is empty; the message has no file and line.
    """
    host_text = text.strip()
    if re.fullmatch(r"\[(?:[^][]|\[[^][]*\])*\]", host_text):  # the form of lists in parsets
        host_text = host_text[1:-1]
    if _ITEM.sub("", host_text).strip(", \t\n"):
        raise PipelineError(f"'{text}' has a bracket too many or too few; {NEEDED}")
    hosts = dict.fromkeys(host for item in _ITEM.findall(host_text) for host in _expanded(item))
    if not hosts:
        raise PipelineError(f"'{text}' names no host; {NEEDED}")
    wrong = next((host for host in hosts if not _NAME.fullmatch(host)), "")
    if wrong:
        raise PipelineError(f"'{wrong}' is no name of a host; {NEEDED}")
    return tuple(hosts)


def _expanded(item: str) -> Iterator[str]:
    parts = [[plain] if plain else _numbers(bracket, item) for bracket, plain in _PART.findall(item)]
    count = 1
    for part in parts:
        count *= len(part)
    if count > MOST_HOSTS:
        raise PipelineError(f"'{item}' is {count} hosts, more than {MOST_HOSTS}; correct its ranges")
    return ("".join(words) for words in product(*parts))


def _numbers(bracket: str, item: str) -> list[str]:
    """Return the expansion of a bracket, one text per number."""
    numbers: list[str] = []
    for piece in bracket.split(","):
        match = _RANGE.fullmatch(piece.strip())
        if match is None:
            raise PipelineError(f"'{piece.strip()}' in '{item}' is neither a number nor a range; {NEEDED}")
        first, last = match[1], match[2] or match[1]
        if int(last) < int(first):
            raise PipelineError(f"'{piece.strip()}' in '{item}' ends before it begins; {NEEDED}")
        if int(last) - int(first) >= MOST_HOSTS:
            raise PipelineError(f"'{piece.strip()}' in '{item}' is more than {MOST_HOSTS} hosts; correct it")
        width = max(len(first), len(last))
        numbers += [f"{number:0{width}}" for number in range(int(first), int(last) + 1)]
    return numbers
