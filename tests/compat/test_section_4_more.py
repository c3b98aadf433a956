"""Steps: names, tokens that are maps, state between steps (doc/spec/lofarpipe.md, sections 4.1 to 4.7)."""

import json

import pytest

from lofarpipe.support.data_map import DataMap

STEP = """
{name}.control.type = executable_args
{name}.control.executable = @/bin/show
{name}.control.mapfile_in = @/data/{map}
{name}.control.inputkey = in
"""


def _step(name="s", data="one"):
    return STEP.format(name=name, map=data)


@pytest.fixture(autouse=True)
def _maps(site):
    site.mapfile("one", "/d/a.MS")
    site.mapfile("two", "/d/a.MS", "/d/b.MS")
    site.mapfile("sky", "/d/s1", "/d/s2")


def test_each_step_starts_with_fresh_defaults(site):
    """Section 0.4: outputs, maps and keys of one step do not reach the next one."""
    named = site.mapfile("named", "/o/1", "/o/2")
    site.plugin("maps", f"return {{'mapfile': {named!r}}}")
    first = _step("first", "two") + "first.control.mapfiles_out = [@/data/named]\nfirst.control.outputkey = o\n"
    first += "first.control.mapfiles_in = [@/data/sky]\nfirst.control.inputkeys = [sky]\n"
    first += "first.argument.flags = [in, sky, o]\n"
    second = _step("second", "two") + "second.argument.flags = [in, sky, o]\n"
    assert site.run(f"pipeline.steps = [first, second]\n{first}{second}") == 0
    assert sorted(site.args()) == [
        ["/d/a.MS", "/d/s1", "/o/1"],
        ["/d/a.MS", "sky", "o"],
        ["/d/b.MS", "/d/s2", "/o/2"],
        ["/d/b.MS", "sky", "o"],
    ]
    assert site.map("first") is None
    assert site.map("second") == [("@/work/p/a.second", False), ("@/work/p/b.second", False)]


def test_stepname_names_outputs_and_maps(site):
    """Section 4.3: a key of its own; references still go by the name of the step."""
    text = f"pipeline.steps = [s, t]\n{_step()}s.control.stepname = called\ns.argument.flags = [in]\n"
    text += _step("t").replace("@/data/one", "s.output.mapfile") + "t.argument.flags = [in]\n"
    assert site.run(text) == 0
    assert site.map("called") == [("@/work/p/a.called", False)]
    assert site.args()[1] == ["@/work/p/a.called"]


def test_map_token_is_replaced_everywhere(site):
    """Section 4.5: also in arguments whose key has ``mapfile`` in it, which imply no input."""
    site.plugin("maps", f"return {{'mapfile': '{site.here}/data/two'}}")
    text = """pipeline.steps = [m, s]
m.control.kind = plugin
m.control.type = maps
s.control.type = executable_args
s.control.executable = @/bin/show
s.argument.a = m.output.mapfile
s.argument.the_mapfile = m.output.mapfile
s.argument.path = @/data/two/
"""
    assert site.run(text) == 0
    assert min(site.args("show")) == ["--a=/d/a.MS", "--path=@/data/two/", "--the_mapfile=/d/a.MS"]


def test_tokens_without_keywords_are_not_added(site):
    """Section 4.5: a step with flags alone, or with nothing, gets no ``in=``."""
    text = f"pipeline.steps = [s, t]\n{_step()}{_step('t')}s.control.outputkey = o\ns.argument.flags = [x]\n"
    assert site.run(text) == 0
    assert site.args() == [["x"], []]


def test_written_block_has_resolved_references(site):
    """Sections 4.1 and 3.5: byte order, without flags; as it is when the step runs."""
    text = f"pipeline.steps = [s, s]\n{_step()}s.argument.b = input.output.job_name\ns.argument.B = 'q'\n"
    assert site.run(f"{text}s.argument.flags = [x]\n") == 0
    assert site.parset("s") == site.parset("s1") == "B=q\nb=p\n"


def test_step_limits_concurrent_jobs(site):
    """Sections 4.3 and 8.1: max_per_node of the step, else that of the configuration, which is 4 here."""
    lock = site.here / "lock"
    program = site.program("show")
    lines = program.read_text().splitlines(keepends=True)
    lines[1:1] = [f"import os, time; os.mkdir({str(lock)!r}); time.sleep(0.05); os.rmdir({str(lock)!r})\n"]
    program.write_text("".join(lines))
    site.mapfile("two", *(f"/d/{i}" for i in range(6)))
    text = f"pipeline.steps = [s]\n{_step(data='two')}s.control.max_per_node = 1\ns.argument.flags = [in]\n"
    assert site.run(text) == 0
    assert len(site.args()) == 6
    assert site.map("s.returncode") == [("0", False)] * 6


def test_unknown_task_key_is_error(site, error):
    """Sections 2.5 and 4.3 (12, group 10): options of a task are validated as control keys are."""
    with (site.here / "tasks.cfg").open("a") as tasks:
        tasks.write("\n[odd]\nrecipe = executable_args\nnthread = 3\n")
    assert site.run(f"pipeline.steps = [s]\n{_step().replace('executable_args', 'odd')}") == 1
    assert "nthread" in error()


def test_master_pluginpath_overrides_sub_pipeline(site):
    """Section 4.7: ``pipeline.pluginpath`` of the sub parset is removed; the master's counts."""
    (site.here / "more").mkdir()
    site.plugin("mine").rename(site.here / "more" / "PipelineStep_mine.py")
    (site.here / "inner.parset").write_text(
        "pipeline.steps = [x]\npipeline.pluginpath = /nowhere\nx.control.kind = plugin\nx.control.type = mine\n"
    )
    text = "pipeline.steps = [sp]\nsp.control.kind = pipeline\nsp.control.type = @/inner.parset\n"
    assert site.run(text) == 1
    assert site.run(f"{text}pipeline.pluginpath = more\n") == 0


def test_map_entry_may_be_any_text(site):
    """Sections 4.5 and 5.1: a shell would see much in it; no shell does."""
    texts = [
        "$(touch run/pwned)",
        "a;b|c>d",
        "-memory-read",
        "6000 6000",
        "*",
        "ü",
        "`x`",
        "{{ y }}",
        "s.output.mapfile",
    ]
    site.mapfile("one", *texts)
    assert site.run(f"pipeline.steps = [s]\n{_step()}s.argument.flags = [in]\n") == 0
    assert sorted(site.args()) == sorted([text] for text in texts)
    assert not (site.here / "run/pwned").exists()


def test_results_have_entry_per_job(site):
    """Sections 6.4 and 4.6: seconds as text, and one entry for each job."""
    assert site.run(f"pipeline.steps = [s]\n{_step(data='two')}s.argument.flags = [in]\n") == 0
    assert all(float(text) >= 0 for text, _ in site.map("s.job_duration"))
    assert all(text.startswith("<") for text, _ in site.map("s.monitor_stats"))
    json.dumps(site.map("s.ok"))


@pytest.mark.parametrize(("lenient", "output", "sky"), [(True, "sky", "/d/a.MS"), (False, "two", "/d/s1")])
def test_inplace_accepts_further_maps(site, lenient, output, sky):
    """Section 6.3: the first of ``mapfiles_in`` is written over with the names of the inputs; in lenient runs only."""
    text = f"pipeline.steps = [s, x]\n{_step(data='two')}s.control.inplace = True\ns.argument.flags = [in, sky]\n"
    text += "s.control.mapfiles_in = [@/data/sky]\ns.control.inputkeys = [sky]\n"
    text += "x.control.kind = plugin\nx.control.type = seen\nx.control.map = s.output.mapfile\n"
    site.plugin("seen")
    assert site.run(text, lenient=lenient) == 0
    assert sorted(site.args("show")) == [["/d/a.MS", "/d/s1"], ["/d/b.MS", "/d/s2"]]
    assert site.calls("seen")[0]["kwargs"]["map"] == str(site.here / "data" / output)
    assert DataMap.load(str(site.here / "data" / "sky")).data[0].file == sky


@pytest.mark.parametrize(
    ("block", "args"), [("", ["t", "/d/a.MS", "/d/s1"]), ("s.argument.x = 1\n", ["--x=1", "--in=/d/a.MS"])]
)
def test_argument_block_erases_task_lists(site, block, args):
    """Section 2.5: ``arguments``, ``inputkeys`` and ``mapfiles_in``, also when it implies none."""
    with (site.here / "tasks.cfg").open("a") as tasks:
        tasks.write(
            f"\n[full]\nrecipe = executable_args\narguments = [t, in, sky]\ninputkeys = [in, sky]\n"
            f"mapfiles_in = [{site.here}/data/one, {site.here}/data/sky]\n"
        )
    text = "pipeline.steps = [s]\ns.control.type = full\ns.control.executable = @/bin/show\n"
    if block:
        text += "s.control.mapfile_in = @/data/one\ns.control.inputkey = in\n"
    assert site.run(text + block) == 0
    assert site.args() == [args]


def test_independent_jobs_keep_order(site):
    """Sections 6.4 and 8.1: maps are in the order of the input, however the jobs end."""
    program = site.program("show")
    lines = program.read_text().splitlines(keepends=True)
    lines[1:1] = ["import sys, time; time.sleep(0.2 if sys.argv[1] == '/d/a.MS' else 0)\n"]
    program.write_text("".join(lines))
    text = f"pipeline.steps = [s]\n{_step(data='two')}s.argument.flags = [in]\ns.control.arguments = [in, FAIL:b.MS]\n"
    assert site.run(text) == 0
    assert site.map("s.returncode") == [("0", False), ("1", True)]
    assert site.map("s") == [("@/work/p/a.s", False), ("@/work/p/b.s", True)]
