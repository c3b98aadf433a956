"""The parset language (doc/spec/lofarpipe.md, sections 3.1 to 3.6), as running pipelines see it."""

import pytest

SHOW = """
s.control.type = executable_args
s.control.executable = @/bin/show
s.control.mapfile_in = @/data/one
s.control.inputkey = in
"""


def _shown(site, text, *arguments, **options):
    """Run one step, and return the arguments of its program."""
    site.mapfile("one", "/d/a.MS")
    assert site.run(f"pipeline.steps = [s]\n{SHOW}{text}", *arguments, **options) == 0
    (args,) = site.args("show")
    return args


@pytest.mark.parametrize(
    ("line", "args"),
    [
        ("s.argument.a = b#c", ["--a=b", "--in=/d/a.MS"]),
        ("s.argument.a = b ## note", ["--a=b", "--in=/d/a.MS"]),
        ("s.argument.a = 'x # y'", ["--a=x # y", "--in=/d/a.MS"]),
        ("s.argument.a =", ["--a=", "--in=/d/a.MS"]),
        ("s.argument.a = 1\ns.argument.a = 2", ["--a=2", "--in=/d/a.MS"]),
        ("s.argument.a = [0..nchan/32-1,31*nchan/32..nchan-1]", ["--a=[0..nchan/32-1,31*nchan/32..nchan-1]"]),
        ("s.argument.a = 0deg..30deg", ["--a=0deg..30deg"]),
        ("s.argument.a = one\n  two", ["--a=one two"]),
        ("# it's no quote\ns.argument.a = 1", ["--a=1"]),
        ("s.argument.B = 1\ns.argument.a = 2\ns.argument.A = 3", ["--A=3", "--B=1", "--a=2"]),
    ],
)
def test_lines_are_lexed(site, line, args):
    """Section 3.1 (12, group 1): comments, quotes, empty and repeated keys, ranges, continuation, byte order."""
    assert _shown(site, line)[: len(args)] == args


def test_second_equals_sign_starts_key(site):
    """Section 3.1 (12, group 1): ``k = a=b`` is an empty ``k``, and another key."""
    assert _shown(site, "s.argument.k = a=b")[0] == "--k="


def test_quotes_lose_one_level(site):
    """Sections 3.2 and 3.5: quotes nested inside quotes survive one level."""
    args = _shown(site, "s.argument.a = \"'CS*'\"\ns.argument.b = {ST001:'CS*'}\ns.argument.c = 'a=b#c'")
    assert args[:3] == ["--a='CS*'", "--b={ST001:CS*}", "--c=a=b#c"]


def test_definitions_are_replaced(site, monkeypatch):
    """Section 3.3 (12, group 2): nested backward, forward stays, empty in a list, environment, blanks count."""
    monkeypatch.setenv("SECTION", "three")
    text = """
! early = 1
! nested = <{{ early }}>
! forward = {{ late }}
! late = 2
! none =
!tight=$SECTION/${SECTION}/$UNDEFINED_HERE
pipeline.replace.old-style = x
s.argument.a = {{ nested }}
s.argument.b = {{ forward }}
s.argument.c = [{{ none }},x]
s.argument.d = {{ tight }}
s.argument.e = {{early}}
s.argument.f = {{ old-style }}{{ old-style }}
s.argument.g = {{ nope }}
"""
    assert _shown(site, text)[:7] == [
        "--a=<1>",
        "--b={{ late }}",
        "--c=[,x]",
        "--d=three/three/$UNDEFINED_HERE",
        "--e={{early}}",
        "--f=xx",
        "--g={{ nope }}",
    ]


def test_undefined_step_variable_fails_on_reach(site):
    """Section 3.3: the step before it runs."""
    site.mapfile("one", "/d/a.MS")
    assert site.run(f"pipeline.steps = [s, {{{{ nope }}}} x]\n{SHOW}s.argument.flags = [in]\n") == 1
    assert site.args("show") == [["/d/a.MS"]]


def test_sublists_and_repeated_steps_expand(site):
    """Sections 3.4 and 4.1 (12, group 3): the first occurrence is replaced; repeated steps are x, x1, x2."""
    site.mapfile("one", "/d/a.MS")
    text = """
pipeline.steps = [s, part, part, s]
pipeline.steps.part = [s, zz]
pipeline.steps.zz = [t]
pipeline.steps.aa = [never]
s.argument.flags = [in]
t.control.type = executable_args
t.control.executable = @/bin/show
t.control.mapfile_in = s.output.mapfile
t.control.inputkey = in
t.argument.flags = [in]
part.control.type = executable_args
part.control.executable = @/bin/show
part.control.mapfile_in = s1.output.mapfile
part.control.inputkey = in
part.argument.flags = [in]
"""
    assert site.run(text + SHOW) == 0
    assert site.args("show") == [["/d/a.MS"], ["/d/a.MS"], ["@/work/p/a.s"], ["@/work/p/a.s1"], ["/d/a.MS"]]
    assert site.map("s2") == [("@/work/p/a.s2", False)]


def test_nested_sublists_work_in_byte_order_only(site):
    """Section 3.4: ``b`` is visited before ``c``, so a ``b`` that comes out of ``c`` is a step name."""
    site.mapfile("one", "/d/a.MS")
    text = "pipeline.steps = [c]\npipeline.steps.c = [b]\npipeline.steps.b = [s]\n" + SHOW + "s.argument.flags = [in]\n"
    assert site.run(text) == 1
    assert site.args("show") == []


def test_pipeline_mapfile_becomes_input_output(site):
    """Section 3.4: ``pipeline.mapfile`` is ``input.output.mapfile``, in strict runs too."""
    site.mapfile("one", "/d/a.MS")
    text = "pipeline.steps = [s]\npipeline.mapfile = @/data/one\n" + SHOW.replace("@/data/one", "input.output.mapfile")
    assert site.run(text + "s.argument.flags = [in]\n", lenient=False) == 0
    assert site.args("show") == [["/d/a.MS"]]


def test_references_inside_values_are_resolved(site):
    """Section 3.5: several in one value; a slash, comma or bracket ends the key; a dot does not."""
    args = _shown(
        site,
        "s.argument.a = input.output.working_directory/input.output.job_name\n"
        "s.argument.b = [remote.output.max_per_node,layout.output.job_directory]\n",
    )
    assert args[:2] == ["--a=@/work/p", "--b=[4,@/run/p]"]


@pytest.mark.parametrize("value", ["input.output.job_directory.bak", "foo.output.txt"])
def test_reference_like_text_is_reference(site, error, value):
    """Section 3.5: a greedy key, and literal text that matches, end the run when the step is reached."""
    site.mapfile("one", "/d/a.MS")
    assert site.run(f"pipeline.steps = [s]\n{SHOW}s.argument.a = {value}\n") == 1
    assert value.partition(".")[0] in error()
    assert site.args("show") == []


def test_references_keep_backslashes(site):
    """Section 3.5, fix: a value is no template of a regular expression."""
    site.plugin("give", r"return {'text': r'\1\g<0>\n'}")
    site.mapfile("one", "/d/a.MS")
    text = f"pipeline.steps = [g, s]\ng.control.kind = plugin\ng.control.type = give\n{SHOW}"
    assert site.run(text + "s.argument.a = g.output.text\n") == 0
    assert site.args("show")[0][0] == r"--a=\1\g<0>\n"


def test_plain_prefix_selects_block(site):
    """Section 3.6, fix: a step called like the sub-step of another keeps its own block."""
    site.mapfile("one", "/d/a.MS")
    other = SHOW.replace("s.control", "aaa.control") + "aaa.argument.s.type = filter\naaa.argument.control = x\n"
    assert site.run(f"pipeline.steps = [aaa, s]\n{other}{SHOW}s.argument.flags = [in]\n") == 0
    assert site.args("show") == [["--control=x", "--s.type=filter", "--in=/d/a.MS"], ["/d/a.MS"]]
