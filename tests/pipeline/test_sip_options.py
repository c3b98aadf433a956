"""What the archive wants to know and only the user can say."""

from __future__ import annotations

import pytest

from lofarpipe.pipeline.control import FEEDBACK_KEYS
from lofarpipe.pipeline.sip_options import IDENTIFIERS, REQUIRED, is_wanted, items, problems

GIVEN = dict.fromkeys(REQUIRED, "7")


@pytest.mark.parametrize("sip_file", ["", "none"])
def test_nothing_is_asked_for_where_no_sip_is_wanted(sip_file):
    assert not is_wanted({"sip_file": sip_file})
    assert not is_wanted({})
    assert problems({"sip_file": sip_file, "sip_process_identifier": "x"}) == []


def test_everything_that_is_missing_is_said_at_once():
    (message,) = problems({"sip_file": "sip.xml"})
    assert message.startswith("sip_file: the archive needs 11 more values, which only you know: sip_project_code (")
    assert all(f"{name} ({meaning})" in message for name, meaning in REQUIRED.items())
    (message,) = problems({"sip_file": "sip.xml", **GIVEN, "sip_strategy_name": "", "sip_source_identifiers": "[]"})
    assert "needs 2 more values" in message
    assert "sip_strategy_name (" in message
    assert "sip_source_identifiers (" in message


def test_complete_values_have_no_problem():
    assert problems({"sip_file": "sip.xml", **GIVEN}) == []
    assert problems({"sip_file": "sip.xml", **GIVEN, "sip_product_identifiers": ["1", "2"]}) == []


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_identifiers_are_whole_numbers_but_for_the_older_schema(name):
    values = {"sip_file": "sip.xml", **GIVEN, name: "[12, L3]" if name.endswith("s") else "L3"}
    (message,) = problems(values)
    assert message.startswith(f"{name}: 'L3' is no identifier; a whole number is needed")
    assert problems({**values, "sip_schema_version": "2.6.1"}) == []
    assert problems({**values, name: "step.output.number"}) == []  # only the run can tell


def test_version_and_type():
    wrong = {"sip_file": "sip.xml", **GIVEN, "sip_schema_version": "3", "product_type": "Correlated"}
    version, product = problems(wrong)
    assert version == "sip_schema_version: is '3'; one of 2.7.2, 2.6.1 is needed"
    assert product == "sip_file: product_type is 'Correlated'; a SIP is written for SkyImage only"


def test_items():
    assert items("[a, b]") == ["a", "b"]
    assert items("a") == ["a"]
    assert items(["a"]) == ["a"]
    assert items("[]") == items("") == items(None) == []


def test_every_value_is_a_key_of_the_step():
    assert {*REQUIRED, *IDENTIFIERS} <= set(FEEDBACK_KEYS)
