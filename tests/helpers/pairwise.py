"""Tables in which every pair of values of any two factors stands in some row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

Row = dict[str, str]
Pair = tuple[tuple[str, str], tuple[str, str]]


def pairwise(factors: Mapping[str, Sequence[str]]) -> list[Row]:
    """Return rows, each a value of every factor, in which all pairs of values stand; the same ones each time."""
    names = list(factors)
    left = {pair for one, other in combinations(names, 2) for pair in _pairs(factors, one, other)}
    rows = []
    while left:
        open_pairs = Counter(item for pair in left for item in pair)
        (one, first), (other, second) = min(left, key=lambda pair: (-sum(map(open_pairs.get, pair)), pair))
        row = {one: first, other: second}
        for name in sorted(set(names) - set(row), key=lambda name: (-len(factors[name]), name)):
            row[name] = max(factors[name], key=lambda value: _gain(row, name, value, left))
        left -= _within(row)
        rows.append({name: row[name] for name in names})
    return rows


def _pairs(factors: Mapping[str, Sequence[str]], one: str, other: str) -> list[Pair]:
    return [_pair((one, a), (other, b)) for a in factors[one] for b in factors[other]]


def _pair(one: tuple[str, str], other: tuple[str, str]) -> Pair:
    return (one, other) if one < other else (other, one)


def _gain(row: Row, name: str, value: str, left: set[Pair]) -> int:
    """Return how many of the pairs that are left a value would bring into a row."""
    return sum(_pair((name, value), item) in left for item in row.items())


def _within(row: Row) -> set[Pair]:
    return {_pair(one, other) for one, other in combinations(row.items(), 2)}
