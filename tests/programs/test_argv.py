"""Commands, on the examples of the recorded pipelines and by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.programs.argv import FORMATS, build_argv, substitute_tokens

KEYWORDS = {"b": "2", "a": "1", "C": ""}


def test_token_replaces_equal_flags():
    flags = ["msin", "--in=msin", "xmsin", "out", "msin"]
    assert substitute_tokens(flags, {}, [("msin", "/a.MS"), ("out", "/w/a.x")]) == (
        ["/a.MS", "--in=msin", "xmsin", "/w/a.x", "/a.MS"],
        {},
    )


def test_token_becomes_last_keyword():
    found = substitute_tokens([], {"steps": "[avg]", "avg.type": "average"}, [("msin", "/a.MS"), ("msout", "/w/a.x")])
    assert list(found[1].items()) == [
        ("avg.type", "average"),
        ("steps", "[avg]"),
        ("msin", "/a.MS"),
        ("msout", "/w/a.x"),
    ]


def test_output_token_overrides_keyword_in_place():
    keywords = {"msout": ".", "steps": "[avg]", "avg.type": "average"}
    found = substitute_tokens([], keywords, [("msin", "/a.MS"), ("msout", "/w/a.b")])[1]
    assert list(found.items()) == [("avg.type", "average"), ("msout", "/w/a.b"), ("steps", "[avg]"), ("msin", "/a.MS")]


def test_token_replaces_equal_keyword_values():
    keywords = {"x": "second", "y": "second", "z": "first", "n": "first second"}
    found = substitute_tokens(["first"], keywords, [("first", "/1"), ("second", "/2"), ("res", "/r")])
    assert found == (["/1"], {"n": "first second", "x": "/2", "y": "/2", "z": "/1", "res": "/r"})


def test_token_in_flags_is_not_added():
    assert substitute_tokens(["ms"], {"a": "1"}, [("ms", "/a.MS")]) == (["/a.MS"], {"a": "1"})


def test_keywords_are_required_for_addition():
    assert substitute_tokens(["lone", "first"], {}, [("first", "/1"), ("second", "/2")]) == (["lone", "/1"], {})


def test_mapfile_token_replaces_every_equal_argument():
    keywords = {"mapfile_x": "/m/a.mapfile", "ms": "/m/a.mapfile"}
    found = substitute_tokens([], keywords, [("/m/a.mapfile", "/a.MS")])
    assert found == ([], {"mapfile_x": "/a.MS", "ms": "/a.MS"})


def test_input_arguments_stay_unchanged():
    positionals, keywords = ["ms"], {"b": "ms", "a": "ms"}
    substitute_tokens(positionals, keywords, [("ms", "/a.MS"), ("new", "/x")])
    assert (positionals, list(keywords.items())) == (["ms"], [("b", "ms"), ("a", "ms")])


@given(st.dictionaries(st.text(), st.text()), st.lists(st.text()))
def test_missing_tokens_change_only_order(keywords, positionals):
    found = substitute_tokens(positionals, keywords, [])
    assert found == (positionals, keywords)
    assert list(found[1]) == sorted(keywords, key=lambda key: key.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("args_format", "expected"),
    [
        ("gnu", ["p", "--b=2", "--a=1", "--C="]),
        ("lofar", ["p", "b=2", "a=1", "C="]),
        ("argparse", ["p", "--b 2", "--a 1", "--C "]),
        ("wsclean", ["-C", "", "-a", "1", "-b", "2", "p"]),
        ("losoto", ["p"]),
        ("unheard-of", ["p"]),
    ],
)
def test_format_orders_arguments(args_format, expected):
    assert build_argv("/bin/x", ["p"], KEYWORDS, args_format) == ["/bin/x", *expected]


def test_every_format_is_tested():
    assert set(FORMATS) == {"gnu", "lofar", "argparse", "wsclean", "losoto"}


@pytest.mark.parametrize("args_format", ["gnu", "lofar", "argparse", "wsclean", "unheard-of"])
def test_parset_file_replaces_keywords(args_format):
    argv = build_argv("/bin/x", ["p", "q"], KEYWORDS, args_format, "/w/a.parset")
    assert argv == ["/bin/x", "/w/a.parset", "p", "q"]


def test_parset_file_of_losoto_comes_last():
    assert build_argv("losoto", ["p", "q"], KEYWORDS, "losoto", "/w/a.parset") == ["losoto", "p", "q", "/w/a.parset"]


def test_recorded_wsclean_command_is_reproduced():
    keywords = {
        "multiscale-scales": "[0, 5, 20]",
        "scale": "0.001",
        "size": "300 400",
        "temp-dir": "/run",
        "weight": "briggs -0.5",
    }
    files = "['/d/A_SB001.MS', '/d/B_SB002.MS', '/d/C_SB003.MS']"
    flags, options = substitute_tokens(
        ["-reorder", "-fit-beam", "ms"], keywords, [("ms", files), ("name", "/w/C_SB003.ws")]
    )
    expected = (
        "wsclean -name /w/C_SB003.ws -weight briggs -0.5 -temp-dir /run -size 300 400 -scale 0.001"
        " -multiscale-scales 0 5 20 -reorder -fit-beam /d/A_SB001.MS /d/B_SB002.MS /d/C_SB003.MS"
    )
    assert build_argv("wsclean", flags, options, "wsclean") == expected.split()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("6000 6000", ["6000", "6000"]),
        ("300  400 ", ["300", "400"]),
        ("", [""]),
        (" ", [""]),
        ("[]", [""]),
        ("[a b,c]", ["ab", "c"]),
        ("[", ["["]),
    ],
)
def test_wsclean_value_becomes_words(value, words):
    assert build_argv("x", [], {"k": value}, "wsclean") == ["x", "-k", *words]


@pytest.mark.parametrize("key", ["name", "temp-dir", "fits-mask"])
def test_wsclean_path_may_contain_spaces(key):
    assert build_argv("x", [], {key: "/my data/a b "}, "wsclean") == ["x", f"-{key}", "/my data/a b"]
    assert build_argv("x", [], {key: ""}, "wsclean") == ["x", f"-{key}", ""]
    assert build_argv("x", [], {f"{key}s": "/my data"}, "wsclean") == ["x", f"-{key}s", "/my", "data"]


@pytest.mark.parametrize(
    ("positional", "files"),
    [
        ("[/a.MS,/b.MS]", ["/a.MS", "/b.MS"]),
        ("['/a,1.MS', \"/b 2.MS\"]", ["/a,1.MS", "/b 2.MS"]),
        ("/a b.MS", ["/a b.MS"]),
        ("[CR]S*", ["[CR]S*"]),
        ("", [""]),
    ],
)
def test_wsclean_list_is_split(positional, files):
    assert build_argv("x", [positional, "z"], {}, "wsclean") == ["x", *files, "z"]


@pytest.mark.parametrize("args_format", ["gnu", "lofar", "argparse", "losoto"])
def test_remaining_formats_keep_lists_whole(args_format):
    assert build_argv("x", ["[/a.MS,/b.MS]"], {}, args_format) == ["x", "[/a.MS,/b.MS]"]
