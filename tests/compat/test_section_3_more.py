"""Quotes, keys, definitions, and values as plugins read them (doc/spec/lofarpipe.md, sections 3.1 to 3.5)."""

import pytest

from lofarpipe.support.parset import Parset

SHOW = """
s.control.type = executable_args
s.control.executable = @/bin/show
s.control.mapfile_in = @/data/one
s.control.inputkey = in
"""


def _shown(site, text, *arguments, **options):
    site.mapfile("one", "/d/a.MS")
    assert site.run(f"pipeline.steps = [s]\n{SHOW}{text}", *arguments, **options) == 0
    (args,) = site.args("show")
    return args


@pytest.mark.parametrize("line", ["s.argument.a = 'x", 's.argument.a = x" y', "s.argument.a = 'x\n s.argument.b = y'"])
def test_quotes_must_close_on_line(site, error, line):
    """Section 3.1: an unbalanced quote is an error, with its place."""
    site.mapfile("one", "/d/a.MS")
    assert site.run(f"pipeline.steps = [s]\n{SHOW}{line}\n") == 1
    assert "p.parset:7" in error()


def test_quotes_contain_opposite_quotes(site):
    """Sections 3.1 and 3.2: a quote ends at the next of its kind; each region loses one level."""
    args = _shown(site, "s.argument.a = 'say \"x\"' and \"it's\"\n's.argument.b' = 1\n")
    assert args[:2] == ['--a=say "x" and it\'s', "--b=1"]


def test_continued_lines_are_joined(site):
    """Section 3.1: joined by a blank, unless the line starts with a quote; a backslash at the end is dropped."""
    args = _shown(
        site, "s.argument.a = one \\\n  two\ns.argument.b = one\n'two'\ns.argument.c = one\n\n  # no\n  two\n"
    )
    assert args[:3] == ["--a=one two", "--b=onetwo", "--c=one two"]


def test_repeated_step_definitions_merge(site):
    """Section 3.1: the blocks are one; the second definition of a key wins."""
    args = _shown(site, "s.argument.a = 1\ns.argument.b = 1\ns.argument.b = 2\ns.argument.c = 3\n")
    assert args[:3] == ["--a=1", "--b=2", "--c=3"]


def test_keys_are_case_sensitive(site):
    """Section 3.1: unknown keys are ignored, and so are known keys in another case."""
    args = _shown(site, "s.argument.A = 1\nS.argument.a = 2\ns.Argument.a = 3\nnobody = 4\n")
    assert args[0] == "--A=1"
    assert len(args) == 2


def test_odd_definitions_are_accepted(site, monkeypatch):
    """Section 3.3 (12, group 2): odd names, an end by ``#``, no ``~``, quotes kept, the environment once, no keys."""
    monkeypatch.setenv("DOLLAR", "$HOME")
    text = """
! A-team_skymodel = 1
! 1st_order = 2
! with.dot = 3
! hidden = #,foo
! home = ~/x
! quoted = 'a, b'
! dollar = $DOLLAR
! key = b
s.argument.a = {{ A-team_skymodel }}{{ 1st_order }}{{ with.dot }}<{{ hidden }}>
s.argument.c = {{ home }}
s.argument.d = {{ quoted }}
s.argument.e = {{ dollar }}
s.argument.f = {{  key }}
s.argument.g = $HOME
s.argument.{{ key }} = 7
"""
    args = _shown(site, text)
    wanted = {"--a=123<>", "--c=~/x", "--d=a, b", "--e=$HOME", "--f={{  key }}", "--g=$HOME", "--{{ key }}=7"}
    assert wanted <= set(args)


def test_definitions_apply_to_pipeline_keys(site):
    """Section 3.3: the steps, an empty one among them, and the path of the plugins."""
    (site.here / "more").mkdir()
    site.plugin("mine").rename(site.here / "more" / "PipelineStep_mine.py")
    text = """
! where = more
! steps = x,
! none =
pipeline.pluginpath = {{ where }}
pipeline.steps = [{{ steps }} {{ none }} s]
x.control.kind = plugin
x.control.type = mine
s.argument.flags = [in]
"""
    site.mapfile("one", "/d/a.MS")
    assert site.run(text + SHOW) == 0
    assert [call["name"] for call in site.calls()] == ["mine", "show"]


def test_unknown_pipeline_keys_are_ignored(site):
    """Section 3.4: anything else is ignored."""
    assert _shown(site, "pipeline.author = me\npipeline.stepss = [a]\ns.argument.flags = [in]\n") == ["/d/a.MS"]


def test_flags_keep_quoted_text(site):
    """Section 3.5: ``=`` and ``#`` in a quoted flag."""
    assert _shown(site, "s.argument.flags = [in, '--a=b', \"c#d\"]\n") == ["/d/a.MS", "--a=b", "c#d"]


def test_references_name_repeated_steps(site):
    """Sections 3.5 and 4.1: without a number it is the first one."""
    site.mapfile("one", "/d/a.MS")
    text = "pipeline.steps = [s, s, t]\n" + SHOW + SHOW.replace("s.control", "t.control")
    text += (
        "s.argument.flags = [in]\nt.argument.mapfile_a = s.output.mapfile\nt.argument.mapfile_b = s1.output.mapfile\n"
    )
    assert site.run(text) == 0
    maps = "@/run/p/mapfiles"
    assert site.args("show")[2][:2] == [f"--mapfile_a={maps}/s.mapfile", f"--mapfile_b={maps}/s1.mapfile"]


@pytest.fixture
def values(tmp_path):
    path = tmp_path / "values"
    path.write_text(
        "b.text = \"'CS*'\" and 'x'\nb.list = [a, 'b, c', (d, e), [f, g], {h, i}, ]\nb.one = a, b\nb.empty =\n"
        "b.none = []\nB.x = 1\nb.n = 0x1F\nb.range = [0..3, 3*x]\nt.t = True\nt.y = yes\nt.1 = 1\nf.f = false\n"
        "f.n = No\nf.0 = 0\nt.bad = maybe\n# remark = 1\n"
    )
    return Parset(str(path))


def test_accessors_convert_values(values):
    """Section 3.2: one level of quotes, lists with brackets in them, truth by its first letter, hexadecimal numbers."""
    assert values.getString("b.text") == "'CS*' and x"
    assert values.getStringVector("b.list") == ["a", "b, c", "(d, e)", "[f, g]", "{h, i}", ""]
    assert values.getStringVector("b.one") == ["a, b"]
    assert values.getStringVector("b.empty") == values.getStringVector("b.none") == []
    assert values.getStringVector("b.range") == ["0..3", "3*x"]
    assert values.getInt("b.n") == 31
    assert [values.getBool(f"t.{key}") for key in "ty1"] == [True] * 3
    assert [values.getBool(f"f.{key}") for key in "fn0"] == [False] * 3


def test_parsets_are_written_and_subset(values, tmp_path):
    """Sections 3.2 and 5.3: raw values, byte order; ``keys`` has comments, as it had."""
    assert "# remark" in values.keys
    subset = values.makeSubset("b.")
    subset.writeFile(str(tmp_path / "written"))
    lines = (tmp_path / "written").read_text().splitlines()
    assert lines == sorted(lines)
    assert lines[-1] == "text=\"'CS*'\" and 'x'"
    assert "range=[0..3, 3*x]" in lines
