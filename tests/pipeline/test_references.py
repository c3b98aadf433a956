"""References to the outputs of other steps."""

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.steps import references, resolve

RESULTS = {"average": {"mapfile": "/m/average.mapfile", "ok.mapfile": "/m/ok"}, "input": {"job_directory": "/j"}}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("average.output.mapfile", [("average", "mapfile")]),
        ("[a.output.x.mapfile, b-1.output.y]", [("a", "x.mapfile"), ("b-1", "y")]),
        ("input.output.job_directory/fullband", [("input", "job_directory")]),
        ("nothing here", []),
    ],
)
def test_references_are_recognised(text, found):
    assert references(text) == found


@pytest.mark.timeout(300)  # 0.01 s; the square of the length takes hours
def test_long_words_are_not_references():
    assert references(2**20 * "a") == []
    assert references("+" * 2**20 + "a.output.x")[0][1] == "x"


def test_all_references_are_replaced():
    text = "[average.output.mapfile,input.output.job_directory/x]"
    assert resolve(text, RESULTS, "here") == "[/m/average.mapfile,/j/x]"


def test_references_keep_backslashes():
    assert resolve("a.output.b", {"a": {"b": r"C:\1\g<0>"}}, "here") == r"C:\1\g<0>"


def test_unknown_reference_lists_alternatives():
    with pytest.raises(PipelineError, match=r"here: 'averge.output.mapfile': no step 'averge' has run; did you mean"):
        resolve("averge.output.mapfile", RESULTS, "here")
    with pytest.raises(PipelineError, match=r"no output 'mapfle'; did you mean 'mapfile'\?; it gives: mapfile, ok"):
        resolve("average.output.mapfle", RESULTS, "here")
    with pytest.raises(PipelineError, match=r"it gives: nothing"):
        resolve("a.output.mapfile", {"a": {}}, "here")
