"""User options: domains, meanings, sources."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.control import FEEDBACK_KEYS
from lofarpipe.pipeline.options import (
    SIP_IDENTIFIERS,
    SIP_REQUIRED,
    check_options,
    check_value,
    is_sip_requested,
    options_table,
    read_options,
    sip_items,
    sip_problems,
)
from lofarpipe.support.parset import Parset


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        ("0.00208", "number > 0"),
        ("-2", "number -2..2"),
        ("2.0", "number -2..2"),
        ("1", "number > 0 <= 1"),
        ("0", "integer >= 0"),
        ("cpu", "cpu | hybrid"),
        ("[]", "list"),
        ("/data/a.MS", "list"),
        ("/tmp", "path"),
        ("", "text"),
        ("anything", ""),
        ("anything", "\t"),
        ("none", "number > 0 or none"),
        ("3", "number > 0 or none"),
        ("none", "path or none"),
        ("psf, model", "some of psf | dirty | model or none"),
        ("none", "some of psf | dirty or none"),
    ],
)
def test_value_inside_domain_is_accepted(value, domain):
    check_value(value, domain)


@pytest.mark.parametrize(
    ("value", "domain", "message"),
    [
        ("0", "number > 0", "a number > 0 is needed"),
        ("nan", "number > 0", "a number > 0 is needed"),
        ("1_000", "integer >= 0", "an integer >= 0 is needed"),
        ("1_0.5", "number", "a number is needed"),
        ("inf", "number > 0", "a number > 0 is needed"),
        ("2.1", "number -2..2", "a number -2..2 is needed"),
        ("-2.1", "number -2..2", "a number -2..2 is needed"),
        ("1.5", "number > 0 <= 1", "a number > 0 <= 1 is needed"),
        ("1", "number < 1", "a number < 1 is needed"),
        ("3.5", "integer >= 0", "an integer >= 0 is needed"),
        ("-1", "integer >= 0", "an integer >= 0 is needed"),
        ("fast", "number", "a number is needed"),
        ("gpx", "cpu | hybrid", "one of cpu, hybrid is needed"),
        ("hybird", "cpu | hybrid", "did you mean 'hybrid'"),
        ("psf,dirt", "some of psf | dirty", "some of psf, dirty are needed, and not 'dirt'; did you mean 'dirty'"),
        ("", "some of psf | dirty", "some of psf, dirty are needed, and not ''"),
        ("true", "True | False", "did you mean 'True'"),
        ("[a, b", "list", "a bracket is missing"),
        ("", "path", "a path is needed"),
        ("0", "number > 0 or none", "a number > 0 is needed"),
        ("none", "number > 0", "a number > 0 is needed"),
        ("~nobody-here/a", "path", "~ is not replaced here; write ~nobody-here/a"),
    ],
)
def test_value_outside_domain_is_refused(value, domain, message):
    with pytest.raises(ValueError, match=message.replace("[", r"\[").replace(".", r"\.")):
        check_value(value, domain)


def test_unknown_domain_is_pipeline_error():
    with pytest.raises(PipelineError, match="'colour' is no domain"):
        check_value("red", "colour")


@given(low=st.integers(-1000, 0), high=st.integers(1, 1000), value=st.floats(-2000, 2000))
def test_range_includes_its_limits(low, high, value):
    inside = low <= value <= high
    try:
        check_value(repr(value), f"number {low}..{high}")
    except ValueError:
        assert not inside
    else:
        assert inside


def _options(text, overrides=""):
    base = Parset.parse(text, "base.parset")
    documented = {name: entry for name, entry in base.definitions().items() if entry.comment}
    base.adopt(Parset.parse(overrides, "field.parset"))
    return read_options(base.definitions(), documented)


def test_documented_definitions_are_options():
    options = _options("! cell = 0.002 ## {number > 0} pixel size, degrees\n! internal = x\n", "! cell = '0.004'\n")
    (cell,) = options
    assert (cell.name, cell.value, cell.domain) == ("cell", "0.004", "number > 0")
    assert (cell.meaning, cell.where) == ("pixel size, degrees", "field.parset:1")


def test_comment_without_domain_is_free_text():
    (option,) = _options("! name = x ## what it is called\n")
    assert (option.domain, option.meaning) == ("text", "what it is called")


@pytest.mark.parametrize(
    ("domain", "value", "said"),
    [
        ("number -2..2", "\u22120.5", "'\u2212' in it is U+2212, minus sign: type it anew"),
        ("True | False", "\u201cTrue\u201d", "'\u201c' in it is U+201C, left double quotation mark: type it anew"),
        ("number > 0", "1\ue000", "U+E000, no letter: type it anew"),
        ("list", "[\u65e5", "a bracket is missing"),
        ("number", "x", "a number is needed"),
    ],
)
def test_lookalike_character_is_named(domain, value, said):
    (finding,) = check_options(_options(f"! a = {value} ## {{{domain}}} meaning\n"))
    assert finding.what.endswith(said)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("cell_deg", "7.5", "a number > 0 <= 1 is needed; 7.5 arcsec are 0.00208333 degrees"),
        ("cell_deg", "7.5arcsec", "; 7.5 arcsec are 0.00208333 degrees"),
        ("cell_deg", "1 arcmin", "; 1 arcmin are 0.0166667 degrees"),
        ("cell_deg", "3rad", "; degrees are needed"),
        ("cell_deg", "-1", "a number > 0 <= 1 is needed"),
        ("limit", "5GB", "; write it without 'GB'"),
        ("limit", "5", "a number > 0 <= 1 is needed"),
    ],
)
def test_units_are_converted_or_removed(name, value, said):
    (finding,) = check_options(_options(f"! {name} = {value} ## {{number > 0 <= 1}} meaning\n"))
    assert finding.what.endswith(said)


def test_choice_in_wrong_case_names_nearest():
    (finding,) = check_options(_options("! gridder = IDG ## {auto | idg} meaning\n"))
    assert finding.what.endswith("one of auto, idg is needed; did you mean 'idg'?")


def test_finding_names_place_value_and_expectation():
    options = _options("! cell = 0.002 ## {number > 0} pixel size\n", "\n! cell = 0\n")
    assert [str(finding) for finding in check_options(options)] == [
        "field.parset:2: cell is '0'; a number > 0 is needed"
    ]


def test_table_shows_value_meaning_and_source():
    table = options_table(_options("! cell = 0.002 ## {number > 0} pixel size\n"))
    assert table.splitlines() == ["cell = 0.002", "    pixel size (number > 0)", "    set in base.parset:1"]


GIVEN = dict.fromkeys(SIP_REQUIRED, "7")


@pytest.mark.parametrize("sip_file", ["", "none"])
def test_run_without_sip_needs_no_values(sip_file):
    assert not is_sip_requested({"sip_file": sip_file})
    assert not is_sip_requested({})
    assert sip_problems({"sip_file": sip_file, "sip_process_identifier": "x"}) == []


def test_missing_sip_values_are_listed_together():
    (message,) = sip_problems({"sip_file": "sip.xml"})
    assert message.startswith("sip_file: the archive needs 11 more values, which only you know: sip_project_code (")
    assert all(f"{name} ({meaning})" in message for name, meaning in SIP_REQUIRED.items())
    (message,) = sip_problems({"sip_file": "sip.xml", **GIVEN, "sip_strategy_name": "", "sip_source_identifiers": "[]"})
    assert "needs 2 more values" in message
    assert "sip_strategy_name (" in message
    assert "sip_source_identifiers (" in message


def test_complete_values_have_no_problem():
    assert sip_problems({"sip_file": "sip.xml", **GIVEN}) == []
    assert sip_problems({"sip_file": "sip.xml", **GIVEN, "sip_product_identifiers": ["1", "2"]}) == []


@pytest.mark.parametrize("name", SIP_IDENTIFIERS)
def test_identifiers_must_be_integers(name):
    values = {"sip_file": "sip.xml", **GIVEN, name: "[12, L3]" if name.endswith("s") else "L3"}
    (message,) = sip_problems(values)
    assert message.startswith(f"{name}: 'L3' is no identifier; a whole number is needed")
    assert sip_problems({**values, "sip_schema_version": "2.6.1"}) == []
    assert sip_problems({**values, name: "step.output.number"}) == []  # only the run can tell


def test_sip_version_and_type_are_checked():
    wrong = {"sip_file": "sip.xml", **GIVEN, "sip_schema_version": "3", "product_type": "Correlated"}
    version, product = sip_problems(wrong)
    assert version == "sip_schema_version: is '3'; one of 2.7.2, 2.6.1 is needed"
    assert product == "sip_file: product_type is 'Correlated'; a SIP is written for SkyImage only"


def test_list_text_gives_items():
    assert sip_items("[a, b]") == ["a", "b"]
    assert sip_items("a") == ["a"]
    assert sip_items(["a"]) == ["a"]
    assert sip_items("[]") == sip_items("") == sip_items(None) == []


def test_sip_values_are_step_keys():
    assert {*SIP_REQUIRED, *SIP_IDENTIFIERS} <= set(FEEDBACK_KEYS)
