"""The templates of the page: escaping and shared parts."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, FileSystemBytecodeCache, UndefinedError

from lofarpipe.report.html import page
from lofarpipe.report.html.page import environment


def part(name: str, *values: Any) -> str:
    """Return the text of a macro with values."""
    return str(getattr(environment().get_template("parts.html.j2").module, name)(*values)).strip()


def text_of(template: str, **values: Any) -> str:
    """Return the text of a template with values."""
    return environment().from_string(template).render(values)


def test_safe_filter_prevents_escaping() -> None:
    assert (
        text_of("{{ text }}", text="<a href=\"x\" title='y'>&") == "&lt;a href=&#34;x&#34; title=&#39;y&#39;&gt;&amp;"
    )
    assert text_of("{{ text|safe }}", text="<b>") == "<b>"
    assert text_of("{{ text }}", text=1.5) == "1.5"


def test_terminal_colours_are_removed() -> None:
    assert text_of("{{ text }}", text="\x1b[31mred\x1b[0m & \x07dead\r\nend") == "red &amp; dead\nend"


def test_undefined_name_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'missing' is undefined"):
        text_of("{{ missing }}")


def test_item_list_is_escaped() -> None:
    assert part("item_list", ["a", "\x1b[1m<"], "warnings") == '<ul class="warnings"><li>a</li><li>&lt;</li></ul>'


def test_numbers_of_a_table_are_marked() -> None:
    text = part("table", ("name", "value"), [("a<", 1), ("b", "2")], (1,))
    assert '<thead><tr><th>name</th><th class="number">value</th></tr></thead>' in text
    assert '<tr><td>a&lt;</td><td class="number">1</td></tr>\n<tr><td>b</td>' in text


def test_explanations_carry_their_column_heads() -> None:
    text = part("explained", ("what", "value", "why", "from"), [("a", "1", "<w>", "f")])
    assert '<td class="number">1</td><td data-label="why">&lt;w&gt;</td><td data-label="from">f</td>' in text


def test_figure_has_alternative_text() -> None:
    text = part("figure", "data:x", 'a "map"', "<b>")
    assert 'src="data:x" alt="a &#34;map&#34;"><figcaption>&lt;b&gt;' in text
    assert part("figure", None, "a map", "b") == ""


@pytest.mark.parametrize(("length", "kept"), [(30, 30), (35, 35), (36, 30)])
def test_long_text_is_cut(length: int, kept: int) -> None:
    text = text_of("{{ text|truncate(30, true, '…') }}", text="x" * length)
    assert len(text) == kept
    assert text.endswith("…") == (kept < length)


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Templates that no page was made of yet."""
    place = tmp_path / "templates"
    shutil.copytree(page.TEMPLATES, place, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(page, "TEMPLATES", place)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return place


def test_templates_are_compiled_once(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = part("item_list", ["a"])
    assert len(list((copied / "__pycache__").iterdir())) == 1
    monkeypatch.delattr(Environment, "compile")
    assert part("item_list", ["a"]) == first


def test_read_only_directory_recompiles_templates(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(FileSystemBytecodeCache, "dump_bytecode", refuse)
    assert [part("item_list", ["a"]) for _ in range(2)] == ["<ul><li>a</li></ul>"] * 2


def test_dont_write_bytecode_disables_template_cache(copied: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    part("item_list", ["a"])
    assert not (copied / "__pycache__").exists()
