"""Loops and sub-pipelines (doc/spec/lofarpipe.md, sections 4.6 and 4.7)."""

import pytest

LOOP = """
{name}.control.kind = loop
{name}.control.type = conditional
{name}.control.loopcount = {count}
{name}.control.loopsteps = [{steps}]
"""
PLUGIN = """
{name}.control.kind = plugin
{name}.control.type = {kind}
{name}.control.n = {value}
"""


def _loop(name, count, *steps):
    return LOOP.format(name=name, count=count, steps=", ".join(steps))


def _plugin(name, value="", kind="seen"):
    return PLUGIN.format(name=name, kind=kind, value=value)


def _values(site, kind="seen"):
    return [call["kwargs"]["n"] for call in site.calls(kind)]


@pytest.fixture(autouse=True)
def _plugins(site):
    site.plugin("seen", "return {}")
    site.plugin("breaks", "return {'break': kwargs['n'] == 'yes'}")


def test_counter_starts_at_zero(site):
    """Section 4.6 (12, group 11): 0-based inside, -1 after the loop; a second loop over the same steps starts again."""
    text = "pipeline.steps = [one, after, two]\n" + _loop("one", 3, "x") + _loop("two", 1, "y")
    text += _plugin("x", "one.output.counter") + _plugin("after", "one.output.counter")
    text += _plugin("y", "two.output.counter/one.output.counter")
    assert site.run(text, lenient=False) == 0
    assert _values(site) == ["0", "1", "2", "-1", "0/-1"]


def test_zero_iterations_run_nothing(site):
    """Section 4.6."""
    assert site.run("pipeline.steps = [one, z]\n" + _loop("one", 0, "x") + _plugin("x", "a") + _plugin("z", "b")) == 0
    assert _values(site) == ["b"]


def test_more_than_256_iterations_finish(site):
    """Section 4.6, fix: the original compared identities."""
    assert site.run("pipeline.steps = [one]\n" + _loop("one", 300, "x") + _plugin("x", "one.output.counter")) == 0
    assert _values(site) == [str(i) for i in range(300)]


def test_nested_loops_count_separately(site):
    """Section 4.6: the inner loop starts again in each iteration of the outer one."""
    text = "pipeline.steps = [out]\n" + _loop("out", 2, "a", "inner") + _loop("inner", 2, "b")
    text += _plugin("a", "out.output.counter") + _plugin("b", "out.output.counter/inner.output.counter")
    assert site.run(text) == 0
    assert _values(site) == ["0", "0/0", "0/1", "1", "1/0", "1/1"]


@pytest.mark.parametrize(
    ("first", "second", "iterations"), [("yes", "no", 3), ("no", "yes", 1), ("yes", "yes", 1), ("no", "no", 3)]
)
def test_last_break_of_iteration_counts(site, first, second, iterations):
    """Section 4.6 (12, group 11): and the iteration is completed."""
    text = "pipeline.steps = [one]\n" + _loop("one", 3, "a", "b", "x")
    text += _plugin("a", first, "breaks") + _plugin("b", second, "breaks") + _plugin("x", "one.output.counter")
    assert site.run(text) == 0
    assert _values(site) == [str(i) for i in range(iterations)]


def test_break_ends_innermost_loop(site):
    """Section 4.6: a break of an inner loop does not reach the outer one."""
    text = "pipeline.steps = [out]\n" + _loop("out", 2, "stop", "inner", "x") + _loop("inner", 5, "b")
    text += _plugin("stop", "yes", "breaks") + _plugin("b", "yes", "breaks") + _plugin("x", "out.output.counter")
    assert site.run(text) == 0
    assert _values(site) == ["0", "1"]
    assert _values(site, "breaks") == ["yes"] * 4


def test_script_can_break_loop(site):
    """Section 4.6: recipes forward ``break``; of several jobs the last counts."""
    site.script("stop.py", "return {'break': args[0] == '/d/b.MS'}")
    site.mapfile("two", "/d/a.MS", "/d/b.MS")
    text = "pipeline.steps = [one]\n" + _loop("one", 4, "s")
    text += """
s.control.type = pythonplugin
s.control.executable = @/my/scripts/stop.py
s.control.mapfile_in = @/data/two
s.control.inputkey = in
s.argument.flags = [in]
"""
    assert site.run(text) == 0
    assert len(site.calls("stop.py")) == 2
    assert site.map("s.break") == [("False", False), ("True", False)]


def test_repeated_loop_steps_keep_names(site):
    """Sections 4.1 and 4.6: repeated ones are numbered; maps are written over in each iteration."""
    site.mapfile("one", "/d/a.MS")
    text = "pipeline.steps = [lp, s]\n" + _loop("lp", 2, "s", "s")
    text += """
s.control.type = dppp
s.control.mapfile_in = @/data/one
s.control.inputkey = msin
s.argument.n = lp.output.counter
"""
    assert site.run(text) == 0
    assert [args[0] for args in site.args("show")] == ["n=0", "n=0", "n=1", "n=1", "n=1"]
    assert site.map("s1") == [("@/work/p/a.s1", False)]
    assert site.map("s2") is None


def test_each_iteration_rereads_parset_files(site):
    """Section 4.1: a file that a step of the loop wrote is there when the next iteration starts."""
    site.mapfile("one", "/d/a.MS")
    site.plugin("writes", f"open({str(site.here / 'made')!r}, 'w').write('extra = ' + kwargs['n']); return {{}}")
    text = "pipeline.steps = [lp]\n" + _loop("lp", 2, "s", "w") + _plugin("w", "7", "writes")
    text += """
s.control.type = dppp
s.control.mapfile_in = @/data/one
s.control.inputkey = msin
s.argument.parset = @/made
"""
    assert site.run(text) == 0
    assert [args[0] for args in site.args("show")] == ["parset=@/made", "extra=7"]


def test_loop_plugin_must_return_dictionary(site, error):
    """Section 4.6: outside it may return anything."""
    site.plugin("number", "return 0")
    both = _plugin("p", "", "number") + _plugin("q", "", "number")
    assert site.run("pipeline.steps = [p]\n" + both) == 0
    assert site.run("pipeline.steps = [p, lp]\n" + _loop("lp", 2, "q") + both) == 1
    assert "inside a loop a dictionary is needed" in error()


@pytest.mark.parametrize("count", ["many", ""])
def test_loopcount_must_be_number(site, error, count):
    """Section 4.6."""
    assert site.run("pipeline.steps = [lp]\n" + _loop("lp", count, "x") + _plugin("x")) == 1
    assert "an integer is needed" in error()


def test_loop_steps_must_exist(site, error):
    """Section 4.6: it fails when it is reached; a strict run names the key that lists it."""
    text = "pipeline.steps = [x, lp]\n" + _loop("lp", 2, "xx") + _plugin("x", "1")
    assert site.run(text, lenient=False) == 1
    assert "p.parset:6: lp.control.loopsteps: there is no step 'xx'" in error()
    assert site.run(text) == 1
    assert _values(site) == ["1"]


def test_loop_needs_loopcount(site, error):
    """Section 4.6."""
    text = "pipeline.steps = [lp]\nlp.control.kind = loop\nlp.control.loopsteps = [x]\n" + _plugin("x")
    assert site.run(text, lenient=False) == 1
    assert "a loop needs the number of its iterations" in error()


# ---- 4.7 sub-pipelines

SUB = """
! word = sub
! nested = <{{ word }}>
! own = mine
! map = inner.output.mapfile
pipeline.steps = [first, second]
pipeline.mapfile = /d/from_sub
pipeline.pluginpath = /nowhere
first.control.kind = plugin
first.control.type = gives
first.control.n = {{ word }}
second.control.kind = plugin
second.control.type = seen
second.control.n = first.output.mapfile|first.output.first-x.mapfile|{{ nested }}|{{ own }}|{{ far }}|{{ map }}
"""
MASTER = """
! far = master
! word = master
pipeline.steps = [sp, last]
sp.control.kind = pipeline
sp.control.type = @/inner.parset
last.control.kind = plugin
last.control.type = seen
last.control.n = sp-first.output.mapfile|{{ word }}
"""


@pytest.fixture
def sub(site):
    site.plugin("gives", "return {'mapfile': '/m/first', 'sp-first-x.mapfile': '/m/x'}")
    (site.here / "inner.parset").write_text(SUB)
    return site


def test_sub_pipeline_shares_names_and_variables(sub):
    """Section 4.7 (12, group 11): names, references to itself, variables of both, the map of the sub parset."""
    assert sub.run(MASTER) == 0
    assert _values(sub, "gives") == ["sub"]
    assert _values(sub) == ["/m/first|/m/x|<sub>|mine|master|/d/from_sub", "/m/first|master"]


def test_overrides_replace_sub_pipeline_variables(sub):
    """Section 4.7: a value that nests an overridden variable stays unresolved; unknown ones are ignored."""
    lines = "sp.argument.word = other\nsp.argument.own = yours\nsp.argument.unknown = x\nsp.control.mapfile_in = /d/m\n"
    assert sub.run(MASTER + lines) == 0
    assert _values(sub, "gives") == ["other"]
    assert _values(sub)[0] == "/m/first|/m/x|<{{ word }}>|yours|master|/d/m"


def test_sub_pipeline_may_contain_loop(sub):
    """Section 4.7: the names in loopsteps are those in the master; short ones are found as well."""
    text = "pipeline.steps = [lp]\n" + _loop("lp", 2, "sp-a", "b") + _plugin("a", "lp.output.counter")
    (sub.here / "inner.parset").write_text(text + _plugin("b", "a.output.x"))
    sub.plugin("seen", "return {'x': kwargs['n'] + '!'}")
    assert sub.run("pipeline.steps = [sp]\nsp.control.kind = pipeline\nsp.control.type = @/inner.parset\n") == 0
    assert _values(sub) == ["0", "0!", "1", "1!"]


def test_sub_pipelines_nest(sub):
    """Section 4.7."""
    (sub.here / "middle.parset").write_text(
        f"pipeline.steps = [in]\nin.control.kind = pipeline\nin.control.type = {sub.here}/deep.parset\n"
    )
    (sub.here / "deep.parset").write_text("pipeline.steps = [x, y]\n" + _plugin("x", "1") + _plugin("y", "x.output.v"))
    sub.plugin("seen", "return {'v': 'v' + kwargs['n']}")
    text = "pipeline.steps = [sp, z]\nsp.control.kind = pipeline\nsp.control.type = @/middle.parset\n"
    assert sub.run(text + _plugin("z", "sp-in-y.output.v")) == 0
    assert _values(sub) == ["1", "v1", "vv1"]


def test_sub_pipeline_needs_parset(sub, error):
    """Section 4.7."""
    assert sub.run("pipeline.steps = [sp]\nsp.control.kind = pipeline\n") == 1
    assert "a sub-pipeline needs the path of its parset" in error()


def test_missing_sub_parset_fails_on_reach(sub, error):
    """Section 4.7."""
    text = "pipeline.steps = [x, sp]\nsp.control.kind = pipeline\nsp.control.type = @/absent.parset\n" + _plugin(
        "x", "1"
    )
    assert sub.run(text) == 1
    assert _values(sub) == ["1"]
    assert "absent.parset" in error()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_loop("lp", 2, "lp"), "the step contains itself"),
        (_loop("lp", 2), "a loop needs the list of its steps"),
        ("lp.control.kind = pipeline\nlp.control.type = @/empty.parset\n", "No pipeline steps defined"),
    ],
)
def test_loop_and_sub_pipeline_need_steps(site, error, text, message):
    """Sections 4.6 and 4.7: it fails when it is reached."""
    (site.here / "empty.parset").write_text("x.control.kind = plugin\n")
    assert site.run("pipeline.steps = [x, lp]\n" + _plugin("x", "1") + text) == 1
    assert message in error()
    assert _values(site) == ["1"]
