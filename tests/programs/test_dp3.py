"""Arguments of DP3, and its messages on them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp3_runs import run_real
from lofarpipe.programs.dp3 import adapt_keywords, check_keywords, step_names, unused_keywords

AVERAGE = {
    "msin": "a.MS",
    "msin.datacolumn": "DATA",
    "msout": "b.MS",
    "msout.overwrite": "True",
    "steps": "[avg]",
    "avg.type": "average",
}


def test_threads_and_checkparset_are_added():
    assert adapt_keywords({"msin": "a.MS"}, 3) == {"msin": "a.MS", "numthreads": "3", "checkparset": "1"}


def test_user_keywords_stay():
    assert adapt_keywords({"numthreads": "1", "checkparset": "0"}, 3) == {"numthreads": "1", "checkparset": "0"}


@pytest.mark.parametrize(
    ("msin", "stays"), [("a.MS", False), ("[a.MS]", False), ("[a.MS,b.MS]", True), ("*.MS", True), ("", True)]
)
def test_single_set_drops_multi_set_keys(msin, stays):
    assert ("msin.orderms" in adapt_keywords({"msin": msin, "msin.orderms": "True"}, 1)) is stays


@pytest.mark.parametrize("form", ["{}", "[{}]"])
def test_dp3_accepts_remaining_keys_of_single_set(dp3, hba_set_generic, tmp_path, form):
    keywords = {**AVERAGE, "msin": form.format(hba_set_generic), "msin.orderms": "True", "msin.missingdata": "True"}
    code, log = run_real(dp3, tmp_path, adapt_keywords(keywords, 1))
    assert (code, unused_keywords(log)) == (0, [])


def test_averaging_keywords_are_accepted():
    assert check_keywords(AVERAGE) == []
    assert check_keywords({**AVERAGE, "steps": "[]", "avg.type": ""})[0].startswith("avg.type: DP3 would not use it")


@pytest.mark.parametrize(
    ("key", "value", "refused"),
    [
        ("predict.beam_interval", "30", True),
        ("predict.beaminterval", "30", True),
        ("predict.beam_interval", "0", False),
        ("predict.beam_interval", "0.0", False),
        ("predict.beam_interval", "x", True),
    ],
)
def test_invalid_beam_interval_is_refused(key, value, refused):
    found = check_keywords({"msin": "a.MS", "msout": "b.MS", "steps": "[predict]", key: value})
    assert [line.startswith(f"{key}: is '{value}'") for line in found] == [True] * refused


@pytest.mark.parametrize(
    ("steps", "refused"),
    [("[avg]", True), ("[]", True), ("[avg,null]", False), ("[count]", False), ("[predict, 'null']", False)],
)
def test_empty_output_needs_null_step(steps, refused):
    found = check_keywords({"msin": "a.MS", "msout": "", "steps": steps})
    assert [line.startswith("msout: is empty") for line in found] == [True] * refused


def test_type_key_identifies_renamed_step():
    assert check_keywords({"msin": "a.MS", "msout": "", "steps": "[avg,end]", "end.type": "null"}) == []


def test_misspelt_step_names_nearest():
    (finding,) = check_keywords({**AVERAGE, "avrg.freqstep": "2"})
    assert finding.startswith("avrg.freqstep: DP3 would not use it, for its steps are [avg]")
    assert finding.endswith("did you mean 'avg'?")


def test_misspelt_global_key_names_nearest():
    (finding,) = check_keywords({**AVERAGE, "numthread": "2"})
    assert "did you mean 'numthreads'?" in finding


def test_inner_steps_of_split_are_known():
    keywords = {"msin": "a.MS", "steps": "[split]", "split.steps": "[a,out]", "a.type": "average", "out.name": "[p,q]"}
    assert check_keywords(keywords) == []


def test_keys_are_not_checked_without_steps():
    assert check_keywords({"msin": "a.MS", "msout": "b.MS", "avg.freqstep": "2"}) == []


@pytest.mark.parametrize(
    ("text", "names"), [("[a, b]", ["a", "b"]), ("a", ["a"]), ("", []), ("['a',\"b\"]", ["a", "b"]), ("[]", [])]
)
def test_steps_text_gives_names(text, names):
    assert step_names({"steps": text}) == names


@given(st.text("[]a,\n -*WARNING: the following parset keywords were not used *"))
def test_arbitrary_log_is_readable(text):
    assert isinstance(unused_keywords(text), list)


def test_dp3_refuses_unused_keywords_early(dp3, hba_set_generic, tmp_path):
    keywords = {**AVERAGE, "msin": str(hba_set_generic), "avg.frqstep": "2", "nosuch": "1"}
    code, log = run_real(dp3, tmp_path, adapt_keywords(keywords, 1))
    assert code == 1
    assert unused_keywords(log) == ["avg.frqstep", "nosuch"]
    assert "Processing" not in log


def test_dp3_only_warns_without_checkparset(dp3, hba_set_generic, tmp_path):
    keywords = {**AVERAGE, "msin": str(hba_set_generic), "avg.frqstep": "2", "checkparset": "0"}
    code, log = run_real(dp3, tmp_path, adapt_keywords(keywords, 1))
    assert code == 0
    assert unused_keywords(log) == ["avg.frqstep"]


def test_every_global_key_is_used(dp3, hba_set_generic, tmp_path):
    extra = {"showcounts": "false", "showprogress": "false", "showtimings": "false", "verbosity": "normal"}
    code, log = run_real(dp3, tmp_path, adapt_keywords({**AVERAGE, "msin": str(hba_set_generic), **extra}, 1))
    assert code == 0
    assert unused_keywords(log) == []
    assert "should be" not in log
