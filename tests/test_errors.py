from lofarpipe.errors import CheckFailed, Finding, PipelineError, nearest


def test_finding_is_one_line():
    assert str(Finding("image.parset:87", "no such key")) == "image.parset:87: no such key"


def test_check_failed_lists_and_counts():
    error = CheckFailed([Finding("a:1", "bad"), Finding("b:2", "worse")])
    assert isinstance(error, PipelineError)
    assert [finding.where for finding in error.findings] == ["a:1", "b:2"]
    assert error.args == (error.findings,)
    assert str(error) == "a:1: bad\nb:2: worse\n2 problems found; nothing was run"


def test_check_failed_with_one_finding_is_singular():
    assert str(CheckFailed([Finding("a:1", "bad")])) == "a:1: bad\n1 problem found; nothing was run"


def test_nearest_suggests_a_known_name():
    assert nearest("max_per_nod", {"max_per_node", "mapfile_in"}) == "; did you mean 'max_per_node'?"


def test_nearest_says_nothing_without_a_likeness():
    assert nearest("qqqq", ["max_per_node"]) == ""
    assert nearest("max_per_node", []) == ""


def test_nearest_does_not_compare_endless_names():
    assert nearest("a" * 100_000, ["a" * 100_000]) == ""
