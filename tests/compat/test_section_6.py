"""Names, maps and remaining files (doc/spec/lofarpipe.md, sections 6.1 to 6.5)."""

import pytest

from lofarpipe.support.data_map import DataMap

STEP = """
s.control.type = executable_args
s.control.executable = @/bin/show
s.control.mapfile_in = @/data/two
s.control.inputkey = in
s.control.outputkey = out
s.argument.flags = [in, out]
"""


def _run(site, lines="", *arguments, **options):
    return site.run(f"pipeline.steps = [s]\n{STEP}{lines}", *arguments, **options)


def _entries(path):
    return [(p.file, p.skip) for p in DataMap.load(path).data]


@pytest.fixture
def two(site):
    return site.mapfile("two", "/d/a.MS", "/d/b.MS", skip=())


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("/d/no_extension", "no_extension"),
        ("/d/two.dots.MS", "two.dots"),
        ("[/d/x.avg,/d/y.avg]", "y"),
        ("['/d/x.avg', '/d/y.avg']", "y"),
        ("[/d/p,/d/q]", "q]"),
        ("42", "42"),
        ("0.25", "0"),
        ("6000 5000", "6000 5000"),
        ("/d/dir.d/", ""),
        (".hidden", ".hidden"),
    ],
)
def test_outputs_get_default_names(site, entry, name):
    """Section 6.3 (12, group 6): the last extension behind the last slash is removed."""
    site.mapfile("two", entry)
    assert _run(site, "s.control.outputsuffixes = [.fits, -psf]\n") == 0
    assert site.map("s") == [(f"@/work/p/{name}.s", False)]
    assert site.map("s.fits") == [(f"@/work/p/{name}.s.fits", False)]
    assert site.map("s-psf") == [(f"@/work/p/{name}.s-psf", False)]


def test_run_has_documented_layout(site, two):
    """Section 6.1: parsets for steps with arguments, maps, and the working directory of the job."""
    assert _run(site, "s.argument.k = 1\n") == 0
    assert site.parset("s") == "k=1\n"
    assert (site.here / "work/p").is_dir()
    assert site.map("s") == [("@/work/p/a.s", False), ("@/work/p/b.s", False)]


def test_suffix_maps_are_outputs(site, two):
    """Section 6.3 (12, group 6): ``<step>.output.<step><suffix>.mapfile``; the main map stays ``mapfile``."""
    text = f"""pipeline.steps = [s, t]
{STEP}
s.control.outputsuffixes = [-psf.fits]
t.control.type = executable_args
t.control.executable = @/bin/show
t.argument.flags = [s.output.s-psf.fits.mapfile, s.output.s.mapfile, s.output.mapfile]
"""
    assert site.run(text) == 0
    assert sorted(site.args("show")[2:]) == [
        [f"@/work/p/{name}.s-psf.fits", f"@/work/p/{name}.s", f"@/work/p/{name}.s"] for name in "ab"
    ]


def test_inplace_saves_input_map(site, two):
    """Section 6.3 (12, group 6): the first input map is the output, and is saved again with its new skip flags."""
    assert _run(site, "s.control.inplace = True\ns.control.arguments = [in, out, FAIL:b.MS]\n") == 0
    assert sorted(site.args()) == [["/d/a.MS", "/d/a.MS", "FAIL:b.MS"], ["/d/b.MS", "/d/b.MS", "FAIL:b.MS"]]
    assert _entries(two) == [("/d/a.MS", False), ("/d/b.MS", True)]
    assert site.map("s") is None


def test_mapfile_out_names_outputs(site, two):
    """Section 6.3 (12, group 6): names the outputs, is not written; its skipped entries get no job either."""
    named = site.mapfile("named", "/o/1", "/o/2", skip=(0,))
    assert _run(site, "s.control.mapfile_out = @/data/named\n") == 0
    assert site.args() == [["/d/b.MS", "/o/2"]]
    assert _entries(named) == [("/o/1", True), ("/o/2", False)]
    assert site.map("s") is None


def test_mapfiles_out_are_saved(site, two):
    """Section 6.3: the first names the outputs, all are saved again; a path without brackets is a list of one."""
    first, other = site.mapfile("first", "/o/1", "/o/2"), site.mapfile("other", "/p/1", "/p/2")
    line = "s.control.mapfiles_out = [@/data/first, @/data/other]\ns.control.arguments = [in, out, FAIL:b.MS]\n"
    assert _run(site, line) == 0
    assert sorted(site.args())[0] == ["/d/a.MS", "/o/1", "FAIL:b.MS"]
    assert _entries(first) == [("/o/1", False), ("/o/2", True)]
    assert _entries(other) == [("/p/1", False), ("/p/2", False)]
    assert _run(site, line.replace("[@/data/first, @/data/other]", "@/data/first")) == 0


def test_strict_runs_skip_failed_products_everywhere(site, two):
    """Section 6.3, difference on purpose of strict runs: no map that is written offers a product that failed."""
    site.mapfile("first", "/o/1", "/o/2")
    other = site.mapfile("other", "/p/1", "/p/2")
    line = "s.control.mapfiles_out = [@/data/first, @/data/other]\ns.control.arguments = [in, out, FAIL:b.MS]\n"
    assert _run(site, line, lenient=False) == 0
    assert _entries(other) == [("/p/1", False), ("/p/2", True)]


@pytest.mark.parametrize(("files", "host"), [(["/o/1"], "localhost"), (["/o/1", "/o/2"], "elsewhere")])
def test_mismatched_output_map_is_refused(site, two, error, files, host):
    """Section 6.3: lengths and hosts of the first input map and the output map must agree."""
    site.mapfile("named", *files, host=host)
    assert _run(site, "s.control.mapfile_out = @/data/named\n") == 1
    assert "validation of data mapfiles failed" in error()
    assert site.args() == []


def test_further_maps_must_not_be_shorter(site, two, error):
    """Section 6.3: surplus is ignored, a missing entry is an error, and nothing is repeated to fill up."""
    site.mapfile("longer", "1", "2", "3")
    site.mapfile("short", "1")
    lines = "s.control.mapfiles_in = [@/data/longer]\ns.control.inputkeys = [n]\ns.control.arguments = [in, n]\n"
    assert _run(site, lines) == 0
    assert sorted(site.args()) == [["/d/a.MS", "1"], ["/d/b.MS", "2"]]
    assert _run(site, lines.replace("longer", "short")) == 1
    assert "input maps differ in length" in error()


def test_returned_keys_become_maps(site, two):
    """Section 6.4: a map per returned key, with entries only for jobs that returned it; three are always there."""
    site.script("r.py", "return {'size': 3, 'only_a': 'x'} if args[0] == '/d/a.MS' else {'size': [1, 2]}")
    text = f"pipeline.steps = [s]\n{STEP}".replace("executable_args", "pythonplugin")
    assert site.run(text.replace("@/bin/show", "@/my/scripts/r.py")) == 0
    assert site.map("s.size") == [("3", False), ("[1, 2]", False)]
    assert site.map("s.only_a") == [("x", False)]
    assert site.map("s.ok") == [("True", False)] * 2
    assert site.map("s.returncode") == [("0", False)] * 2
    assert len(site.map("s.job_duration")) == len(site.map("s.monitor_stats")) == 2


def test_repeated_step_repeats_all_jobs(site, two):
    """Section 6.5: an output that exists stops nothing."""
    (site.here / "work/p").mkdir()
    (site.here / "work/p/a.s").write_text("old")
    assert _run(site) == 0
    assert len(site.args()) == 2
