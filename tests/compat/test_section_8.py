"""Failures, skips and resuming (doc/spec/lofarpipe.md, sections 8.2 and 8.4)."""

import pytest

STEP = """
{name}.control.type = executable_args
{name}.control.executable = @/bin/show
{name}.control.mapfile_in = {map}
{name}.control.inputkey = in
{name}.argument.flags = [{flags}]
"""


def _step(name, data, flags="in"):
    return STEP.format(name=name, map=data, flags=flags)


@pytest.fixture(autouse=True)
def _map(site):
    site.mapfile("three", "/d/a.MS", "/d/b.MS", "/d/c.MS")


def test_failed_product_is_skipped_later(site):
    """Section 8.2 (12, group 8): tolerance is the default; the others keep their own files (0.4)."""
    text = "pipeline.steps = [s, t]\n" + _step("s", "@/data/three", "in, FAIL:b.MS") + _step("t", "s.output.mapfile")
    assert site.run(text) == 0
    assert site.map("s") == [("@/work/p/a.s", False), ("@/work/p/b.s", True), ("@/work/p/c.s", False)]
    assert site.map("s.returncode") == [("0", False), ("1", True), ("0", False)]
    assert site.map("s.ok") == [("True", False)] * 2
    assert sorted(site.args()[3:]) == [["@/work/p/a.s"], ["@/work/p/c.s"]]
    assert site.map("t") == [("@/work/p/a.t", False), ("@/work/p/b.t", True), ("@/work/p/c.t", False)]


def test_intolerant_step_fails_after_all_jobs(site):
    """Section 8.2 (12, group 8): no map is written."""
    lines = "s.control.error_tolerance = False\ns.control.max_per_node = 1\n"
    assert site.run("pipeline.steps = [s]\n" + _step("s", "@/data/three", "in, FAIL:a.MS") + lines) == 1
    assert len(site.args()) == 3
    assert site.map("s") is site.map("s.returncode") is None


def test_step_fails_if_all_jobs_fail(site):
    """Sections 6.4 and 8.2 (12, group 8): an error in spite of tolerance; the result maps are there."""
    text = "pipeline.steps = [s, t]\n" + _step("s", "@/data/three", "in, FAIL") + _step("t", "@/data/three")
    assert site.run(text) == 1
    assert site.map("s") is None
    assert site.map("s.returncode") == [("1", True)] * 3
    assert len(site.args()) == 3


def test_entries_keep_their_files(site):
    """Sections 0.4 and 8.3: skipped ones in the middle shift nothing, in any of the maps."""
    site.mapfile("three", "/d/a.MS", "/d/b.MS", "/d/c.MS", skip=(1,))
    site.mapfile("numbers", "1", "2", "3")
    lines = "s.control.mapfiles_in = [@/data/numbers]\ns.control.inputkeys = [n]\ns.control.outputkey = out\n"
    assert site.run("pipeline.steps = [s]\n" + _step("s", "@/data/three", "in, n, out") + lines) == 0
    assert sorted(site.args()) == [["/d/a.MS", "1", "@/work/p/a.s"], ["/d/c.MS", "3", "@/work/p/c.s"]]


def test_fully_skipped_step_succeeds(site):
    """Section 8.3: every entry of the first map is skipped."""
    site.mapfile("three", "/d/a.MS", skip=(0,))
    assert site.run("pipeline.steps = [s]\n" + _step("s", "@/data/three")) == 0
    assert site.args() == []
    assert site.map("s") == [("@/work/p/a.s", True)]


def test_segmentation_fault_is_retried_once(site):
    """Section 8.4."""
    program = site.program("show")
    lines = program.read_text().splitlines(keepends=True)
    lines[-1] = "first = not os.path.exists('first'); open('first', 'a').close(); first and os.kill(os.getpid(), 11)\n"
    program.write_text("".join(lines))
    site.mapfile("three", "/d/a.MS")
    assert site.run("pipeline.steps = [s]\n" + _step("s", "@/data/three")) == 0
    assert site.args() == [["/d/a.MS"]] * 2
    assert site.map("s.returncode") == [("0", False)]


def test_finished_steps_are_not_repeated(site):
    """Section 6.6 (12, group 9): finished recipe steps are not run again, plugins are."""
    site.plugin("p", "return {}")
    text = "pipeline.steps = [s, x, t]\nx.control.kind = plugin\nx.control.type = p\n"
    text += _step("s", "@/data/three") + _step("t", "s.output.mapfile", "in, FAIL")
    assert site.run(text) == 1
    assert site.run(text.replace("FAIL", "fine")) == 0
    assert [call["name"] for call in site.calls()] == ["show"] * 3 + ["p"] + ["show"] * 3 + ["p"] + ["show"] * 3


def test_empty_createmapfile_has_no_output(site, error):
    """Sections 5.4 and 7.1 (12, group 10): no files, no output ``mapfile``; a reference to it fails."""
    text = """
pipeline.steps = [mk, s]
mk.control.kind = plugin
mk.control.type = createMapfile
mk.control.method = mapfile_from_folder
mk.control.mapfile_dir = input.output.mapfile_dir
mk.control.filename = mk.mapfile
mk.control.folder = @/data
mk.control.pattern = *.nothing
"""
    assert site.run(text + _step("s", "mk.output.mapfile")) == 1
    assert "'mapfile'" in error()
