"""Control keys: types, defaults, inputs implied by the argument block, precedence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.config import Overrides, load_settings
from lofarpipe.errors import PipelineError
from lofarpipe.executors.remote.queue import walltime_problem
from lofarpipe.pipeline.control import (
    CONTROL_KEYS,
    control_keys,
    defaults,
    expected_range,
    input_maps,
    list_items,
    read_environment,
    read_value,
    resolved_control,
)
from lofarpipe.pipeline.steps import Step, task_keys

RESULTS = {
    "a": {"mapfile": "/m/a.mapfile", "x.mapfile": "/m/a.x.mapfile", "plain": "7"},
    "b": {"mapfile": "/m/b.mapfile"},
    "input": {"mapfile_dir": "/m"},
}


def _step(control=None, arguments=None, task=None):
    return Step("s", "s", "recipe", "t", control or {}, arguments or {}, task or {})


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("True", "bool", True),
        ("None", "bool", False),
        ("", "bool", False),
        ("12", "int", 12),
        ("", "number", 0.0),
        ("1.5", "number", 1.5),
        ("[a, b,,c ]", "list", ["a", "b", "c"]),
        ("{A: b, C: d:e}", "environment", {"A": "b", "C": "d:e"}),
        ("as it is", "str", "as it is"),
    ],
)
def test_text_gives_typed_value(text, kind, value):
    assert read_value(text, kind) == value


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("true", "bool"),
        ("1", "bool"),
        ("1.5", "int"),
        ("", "int"),
        ("x", "number"),
        ("nan", "number"),
        ("inf", "number"),
        ("{A}", "environment"),
    ],
)
def test_values_are_strict(text, kind):
    with pytest.raises(ValueError, match=r"is needed"):
        read_value(text, kind)


@pytest.mark.parametrize(
    ("key", "value", "needed"),
    [
        ("cores", -1, "it cannot be negative"),
        ("disk_gb", -0.5, "it cannot be negative"),
        ("min_converged", 1.1, "a number from 0 to 1 is needed"),
        ("min_converged", 1.0, ""),
        ("max_stalled", 1.5, "a number from 0 to 1 is needed"),
        ("memory_gb", 0.0, ""),
        ("inplace", False, ""),
        ("max_rise", -1.0, "it cannot be negative"),
        ("walltime", "2-00:00:00", ""),
        ("walltime", "soon", walltime_problem("soon")),
    ],
)
def test_impossible_values_are_refused(key, value, needed):
    assert expected_range(key, control_keys([key], "")[key], value) == needed


@given(st.lists(st.text("abc/._-", min_size=1)))
def test_list_items_survive_round_trip(items):
    assert list_items(f"[{', '.join(items)}]") == items


@given(st.dictionaries(st.text("ABC_", min_size=1), st.text("abc/:._-", min_size=1)))
def test_environment_survives_round_trip(variables):
    text = "{" + ", ".join(f"{name}: {value}" for name, value in variables.items()) + "}"
    assert read_environment(text) == variables


def test_defaults_are_fresh_for_every_step():
    defaults(CONTROL_KEYS)["mapfiles_in"].append("x")
    assert defaults(CONTROL_KEYS)["mapfiles_in"] == []
    assert defaults(CONTROL_KEYS)["error_tolerance"] is True


def test_parset_overrides_derived_task_and_default():
    task = {"nthreads": "4", "inputkeys": "[from_task]", "max_per_node": "3"}
    control, _ = resolved_control(_step({"max_per_node": "5"}, {"msin": "a.output.mapfile"}, task), RESULTS)
    assert control.number("max_per_node") == 5
    assert control.number("nthreads") == 4
    assert control.items("inputkeys") == ["/m/a.mapfile"]
    assert control.text("args_format") == "gnu"


def test_argument_mapfiles_become_ordered_inputs():
    arguments = {"second": "b.output.mapfile", "flags": "[a.output.x.mapfile, 3]", "number": "a.output.plain"}
    control, keywords = resolved_control(_step(arguments=arguments), RESULTS)
    assert control.items("mapfiles_in") == ["/m/b.mapfile", "/m/a.x.mapfile"]
    assert control.items("inputkeys") == control.items("mapfiles_in")
    assert control.items("arguments") == ["/m/a.x.mapfile", "3"]
    assert keywords == {"second": "/m/b.mapfile", "number": "7"}


def test_mapfile_dir_argument_is_no_input():
    control, keywords = resolved_control(_step(arguments={"mapfile_dir": "input.output.mapfile_dir"}), RESULTS)
    assert control.items("mapfiles_in") == []
    assert keywords == {"mapfile_dir": "/m"}


def test_outputkey_names_output_in_values():
    control, _ = resolved_control(_step(arguments={"flags": "[outputkey]"}), RESULTS)
    assert control.text("outputkey") == "outputkey"


def test_bad_value_names_step_key_and_value():
    with pytest.raises(PipelineError, match=r"step 's', control.inplace is 'yes'; True or False is needed"):
        resolved_control(_step({"inplace": "yes"}), RESULTS)


def test_first_map_and_key_come_first():
    control, _ = resolved_control(
        _step({"mapfile_in": "/1", "inputkey": "one", "mapfiles_in": "[/2,/3]", "inputkeys": "[two,three]"}), RESULTS
    )
    assert input_maps(_step(), control) == (["/1", "/2", "/3"], ["one", "two", "three"])


def test_numbers_of_maps_and_keys_must_agree():
    control, _ = resolved_control(_step({"mapfile_in": "/1"}), RESULTS)
    with pytest.raises(PipelineError, match=r"1 input maps \(/1\) but 0 input keys \(none\)"):
        input_maps(_step(), control)
    control, _ = resolved_control(_step({"mapfile_in": "/1", "skip_infile": "True"}), RESULTS)
    assert input_maps(_step(), control) == (["/1"], [])


def test_program_limits_are_control_keys():
    assert {"max_rise", "max_peak_jy", "wider_retry"} == set(control_keys([], "wsclean")) - set(CONTROL_KEYS)
    assert "min_converged" in control_keys(["min_converged"], "wsclean"), "known, and without effect"
    assert set(control_keys(["nosuch"], "dp3")) - set(CONTROL_KEYS) == {
        *("min_converged", "max_stalled", "max_rise", "max_peak_jy", "wider_retry")
    }


def test_program_type_gets_known_task_keys(tmp_path):
    (tmp_path / "pipeline.cfg").write_text(
        f"[DEFAULT]\nruntime_directory={tmp_path}\nworking_directory={tmp_path}\ntask_files=[{tmp_path}/t.cfg]\n"
    )
    (tmp_path / "t.cfg").write_text("[dp3]\nexecutable = /opt/DP3\n[mine]\nprogram = dp3\n")
    tasks = load_settings(tmp_path / "a.parset", Overrides(config=str(tmp_path / "pipeline.cfg"))).tasks
    assert task_keys("wsclean", tasks) == {"executable": "wsclean", "args_format": "wsclean", "program": "wsclean"}
    assert task_keys("dp3", tasks)["executable"] == "/opt/DP3"
    assert (task_keys("dp3", tasks)["args_format"], task_keys("dppp", tasks)["outputkey"]) == ("lofar", "msout")
    assert task_keys("mine", tasks) == {"program": "dp3"}, "of another name a task says all itself"
