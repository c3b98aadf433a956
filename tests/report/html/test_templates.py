"""The templates of the page: what is escaped, and what several sections are made of."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2 import UndefinedError

from lofarpipe.report.html.page import environment


def part(name: str, *values: Any) -> str:
    """What a macro makes of values."""
    return str(getattr(environment().get_template("parts.html.j2").module, name)(*values)).strip()


def text_of(template: str, **values: Any) -> str:
    """What a template makes of values."""
    return environment().from_string(template).render(values)


def test_text_is_escaped_and_a_piece_is_not() -> None:
    assert (
        text_of("{{ text }}", text="<a href=\"x\" title='y'>&") == "&lt;a href=&#34;x&#34; title=&#39;y&#39;&gt;&amp;"
    )
    assert text_of("{{ text|safe }}", text="<b>") == "<b>"
    assert text_of("{{ text }}", text=1.5) == "1.5"


def test_what_programs_say_has_no_colours() -> None:
    assert text_of("{{ text }}", text="\x1b[31mred\x1b[0m & \x07dead\r\nend") == "red &amp; dead\nend"


def test_a_name_that_no_one_has_given_is_no_empty_text() -> None:
    with pytest.raises(UndefinedError, match="'missing' is undefined"):
        text_of("{{ missing }}")


def test_item_list() -> None:
    assert part("item_list", ["a", "\x1b[1m<"], "warnings") == '<ul class="warnings"><li>a</li><li>&lt;</li></ul>'


def test_numbers_of_a_table_are_marked() -> None:
    text = part("table", ("name", "value"), [("a<", 1), ("b", "2")], (1,))
    assert '<thead><tr><th>name</th><th class="number">value</th></tr></thead>' in text
    assert '<tr><td>a&lt;</td><td class="number">1</td></tr>\n<tr><td>b</td>' in text


def test_texts_about_a_number_have_their_heads() -> None:
    text = part("explained", ("what", "value", "why", "from"), [("a", "1", "<w>", "f")])
    assert '<td class="number">1</td><td data-label="why">&lt;w&gt;</td><td data-label="from">f</td>' in text


def test_figure_has_words_for_those_who_do_not_see_it() -> None:
    text = part("figure", "data:x", 'a "map"', "<b>")
    assert 'src="data:x" alt="a &#34;map&#34;"><figcaption>&lt;b&gt;' in text
    assert part("figure", None, "a map", "b") == ""


@pytest.mark.parametrize(("length", "kept"), [(30, 30), (35, 35), (36, 30)])
def test_long_text_is_cut(length: int, kept: int) -> None:
    text = text_of("{{ text|truncate(30, true, '…') }}", text="x" * length)
    assert len(text) == kept
    assert text.endswith("…") == (kept < length)
