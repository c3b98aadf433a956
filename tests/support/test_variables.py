"""Definitions and where they are used (doc/spec/lofarpipe.md, section 3.3)."""

import pytest

from lofarpipe.support import parset_text as variables
from lofarpipe.support.parset_text import ParsetError, Substitution, expand_environment, placeholders


def substituted(text, **definitions):
    return Substitution(definitions).apply(text, "t:1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ a }}", "1"),
        ("x{{ a }}y{{ a }}z", "x1y1z"),
        ("{{a}} {{  a  }} {{ a}} {{ A }}", "{{a}} {{  a  }} {{ a}} {{ A }}"),
        ("'{{ a }}'", "'1'"),
        ("[{{ none }}, {{ demix }}filter]", "[, demix,filter]"),
        ("{{ nope }} {{ a }}", "{{ nope }} 1"),
        ("{{ {{ name }} }}", "1"),
        ("{{{ a }}}", "{1}"),
        ("{{ A-team.1 x }}", "odd"),
    ],
)
def test_variables_are_substituted(text, expected):
    definitions = {"a": "1", "none": "", "demix": "demix,", "A-team.1 x": "odd"}
    assert Substitution({**definitions, "name": "a"}).apply(text, "t:1") == expected


def test_backward_reference_is_followed():
    assert substituted("{{ c }}", a="1", b="{{ a }}{{ a }}", c="{{ b }}-{{ a }}") == "11-1"


def test_forward_reference_stays():
    assert substituted("{{ early }}", early="{{ late }}", late="1") == "{{ late }}"
    assert substituted("{{ me }}", me="{{ me }}x") == "{{ me }}x"


def test_placeholders_are_unique_and_ordered():
    assert placeholders("{{ b }}{{ a }} {{ b }} {{c}} {{ }} {{ a b }}") == ["b", "a", "a b"]


def test_only_definitions_expand_environment(monkeypatch):
    monkeypatch.setenv("LOFARROOT", "/opt/{{ a }}$HOME")
    monkeypatch.delenv("NOT_SET", raising=False)
    assert expand_environment("$LOFARROOT/${LOFARROOT}x $NOT_SET ${NOT_SET} ~ $") == (
        "/opt/{{ a }}$HOME//opt/{{ a }}$HOMEx $NOT_SET ${NOT_SET} ~ $"
    )
    assert substituted("$LOFARROOT {{ b }}", a="1", b="$LOFARROOT") == "$LOFARROOT /opt/1$HOME"


def test_exploding_text_is_refused_early(monkeypatch):
    longest = []
    monkeypatch.setattr(variables, "placeholders", lambda text: longest.append(len(text)) or placeholders(text))
    doubling = {f"a{n}": f"{{{{ a{n - 1} }}}}" * 2 for n in range(1, 60)}
    with pytest.raises(ParsetError, match=r"^t:1: replacing \{\{ a\d+ \}\} gives more than 16777216 characters; look"):
        substituted("{{ a59 }}", a0="0123456789", **doubling)
    assert len(longest) < 60  # one look per definition
    assert max(longest) <= variables.LONGEST_VALUE


def test_endless_work_is_refused(monkeypatch):
    monkeypatch.setattr(variables, "MOST_WORK", 100)
    substitution = Substitution({"a": "x" * 20})
    substitution.apply("{{ a }}", "t:1")  # 7 + 20 characters
    substitution.apply("{{ a }}", "t:2")
    substitution.apply("{{ a }}", "t:3")
    with pytest.raises(ParsetError, match=r"^t:4: "):
        substitution.apply("{{ a }}", "t:4")


@pytest.mark.timeout(300)  # measured up to 2 s; the square of such a length takes hours
@pytest.mark.parametrize("unit", ["{{ ", "{{ a", "$", "${", "{{ a }", "$x{"])
def test_hostile_text_is_parsed_quickly(unit):
    substituted(unit * 300_000, a="1", b=unit * 300_000)
