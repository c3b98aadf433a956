import contextlib
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lofarpipe.support import parset_text
from lofarpipe.support.parset_text import Entry, ParsetError, canonical, lex, split_list, whole_lines

UNITS = ["'", "''", "[", "=", "a=", "a='", "#", "\\\n", "{{ ", "a = 1\n", "a = ''", "x\n", "\t", "! ", "a =\r", ","]


def records(text, file="t", oddities=None, lefts=None):
    """Return all entries of a text, as a list."""
    batches = lex(whole_lines(text), file, [] if oddities is None else oddities, [] if lefts is None else lefts)
    return [record for batch in batches for record in batch]


def pairs(text):
    return [(key, value) for key, value, *_ in records(text)]


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
def test_lines_become_keys_and_values(text, expected):
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
def test_line_without_equals_continues_value(text, value):
    assert pairs(text) == [("a", value)]


def test_entry_knows_its_line_and_comment():
    text = "a = 1\n\n! b = 2 ## the width in deg # or so\nc = 3 # no help\nd = [1,  ## first\n 2] ## second"
    assert [Entry(*record) for record in records(text, "x.parset")] == [
        Entry("a", "1", "x.parset", 1),
        Entry("! b", "2", "x.parset", 3, "the width in deg # or so"),
        Entry("c", "3", "x.parset", 4),
        Entry("d", "[1, 2]", "x.parset", 5, "first"),
    ]
    assert Entry("a", "1", "x.parset", 7).where == "x.parset:7"
    assert Entry("a", "1", "command line", 0).where == "command line"


def test_suspicious_lines_are_noted():
    oddities = []
    records("a = 1\nb = c = 2\nstray\nd = 4", "x.parset", oddities)
    assert [oddity.where for oddity in oddities] == ["x.parset:2", "x.parset:3"]
    assert "starts the key ' c'" in oddities[0].what
    assert "continues the value of ' c'; write all of it on one line" in oddities[1].what


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
        (
            '{"a": 1}',
            """t:1: no '=' in '{"a": 1}'; expected 'key = value'; """
            "this looks like JSON: name a parset, such as image.parset",
        ),
        (
            "[DEFAULT]\na = 1",
            "t:1: no '=' in '[DEFAULT]'; expected 'key = value'; "
            "this looks like TOML or a configuration: name a parset, such as image.parset",
        ),
        ("a = 1\n! b cpu", "t:2: no '=' in '! b cpu'; expected 'key = value'"),
        (
            "a = 1\x00",
            "t:1: control character U+0000 at column 6; remove it, or save the file as UTF-8 text if it is UTF-16",
        ),
        ("a = \x1b[31m", "t:1: control character U+001B at column 5; remove it"),
        ("# \x07", "t:1: control character U+0007 at column 3; remove it"),
        ("a = b\rc = d", "t:1: control character U+000D at column 6; remove it"),
        ("a = b\u2028c = d", "t:1: control character U+2028 at column 6; remove it"),
        ("a = caf\udce9", "t:1: byte 0xe9 is not UTF-8; save the file as UTF-8 text"),
        ("a = " + "x" * 2**24, "t:1: line of 16777220 characters; at most 16777216 are read"),
    ],
)
def test_invalid_lines_are_refused(text, message):
    with pytest.raises(ParsetError, match=f"^{re.escape(message)}$"):
        pairs(text)


def test_long_text_is_abbreviated():
    with pytest.raises(ParsetError, match=r"^t:1: no '=' in 'x{57}\.\.\.'; expected"):
        pairs("x" * 1000)


def test_oversized_file_is_refused(monkeypatch):
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
def test_excessive_text_is_refused(monkeypatch, limit, text, message):
    monkeypatch.setattr(parset_text, limit, 3)
    with pytest.raises(ParsetError, match=f"^{re.escape(message)}$"):
        pairs(text)


def test_large_parset_is_read():
    text = "".join(f"step{i // 20}.argument.key{i % 20} = [/data/L{i}.MS, 'x#{i}']\n" for i in range(100_000))
    assert pairs(text)[-1] == ("step4999.argument.key19", "[/data/L99999.MS, 'x#99999']")
    names = [f"/data/scratch/L628614_SB{i:06d}.MS" for i in range(50_000)]
    ((_, value),) = pairs(f"msin = [{','.join(names)}]")
    assert split_list(value) == names


def test_oversized_continued_value_is_refused(monkeypatch):
    monkeypatch.setattr(parset_text, "LONGEST_LINE", 10)
    with pytest.raises(ParsetError, match=r"^t:3: the value of 'a' has more than 10 characters$"):
        pairs("a = 123\n45678\n9")


@pytest.mark.timeout(300)  # measured 0.01 to 3 s; the square of such a length takes hours
@pytest.mark.parametrize("unit", UNITS)
def test_hostile_text_is_parsed_quickly(unit):
    with contextlib.suppress(ParsetError):
        pairs(f"a = 1\n{unit * (2**19 // len(unit))}")


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
    assert pairs(text) == [(canonical(key), value) for key, value in values.items()]


# ---- ordinary lines, read many at a call, against the same lines looked at mark by mark

PIECES = [
    "a",
    "b.c",
    "! ",
    "!",
    "=",
    " = ",
    "#",
    "##",
    '"',
    "'",
    "'x'",
    "\\",
    " ",
    "\t",
    "\r",
    "\x00",
    "\u2028",
    "é",
    "\udce9",
]
ODD_TEXT = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)
KEY = st.sampled_from(["a", "! b", " c.d", "'e'", "!f", "g h"])
LINES = st.lists(ODD_TEXT | st.tuples(KEY, st.sampled_from(["=", " = "]), ODD_TEXT).map("".join), max_size=8)


def mark_by_mark(text):
    lines = text.split("\n")
    return [("", "", "", line) for line in (lines if lines[-1] else lines[:-1])]


def outcome(text):
    """Return all that reading gives: entries, oddities, left sides; or the error."""
    oddities, lefts = [], []
    try:
        return records(text, "t", oddities, lefts), oddities, lefts
    except ParsetError as err:
        return str(err)


@settings(max_examples=500)
@given(LINES | st.lists(st.text(max_size=20)), st.sampled_from(["\n", "\r\n"]), st.sampled_from([1, 7, 1000]))
@example(["a = 1 # x ## y ", "! b=2", "'c' = 'd#'  \\", "e", " f = 1 = 2", "a\t=", ""], "\n", 1)
def test_fast_and_slow_line_readers_agree(lines, newline, chunk):
    text = newline.join(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parset_text, "CHUNK", chunk)
        found = outcome(text)
        patch.setattr(parset_text, "_rows", mark_by_mark)
        assert found == outcome(text)


def test_ordinary_lines_take_fast_path(monkeypatch):
    monkeypatch.delattr(parset_text, "_other_line")  # whoever looks at a line mark by mark fails
    text = "a = 1\n! b = [x, 'y=#', \"z\"]  ## text\n  c.d-e[0]\t=\r\nf = {{ b }} \\"
    assert records(text) == [
        ("a", "1", "t", 1, ""),
        ("! b", "[x, 'y=#', \"z\"]", "t", 2, "text"),
        ("c.d-e[0]", "", "t", 3, ""),
        ("f", "{{ b }}", "t", 4, ""),
    ]


def test_left_hand_sides_are_collected():
    assert outcome(" a = 1\n\n # b = 2\n#c\n'd' = e = f\n g \n!  h=1")[2] == ["a", "# b", "#c", "'d'", "g", "!  h"]


def test_definition_names_are_normalised():
    assert pairs("!  a=1\n! b = 2\n'!c' = 3") == [("! a", "1"), ("! b", "2"), ("! c", "3")]


def test_line_numbers_include_blanks_and_comments(monkeypatch):
    monkeypatch.delattr(parset_text, "_other_line")
    found = records("\n# one\na = 1\n\r\n  # two ## three\n\t\nb = 2 ## four\n")
    assert found == [("a", "1", "t", 3, ""), ("b", "2", "t", 7, "four")]


def test_pieces_end_at_line_breaks(monkeypatch):
    monkeypatch.setattr(parset_text, "CHUNK", 3)
    assert list(whole_lines("a = 1\nb\n\n\nc = 2")) == ["a = 1\n", "b\n\n\n", "c = 2"]
    assert list(whole_lines("")) == []
