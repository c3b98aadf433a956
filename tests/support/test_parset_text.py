import contextlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.support import parset_text
from lofarpipe.support.parset_text import Entry, ParsetError, boolean, integer, lex, split_list, unquote


def pairs(text):
    return [(entry.key, entry.value) for entry in lex(text, "t", [])]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1", [("a", "1")]),
        ("  a\t=  1  2 \t", [("a", "1  2")]),
        ("a=", [("a", "")]),
        ("a = 1\r\nb = 2\r\n", [("a", "1"), ("b", "2")]),
        ("# don't stop here\n   # nor 'here\na = 1", [("a", "1")]),
        ("a=b#c", [("a", "b")]),
        ("a = b # it's a comment", [("a", "b")]),
        ("! x = #,foo", [("! x", "")]),
        ("a = 'b#c=d' # e", [("a", "'b#c=d'")]),
        ('a = "it\'s"', [("a", '"it\'s"')]),
        ("a = b'c'\"d\"e", [("a", "b'c'\"d\"e")]),
        ('"a b" = 1', [("a b", "1")]),
        ("a = 1\na = 2", [("a", "1"), ("a", "2")]),
        ("a = [0..nchan/32-1,31*nchan/32..nchan-1]", [("a", "[0..nchan/32-1,31*nchan/32..nchan-1]")]),
        ("! A-team_skymodel = x\n! 1st_order = y", [("! A-team_skymodel", "x"), ("! 1st_order", "y")]),
        ("a = x \\", [("a", "x")]),
        ("a = 'x\\'", [("a", "'x\\'")]),
        ("a = x\\y", [("a", "x\\y")]),
        ("", []),
        ("\n \n#\n", []),
        ("abc = 1 = 2", [("abc", ""), (" 1", "2")]),
        ("a=b=c=d", [("a", ""), ("b", ""), ("c", "d")]),
        ("k = a=b", [("k", ""), (" a", "b")]),
    ],
)
def test_lines(text, expected):
    assert pairs(text) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a = [1,\n 2]", "[1, 2]"),
        ("a = [1, \\\n\n # between\n 2] # end", "[1, 2]"),
        ("a = 'x'\n'y'", "'x''y'"),
        ("a =\nx", "x"),
        ("a = x\ny\nz", "x y z"),
    ],
)
def test_line_without_equals_continues_the_value(text, value):
    assert pairs(text) == [("a", value)]


def test_entry_knows_its_line_and_comment():
    text = "a = 1\n\n! b = 2 ## the width in deg # or so\nc = 3 # no help\nd = [1,  ## first\n 2] ## second"
    assert list(lex(text, "x.parset", [])) == [
        Entry("a", "1", "x.parset", 1),
        Entry("! b", "2", "x.parset", 3, "the width in deg # or so"),
        Entry("c", "3", "x.parset", 4),
        Entry("d", "[1, 2]", "x.parset", 5, "first"),
    ]
    assert Entry("a", "1", "x.parset", 7).where == "x.parset:7"
    assert Entry("a", "1", "command line", 0).where == "command line"


def test_slips_are_noted():
    oddities = []
    list(lex("a = 1\nb = c = 2\nstray\nd = 4", "x.parset", oddities))
    assert [oddity.where for oddity in oddities] == ["x.parset:2", "x.parset:3"]
    assert "starts the key ' c'" in oddities[0].what
    assert "continues the value of ' c'" in oddities[1].what


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1\nb = 'x", "t:2: quote ' is not closed in \"b = 'x\""),
        ("a = \"x'", "t:1: quote \" is not closed in 'a = \"x\\''"),
        ("= 1", "t:1: no key before '='; expected 'key = value'"),
        ("! = 1", "t:1: no key before '='; expected 'key = value'"),
        ("a = 1 = = 2", "t:1: no key before '='; expected 'key = value'"),
        ("'' = 1", "t:1: no key before '='; expected 'key = value'"),
        ("just words", "t:1: no '=' in 'just words'; expected 'key = value'"),
        ("a = 1\n! b cpu", "t:2: no '=' in '! b cpu'; expected 'key = value'"),
        ("a = 1\x00", "t:1: control character U+0000 at column 6; remove it"),
        ("a = \x1b[31m", "t:1: control character U+001B at column 5; remove it"),
        ("# \x07", "t:1: control character U+0007 at column 3; remove it"),
        ("a = b\rc = d", "t:1: control character U+000D at column 6; remove it"),
        ("a = b\u2028c = d", "t:1: control character U+2028 at column 6; remove it"),
        ("a = caf\udce9", "t:1: byte 0xe9 is not UTF-8; save the file as UTF-8 text"),
        ("a = " + "x" * 2**24, "t:1: line of 16777220 characters; at most 16777216 are read"),
    ],
)
def test_refused_lines(text, message):
    with pytest.raises(ParsetError, match=f"^{re.escape(message)}$"):
        pairs(text)


def test_long_text_is_quoted_short():
    with pytest.raises(ParsetError, match=r"^t:1: no '=' in 'x{57}\.\.\.'; expected"):
        pairs("x" * 1000)


def test_file_over_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(parset_text, "LONGEST_FILE", 10)
    with pytest.raises(ParsetError, match=r"^t: more than 10 characters; that is no parset$"):
        pairs("a = 123456789")


@pytest.mark.parametrize(
    ("limit", "text", "message"),
    [
        ("MOST_LINES", "#\n#\n#\n#\n", "t: more than 3 lines; that is no parset"),
        ("MOST_KEYS", "a = 1\nb = 2\na = 3\nc = 4", "t:4: more than 3 keys; that is no parset"),
        ("MOST_KEYS", "a = b = c = d =", "t:1: more than 3 keys; that is no parset"),
        ("MOST_KEYS", "a = 1\nx\ny\nz", "t:4: more than 3 keys; that is no parset"),
    ],
)
def test_what_would_take_much_memory_is_refused(monkeypatch, limit, text, message):
    monkeypatch.setattr(parset_text, limit, 3)
    with pytest.raises(ParsetError, match=f"^{re.escape(message)}$"):
        pairs(text)


def test_large_parset_is_read():
    text = "".join(f"step{i // 20}.argument.key{i % 20} = [/data/L{i}.MS, 'x#{i}']\n" for i in range(100_000))
    assert pairs(text)[-1] == ("step4999.argument.key19", "[/data/L99999.MS, 'x#99999']")
    names = [f"/data/scratch/L628614_SB{i:06d}.MS" for i in range(50_000)]
    ((_, value),) = pairs(f"msin = [{','.join(names)}]")
    assert split_list(value) == names


def test_continued_value_over_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(parset_text, "LONGEST_LINE", 10)
    with pytest.raises(ParsetError, match=r"^t:3: the value of 'a' has more than 10 characters$"):
        pairs("a = 123\n45678\n9")


@pytest.mark.parametrize("unit", ["'", "''", "[", "(", "[']", "=", "a=", "#", "\\\n", "{{ ", "a = 1\n", "x\n", ","])
def test_hostile_text_ends_soon(unit):
    text = unit * (2**19 // len(unit))
    start = time.process_time()
    for read in (pairs, lambda text: split_list(f"[{text}]"), unquote):
        with contextlib.suppress(ParsetError):
            read(f"a = 1\n{text}")
    assert time.process_time() - start < 20  # s; measured 0.01 to 3


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    try:
        found = pairs(text)
    except ParsetError as err:
        assert str(err).startswith("t:")  # noqa: PT017 - both ends are right
        return
    assert all(key and "\n" not in key + value for key, value in found)


KEYS = st.text("abcXYZ012._-![]", min_size=1, max_size=20).filter(lambda key: key.strip("! "))
PLAIN = st.text("abc XYZ012._-+*/,:;()[]{}$&<>|äλ", max_size=40).map(str.strip)


@given(st.dictionaries(KEYS, PLAIN))
def test_written_lines_are_read_back(values):
    text = "".join(f"{key} = {value}  ## note\n" for key, value in values.items())
    assert pairs(text) == list(values.items())


@given(st.text(st.characters(exclude_characters="\"'", exclude_categories=["Cs"])), st.sampled_from("\"'"))
def test_unquote_takes_one_level(text, quote):
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
def test_unquote(text, expected):
    assert unquote(text) == expected


def test_unquote_refuses_an_open_quote():
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
def test_split_list(text, expected):
    assert split_list(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a, (b, c]", "bracket ( is not closed in '(b, c'"),
        ("[a, 'b]", "quote ' is not closed in \"a, 'b\""),
        ("[a, [b, 'c]]", "quote ' is not closed in \"a, [b, 'c]\""),
    ],
)
def test_split_list_refuses_what_is_open(text, message):
    with pytest.raises(ParsetError, match=f"^{re.escape(message)}$"):
        split_list(text)


@given(st.lists(st.text("abc.-/*", min_size=1, max_size=9), min_size=1))
def test_list_text_comes_apart_again(items):
    assert split_list("[" + " , ".join(items) + "]") == items
    assert split_list("[" + ",".join(f"'{item}, '" for item in items) + "]") == [f"{item}, " for item in items]


@pytest.mark.parametrize("text", ["t", "True", "1", "yes", "Y"])
def test_true(text):
    assert boolean(text) is True


@pytest.mark.parametrize("text", ["f", "False", "0", "no", "N"])
def test_false(text):
    assert boolean(text) is False


@pytest.mark.parametrize("text", ["", "maybe", " true", "2"])
def test_neither(text):
    with pytest.raises(ParsetError, match=f"^{text!r} is neither true nor false$"):
        boolean(text)


@pytest.mark.parametrize(
    ("text", "number"), [("12", 12), ("-3", -3), ("+4", 4), ("0x1F", 31), ("007", 7), ("-0X10", -16)]
)
def test_integer(text, number):
    assert integer(text) == number


@pytest.mark.parametrize("text", ["", "1.0", "1e3", "12 ", "1_000", "0x", "٣", "9" * 101])
def test_not_an_integer(text):
    with pytest.raises(ParsetError, match=r"is not a whole number$"):
        integer(text)
