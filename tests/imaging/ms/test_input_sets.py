"""Names and patterns to paths."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.ms.names import expand_inputs


@pytest.fixture
def folder(tmp_path):
    for name in ("L1_SB002.MS", "L1_SB010.MS", "L1_SB001.MS", "odd[1].MS"):
        (tmp_path / name).mkdir()
    return tmp_path


def names(paths):
    return [Path(path).name for path in paths]


def test_pattern_expands_to_sorted_sets(folder):
    assert names(expand_inputs("[L1_SB*.MS]", folder)) == ["L1_SB001.MS", "L1_SB002.MS", "L1_SB010.MS"]


def test_input_order_is_preserved(folder):
    assert names(expand_inputs("[L1_SB010.MS, L1_SB00*.MS]", folder)) == ["L1_SB010.MS", "L1_SB001.MS", "L1_SB002.MS"]


def test_relative_names_start_in_base_directory(folder):
    assert expand_inputs("[./sub/../L1_SB001.MS/]", folder)[0].startswith(str(folder))
    assert expand_inputs("[/data/a.MS]", folder) == ["/data/a.MS"]


def test_tilde_expands_to_home(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert expand_inputs("[~/L1_SB001.MS]", "/") == [str(folder / "L1_SB001.MS")]


def test_single_name_needs_no_brackets(folder):
    assert expand_inputs("L1_SB001.MS", folder) == [str(folder / "L1_SB001.MS")]


def test_unmatched_pattern_is_preserved(folder):
    assert expand_inputs("[L2_*.MS]", folder) == [str(folder / "L2_*.MS")]


def test_existing_name_is_no_pattern(folder):
    assert expand_inputs("['odd[1].MS']", folder) == [str(folder / "odd[1].MS")]


def test_repeated_names_are_preserved(folder):
    assert names(expand_inputs("[L1_SB001.MS, L1_SB001*]", folder)) == ["L1_SB001.MS"] * 2


@pytest.mark.parametrize("text", ["[]", "", "[ ]", "[,]"])
def test_empty_text_gives_no_sets(folder, text):
    assert expand_inputs(text, folder) == []


def test_unclosed_quote_is_refused(folder):
    with pytest.raises(PipelineError):
        expand_inputs("['a.MS", folder)


@given(st.text("ab*?[],/.~ '\"\t", max_size=20))
def test_any_text_gives_paths_or_error(text):
    try:
        paths = expand_inputs(text, "/nosuch")
    except PipelineError:
        return
    assert all(path.startswith("/") for path in paths)
