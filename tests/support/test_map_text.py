import ast
import os
import re
import threading
import tracemalloc
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.support import map_text
from lofarpipe.support.data_map import DataMap, DataMapError, MultiDataMap, MultiDataProduct
from lofarpipe.support.map_text import list_literal_texts, parse_entries, read_entries

ERRORS = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)
TEXTS = st.text(st.sampled_from("ab/'\"\\\n[]{}(),: \u00e9\u2028\x07"), max_size=12)
LEAVES = st.one_of(TEXTS, st.booleans(), st.none(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(TEXTS, inner, max_size=3),
        st.lists(TEXTS, max_size=4),
    ),
    max_leaves=12,
)


@pytest.fixture
def never_literal(monkeypatch):
    """Let only the reader itself read whole texts."""

    def refuse(text):
        raise AssertionError(f"literal_eval of {text[:40]}")

    monkeypatch.setattr(map_text, "LONGEST_UNUSUAL", -1)
    monkeypatch.setattr(map_text, "literal", refuse)


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        (" [ ] ", []),
        ("[{'host': 'h', 'file': '/a', 'skip': True}]", [{"host": "h", "file": "/a", "skip": True}]),
        ("[{'host': \"h'\", 'file': \"it's\", 'skip': False},]\n", [{"host": "h'", "file": "it's", "skip": False}]),
        ("[('h', '/a', False), ('h', \"/b\", True)]", [("h", "/a", False), ("h", "/b", True)]),
        ("[('h','/a'),('h', 5,True)]", [("h", "/a"), ("h", 5, True)]),
        (
            "[{u'skip':False,\r\n u'file':[ '/a' ,\"/b\"], 'host':''}]",
            [{"skip": False, "file": ["/a", "/b"], "host": ""}],
        ),
        ("[('h', [], (), {}, (1,), [None, -1.5, 1e3])]", None),
        ("[('h', [], (), {}, (1,), [None, -1.5, 0])]", [("h", [], (), {}, (1,), [None, -1.5, 0])]),
    ],
)
def test_known_map_forms_are_read(never_literal, text, entries):
    if entries is None:
        with pytest.raises(ValueError, match=r"^found ' 1e3"):
            parse_entries(text)
    else:
        assert parse_entries(text) == entries


@pytest.mark.parametrize(
    "text",
    ["[('h', 1e3)]", "[('h', 0x10)] # note", "[('h', 'a' 'b')]", "[('h', ('b'))]", "[('h', '''a''')]", "[dict] or []"],
)
def test_literal_eval_reads_short_unusual_text(monkeypatch, text):
    if "dict" in text:
        with pytest.raises(ValueError, match="malformed"):
            parse_entries(text)
    else:
        assert parse_entries(text) == ast.literal_eval(text)
    monkeypatch.setattr(map_text, "LONGEST_UNUSUAL", 5)
    with pytest.raises(ValueError, match=r"^found .* at character \d+$"):
        parse_entries(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("['a']", "found \"'a']\" at character 2"),
        ("[('h', 'f') ('h', 'f')]", "found \" ('h', 'f')]\" at character 12"),
        ("[('h', 'f')", "found '' at character 12"),
        ("[{'host' 'h'}]", "found \"'host' 'h'}]\" at character 3"),
        ("[{1: 'h'}]", "found \": 'h'}]\" at character 4"),
        ("[{'a', 'h'}]", "found \" 'h'}]\" at character 7"),
        ("[(1 2)]", "found ')]' at character 6"),
        ("[)]", "found ']' at character 3"),
        ("[(:)]", "found ')]' at character 4"),
        ("[" * 30 + "]" * 30, "more than 20 brackets within each other"),
        ("[('h', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])]", "more than 9 values; split it"),
        ("[('h', ['1', '2', '3', '4', '5', '6', '7', '8'])]", "more than 9 values; split it"),
        ("[('h', 'f', True), ('h', 'f', True), ('h', 'f', True)]", "more than 9 values; split it"),
        ("[('h\x00', 'f')]", "control character U+0000 at character 5"),
        ("[('h\u2028', 'f')]", "control character U+2028 at character 5"),
    ],
)
def test_invalid_text_is_refused(monkeypatch, text, message):
    monkeypatch.setattr(map_text, "LONGEST_UNUSUAL", -1)
    monkeypatch.setattr(map_text, "MOST_VALUES", 9 if "values" in message else 1000)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        parse_entries(text)


def test_non_list_names_its_type():
    with pytest.raises(ValueError, match=r"^found dict$"):
        parse_entries("{'host': 'h'}")


@given(st.lists(st.one_of(st.dictionaries(TEXTS, VALUES, max_size=4), st.lists(VALUES, max_size=4).map(tuple))))
def test_reader_agrees_with_literal_eval(entries):
    assert parse_entries(repr(entries)) == ast.literal_eval(repr(entries)) == entries


@given(st.text("[](){}'\",: \\u012hostfileskpTrueFalse#-.\n", max_size=60))
def test_arbitrary_text_agrees_or_is_refused(text):
    try:
        found = parse_entries(f"[{text}]")
    except ERRORS:
        return
    assert found == ast.literal_eval(f"[{text}]")


@given(st.binary(max_size=100))
def test_any_file_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes.mapfile"
    path.write_bytes(b"[" + content + b"]")
    try:
        assert isinstance(read_entries(path), list)
    except DataMapError as err:
        assert str(err).startswith(f"{path}: not a mapfile: ")  # noqa: PT017 - both ends are right


def test_oversized_file_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(map_text, "LONGEST_FILE", 100)
    with pytest.raises(DataMapError, match=r"^/dev/zero: not a mapfile: more than 100 bytes; split it$"):
        DataMap.load("/dev/zero")


def test_large_maps_avoid_literal_eval(never_literal, tmp_path):
    products = [(f"node{i % 50:03d}", f"/data/L{i}_uv.MS", i % 7 == 0) for i in range(100_000)]
    DataMap(products).save(tmp_path / "x.mapfile")
    read = DataMap.load(tmp_path / "x.mapfile")
    assert read == DataMap(products)
    assert len({id(product.host) for product in read.data}) == 50  # one text for all entries of a host
    many = MultiDataMap([MultiDataProduct("h", [f"/a{i}", f"/b{i}"], False) for i in range(10_000)])
    many.save(tmp_path / "multi.mapfile")
    assert MultiDataMap.load(tmp_path / "multi.mapfile") == many


@given(st.lists(st.text("ab'\"\\, ", max_size=5)))
def test_literal_list_is_split(texts):
    found = list_literal_texts(str(texts))
    assert found == texts if "\\" not in str(texts) else found is None
    assert list_literal_texts("[a,b]") is None


def test_python_warnings_are_suppressed():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert parse_entries(r"[('a\,', 1)]") == [("a\\,", 1)]
        with pytest.raises(ValueError, match="malformed"):
            parse_entries("[('a', 1or 2)]")
    assert said == []


def test_memory_is_proportional_to_file(tmp_path):
    path = tmp_path / "x.mapfile"
    path.write_text("[('h', 'f', True)]")
    tracemalloc.start()
    try:
        assert len(DataMap.load(path)) == 1
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_map_is_read_from_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("[('h', 'f', True)]",))
    writer.start()
    assert DataMap.load(pipe)[0].file == "f"
    writer.join()
