"""TOML values as words of WSClean options: no shell, no text form of Python, nothing left unexpanded."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.cli.imgpipe.values import COMMA_JOINED, PATHS, channels_out, expanded, option_words

HERE = Path("/run/here")
ENVIRONMENT = {"HOME": "/home/a", "DATA": "/data/x y", "EMPTY": ""}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("niter", 0, ["0"]),
        ("niter", 1_000_000, ["1000000"]),
        ("threshold", 1e-4, ["0.0001"]),
        ("multiscale", True, []),
        ("multiscale", False, None),
        ("local-rms", "", []),
        ("weight", "briggs -0.5", ["briggs", "-0.5"]),
        ("weight", ["briggs", 0.5], ["briggs", "0.5"]),
        ("size", 512, ["512", "512"]),
        ("size", "256", ["256", "256"]),
        ("size", [512, 256], ["512", "256"]),
        ("pol", ["I", "Q"], ["I,Q"]),
        ("multiscale-scales", [0, 5, 10], ["0,5,10"]),
        ("fits-mask", "a b.fits", ["/run/here/a b.fits"]),
        ("fits-mask", "'a b.fits'", ["/run/here/a b.fits"]),
        ("fits-mask", "~/m.fits", ["/home/a/m.fits"]),
        ("temp-dir", "$DATA/t", ["/data/x y/t"]),
        ("apply-facet-solutions", "$DATA/s.h5 amplitude000", ["/data/x y/s.h5", "amplitude000"]),
        ("aterm-config", "/a;rm -rf *", ["/a;rm -rf *"]),
    ],
)
def test_value_becomes_option_words(key: str, value: object, words: list[str] | None) -> None:
    assert option_words(key, value, ENVIRONMENT, HERE) == words


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"niter": 5}, "is a table; a text, a number"),
        ([1, [2]], r"has \[2\] in its list"),
        ([True], "has true in its list"),
        ([], "is an empty list"),
        ("'a", "quotes are not balanced"),
        ("$NONE/x", r"\$NONE is not set"),
        ("a/$obs_id$", "tokens are replaced in name and out-dir only"),
    ],
)
def test_impossible_value_is_refused(value: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        option_words("niter", value, ENVIRONMENT, HERE)


@given(st.lists(st.text("ab '\"\\#;&*,[]=-é\n", min_size=1, max_size=6), min_size=1, max_size=4))
def test_words_survive_quoting(words: list[str]) -> None:
    assert option_words("restore", shlex.join(words), {}, HERE) == words
    assert option_words("restore", words, {}, HERE) == words


def test_tables_of_options_are_disjoint() -> None:
    assert not PATHS & COMMA_JOINED


def test_tokens_and_variables_are_replaced_once() -> None:
    tokens = {"ms_in": "/d/$HOME/~/A.MS", "obs_id": "2023"}
    assert expanded("$ms_in$/images", ENVIRONMENT, tokens) == "/d/$HOME/~/A.MS/images"
    assert expanded("~/${EMPTY}o/$obs_id$$DATA", ENVIRONMENT, tokens) == "/home/a/o/2023/data/x y"
    assert expanded("a~b/~", ENVIRONMENT, tokens) == "a~b/~"
    assert expanded("$HOME$DATA/$HOME${DATA}", ENVIRONMENT, tokens) == "/home/a/data/x y//home/a/data/x y"


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        ("field", r"has \$field\$, and there is no such token; there are \$ms_in\$"),
        ("sw", r"has \$sw\$, which has no value without a data handler"),
        ("obs_id", r"has \$obs_id\$, which has no value for sets that are named directly"),
    ],
)
def test_token_without_value_is_error(token: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        expanded(f"o/${token}$", {}, {"sw": None, "obs_id": None, "ms_in": "x"})


@pytest.mark.parametrize(
    ("value", "channels", "count", "left"),
    [
        ("all", 8, 8, 0),
        ("every 2", 8, 4, 0),
        ("every3", 8, 2, 2),
        (4, 8, 4, 0),
        ("4", 8, 4, 0),
        ("all", 13, 13, 0),
    ],
)
def test_channels_out_gives_count(value: object, channels: int, count: int, left: int) -> None:
    found, notice = channels_out(value, channels)
    assert found == count
    assert (f"a remainder of {left}" in notice) == bool(left)


@pytest.mark.parametrize("value", ["every", "every 0", "some", 0, -3, True, 2.5, [4], "every 16", 9, "-1"])
def test_invalid_channels_out_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is "):
        channels_out(value, 8)


def test_empty_channel_selection_is_error() -> None:
    with pytest.raises(ValueError, match="the options select no channel"):
        channels_out("all", 0)
