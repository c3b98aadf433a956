"""Text to numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.scripts import as_boolean, as_number, exit_code, pair


@given(st.floats(allow_nan=False))
def test_any_number_is_read(value):
    assert as_number("x", repr(value)) == value


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_any_pair_is_read(one, other):
    assert pair("x", f"({one}, {other})") == pair("x", f"[{one},{other}]") == (one, other)


@pytest.mark.parametrize("text", ["", "many", "1,5", "(60,20)"])
def test_non_number_is_refused(text):
    with pytest.raises(ValueError, match=r"robust is .*; a number is needed"):
        as_number("robust", text)


@pytest.mark.parametrize("text", ["-2.1", "3", "nan"])
def test_number_out_of_range_is_refused(text):
    with pytest.raises(ValueError, match=r"robust is .*; it must be between -2 and 2"):
        as_number("robust", text, -2, 2)


def test_infinity_is_a_number():
    assert as_number("maxuv_lambda", "inf", 0) == math.inf


def test_booleans_are_read():
    assert as_boolean("x", "True") is True
    assert as_boolean("x", "False") is False
    with pytest.raises(ValueError, match=r"x is 'yes'; True or False is needed"):
        as_boolean("x", "yes")


@pytest.mark.parametrize("text", ["", "60", "(60,)", "(60,0)", "(60,-1)", "(a,b)", "(1,2,3)", "(1.5,2)"])
def test_invalid_pair_is_refused(text):
    with pytest.raises(ValueError, match="two positive whole numbers"):
        pair("rmsbox", text)


def test_finished_work_exits_with_zero():
    done = []
    assert exit_code(lambda: done.append(1)) == 0
    assert done == [1]


@pytest.mark.parametrize(
    "err", [PipelineError("no image"), ValueError("no number"), FileNotFoundError(2, "no such file", "a.fits")]
)
def test_expected_error_is_printed(err, capsys):
    def work():
        raise err

    assert exit_code(work) == 1
    assert capsys.readouterr().err == f"{err}\n"


def test_unexpected_errors_are_raised():
    with pytest.raises(KeyError):
        exit_code(lambda: {}["plot"])
