"""Patterns of intermediate files."""

from __future__ import annotations

from lofarpipe.state.intermediates import pattern_problem


def test_relative_root_name_is_pattern() -> None:
    assert pattern_problem(["fullband-[0-9]-*", "/a/b", "psf", "none", "*"]) == ""
    assert pattern_problem(["psv", "fullband-*"]).startswith("psv: *, psf")
