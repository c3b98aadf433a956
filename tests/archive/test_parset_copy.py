"""One parset that needs no others gives the same pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.archive.inputs import HEADER, self_contained
from lofarpipe.pipeline.compose import compose
from lofarpipe.pipeline.options import read_options
from lofarpipe.support.parset import Parset

BASE = """
! steps_True = average
! scratch = $SCRATCH/x     ## {path} where
! cellsize = 0.002         ## {number > 0} pixel size, degrees
pipeline.steps = [{{ steps_True }}, sub]
average.use = ready
average.argument.scale = {{ cellsize }}
sub.control.kind = pipeline
sub.control.type = inner.parset
"""


def copied(here: Path, assignments: list[str]) -> tuple[Parset, Parset, dict]:
    """Compose base, field, ready step and command line; return what it gives, what the copy gives, its comments."""
    (here / "steps").mkdir(exist_ok=True)
    (here / "steps" / "ready.parset").write_text("control.type = dp3\nargument.msin = msin\nargument.scale = 1\n")
    (here / "inner.parset").write_text("pipeline.steps = []\n")
    (here / "base.parset").write_text(BASE)
    (here / "field.parset").write_text("pipeline.base = base.parset\n! cellsize = 0.004\n")
    before = compose(here / "field.parset", assignments, [here], [])
    (here / "elsewhere").mkdir(exist_ok=True)
    (here / "elsewhere" / "copy.parset").write_text(self_contained(before.parset)[0])
    after = compose(here / "elsewhere" / "copy.parset", [], [], [])
    return before.parset, after.parset, after.documented


def test_copy_is_self_contained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/local")
    before, after, documented = copied(tmp_path, ["average.argument.avg.timestep=4", "cellsize=0.008"])
    given = {key: entry.value for key, entry in ((e.key, e) for e in before.substituted().entries())}
    again = {entry.key: entry.value for entry in after.substituted().entries()}
    del given["pipeline.base"], given["average.use"]
    given["sub.control.type"] = str(tmp_path / "inner.parset")
    assert again == given
    assert again["average.argument.scale"] == "0.008"
    assert again["average.argument.msin"] == "msin"
    assert again["pipeline.steps"] == "[average, sub]"
    options = read_options(after.definitions(), documented)
    assert [(one.name, one.value, one.domain) for one in options] == [
        ("scratch", "/local/x", "path"),
        ("cellsize", "0.008", "number > 0"),
    ]


def test_copy_preserves_environment_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/local")
    _, after, _ = copied(tmp_path, [])
    monkeypatch.setenv("SCRATCH", "/other")
    assert after.substituted().definitions()["scratch"].value == "/local/x"


def test_computed_sub_pipeline_path_stays(tmp_path: Path) -> None:
    (tmp_path / "a.parset").write_text("s.control.kind = pipeline\ns.control.type = input.output.here/b.parset\n")
    text, lost = self_contained(Parset.read(tmp_path / "a.parset"))
    assert lost == []
    assert text == f"{HEADER}s.control.kind = pipeline\ns.control.type = input.output.here/b.parset\n"


@pytest.mark.parametrize("value", ["a#b", "x=y", "[a=1,b=2]", "it's", 'say "#"', "", "[a, 'b, c']", "{ a: 1 }"])
def test_command_line_values_survive(value: str) -> None:
    parset = Parset()
    parset.set("a.argument.x", value, "command line")
    again = Parset.parse(self_contained(parset)[0])
    assert again.string("a.argument.x") == value or again["a.argument.x"] == value


def test_unwritable_value_is_reported() -> None:
    parset = Parset()
    parset.set("a.x", "it's = \"5", "command line")
    parset.set("a.y", "1", "command line")
    assert self_contained(parset) == (f"{HEADER}a.y = 1\n", ["command line: a.x"])


def test_accidental_key_is_reported() -> None:
    parset = Parset.parse("k = a=b", "x.parset")  # an empty k, and the key " a"
    assert self_contained(parset)[1] == ["x.parset:1:  a"]


@given(st.text(alphabet="ab =#'\"[],{}$!.", max_size=12))
def test_changed_values_are_reported(value: str) -> None:
    parset = Parset()
    parset.set("a.x", value)
    text, lost = self_contained(parset)
    if lost:
        return
    again = Parset.parse(text)
    assert list(again) == ["a.x"]
    assert again["a.x"] in (value, f'"{value}"', f"'{value}'")
