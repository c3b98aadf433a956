"""Arguments of DP3, and what it says of them."""

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


def test_threads_and_the_check_of_keywords_are_added():
    assert adapt_keywords({"msin": "a.MS"}, 3) == {"msin": "a.MS", "numthreads": "3", "checkparset": "1"}


def test_what_the_user_set_stays():
    assert adapt_keywords({"numthreads": "1", "checkparset": "0"}, 3) == {"numthreads": "1", "checkparset": "0"}


@pytest.mark.parametrize(
    ("msin", "stays"), [("a.MS", False), ("[a.MS]", False), ("[a.MS,b.MS]", True), ("*.MS", True), ("", True)]
)
def test_keys_for_several_sets_are_left_out_with_one(msin, stays):
    assert ("msin.orderms" in adapt_keywords({"msin": msin, "msin.orderms": "True"}, 1)) is stays


@pytest.mark.parametrize("form", ["{}", "[{}]"])
def test_dp3_takes_what_is_left_for_one_set(dp3, hba_set_generic, tmp_path, form):
    keywords = {**AVERAGE, "msin": form.format(hba_set_generic), "msin.orderms": "True", "msin.missingdata": "True"}
    code, log = run_real(dp3, tmp_path, adapt_keywords(keywords, 1))
    assert (code, unused_keywords(log)) == (0, [])


def test_averaging_is_fine():
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
def test_a_beam_interval_is_refused(key, value, refused):
    found = check_keywords({"msin": "a.MS", "msout": "b.MS", "steps": "[predict]", key: value})
    assert [line.startswith(f"{key}: is '{value}'") for line in found] == [True] * refused


@pytest.mark.parametrize(
    ("steps", "refused"),
    [("[avg]", True), ("[]", True), ("[avg,null]", False), ("[count]", False), ("[predict, 'null']", False)],
)
def test_an_empty_output_is_refused_unless_nothing_is_written(steps, refused):
    found = check_keywords({"msin": "a.MS", "msout": "", "steps": steps})
    assert [line.startswith("msout: is empty") for line in found] == [True] * refused


def test_a_step_named_otherwise_is_known_by_its_type():
    assert check_keywords({"msin": "a.MS", "msout": "", "steps": "[avg,end]", "end.type": "null"}) == []


def test_a_misspelt_step_is_named_with_the_nearest():
    (finding,) = check_keywords({**AVERAGE, "avrg.freqstep": "2"})
    assert finding.startswith("avrg.freqstep: DP3 would not use it, for its steps are [avg]")
    assert finding.endswith("did you mean 'avg'?")


def test_a_misspelt_global_key_is_named():
    (finding,) = check_keywords({**AVERAGE, "numthread": "2"})
    assert "did you mean 'numthreads'?" in finding


def test_inner_steps_of_a_split_are_known():
    keywords = {"msin": "a.MS", "steps": "[split]", "split.steps": "[a,out]", "a.type": "average", "out.name": "[p,q]"}
    assert check_keywords(keywords) == []


def test_without_steps_nothing_is_said_of_keys():
    assert check_keywords({"msin": "a.MS", "msout": "b.MS", "avg.freqstep": "2"}) == []


@pytest.mark.parametrize(
    ("text", "names"), [("[a, b]", ["a", "b"]), ("a", ["a"]), ("", []), ("['a',\"b\"]", ["a", "b"]), ("[]", [])]
)
def test_step_names(text, names):
    assert step_names({"steps": text}) == names


@given(st.text("[]a,\n -*WARNING: the following parset keywords were not used *"))
def test_any_log_can_be_read(text):
    assert isinstance(unused_keywords(text), list)


def test_dp3_stops_at_unused_keywords_before_it_reads_data(dp3, hba_set_generic, tmp_path):
    keywords = {**AVERAGE, "msin": str(hba_set_generic), "avg.frqstep": "2", "nosuch": "1"}
    code, log = run_real(dp3, tmp_path, adapt_keywords(keywords, 1))
    assert code == 1
    assert unused_keywords(log) == ["avg.frqstep", "nosuch"]
    assert "Processing" not in log


def test_without_that_check_dp3_only_warns(dp3, hba_set_generic, tmp_path):
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
