"""The quick decorator beside that of the standard library: the same behaviour of the same classes."""

from __future__ import annotations

import dataclasses
from dataclasses import field

import pytest

from lofarpipe.support.dataclass import dataclass


def classes(decorator):
    @decorator(frozen=True)
    class Base:
        name: str
        sizes: list[int] = field(default_factory=list, compare=False)

    @decorator(frozen=True)
    class Derived(Base):
        weight: float = 1.0
        secret: str = field(default="s", repr=False)

        def __str__(self):
            return self.name

    @decorator
    class Plain:
        count: int = 0

    @decorator(frozen=True, eq=False)
    class Service:
        name: str

    @decorator(frozen=True, slots=True)
    class Slotted:
        name: str

    @decorator(frozen=True)
    class OwnMethods:
        name: str

        def __eq__(self, other):
            return isinstance(other, OwnMethods)

        def __hash__(self):
            return 7

        def __repr__(self):
            return "own"

    return Base, Derived, Plain, Service, Slotted, OwnMethods


QUICK, STANDARD = classes(dataclass), classes(dataclasses.dataclass)
BOTH = pytest.mark.parametrize("made", [QUICK, STANDARD], ids=["quick", "standard"])
NAN = float("nan")


@BOTH
def test_fields_are_compared_within_a_class(made):
    base, derived, plain, service, slotted, own_methods = made
    assert derived("a", [1]) == derived("a", [2])
    assert derived("a") != derived("b")
    assert derived("a", weight=NAN) == derived("a", weight=NAN)
    assert derived("a", weight=float("nan")) != derived("a", weight=NAN)
    assert base("a") != derived("a")
    assert base("a") != "a"
    assert plain(3) == plain(3)
    assert service("a") != service("a")
    assert slotted("a") == slotted("a")
    assert own_methods("a") == own_methods("b")


@BOTH
def test_frozen_objects_are_keys(made):
    _, derived, plain, service, slotted, own_methods = made
    assert len({derived("a", [1]), derived("a", [2]), derived("b")}) == 2
    assert len({service("a"), service("a")}) == 2
    assert (hash(own_methods("a")), hash(slotted("a"))) == (7, hash(slotted("a")))
    with pytest.raises(TypeError, match="unhashable type: 'Plain'"):
        hash(plain())


@BOTH
def test_frozen_fields_keep_their_values(made):
    thing = made[1]("a")
    for change in (
        lambda: setattr(thing, "name", "b"),
        lambda: setattr(thing, "weight", 2.0),
        lambda: setattr(thing, "nam", "b"),
        lambda: delattr(thing, "name"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError, match=r"cannot (assign to|delete) field '(name?|weight)'"):
            change()
    assert (thing.name, thing.weight) == ("a", 1.0)
    plain = made[2]()
    plain.count = 5
    assert plain.count == 5


@BOTH
def test_repr_lists_shown_fields(made):
    _, derived, plain, service, _, own_methods = made
    start = "classes.<locals>."
    assert repr(derived("a", [1])) == f"{start}Derived(name='a', sizes=[1], weight=1.0)"
    assert repr(service("a")) == f"{start}Service(name='a')"
    assert repr(own_methods("a")) == "own"
    nested = plain()
    nested.count = nested
    assert repr(nested) == f"{start}Plain(count=...)"
    assert str(derived("a")) == "a"


@BOTH
def test_library_functions_work(made):
    thing = made[1]("a", [1], 2.0)
    assert dataclasses.replace(thing, name="b") == made[1]("b", [], 2.0)
    assert dataclasses.asdict(thing) == {"name": "a", "sizes": [1], "weight": 2.0, "secret": "s"}
    assert made[1].__match_args__ == ("name", "sizes", "weight", "secret")
