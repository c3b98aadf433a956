"""Overrides of sub-pipelines refer to other steps (doc/spec/lofarpipe.md, section 4.7)."""

import pytest

ASKED = """\
pipeline.steps = [ask, part]
ask.control.kind = plugin
ask.control.type = asks
part.control.kind = pipeline
part.control.type = @/part.parset
"""
PART = """\
! v = none
pipeline.steps = [show]
show.control.type = executable_args
show.control.executable = @/bin/show
show.control.mapfile_in = @/data/one.mapfile
show.control.inputkey = ms
show.argument.flags = [{flags}]
"""


@pytest.fixture
def merge_sub_parset(site):
    """Return a function that runs a sub-pipeline; the plugin before it gives a text, a map and a list."""
    site.mapfile("one.mapfile", "/d/a.MS")
    site.mapfile("two.mapfile", "/d/b.MS", "/d/c.MS")
    given = {"text": "word", "map": f"{site.here}/data/two.mapfile", "steps": "show, show", "odd": "x.output.y"}
    site.plugin("asks", f"return {given!r}")

    def run(part, master, *arguments, lenient=False):
        (site.here / "part.parset").write_text(part.replace("@", str(site.here)))
        return site.run(f"{ASKED}{master}", *arguments, lenient=lenient)

    return run


@pytest.mark.parametrize("lenient", [True, False])
@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("{{ v }}.found", "word.found"),
        ("{{ v }}{{ v }}-{{ v }}", "wordword-word"),
        ("input.output.job_name/{{ v }}", "p/word"),
    ],
)
def test_late_value_joins_surrounding_text(site, merge_sub_parset, text, seen, lenient):
    assert merge_sub_parset(PART.format(flags=text), "part.argument.v = ask.output.text\n", lenient=lenient) == 0
    assert site.args("show") == [[seen]]


@pytest.mark.parametrize(
    ("override", "seen"),
    [("genericpipeline.output.job_name", "p!"), ("remote.output.method", "local!"), ("{{ w }}", "p!"), ("a b", "a b!")],
)
def test_early_references_are_resolved(site, merge_sub_parset, override, seen):
    master = f"! w = input.output.job_name\npart.argument.v = {override}\n"
    assert merge_sub_parset(PART.format(flags="{{ v }}!"), master) == 0
    assert site.args("show") == [[seen]]


def test_sub_pipeline_decides_map_inputs(site, merge_sub_parset):
    part = PART.format(flags="ms, {{ v }}").replace("@/data/one.mapfile", "{{ v }}")
    assert merge_sub_parset(part, "part.argument.v = ask.output.map\n") == 0
    assert sorted(site.args("show")) == [[f"/d/{name}.MS", "@/data/two.mapfile"] for name in "bc"]


def test_map_argument_is_map_name(site, merge_sub_parset):
    """The path stands there before the step is built: it is no reference any more, which would make it an input."""
    assert (
        merge_sub_parset(
            f"{PART.format(flags='ms')}show.argument.table = {{{{ v }}}}\n", "part.argument.v = ask.output.map\n"
        )
        == 0
    )
    assert site.args("show") == [["/d/a.MS", "--table=@/data/two.mapfile"]]


def test_step_output_chooses_steps_and_types(site, merge_sub_parset):
    part = (
        PART.format(flags="{{ v }}").replace("[show]", "[{{ v }}]").replace("show.control.type = executable_args\n", "")
    )
    part = f"{part}show.control.type = {{{{ kind }}}}\n! kind = none\n"
    master = "part.argument.v = ask.output.steps\npart.argument.kind = layout.output.kind\n"
    with (site.here / "pipeline.cfg").open("a") as config:
        config.write("[layout]\nkind = executable_args\n")
    assert merge_sub_parset(part, master) == 0
    assert len(site.args("show")) == 2


def test_each_iteration_has_own_value(site, merge_sub_parset):
    master = "again.control.kind = loop\nagain.control.loopsteps = [part]\nagain.control.loopcount = 3\n"
    master += "part.argument.v = again.output.counter\n"
    master += "pipeline.steps = [ask, again]\n"
    assert merge_sub_parset(PART.format(flags="n{{ v }}.fits"), master) == 0
    assert site.args("show") == [["n0.fits"], ["n1.fits"], ["n2.fits"]]


def test_nested_sub_pipeline_passes_override(site, merge_sub_parset):
    (site.here / "outer.parset").write_text(
        f"! u = none\npipeline.steps = [inner]\ninner.control.type = {site.here}/part.parset\n"
        "inner.control.kind = pipeline\n"
        "inner.argument.v = {{ u }}.more\n"
    )
    master = "part.control.type = @/outer.parset\npart.argument.u = ask.output.text\n"
    assert merge_sub_parset(PART.format(flags="{{ v }}.fits"), master) == 0
    assert site.args("show") == [["word.more.fits"]]
    assert [call["name"] for call in site.calls()] == ["asks", "show"]


def test_step_output_chooses_nested_parset(site, merge_sub_parset):
    (site.here / "outer.parset").write_text(
        "! u = none\npipeline.steps = [inner]\ninner.control.type = {{ u }}\ninner.control.kind = pipeline\n"
    )
    site.plugin("asks", f"return {{'text': '{site.here}/part.parset'}}")
    master = "part.control.type = @/outer.parset\npart.argument.u = ask.output.text\n"
    assert merge_sub_parset(PART.format(flags="ms"), master) == 0
    assert site.args("show") == [["/d/a.MS"]]


def test_impossible_reference_is_found_before_run(site, merge_sub_parset, error):
    assert (
        merge_sub_parset(
            PART.format(flags="{{ v }}.fits"), "part.argument.v = ask.output.text\nask.control.type = none\n"
        )
        == 1
    )
    assert merge_sub_parset(PART.format(flags="{{ v }}.fits"), "part.argument.v = aks.output.text\n") == 1
    told = error()
    assert "p.parset:6: part.argument.v: 'aks.output.text': no step 'aks' runs before" in told
    assert told.count("aks.output.text") == 1
    assert site.calls() == []


def test_dry_run_names_required_step(site, merge_sub_parset, capsys):
    assert merge_sub_parset(PART.format(flags="{{ v }}.fits"), "part.argument.v = ask.output.text\n", "-n") == 0
    assert "# part: not predictable without the outputs of steps that did not run: ask" in capsys.readouterr().out
