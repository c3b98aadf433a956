"""Entries as programs write them: many read at a call, against the same ones read token by token."""

import ast
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lofarpipe.support import map_text
from lofarpipe.support import map_text as map_forms
from lofarpipe.support.data_map import DataMap, DataProduct, MultiDataMap, MultiDataProduct
from lofarpipe.support.map_text import FORMS, parse_entries

NAMES = st.text(st.sampled_from("ab/'\"\\{}[](),: é\n"), max_size=6)
PRODUCTS = st.builds(DataProduct, NAMES, NAMES, st.booleans())
MULTI = st.builds(MultiDataProduct, NAMES, st.lists(NAMES, max_size=3), st.booleans())
TUPLES = st.tuples(NAMES, NAMES, st.booleans())
TEXTS = [
    "[{'host': 'h', 'file': '/a', 'skip': True}, {'host': 'h', 'file': '/b', 'skip': False}]",
    "[('h', '/a', True), ('h', '/b', False),]",
    "[{'host': 'h',  'skip': False, 'file': \"['/a', '/b']\", 'file_skip' : [False, True]}]",
]


def outcome(text):
    try:
        return parse_entries(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as err:
        return type(err), re.sub("0x[0-9a-f]+", "", str(err))  # ast names objects by their address


def token_by_token(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_text, "FORMS", ())
        return outcome(text)


@settings(max_examples=300)
@given(st.lists(PRODUCTS | MULTI | TUPLES, max_size=8), st.sampled_from([1, 40, 70, 150, 1000]))
@example([DataProduct("h", "{'host': 'x', 'file': 'y', 'skip': True}", False)] * 4, 70)
def test_fast_and_slow_readers_agree(entries, at_once):
    text = repr(entries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_forms, "AT_ONCE", at_once)
        assert outcome(text) == token_by_token(text) == ast.literal_eval(text)


@settings(max_examples=300)
@given(st.sampled_from(TEXTS), st.integers(0, 90), st.integers(0, 3), st.text("'\", []{}()TrueFalse\n#\\a", max_size=3))
def test_fast_and_slow_readers_agree_on_mutations(text, place, length, other):
    changed = text[:place] + other + text[place + length :]
    assert outcome(changed) == token_by_token(changed)


@pytest.mark.parametrize("text", TEXTS)
def test_usual_entries_are_read_in_bulk(monkeypatch, text):
    monkeypatch.delattr(map_text._Reader, "_entry")  # whoever reads an entry token by token fails
    assert parse_entries(text) == ast.literal_eval(text)


@pytest.mark.parametrize(("text", "values"), list(zip(TEXTS, [8, 8, 7], strict=True)))
def test_number_of_values_is_bounded(monkeypatch, text, values):
    monkeypatch.setattr(map_text, "MOST_VALUES", values)
    assert parse_entries(text)
    monkeypatch.setattr(map_text, "MOST_VALUES", values - 1)
    with pytest.raises(ValueError, match=f"^more than {values - 1} values; split it$"):
        parse_entries(text)


def test_bulk_reader_returns_next_position():
    text = "[('a', 'b', True), ('c', 'd', False), ('e', 5, True)]"
    assert FORMS[1].rows(text, 1) == ([("a", "b", "True", ""), ("c", "d", "False", "")], 38)
    assert FORMS[1].rows(text, 38) == ([], 38)
    assert FORMS[0].rows(text, 1) == ([], 1)


def test_saved_maps_have_fast_forms():
    products = DataMap([("h", "/a", True)])
    multi = MultiDataMap([MultiDataProduct("h", ["/a", "/b"], False)])
    assert FORMS[0].rows(repr(products), 1)[0] == [("h", "/a", "True", "")]
    assert FORMS[2].rows(repr(multi), 1)[0] == [("h", "False", "['/a', '/b']", "False, False", "")]
