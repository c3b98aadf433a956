"""Values of a parset as text, lists, numbers and truth (doc/spec/lofarpipe.md, section 3.2)."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.support.parset_text import ParsetError, boolean, integer, split_list, unquote


@pytest.mark.timeout(300)  # measured 0.01 to 3 s; the square of such a length takes hours
@pytest.mark.parametrize("unit", ["'", "''", "[", "(", "[']", "[(", "{", "=", "{{ ", ","])
@pytest.mark.parametrize("read", [lambda text: split_list(f"[{text}]"), unquote], ids=["split_list", "unquote"])
def test_hostile_text_is_parsed_quickly(read, unit):
    with contextlib.suppress(ParsetError):
        read(unit * (2**19 // len(unit)))


@given(st.text(st.characters(exclude_characters="\"'", exclude_categories=["Cs"])), st.sampled_from("\"'"))
def test_unquote_removes_one_level(text, quote):
    other = "'" if quote == '"' else '"'
    assert unquote(text) == text
    assert unquote(quote + text + quote) == text
    assert unquote(f"{quote}{other}{text}{other}{quote}") == f"{other}{text}{other}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("\"'CS*'\"", "'CS*'"),
        ("a'b'c\"d\"", "abcd"),
        ("''", ""),
        ("{ST001:'CS*'}", "{ST001:CS*}"),
        ("[\"1deg\",'2deg']", "[1deg,2deg]"),
    ],
)
def test_unquote_handles_inner_quotes(text, expected):
    assert unquote(text) == expected


def test_unquote_refuses_open_quote():
    with pytest.raises(ParsetError, match=r'^quote \' is not closed in "don\'t"$'):
        unquote("don't")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  ", []),
        ("[]", []),
        ("[  ]", []),
        ("a", ["a"]),
        ("a,b", ["a,b"]),
        ("'a b'", ["a b"]),
        ("[", ["["]),
        ("[CR]S*", ["[CR]S*"]),
        (" [ a , b ] ", ["a", "b"]),
        ("[a,]", ["a", ""]),
        ("[,a]", ["", "a"]),
        ("['a,b', \"c d\"]", ["a,b", "c d"]),
        ("[(1,2), {x:1,y:2}, [p,[q,r]], f(a,b)c]", ["(1,2)", "{x:1,y:2}", "[p,[q,r]]", "f(a,b)c"]),
        ("[(a[b), c]", ["(a[b)", "c"]),
        ("[(')',1), 2]", ["(),1)", "2"]),
        ("[0..3,5*x]", ["0..3", "5*x"]),
        ("[a)b, c]", ["a)b", "c"]),
    ],
)
def test_list_text_is_split(text, expected):
    assert split_list(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a, (b, c]", "bracket ( is not closed in '(b, c'"),
        ("[a, 'b]", "quote ' is not closed in \"a, 'b\""),
        ("[a, [b, 'c]]", "quote ' is not closed in \"a, [b, 'c]\""),
    ],
)
def test_split_list_refuses_open_brackets(text, message):
    with pytest.raises(ParsetError, match=f"^{re.escape(message)}$"):
        split_list(text)


@given(st.lists(st.text("abc.-/*", min_size=1, max_size=9), min_size=1))
def test_list_text_survives_round_trip(items):
    assert split_list("[" + " , ".join(items) + "]") == items
    assert split_list("[" + ",".join(f"'{item}, '" for item in items) + "]") == [f"{item}, " for item in items]


@pytest.mark.parametrize("text", ["t", "True", "1", "yes", "Y"])
def test_true_words_are_true(text):
    assert boolean(text) is True


@pytest.mark.parametrize("text", ["f", "False", "0", "no", "N"])
def test_false_words_are_false(text):
    assert boolean(text) is False


@pytest.mark.parametrize("text", ["", "maybe", " true", "2"])
def test_odd_words_are_no_boolean(text):
    with pytest.raises(ParsetError, match=f"^{text!r} is neither true nor false$"):
        boolean(text)


@pytest.mark.parametrize(
    ("text", "number"), [("12", 12), ("-3", -3), ("+4", 4), ("0x1F", 31), ("007", 7), ("-0X10", -16)]
)
def test_integer_text_gives_number(text, number):
    assert integer(text) == number


@pytest.mark.parametrize("text", ["", "1.0", "1e3", "12 ", "1_000", "0x", "٣", "9" * 101])
def test_invalid_integer_is_refused(text):
    with pytest.raises(ParsetError, match=r"is not a whole number$"):
        integer(text)
