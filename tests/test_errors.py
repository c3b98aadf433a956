import difflib

from lofarpipe import errors
from lofarpipe.errors import (
    CheckFailed,
    Finding,
    PipelineError,
    Suggestions,
    counted,
    findings_of,
    list_findings,
    list_names,
    nearest,
    with_article,
)


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


def test_nearest_suggests_known_name():
    assert nearest("max_per_nod", {"max_per_node", "mapfile_in"}) == "; did you mean 'max_per_node'?"


def test_count_has_singular_and_plural():
    assert [counted(number, "job") for number in (0, 1, 2)] == ["0 jobs", "1 job", "2 jobs"]


def test_article_follows_sound():
    names = ["executable_args", "average", "wsclean", "Image", "", "2nd"]
    assert [with_article(name) for name in names] == [
        "an 'executable_args'",
        "an 'average'",
        "a 'wsclean'",
        "an 'Image'",
        "a ''",
        "a '2nd'",
    ]


def test_errors_become_findings():
    found = [Finding("a:1", "bad"), Finding("b:2", "worse")]
    assert findings_of(CheckFailed(found)) == found
    assert findings_of(PipelineError("a:1: bad: x")) == [Finding("a:1", "bad: x")]
    assert findings_of(PipelineError("bad")) == [Finding("this run", "bad")]


def test_nearest_needs_similar_name():
    assert nearest("qqqq", ["max_per_node"]) == ""
    assert nearest("max_per_node", []) == ""


def test_nearest_skips_endless_names():
    assert nearest("a" * 100_000, ["a" * 100_000]) == ""


def test_nearest_compares_names_of_similar_length(monkeypatch):
    monkeypatch.setattr(errors, "MOST_COMPARED", 2)
    known = ["a" * 50, "step_b", "xxep_a", "step_aa"]  # as long and of the same first letter come first
    assert nearest("step_a", known) == "; did you mean 'step_b'?"
    compared = []
    monkeypatch.setattr(difflib, "get_close_matches", lambda _, names, n: compared.extend(names) or names[:n])
    nearest("step_a", known)
    assert compared == ["step_b", "xxep_a"]


def test_number_of_suggestions_is_bounded(monkeypatch):
    monkeypatch.setattr(errors, "MOST_SUGGESTIONS", 2)
    suggested = Suggestions()
    hints = [suggested.nearest("ab", ["abc"]) for _ in range(3)]
    assert hints == ["; did you mean 'abc'?"] * 2 + [""]


def test_number_of_names_in_message_is_bounded():
    assert list_names("abc") == "a, b, c"
    assert list_names((), most=2) == ""
    assert list_names("abcd", most=2) == "a, b ... and 2 more"


def test_number_of_listed_findings_is_bounded(monkeypatch):
    findings = [Finding("a:1", "bad")] * 3
    assert list_findings(findings, most=3) == ["a:1: bad"] * 3
    assert list_findings(findings, most=1) == ["a:1: bad", "... and 2 more"]
    many = CheckFailed(findings * 50)
    assert len(many.findings) == 150
    assert str(many).splitlines()[99:] == ["a:1: bad", "... and 50 more", "150 problems found; nothing was run"]
