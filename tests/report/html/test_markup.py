"""Pieces of HTML: what is escaped, and what is a piece already."""

from __future__ import annotations

import pytest
from markupsafe import escape

from lofarpipe.report.html.markup import Html, cut, each, escaped, figure, fill, item_list, joined, table


def test_text_is_escaped_and_a_piece_is_not() -> None:
    assert escape("<a href=\"x\" title='y'>&") == "&lt;a href=&#34;x&#34; title=&#39;y&#39;&gt;&amp;"
    assert escape(Html("<b>")) == "<b>"
    assert escape(1.5) == "1.5"
    assert escape(Html("<b>") + "<i>") == "<b>&lt;i&gt;"


def test_pattern_is_filled_with_what_is_escaped() -> None:
    piece = fill("<p>{} {}</p>", "a<b", fill("<i>{}</i>", "{}"))
    assert piece == "<p>a&lt;b <i>{}</i></p>"
    assert type(piece) is Html
    assert fill("{}", piece) == piece


def test_pieces_one_after_the_other() -> None:
    assert joined([Html("<i>"), Html("</i>")], " ") == "<i> </i>"
    assert each("<b>{}</b>", ["1", "&"]) == "<b>1</b><b>&amp;</b>"
    assert item_list(["a", "\x1b[1m<"], "warnings") == '<ul class="warnings"><li>a</li><li>&lt;</li></ul>\n'


def test_what_programs_say_has_no_colours() -> None:
    assert escaped("\x1b[31mred\x1b[0m & \x07dead\r\nend") == "red &amp; dead\nend"


def test_numbers_of_a_table_are_marked() -> None:
    text = table(("name", "value"), [("a<", 1), ("b", "2")], (1,))
    assert '<thead><tr><th>name</th><th class="number">value</th></tr></thead>' in text
    assert '<tr><td>a&lt;</td><td class="number">1</td></tr>\n<tr><td>b</td>' in text


def test_figure_has_words_for_those_who_do_not_see_it() -> None:
    assert 'src="data:x" alt="a &#34;map&#34;"><figcaption>&lt;b&gt;' in figure("data:x", 'a "map"', "<b>")


@pytest.mark.parametrize(("length", "kept"), [(30, 30), (35, 35), (36, 30)])
def test_long_text_is_cut(length: int, kept: int) -> None:
    text = cut("x" * length, 30)
    assert len(text) == kept
    assert text.endswith("…") == (kept < length)
