"""Steps and their commands (doc/spec/lofarpipe.md, sections 4.1 to 4.5)."""

import pytest

STEP = """
{name}.control.type = executable_args
{name}.control.executable = @/bin/show
{name}.control.mapfile_in = @/data/{map}
{name}.control.inputkey = in
"""


def _step(name="s", data="one"):
    return STEP.format(name=name, map=data)


def _run(site, text, *arguments, **options):
    site.mapfile("one", "/d/a.MS")
    site.mapfile("two", "/d/a.MS", "/d/b.MS")
    site.mapfile("other", "4.0", "8.0")
    return site.run(text, *arguments, **options)


# ---- 4.1 step list and parset files


def test_parset_files_provide_missing_arguments(site):
    """Section 4.1: argument.parset, the task's parset, control.parset; the first that has a key wins."""
    (site.here / "tasks.cfg").write_text(
        f"[filed]\nrecipe = executable_args\nargs_format = lofar\nparset = {site.here}/second\n"
    )
    (site.here / "first").write_text("own = f1\np1 = 'f1'\nboth = f1\n")
    (site.here / "second").write_text("p2 = f2\nboth = f2\ntwo = f2\n")
    (site.here / "third").write_text("p3 = f3\ntwo = f3\n")
    text = _step().replace("executable_args", "filed")
    text += "s.argument.own = own\ns.argument.parset = @/first\ns.control.parset = @/third\n"
    assert _run(site, f"pipeline.steps = [s]\n{text}") == 0
    assert site.args("show") == [["both=f1", "own=own", "p1=f1", "p2=f2", "p3=f3", "two=f2", "in=/d/a.MS"]]
    assert site.parset("s") == "both=f1\nown=own\np1=f1\np2=f2\np3=f3\ntwo=f2\n"


def test_parset_argument_without_file_is_argument(site):
    """Section 4.1: it may be a reference that is not resolved yet."""
    text = f"pipeline.steps = [s]\n{_step()}s.argument.parset = input.output.job_directory/no.h5\n"
    assert _run(site, text) == 0
    assert site.args("show") == [["--parset=@/run/p/no.h5", "--in=/d/a.MS"]]


def test_control_parset_provides_arguments(site):
    """Section 4.1: without an argument block the file is used as it is, quotes included."""
    (site.here / "file").write_text("b = 'x'\na = 1\n")
    assert _run(site, f"pipeline.steps = [s]\n{_step()}s.control.parset = @/file\n") == 0
    assert site.args("show") == [["--a=1", "--b='x'", "--in=/d/a.MS"]]


def test_control_parset_must_exist(site, error):
    """Section 4.3: ``parset`` is an existing file."""
    assert _run(site, f"pipeline.steps = [s]\n{_step()}s.control.parset = @/file\n") == 1
    assert "which is no file; an existing parset is needed" in error()


def test_unknown_block_parts_are_ignored(site):
    """Section 4.1: only ``control`` and ``argument`` count."""
    text = f"pipeline.steps = [s]\n{_step()}s.argument.flags = [in]\ns.remark.author = me\nunused.argument.x = 1\n"
    assert _run(site, text) == 0
    assert site.args("show") == [["/d/a.MS"]]


# ---- 4.2 kinds


def test_unknown_kind_does_nothing(site):
    """Section 4.2 (12, group 10): no outputs, no failure; in a strict run it is refused."""
    text = f"pipeline.steps = [x, s]\nx.control.kind = odd\n{_step()}s.argument.flags = [in]\n"
    assert _run(site, text) == 0
    assert site.args("show") == [["/d/a.MS"]]
    assert _run(site, text, lenient=False) == 1


def test_opts_replace_all_inputs(site):
    """Section 4.2: with ``control.opts.*`` nothing else of the block is passed on."""
    site.plugin("p")
    text = (
        "pipeline.steps = [x]\nx.control.kind = plugin\nx.control.type = p\n"
        "x.control.opts.b = 2\nx.control.opts.a = 1\nx.control.c = 3\n"
    )
    assert site.run(text) == 0
    assert site.calls()[0]["kwargs"] == {"a": "1", "b": "2"}


def test_loopcount_hides_control_keys(site):
    """Section 4.2: also of a step that is no loop."""
    site.plugin("p")
    text = (
        "pipeline.steps = [x]\nx.control.kind = plugin\nx.control.type = p\nx.control.loopcount = 2\nx.control.c = 3\n"
    )
    assert site.run(text) == 0
    assert site.calls()[0]["kwargs"] == {}


def test_cmdline_provides_positional_arguments(site):
    """Section 4.2: in byte order of their names, references resolved, not among the keywords."""
    site.plugin("p")
    text = (
        "pipeline.steps = [x]\nx.control.kind = plugin\nx.control.type = p\nx.control.cmdline.b = two\n"
        "x.control.cmdline.a = input.output.job_name\nx.control.cmdline.B = zero\nx.control.k = v\n"
    )
    assert site.run(text) == 0
    assert site.calls()[0]["args"] == [["zero", "p", "two"]]
    assert site.calls()[0]["kwargs"] == {"k": "v"}


# ---- 4.3 control keys


@pytest.mark.parametrize(
    "line",
    [
        "s.control.inplace = true",
        "s.control.inplace = 1",
        "s.control.max_per_node = many",
        "s.control.max_per_node =",
        "s.control.nthreads = 1.5",
        "s.control.mapfile_inn = x",
        "s.control.executable = @/bin/absent",
        "s.control.executable = @/data/one",
        "s.control.nodescript = odd",
        "s.control.environment = {A}",
        "s.control.type = legacy",
    ],
)
def test_step_faults_end_run_on_reach(site, line):
    """Sections 4.3 and 8.6 (12, group 10): the step before has run; a strict run does not start."""
    with (site.here / "tasks.cfg").open("a") as tasks:
        tasks.write("\n[legacy]\nrecipe = setupsourcedb\n")
    before = _step("before") + "before.argument.flags = [in]\n"
    text = f"pipeline.steps = [before, s]\n{before}{_step()}s.argument.flags = [in]\n{line}\n"
    assert _run(site, text, lenient=False) == 1
    assert site.args() == []
    assert _run(site, text) == 1
    assert site.args() == [["/d/a.MS"]]


def test_scripts_must_be_executable_in_lenient_runs(site, error):
    """Section 4.3: ``executable`` must be, also for a pythonplugin; a strict run reads it all the same."""
    site.script("p.py").chmod(0o644)
    text = f"pipeline.steps = [s]\n{_step()}s.argument.flags = [in]\n".replace("executable_args", "pythonplugin")
    text = text.replace("@/bin/show", "@/my/scripts/p.py")
    assert _run(site, text) == 1
    assert "may not be executed" in error()
    assert _run(site, text, lenient=False) == 0


@pytest.mark.parametrize(("text", "value"), [("True", True), ("False", False), ("None", False), ("", False)])
def test_only_four_booleans_exist(site, text, value):
    """Section 4.3: these four are all there are."""
    line = f"s.control.skip_infile = {text}\ns.argument.flags = [in]\n"
    assert _run(site, f"pipeline.steps = [s]\n{_step()}{line}") == 0
    assert site.args() == [["in" if value else "/d/a.MS"]]


def test_obsolete_keys_are_accepted(site):
    """Section 4.3."""
    lines = "".join(
        f"s.control.{key} = x\n"
        for key in (
            "outputkeys",
            "args_format_argument",
            "args_format_option",
            "args_format_longoption",
            "args_format_option_argument",
        )
    )
    text = f"pipeline.steps = [s]\n{_step()}{lines}s.control.skip_outfile = True\ns.argument.flags = [in]\n"
    assert _run(site, text, lenient=False) == 0
    assert site.args() == [["/d/a.MS"]]


def test_lists_ignore_quotes_and_nesting(site):
    """Section 4.3: brackets and blanks come off both ends, empty items are dropped."""
    text = f"pipeline.steps = [s]\n{_step()}s.control.arguments = [[ a b ,, (c, in] ]\n"
    assert _run(site, text) == 0
    assert site.args() == [["a b", "(c", "/d/a.MS"]]


def test_step_sets_environment_and_threads(site):
    """Section 4.3: 8 threads by default, 0 leaves the variable alone, the environment comes last, a colon cuts."""
    steps = "".join(_step(name) + f"{name}.argument.flags = [in]\n" for name in "abcd")
    text = f"""pipeline.steps = [a, b, c, d]
{steps}
b.control.nthreads = 3
b.control.environment = {{HO_A: one, HO_B : two three, HO_C: x:y}}
c.control.environment = {{OMP_NUM_THREADS: 17}}
d.control.nthreads = 0
"""
    (site.here / "tasks.cfg").write_text("[executable_args]\nrecipe = executable_args\n")
    assert _run(site, text) == 0
    found = [call["env"] for call in site.calls()]
    assert [env.get("OMP_NUM_THREADS") for env in found] == ["8", "3", "17", None]
    assert [found[1][name] for name in ("HO_A", "HO_B", "HO_C")] == ["one", "twothree", "x"]


def test_strict_runs_keep_colons_and_share_cores(site):
    """Section 4.3, differences on purpose of strict runs."""
    (site.here / "tasks.cfg").write_text("[executable_args]\nrecipe = executable_args\n")
    text = f"pipeline.steps = [s]\n{_step()}s.argument.flags = [in]\ns.control.environment = {{HO: x:y}}\n"
    with (site.here / "pipeline.cfg").open("a") as config:
        config.write("cores = 2\n")
    assert _run(site, text, lenient=False) == 0
    (call,) = site.calls()
    assert (call["env"]["HO"], call["env"]["OMP_NUM_THREADS"]) == ("x:y", "2")


# ---- 4.3, 4.4 inputs derived from arguments; their order


def test_arguments_imply_inputs_in_file_order(site):
    """Sections 4.3 and 4.4: ``mapfile`` in the key of a reference makes it an input."""
    site.plugin(
        "maps",
        f"return {{'mapfile': {site.mapfile('two', '/d/a.MS', '/d/b.MS')!r}, 'x_mapfile': "
        f"{site.mapfile('other', '4.0', '8.0')!r}, 'plain': 'p'}}",
    )
    text = """pipeline.steps = [m, s]
m.control.kind = plugin
m.control.type = maps
s.control.type = executable_args
s.control.executable = @/bin/show
s.argument.z = m.output.x_mapfile
s.argument.a = m.output.mapfile
s.argument.mapfile_dir = input.output.mapfile_dir
s.argument.flags = [m.output.plain, m.output.mapfile, outputkey]
"""
    assert site.run(text) == 0
    common = ["p", "/d/a.MS", "@/work/p/4.s", "--a=/d/a.MS", "--mapfile_dir=@/run/p/mapfiles", "--z=4.0"]
    assert min(site.args("show")) == common
    assert site.map("s") == [("@/work/p/4.s", False), ("@/work/p/8.s", False)]


def test_control_overrides_implied_inputs(site):
    """Section 4.3: with control.mapfiles_in the argument keeps the path of the map."""
    site.plugin("maps", f"return {{'mapfile': {site.mapfile('two', '/d/a.MS', '/d/b.MS')!r}}}")
    text = f"""pipeline.steps = [m, s]
m.control.kind = plugin
m.control.type = maps
{_step().replace("mapfile_in", "mapfiles_in").replace("inputkey", "inputkeys")}
s.argument.a = m.output.mapfile
"""
    assert _run(site, text) == 0
    assert site.args("show") == [["--a=@/data/two", "--in=/d/a.MS"]]


def test_mapfile_in_precedes_implied_inputs(site):
    """Section 4.3: mapfile_in comes first and counts."""
    site.plugin("maps", f"return {{'mapfile': {site.mapfile('two', '/d/a.MS', '/d/b.MS')!r}}}")
    text = f"pipeline.steps = [m, s]\nm.control.kind = plugin\nm.control.type = maps\n{_step()}"
    assert _run(site, text + "s.argument.a = m.output.mapfile\n") == 0
    assert site.args("show") == [["--a=/d/a.MS", "--in=/d/a.MS"]]


def test_numbers_of_keys_and_maps_must_agree(site, error):
    """Section 4.3: skip_infile disables the check, and still makes one job per entry."""
    text = f"pipeline.steps = [s]\n{_step(data='two')}s.control.inputkeys = [x]\ns.argument.flags = [in,x]\n"
    assert _run(site, text) == 1
    assert "one key for each map is needed" in error()
    assert _run(site, text + "s.control.skip_infile = True\n") == 0
    assert site.args() == [["in", "x"], ["in", "x"]]


def test_map_as_string_passes_name(site):
    """Section 4.3: the name of the map is passed; its length does not matter."""
    text = f"""pipeline.steps = [s]
{_step(data="two")}
s.control.mapfiles_in = [@/data/one]
s.control.inputkeys = [whole]
s.control.inputkey = in
s.control.mapfiles_as_string = [@/data/one]
s.argument.flags = [in, whole]
"""
    assert _run(site, text) == 0
    assert sorted(site.args()) == [["/d/a.MS", "@/data/one"], ["/d/b.MS", "@/data/one"]]


# ---- 4.5 the command


def test_tokens_are_replaced_in_arguments(site):
    """Section 4.5 (12, group 4): equality in flags, named arguments, added keywords, the output overrides."""
    text = f"""pipeline.steps = [a, b, c, d]
{_step("a")}
a.control.outputkey = out
a.argument.flags = [in, "--in=in", xin, out, in]
{_step("b")}
b.control.type = dppp
b.argument.msout = .
b.argument.steps = [avg]
{_step("c")}
c.control.type = dppp
c.control.outputkey =
c.argument.msout = .
{_step("d")}
d.control.outputkey = out
d.argument.x = in
d.argument.y = in
d.argument.z = out/in
"""
    assert _run(site, text) == 0
    assert site.args() == [
        ["/d/a.MS", "--in=in", "xin", "@/work/p/a.a", "/d/a.MS"],
        ["msout=@/work/p/a.b", "steps=[avg]", "in=/d/a.MS"],
        ["msout=.", "in=/d/a.MS"],
        ["--x=/d/a.MS", "--y=/d/a.MS", "--z=out/in", "--out=@/work/p/a.d"],
    ]


@pytest.mark.parametrize(
    ("args_format", "args"),
    [
        ("gnu", ["f", "--b=[1, 2]", "--c=3 4", "--d=", "--in=/d/a.MS"]),
        ("lofar", ["f", "b=[1, 2]", "c=3 4", "d=", "in=/d/a.MS"]),
        ("argparse", ["f", "--b [1, 2]", "--c 3 4", "--d ", "--in /d/a.MS"]),
        ("wsclean", ["-in", "/d/a.MS", "-d", "", "-c", "3", "4", "-b", "1", "2", "f"]),
        ("losoto", ["f"]),
        ("unheard-of", ["f"]),
    ],
)
def test_format_orders_arguments(site, args_format, args):
    """Section 4.5 (12, group 5)."""
    lines = f"s.control.args_format = {args_format}\ns.argument.flags = [f]\n"
    lines += "s.argument.c = 3 4\ns.argument.b = [1, 2]\ns.argument.d =\n"
    assert _run(site, f"pipeline.steps = [s]\n{_step()}{lines}") == 0
    assert site.args() == [args]


@pytest.mark.parametrize("args_format", ["gnu", "lofar", "wsclean", "losoto", "unheard-of"])
def test_arguments_may_go_into_file(site, args_format):
    """Section 4.5 (12, group 5): first, for losoto last; named after the input; keys in byte order."""
    lines = f"s.control.args_format = {args_format}\ns.control.parsetasfile = True\ns.argument.flags = [f, in]\n"
    assert _run(site, f"pipeline.steps = [s]\n{_step()}{lines}s.argument.b = in\ns.argument.B = 2\n") == 0
    given = ["f", "/d/a.MS"]
    place = len(given) if args_format == "losoto" else 0
    given.insert(place, "@/work/p/a.MS.parset")
    assert site.args() == [given]
    assert (site.here / "work/p/a.MS.parset").read_text() == "B=2\nb=/d/a.MS\n"


@pytest.mark.parametrize("entry", ["[/d/a.MS,/d/b.MS]", "['/d/a.MS', '/d/b.MS']"])
def test_wsclean_list_is_split(site, entry):
    """Section 4.5 (12, group 5): both flavours of a multi-file entry."""
    site.mapfile("list", entry)
    lines = "s.control.args_format = wsclean\ns.argument.flags = [-x, in]\ns.argument.name = n\n"
    assert site.run(f"pipeline.steps = [s]\n{_step(data='list')}{lines}") == 0
    assert site.args() == [["-name", "n", "-x", "/d/a.MS", "/d/b.MS"]]


def test_programs_run_in_job_directory(site):
    """Section 4.5."""
    assert _run(site, f"pipeline.steps = [s]\n{_step()}s.argument.flags = [in]\n", "-j", "other") == 0
    assert site.calls()[0]["cwd"] == str(site.here / "work" / "other")
